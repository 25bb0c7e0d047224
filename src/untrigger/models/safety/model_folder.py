"""An untrusted model folder, checked and copied before anything in it is loaded."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from untrigger.core.errors import ModelError, UnsafeFileError
from untrigger.models.safety import limits, opened_files
from untrigger.models.safety.config_check import adapter_config, refuse_code, refuse_tokenizer_files, without_kernels
from untrigger.models.safety.hub_files import commit_of, missing_folder, resolve_model
from untrigger.models.safety.opened_files import (
    OTHER_VOCABULARY,
    SIDECAR,
    TOKENIZER_FILES,
    VOCABULARIES,
    OpenedFile,
    PrivateCopy,
    UnopenedFile,
    copied,
    folder_hash,
    shard_map,
    unopened,
    weight_file,
)
from untrigger.models.safety.regular_files import file_size, read_json


@dataclass(frozen=True)
class ModelFolder:
    """An opened model folder: a private copy of the whitelisted files.

    Attributes:
        name: the folder or hub name as the user gave it.
        origin: the user's folder, for messages and reports.
        kind: ``full`` weights or an ``adapter``.
        config: its config; for an adapter, the part that PEFT may see.
        files: what is opened, with sizes and hashes; nothing else in the folder is.
        unopened: every other file and its kind, the risky ones first.
        shards: for sharded weights, the file of each tensor.
        copy: the private copy, removed with the last reference.
    """

    name: str
    origin: Path
    kind: str
    config: dict[str, Any] = field(repr=False)
    files: tuple[OpenedFile, ...] = field(repr=False)
    unopened: tuple[UnopenedFile, ...] = field(repr=False)
    shards: Mapping[str, str] = field(repr=False)
    copy: PrivateCopy = field(repr=False)

    @property
    def path(self) -> Path:
        """The private copy, to load from."""
        return self.copy.path

    @property
    def base(self) -> str | None:
        """For an adapter, the base model that its config names."""
        name = self.config.get("base_model_name_or_path")
        return str(name) if name else None

    @property
    def revision(self) -> str | None:
        """For an adapter, the revision of its base."""
        name = self.config.get("revision")
        return str(name) if name else None

    @property
    def commit(self) -> str | None:
        """The commit of a model that came from the hub, whether its name had a revision or not."""
        return commit_of(self.origin)

    @property
    def sha256(self) -> str:
        """The SHA-256 over all files that are opened (config, weights, tokenizer), 64 hex digits."""
        return folder_hash(self.files)

    @property
    def weights(self) -> list[Path]:
        """The weight files of the private copy."""
        return [self.path / one.name for one in self.files if one.name.endswith((".safetensors", ".bin"))]

    @property
    def holds_tokenizer(self) -> bool:
        """Whether a file with a vocabulary is among the files."""
        return any(one.name in VOCABULARIES for one in self.files)

    @property
    def tokenizer_files(self) -> dict[str, bytes]:
        """The tokenizer's original files, by name."""
        return {one.name: (self.path / one.name).read_bytes() for one in self.files if one.name in TOKENIZER_FILES}

    def to_dict(self) -> dict[str, Any]:
        """Return what was opened and what was not, for a report."""
        return {
            "opened": {one.name: one.sha256 for one in self.files},
            "not_opened": {one.name: one.kind for one in self.unopened},
        }

    def warnings(self) -> list[str]:
        """Return a line for each file that was not opened and could run code or hide a pickle."""
        return [f"{one.name}: {one.kind}" for one in self.unopened if one.risky]


def open_model(
    name: str | Path,
    *,
    offline: bool,
    allow_pickle: bool = False,
    revision: str | None = None,
    task: str = "SEQ_CLS",
) -> ModelFolder:
    """Return the checked private copy of a model: a folder, an embedded model, a hub name or one of an MLflow registry.

    Args:
        name: as the user gave it (see ``resolve_model``).
        offline: use only what is on this machine.
        allow_pickle: also open pickle weights, which can run code.
        revision: of a hub model, where the name itself names none.
        task: the PEFT task that an adapter may name (see ``adapter_config``).

    Raises:
        ModelError: if there is no such model, or it cannot be read.
        UnsafeFileError: for what must not be opened.
    """
    path = resolve_model(name, offline=offline, allow_pickle=allow_pickle, revision=revision)
    return replace(open_model_folder(path, allow_pickle=allow_pickle, task=task), name=str(name))


