"""The promise that a method leaves the model that it was given as it is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from untrigger.core.errors import ContractError
from untrigger.models.classifier import Classifier

if TYPE_CHECKING:
    pass


@contextmanager
def untouched(model: Classifier, name: str) -> Iterator[None]:
    """Inside, the method ``name`` works; behind it the model is as it was.

    Raises:
        ContractError: if it is not.
    """
    before = fingerprint(model)
    yield
    if fingerprint(model) != before:
        raise ContractError(f"{name} changed the model that it was given")


def fingerprint(model: Classifier) -> str:
    """A hash over the bytes of every weight and buffer."""
    digest = hashlib.blake2b()
    for name, value in model.module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
