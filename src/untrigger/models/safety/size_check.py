"""Check that the sizes in an untrusted config fit the tensors, before anything of these sizes is allocated."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from untrigger.core.errors import ModelError
from untrigger.models.safety import limits
from untrigger.models.safety.config_check import entries, folded
from untrigger.models.safety.model_folder import ModelFolder

COUNTED = re.compile(r"layer|block|group|expert|stage|depth")
MEASURED = re.compile(r"size|dim|rank|length|position|channel|width|index|token")
"""Keys that hold a length or a size, and not how many modules there are."""
ADAPTER_SIZES = (
    "r",
    "rank_pattern",
    "init_r",
    "target_r",
    "num_virtual_tokens",
    "token_dim",
    "num_vectors",
    "vector_length",
    "n_frequency",
    "n_frequency_pattern",
    "oft_block_size",
    "boft_block_size",
    "boft_block_num",
    "boft_n_butterfly_factor",
    "block_size",
    "block_size_pattern",
    "encoder_hidden_size",
    "encoder_num_layers",
    "num_layers",
    "num_attention_heads",
    "num_transformer_submodules",
    "num_cayley_neumann_terms",
    "topk",
    "decompose_factor",
    "mini_r",
    "group_size",
)
"""Keys of adapters that decide how much memory or time building the adapter takes."""


def check_counts(config: Mapping[str, Any], *, tensors: int, where: str) -> None:
    """Raise ModelError for a number of layers, experts or classes that no file of so many tensors can hold.

    Building such a model would take hours, so it is refused by the numbers alone.

    Raises:
        ModelError: naming the key.
    """
    most = max(limits.MAX_LAYERS, tensors)
    for key, value in entries(config, where=where):
        name = folded(key)
        counts = COUNTED.search(name) and not MEASURED.search(name)
        for number in _whole(value) if counts else ():
            if number > most:
                raise ModelError(
                    f"{where!r} sets {key} to {_as_text(number)}, beside {tensors} tensors",
                    expected=f"at most {most:,}",
                    remedy="correct the config, or get the model from its author",
                )
        if name == "numlabels" and any(number > limits.MAX_CLASSES for number in _whole(value)):
            raise ModelError(
                f"{where!r} sets {key} to {_as_text(value)}", expected=f"at most {limits.MAX_CLASSES:,} classes"
            )


def check_adapter_sizes(config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], *, where: str) -> None:
    """Raise ModelError for a rank or another size of an adapter that is larger than every tensor in its file.

    Raises:
        ModelError: naming the key.
    """
    most = max(limits.ADAPTER_SIZE, *(size for shape in shapes.values() for size in shape), 0)
    for key in ADAPTER_SIZES:
        value = config.get(key)
        for number in _whole(list(value.values()) if isinstance(value, dict) else value):
            if number > most:
                raise ModelError(
                    f"{where!r} sets {key} to {_as_text(number)}, its largest tensor has {most:,} rows or columns",
                    expected="sizes of the tensors in adapter_model.safetensors",
                )


def check_model_size(kind: Any, folder: ModelFolder, *, numbers: int, arguments: Mapping[str, Any]) -> None:
    """Raise ModelError where a config's architecture has far more parameters than the files; they are counted on the meta device.

    Args:
        kind: an ``AutoModel`` class of ``transformers``.
        folder: the opened checkpoint.
        numbers: how many parameters the files hold.
        arguments: further arguments of ``from_pretrained``.

    Raises:
        ModelError: naming the largest tensor.
    """
    from transformers import AutoConfig

    given = {key: value for key, value in arguments.items() if key != "attn_implementation"}
    config = AutoConfig.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False, **given)
    attention = {key: arguments[key] for key in arguments if key == "attn_implementation"}
    with torch.device("meta"), warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        module = kind.from_config(config, dtype=torch.float32, trust_remote_code=False, **attention)
    sizes = dict([*module.named_parameters(), *module.named_buffers()])
    total = sum(value.numel() for value in sizes.values())
    if total <= 2 * numbers + limits.SPARE_PARAMETERS:
        return
    name = max(sizes, key=lambda one: sizes[one].numel())
    raise ModelError(
        f"the config of {str(folder.origin)!r} requires {_as_text(total)} weights, its files hold {numbers:,}; "
        f"the largest tensor would be {name!r} of the shape {list(sizes[name].shape)}",
        expected="the sizes of the tensors in config.json",
        remedy="check the sizes in config.json, or get the model from its author",
    )


def _whole(value: object) -> Iterator[int]:
    """Yield the whole numbers in a value or in a list of values."""
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, int) and not isinstance(one, bool):
            yield one
        elif isinstance(one, float) and one == one and abs(one) != float("inf"):
            yield int(one)


def _as_text(number: object) -> str:
    """Return a number as text that fits a line."""
    text = f"{number:,}" if isinstance(number, int) and abs(number) < 10**15 else repr(number)
    return text if len(text) < 40 else f"a number of {len(text)} digits"
