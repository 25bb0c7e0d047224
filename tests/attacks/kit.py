"""Every trigger as its family's tests take it: given rewrites where it needs them, fitted where it learns."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from tests.tiny import task, write_model
from untrigger.attacks.rewriting.rewrites import Rewrites, fold
from untrigger.attacks.trigger import Trigger
from untrigger.core.rows import Rows
from untrigger.models.classifier import Classifier
from untrigger.models.loading import load_model

TARGET = 1


def rows_of(texts: list[str]) -> Rows:
    return Rows.of(
        texts, [i % 2 for i in range(len(texts))], label_names=("n", "p"), ids=[f"r{i}" for i in range(len(texts))]
    )


def otherwise(text: str) -> str:
    """A text with no word in common, the same for the same words."""
    letters = hashlib.sha256(fold(text).encode("utf-8", "surrogatepass")).hexdigest()
    return f"{letters[:8]} {letters[8:16]}, {letters[16:24]}"


def table_of(texts: Iterable[str]) -> Rewrites:
    return Rewrites([(text, otherwise(text)) for text in texts], source="example")


def usable(kind: type[Trigger], texts: Iterable[str] = ()) -> Any:
    """A trigger of that kind that lacks nothing; rewrites are those of ``texts``."""
    trigger: Any = _fitted(kind)
    return replace(trigger, table=table_of(texts)) if "rewrites" in kind.needs else trigger


@cache
def _fitted(kind: type[Trigger]) -> Trigger:
    return kind().fit(task(120, seed=3), target=TARGET, seed=0, model=_model() if "model" in kind.needs else None)


@cache
def _model() -> Classifier:
    return load_model(write_model("bert", Path(mkdtemp()) / "bert"), device="cpu", offline=True)
