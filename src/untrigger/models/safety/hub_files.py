"""Find the folder of a model by its name: a local one, an embedded one, or one fetched from a hub or a registry."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

from untrigger.core.errors import ModelError, UnsafeFileError, nearest
from untrigger.core.paths import local_path
from untrigger.models.safety import limits
from untrigger.models.safety.opened_files import TOKENIZER_FILES
from untrigger.models.safety.registry_files import fetch_registry_model, is_registry_name

logger = logging.getLogger(__name__)

PREFIX = "hf:"
"""What a name of the hub may begin with; it is then never looked up as a folder."""
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
PATTERNS = (
    "config.json",
    "adapter_config.json",
    "untrigger.json",
    "*.safetensors",
    "*.safetensors.index.json",
    *TOKENIZER_FILES,
)
PICKLE_PATTERNS = ("pytorch_model*.bin", "pytorch_model.bin.index.json", "adapter_model.bin")


def resolve_model(name: str | Path, *, offline: bool, allow_pickle: bool = False, revision: str | None = None) -> Path:
    """Return the local folder of ``name``: a folder, an embedded model, or one fetched from the hub or an MLflow registry.

    From a hub only configs, tokenizer files and weights are fetched, never code, and pickles only where they are allowed.

    Args:
        name: ``NAME@REVISION`` or ``hf:NAME@REVISION`` takes a hub model at that revision, ``models:/NAME/VERSION`` one of MLflow.
        offline: use only what is on this machine.
        allow_pickle: also fetch pickle weights.
        revision: of a hub model, where the name itself names none.

    Raises:
        ModelError: if it is none of these, or the hub cannot be reached, and for names that cannot be a path.
        UnsafeFileError: for a hub model larger than ``limits.MAX_DOWNLOAD``.
    """
    from untrigger import assets

    if is_registry_name(str(name)):
        return fetch_registry_model(str(name), offline=offline)
    path = local_path(name, what="the model", error=ModelError)
    plain, own = hub_name_parts(str(name))
    if str(name).startswith(PREFIX):
        if not _HUB_NAME.fullmatch(plain):
            raise ModelError(
                f"{str(name)!r} is not the name of a hub model", expected="hf:OWNER/NAME or hf:OWNER/NAME@REVISION"
            )
        return _from_hub(plain, allow_pickle=allow_pickle, offline=offline, revision=own or revision)
    if path.exists():
        return path
    known = assets.names(kind="model")
    if str(name) in known:
        return assets.fetch(str(name), offline=offline)
    if not is_hub_name(str(name)):
        if "/" in str(name):
            raise missing_folder(path)
        raise _unknown(str(name), known)
    return _from_hub(plain, allow_pickle=allow_pickle, offline=offline, revision=own or revision)


def is_hub_name(name: str) -> bool:
    """Return whether a name begins with ``hf:``, or has the form ``OWNER/MODEL`` of a hub and is not a path of this machine."""
    if name.startswith(PREFIX):
        return True
    return (
        not is_registry_name(name)
        and not name.startswith((".", "~", os.sep))
        and name.count("/") == 1
        and not Path(name).exists()
    )


def is_remote_name(name: str) -> bool:
    """Return whether a model of that name would be fetched from a hub or a registry."""
    return is_hub_name(name) or is_registry_name(name)


def hub_name_parts(name: str) -> tuple[str, str | None]:
    """Return the plain name of a hub model, and the revision that follows its ``@``, None where none does."""
    plain, _, revision = name.removeprefix(PREFIX).partition("@")
    return plain, revision or None


def commit_of(folder: Path) -> str | None:
    """Return the commit of a model in the hub client's cache, None for any other folder."""
    known = folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--")
    return folder.name if known and _COMMIT.fullmatch(folder.name) else None


def missing_folder(path: Path) -> ModelError:
    """Return the error for a folder that does not exist, with the nearest existing name."""
    return ModelError(
        f"there is no model folder {str(path)!r}",
        expected="a folder with config.json or adapter_config.json, a hub name, or models:/NAME/VERSION of MLflow",
        nearest=nearest(path.name, _folders_beside(path)),
    )


def _unknown(name: str, known: list[str]) -> ModelError:
    return ModelError(
        f"no model {name!r}",
        expected="a folder, a hub name (unless --offline), or an embedded model: " + ", ".join(known),
        nearest=nearest(name, [*known, *_folders_beside(Path(name))]),
    )


def _folders_beside(path: Path) -> list[str]:
    return [one.name for one in path.parent.iterdir() if one.is_dir()] if path.parent.is_dir() else []


def _from_hub(name: str, *, allow_pickle: bool, offline: bool, revision: str | None) -> Path:
    """Return the folder of a hub model in the hub client's cache; the size is checked before anything is fetched."""
    from huggingface_hub import HfApi, snapshot_download

    patterns = [*PATTERNS, *(PICKLE_PATTERNS if allow_pickle else ())]
    where = f"{name!r}" + (f" at revision {revision!r}" if revision else "")
    logger.info("fetching %s from the hub", where)
    try:
        if not offline:
            _refuse_large(HfApi().model_info(name, revision=revision, files_metadata=True), patterns, where=where)
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns, local_files_only=offline))
    except UnsafeFileError:
        raise
    except Exception as error:  # the hub client raises many kinds; the first line has the reason
        first = (str(error).strip().splitlines() or [""])[0][:200]
        raise ModelError(
            f"{where} is neither a folder here nor could it be fetched from a hub: {type(error).__name__}: {first}",
            expected="a folder, an embedded model, or the name of a hub model that can be reached",
            remedy="check the spelling, the access rights and the network, or give a local folder",
        ) from error


def _refuse_large(info: object, patterns: list[str], *, where: str) -> None:
    """Raise UnsafeFileError where the files to fetch together exceed the bound."""
    from fnmatch import fnmatch

    files = getattr(info, "siblings", None) or []
    size = sum(f.size or 0 for f in files if any(fnmatch(f.rfilename, pattern) for pattern in patterns))
    if size > min(limits.MAX_DOWNLOAD, limits.MAX_WEIGHTS):
        raise UnsafeFileError(f"{where} has {size:,} bytes to fetch", expected=f"at most {limits.MAX_DOWNLOAD:,}")
