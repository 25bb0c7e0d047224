"""The check that a method leaves the model that it was given as it was."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from untrigger.core.errors import ContractError
from untrigger.models.classifier import Classifier
from untrigger.models.language_model import LanguageModel


@contextmanager
def untouched(model: Classifier | LanguageModel, name: str) -> Iterator[None]:
    """Raise ContractError unless the model is the same after the block, in which the method ``name`` runs."""
    before = fingerprint(model)
    yield
    if fingerprint(model) != before:
        raise ContractError(f"{name} changed the model that it was given")


def fingerprint(model: Classifier | LanguageModel) -> str:
    """Return a hash of the bytes of every weight and buffer."""
    digest = hashlib.blake2b()
    for name, value in model.module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
