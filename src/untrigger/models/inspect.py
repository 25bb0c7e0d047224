"""A look at a model's folder before anything of it is opened: what is there, is it safe, how large is it."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from untrigger.errors import ModelError, UnsafeFileError, nearest

MAX_JSON = 64 * 2**20
MAX_WEIGHTS = 256 * 2**30
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt", ".pickle")


@dataclass(frozen=True)
class Folder:
    """What a model's folder holds."""

    path: Path
    kind: str
    config: dict[str, Any] = field(repr=False)

    @property
    def base(self) -> str | None:
        """For an adapter, the base model that its config names."""
        name = self.config.get("base_model_name_or_path")
        return str(name) if name else None


def inspect_folder(path: Path, *, allow_pickle: bool = False) -> Folder:
    """The kind and config of the model in ``path``.

    Raises:
        ModelError: if there is no such folder, or it holds no readable model config.
        UnsafeFileError: for pickle weights without safetensors, for a config that asks for remote code, and for
            files above the bounds of this module.
    """
    if not path.is_dir():
        raise ModelError(
            f"there is no model folder {str(path)!r}",
            expected="a folder with config.json or adapter_config.json, or a hub name",
            nearest=nearest(path.name, _folders_beside(path)),
        )
    adapter = (path / "adapter_config.json").is_file()
    name = "adapter_config.json" if adapter else "config.json"
    if not (path / name).is_file():
        raise ModelError(
            f"{str(path)!r} holds no model",
            expected="config.json (a checkpoint) or adapter_config.json (a PEFT adapter)",
            remedy="give the folder that save_pretrained wrote",
        )
    config = read_json(path / name)
    refuse_remote_code(config, where=path / name)
    refuse_unsafe_weights(path, stem="adapter_model" if adapter else "", allow_pickle=allow_pickle)
    return Folder(path, "adapter" if adapter else "full", config)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``, of bounded size.

    Raises:
        UnsafeFileError: if the file is larger than ``MAX_JSON``.
        ModelError: if it is no JSON object.
    """
    if path.stat().st_size > MAX_JSON:
        raise UnsafeFileError(f"{path.name} has {path.stat().st_size:,} bytes", expected=f"at most {MAX_JSON:,}")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ModelError(f"{str(path)!r} is not readable JSON: {error}") from error
    if not isinstance(value, dict):
        raise ModelError(f"{str(path)!r} holds a {type(value).__name__}", expected="a JSON object")
    return value


def refuse_remote_code(config: dict[str, Any], *, where: Path) -> None:
    """Nothing, where the config asks for no code of its own.

    Raises:
        UnsafeFileError: if it does (``auto_map`` or ``trust_remote_code``).
    """
    asked = next((key for key in ("auto_map", "trust_remote_code") if config.get(key)), None)
    if asked:
        raise UnsafeFileError(
            f"{str(where)!r} asks for remote code ({asked}: {config[asked]!r})",
            expected="a model of an architecture that transformers itself knows",
            remedy="untrigger never runs a model's own code; convert the checkpoint to a built-in architecture",
        )


def refuse_unsafe_weights(path: Path, *, stem: str, allow_pickle: bool) -> None:
    """Nothing, where the weights are safetensors of bounded size (or pickle is explicitly allowed).

    Raises:
        UnsafeFileError: naming the file.
        ModelError: if there are no weights at all.
    """
    safe = sorted(path.glob(f"{stem}*.safetensors"))
    pickles = sorted(p for p in path.iterdir() if p.suffix in PICKLES and p.name != "training_args.bin")
    if not safe and pickles and not allow_pickle:
        raise UnsafeFileError(
            f"{pickles[0].name!r} in {str(path)!r} is a pickle: opening it can run code",
            expected="*.safetensors",
            remedy="ask for a safetensors version; to open it all the same, the commands that train or measure know --allow-pickle",
        )
    if not safe and not pickles:
        raise ModelError(
            f"{str(path)!r} holds no weights", expected="*.safetensors",
            remedy="pickle weights of a hub are fetched with --allow-pickle only, as opening them can run code",
        )  # fmt: skip
    size = sum(p.stat().st_size for p in safe)
    if size > MAX_WEIGHTS:
        raise UnsafeFileError(f"the weights have {size:,} bytes", expected=f"at most {MAX_WEIGHTS:,}")


def weights_hash(path: Path) -> str:
    """SHA-256 over the names and contents of the safetensors files of a folder, 64 hex digits."""
    digest = hashlib.sha256()
    for file in sorted(path.glob("*.safetensors")):
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            while chunk := stream.read(2**22):
                digest.update(chunk)
    return digest.hexdigest()


def resolve(name: str | Path, *, offline: bool, allow_pickle: bool = False) -> Path:
    """The local folder of ``name``: a folder, an embedded model, or a hub name (fetched unless ``offline``).

    From a hub only configs, tokenizer files and weights are fetched, never code, and pickles only where they are allowed.

    Raises:
        ModelError: if it is none of these, or the hub cannot be reached.
    """
    from untrigger import assets

    path = Path(name).expanduser()
    if path.exists():
        return path
    if str(name) in assets.names(kind="model"):
        return assets.fetch(str(name), offline=offline)
    known = assets.names(kind="model")
    looks_like_path = str(name).startswith((".", "~", os.sep)) or str(name).count("/") != 1
    if looks_like_path or offline:
        return inspect_folder(path).path if looks_like_path and "/" in str(name) else _unknown(str(name), known)
    return _from_hub(str(name), allow_pickle=allow_pickle)


def _unknown(name: str, known: list[str]) -> Path:
    raise ModelError(
        f"no model {name!r}",
        expected="a folder, a hub name (unless --offline), or an embedded model: " + ", ".join(known),
        nearest=nearest(name, [*known, *_folders_beside(Path(name))]),
    )


def _folders_beside(path: Path) -> list[str]:
    return [one.name for one in path.parent.iterdir() if one.is_dir()] if path.parent.is_dir() else []


def _from_hub(name: str, *, allow_pickle: bool) -> Path:
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.safetensors", "*.model", "*.txt", *(["*.bin"] if allow_pickle else [])]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns, ignore_patterns=["*training_args.bin"]))
    except Exception as error:  # the hub client raises many kinds; each means the same to the user
        raise ModelError(
            f"{name!r} is neither a folder here nor could it be fetched from a hub: {type(error).__name__}",
            remedy="check the spelling and the network, or give a local folder",
        ) from error
