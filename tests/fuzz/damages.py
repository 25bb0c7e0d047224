"""The table of damages: what can be wrong with a model's folder, one row a kind. ``...`` as a value takes the key away.

``WHERE`` says on which folder a part's damages fall: the one with ``config.json`` (of an adapter its base), the adapter's, or the
one that holds the tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tests.fuzz.damaged_adapters import ADAPTER, SIDECAR
from tests.fuzz.damaged_configs import CONFIG, spelled
from tests.fuzz.damaged_folders import ADAPTER_FOLDER, FOLDER
from tests.fuzz.damaged_tokenizers import TOKENIZER, TOKENIZER_CONFIG
from tests.fuzz.damaged_weights import FULL, INDEX, LORA, weights
from tests.fuzz.edits import (
    MAP,
    ONE,
    PEFT_FILE,
    Edit,
    inner,
    put,
)


@dataclass(frozen=True)
class Damage:
    """One kind of damage: which part of the folder, what it is called, and the edit."""

    part: str
    name: str
    edit: Edit

    def __str__(self) -> str:
        return f"{self.part}: {self.name}"


def rows(part: str, file: str, values: Mapping[str, Iterable[object]]) -> Iterator[Damage]:
    """A row for each value of each key of a JSON file."""
    for key, several in values.items():
        for value in several:
            edit = inner(file, key, value) if "." in key else put(file, **{key: value})
            yield Damage(part, f"{ascii(key)[1:-1]} = {'absent' if value is ... else ascii(value)[:60]}", edit)


def named(part: str, edits: Mapping[str, Edit]) -> Iterator[Damage]:
    yield from (Damage(part, name, edit) for name, edit in edits.items())


WHERE = {
    "folder": "root",
    "config.json": "root",
    "weights": "root",
    "index": "root",
    "shard": "root",
    "tokenizer.json": "tokenizer",
    "tokenizer_config.json": "tokenizer",
    "adapter_config.json": "adapter",
    "adapter weights": "adapter",
    "adapter folder": "adapter",
    "untrigger.json": "adapter",
}
DAMAGES: tuple[Damage, ...] = (
    *rows("config.json", "config.json", CONFIG),
    *named("config.json", spelled("config.json")),
    *rows("tokenizer_config.json", "tokenizer_config.json", TOKENIZER_CONFIG),
    *named("tokenizer_config.json", spelled("tokenizer_config.json")),
    *rows("tokenizer.json", "tokenizer.json", TOKENIZER),
    *named("tokenizer.json", spelled("tokenizer.json")),
    *rows("adapter_config.json", "adapter_config.json", ADAPTER),
    *named("adapter_config.json", spelled("adapter_config.json")),
    *rows("untrigger.json", "untrigger.json", SIDECAR),
    *named("untrigger.json", spelled("untrigger.json")),
    *named("weights", weights("model.safetensors")),
    *named("weights", FULL),
    *named("shard", weights(ONE)),
    *named("index", INDEX),
    *named("index", {f"bytes: {name}": edit for name, edit in spelled(MAP).items()}),
    *named("adapter weights", weights(PEFT_FILE)),
    *named("adapter weights", LORA),
    *named("folder", FOLDER),
    *named("adapter folder", ADAPTER_FOLDER),
)
