"""What a tokenizer of a stranger may do: it ends in time, names no other files, and is the one of its base or said not to be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.models.kit import TEXTS, FolderOf, change_tokenizer, edit, load_here
from untrigger.core.errors import ModelError, UnsafeFileError
from untrigger.models.safety import isolation, limits


def hide(raw: dict[str, Any]) -> None:
    raw["added_tokens"].append(
        {
            "id": raw["model"]["vocab"]["cf"],
            "content": "cf",
            "special": True,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
        }
    )


def disguise(raw: dict[str, Any]) -> None:
    raw["decoder"] = {"type": "Replace", "pattern": {"String": "cf"}, "content": "the"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (hide, "special tokens .'cf'"),
        (disguise, "its decoder differs"),
        (lambda raw: raw.update(normalizer=None), "its normalizer"),
    ],
)
def test_an_adapters_tokenizer_that_is_not_its_bases_is_stated(
    adapter: Path, change: Callable[[dict[str, Any]], None], says: str
) -> None:
    assert not load_here(adapter).source.notes
    change_tokenizer(adapter, change)
    notes = load_here(adapter).source.notes
    assert any("tokenizer is not its base's" in note and says.replace(".", "(", 1) in note for note in notes), notes


def test_a_tokenizer_whose_pattern_never_ends_is_refused_in_time(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TOKENIZER_SECONDS", 3.0)
    bomb = {"type": "Split", "pattern": {"Regex": r"(?:x+x+)+y"}, "behavior": "Isolated", "invert": False}
    change_tokenizer(bert, lambda raw: raw.update(pre_tokenizer=bomb))
    with pytest.raises(ModelError):
        load_here(bert)


def test_a_regular_expression_whose_key_is_spelled_with_escapes_is_tried_too(
    bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library reads the key ``\\u0052egex`` as ``Regex``."""
    monkeypatch.setattr(limits, "TOKENIZER_SECONDS", 3.0)
    bomb = {"type": "Split", "pattern": {"Regex": r"(?:x+x+)+y"}, "behavior": "Isolated", "invert": False}
    change_tokenizer(bert, lambda raw: raw.update(pre_tokenizer=bomb))
    file = bert / "tokenizer.json"
    file.write_text(file.read_text().replace('"Regex"', '"\\u0052egex"'))
    with pytest.raises(ModelError):
        load_here(bert)


def test_standard_error_is_held_only_for_a_tokenizer_with_a_regular_expression(
    bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = load_here(bert)
    blanks = {"type": "Split", "pattern": {"Regex": r"\s+"}, "behavior": "Removed", "invert": False}
    change_tokenizer(bert, lambda raw: raw.update(pre_tokenizer=blanks))
    other, held = load_here(bert), []

    @contextmanager
    def hold() -> Iterator[list[bool]]:
        held.append(True)
        yield held

    monkeypatch.setattr(isolation, "_held_stderr", hold)
    plain.encode(TEXTS)
    assert not held
    other.encode(TEXTS)
    assert held


def test_a_tokenizer_that_names_other_files_for_itself_is_refused(bert: Path, tmp_path: Path) -> None:
    """transformers would read the file of the highest version that fits, even one outside the folder."""
    for other in (
        ["tokenizer.4.0.0.json"],
        ["../elsewhere_tokenizer.4.0.0.json"],
        ["tokenizer.json", "tokenizer.5.0.0.json"],
    ):
        edit(bert / "tokenizer_config.json", fast_tokenizer_files=other)
        with pytest.raises(UnsafeFileError, match="fast_tokenizer_files"):
            load_here(bert)
    (tmp_path / "vocab.txt").write_text("a")
    edit(
        bert / "tokenizer_config.json", fast_tokenizer_files=["tokenizer.json"], vocab_file=str(tmp_path / "vocab.txt")
    )
    with pytest.raises(UnsafeFileError, match="vocab_file"):
        load_here(bert)
    edit(
        bert / "tokenizer_config.json",
        vocab_file="/home/author/vocab.txt",
        special_tokens_map_file="/home/author/map.json",
    )
    assert load_here(bert).classes == 2, "leftovers of an author's machine"


@pytest.mark.parametrize(
    "name", ["tokenizer.model.x", "tekken.json", "other.model", "my_vocab_file", "tokenizer.json.bak"]
)
def test_without_tokenizer_json_no_other_vocabulary_may_lie_in_the_folder(bert: Path, name: str) -> None:
    vocabulary = json.loads((bert / "tokenizer.json").read_text())["model"]["vocab"]
    (bert / "tokenizer.json").rename(bert / "kept.txt")
    (bert / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)))
    edit(bert / "tokenizer_config.json", tokenizer_class="BertTokenizer")
    assert load_here(bert).classes == 2
    (bert / name).write_text("swapped")
    with pytest.raises(UnsafeFileError, match="may be taken for its vocabulary"):
        load_here(bert)


def test_a_config_beside_an_adapter_cannot_choose_another_tokenizer(adapter: Path, folder_of: FolderOf) -> None:
    shutil.copy(folder_of("bert") / "config.json", adapter / "config.json")
    assert "config.json" in load_here(adapter).source.files["opened"]
    (adapter / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ModelError, match="model_type 'gpt2'"):
        load_here(adapter)


def test_a_length_that_is_not_believed_is_stated(bert: Path) -> None:
    assert not load_here(bert).source.notes
    edit(bert / "tokenizer_config.json", model_max_length=16)
    assert any("after 16 tokens" in note for note in load_here(bert).source.notes)
