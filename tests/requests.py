"""Requests from flat names, as the command line has them: ``request(ScanRequest, model=..., clean=..., seed=1)``."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypeVar

from untrigger.data import DataSource
from untrigger.pipeline.requests import ModelInput, RunOptions

T = TypeVar("T")
MODEL = {"base", "labels", "max_length", "allow_pickle"}
READING = {"text_column", "label_column", "drop_empty"}
RUN = {field.name for field in fields(RunOptions)}
DATA = ("clean", "suspect", "unlabelled", "rewritten", "data")


def request(kind: type[T], **flat: Any) -> T:
    """A request: names of models and data as strings, the options of how they are read beside them."""
    of_model = {name: flat.pop(name) for name in MODEL & set(flat)}
    reading = {name: flat.pop(name) for name in READING & set(flat)}
    run = {name: flat.pop(name) for name in RUN & set(flat)}
    split = flat.pop("split", None)
    for name in DATA:
        if isinstance(flat.get(name), str):
            flat[name] = DataSource(flat[name], **reading, split=split if name in ("clean", "data") else None)
    if isinstance(flat.get("model"), str):
        flat["model"] = ModelInput(flat["model"], **of_model)
    if "models" in flat:
        flat["models"] = tuple(ModelInput(name, **of_model) for name in flat["models"])
    return kind(**flat, run=RunOptions(**run))


def with_run(made: T, **changes: Any) -> T:
    """The request with another seed, device or offline."""
    return replace(made, run=replace(made.run, **changes))  # type: ignore[type-var,attr-defined,no-any-return]
