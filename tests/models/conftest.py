"""Folders of tiny models that a test may change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.models.kit import FolderOf, Load
from untrigger.models.adapters import AdapterOptions, attach
from untrigger.models.saving import save_classifier


@pytest.fixture
def bert(folder_of: FolderOf, tmp_path: Path) -> Path:
    """A copy of the tiny BERT's folder."""
    return Path(shutil.copytree(folder_of("bert"), tmp_path / "some-model"))


@pytest.fixture
def llama(folder_of: FolderOf, tmp_path: Path) -> Path:
    """A copy of the tiny Llama's folder."""
    return Path(shutil.copytree(folder_of("llama"), tmp_path / "some-llama"))


@pytest.fixture
def adapter(load: Load, tmp_path: Path) -> Path:
    """An untrained LoRA adapter on the tiny BERT, its head in ``modules_to_save``."""
    folder = tmp_path / "some-adapter"
    folder.mkdir()
    save_classifier(attach(load("bert"), AdapterOptions(rank=2, targets=("query",))), folder, card="")
    return folder
