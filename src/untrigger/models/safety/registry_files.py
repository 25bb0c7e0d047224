"""Fetch a model version of an MLflow registry into a private folder, and find the model folder inside."""

from __future__ import annotations

import logging
import os
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

from untrigger.core.errors import ModelError
from untrigger.models.safety.opened_files import (
    ADAPTER_WEIGHTS,
    FULL_WEIGHTS,
    TOKENIZER_FILES,
    VOCABULARIES,
    PrivateCopy,
)

logger = logging.getLogger(__name__)

SCHEME = "models:/"
"""How names of a registry begin, as MLflow writes them."""
_FORM = re.compile(r"models:/+[^/@\s]+(/[^/@\s]+|@[^/@\s]+)")
_CONFIGS = ("config.json", "adapter_config.json")


def is_registry_name(name: str) -> bool:
    """Return whether a name is one of an MLflow registry."""
    return name.startswith(SCHEME)


def fetch_registry_model(name: str, *, offline: bool) -> Path:
    """Return the model folder of ``models:/NAME/VERSION``, fetched into a private folder once a process.

    MLflow only downloads the files: nothing of them is loaded. The tokenizer that it keeps in a folder of its own is copied beside
    the weights.

    Args:
        name: ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``.
        offline: use only what is on this machine.

    Raises:
        ModelError: for another form, without ``mlflow``, with ``offline``, for a registry that does not give the model, and where
            there is not exactly one model among its files.
    """
    if not _FORM.fullmatch(name):
        raise ModelError(f"{name!r} names no version of a model", expected="models:/NAME/VERSION or models:/NAME@ALIAS")
    if offline:
        raise ModelError(
            f"{name!r} is in an MLflow registry, and --offline uses only this machine",
            expected="a folder",
            remedy=f"fetch it first: mlflow artifacts download --artifact-uri {name} --dst-path FOLDER",
        )
    return _model_inside(_downloaded(name).path, name=name)


@cache
def _downloaded(name: str) -> PrivateCopy:
    """Return the private folder with all files of the version; it is removed at the end of the process."""
    mlflow = _client()
    copy = PrivateCopy()
    logger.info("fetching %s from the MLflow registry", name)
    try:
        mlflow.artifacts.download_artifacts(artifact_uri=name, dst_path=str(copy.path))
    except Exception as error:  # the client and its stores raise many kinds; the first line has the reason
        first = (str(error).strip().splitlines() or [""])[0][:200]
        raise ModelError(
            f"{name!r} could not be fetched from the MLflow registry: {type(error).__name__}: {first}",
            expected="the name and version of a registered model",
            remedy="check the spelling, MLFLOW_TRACKING_URI, the access rights and the network",
        ) from error
    return copy


def _client() -> Any:
    try:
        import mlflow
        import mlflow.artifacts
    except ImportError as error:
        raise ModelError(
            "names of an MLflow registry need the package mlflow", expected="mlflow", remedy="pip install mlflow"
        ) from error
    return mlflow


def _model_inside(root: Path, *, name: str) -> Path:
    """Return the one folder below ``root`` that holds a config and weights, its tokenizer beside them."""
    folders = [Path(folder) for folder, _, files in os.walk(root) if _is_model(files)]
    if len(folders) != 1:
        count = "no model" if not folders else f"{len(folders)} models"
        raise ModelError(
            f"{name!r} holds {count}",
            expected="one folder with config.json or adapter_config.json and its weights, as mlflow.transformers writes it",
            remedy="fetch it with mlflow artifacts download, and give the folder of the model",
        )
    _add_tokenizer(folders[0], root)
    return folders[0]


def _is_model(files: list[str]) -> bool:
    return any(one in files for one in _CONFIGS) and any(one in files for one in (*FULL_WEIGHTS, *ADAPTER_WEIGHTS))


def _add_tokenizer(model: Path, root: Path) -> None:
    """Copy the tokenizer of ``components/tokenizer`` beside weights that have none; links are not followed."""
    if any((model / one).exists() for one in VOCABULARIES):
        return
    for folder in (root / "components" / "tokenizer", model.parent / "components" / "tokenizer"):
        for file in (folder / one for one in TOKENIZER_FILES):
            if file.is_file() and not file.is_symlink() and not os.path.lexists(model / file.name):
                shutil.copyfile(file, model / file.name)