def open_model_folder(path: Path, *, allow_pickle: bool = False, task: str = "SEQ_CLS") -> ModelFolder:
    """Return the checked private copy of the model in the folder ``path``.

    Raises:
        ModelError: if there is no such folder, or it holds no model that can be read.
        UnsafeFileError: for pickle weights that are not allowed, for a config that requests code or other files, for links
            that leave the folder, pipes and devices, and for files above the bounds.
    """
    if not path.is_dir():
        raise missing_folder(path)
    adapter = (path / "adapter_config.json").exists()
    name = "adapter_config.json" if adapter else "config.json"
    if not (path / name).exists():
        raise ModelError(
            f"{str(path)!r} holds no model",
            expected="config.json (a checkpoint) or adapter_config.json (a PEFT adapter)",
            remedy="give the folder that save_pretrained wrote",
        )
    _refuse_both(path, adapter=adapter)
    copy = PrivateCopy()
    files = copied(path, [name], into=copy)
    config = read_json(copy.path / name, origin=path / name)
    refuse_code(config, where=str(path / name))
    passing = adapter_config(config, where=str(path / name), task=task) if adapter else without_kernels(config)
    if passing != config:
        (copy.path / name).write_text(
            json.dumps(passing), encoding="utf-8"
        )  # transformers and PEFT see only what passed
    config = passing
    weights, shards = _copied_weights(path, copy, adapter=adapter, allow_pickle=allow_pickle)
    beside = ("config.json",) if adapter else ()  # transformers chooses the tokenizer class by it
    small = [one for one in (*TOKENIZER_FILES, SIDECAR, *beside) if os.path.lexists(path / one)]
    files += [*weights, *copied(path, small, into=copy)]
    _refuse_tokenizer_code(path, copy)
    _refuse_other_vocabularies(path)
    return ModelFolder(
        str(path),
        path,
        "adapter" if adapter else "full",
        config,
        tuple(files),
        unopened(path, [one.name for one in files]),
        shards,
        copy,
    )


def _refuse_both(path: Path, *, adapter: bool) -> None:
    """Raise ModelError for a folder with both full weights and an adapter, as programs differ in which they load."""
    full = [name for name in opened_files.FULL_WEIGHTS if (path / name).exists()]
    if adapter and full and (path / "config.json").exists():
        raise ModelError(
            f"{str(path)!r} holds an adapter (adapter_config.json) and full weights ({full[0]})",
            expected="one of the two: programs differ in which they load",
            remedy="move the adapter to a folder of its own",
        )


def _copied_weights(
    path: Path, copy: PrivateCopy, *, adapter: bool, allow_pickle: bool
) -> tuple[list[OpenedFile], dict[str, str]]:
    """Copy the weight files, an index first; return them, and the file of each tensor where there is an index."""
    first = weight_file(path, adapter=adapter, allow_pickle=allow_pickle)
    files = copied(path, [first], into=copy)
    if not first.endswith(".index.json"):
        return files, {}
    shards = shard_map(path, first, read=copy.path / first)
    names = sorted(set(shards.values()))
    size = sum(file_size(path / name) for name in names)
    if size > limits.MAX_WEIGHTS:
        raise UnsafeFileError(
            f"the weights in {str(path)!r} have {size:,} bytes", expected=f"at most {limits.MAX_WEIGHTS:,}"
        )
    return [*files, *copied(path, names, into=copy)], shards


def _refuse_tokenizer_code(path: Path, copy: PrivateCopy) -> None:
    """Raise UnsafeFileError for a tokenizer that requests code or other files, or a config beside an adapter that requests code."""
    names = ("tokenizer_config.json", "special_tokens_map.json", "config.json")
    for name in (one for one in names if (copy.path / one).is_file()):
        config = read_json(copy.path / name, origin=path / name)
        refuse_code(config, where=str(path / name))
        if name == "tokenizer_config.json":
            refuse_tokenizer_files(config, where=str(path / name))


def _refuse_other_vocabularies(path: Path) -> None:
    """Raise UnsafeFileError for a folder without tokenizer.json that has a vocabulary under a name that transformers looks for.

    It then searches the names of all files, and may take another vocabulary than the one that is opened here.
    """
    if (path / "tokenizer.json").exists():
        return
    known = {*TOKENIZER_FILES, SIDECAR}
    other = sorted(one.name for one in path.iterdir() if one.name not in known and OTHER_VOCABULARY.search(one.name))
    if other:
        raise UnsafeFileError(
            f"{str(path)!r} has no tokenizer.json, and {other[0]!r} may be taken for its vocabulary",
            expected="tokenizer.json, or one vocabulary under a usual name: " + ", ".join(VOCABULARIES),
            remedy="save the tokenizer again with save_pretrained, or move that file away",
        )


__all__ = ["ModelFolder", "open_model", "open_model_folder", "read_json", "resolve_model"]
