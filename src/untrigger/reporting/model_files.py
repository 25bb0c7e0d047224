"""The files of the models that a report is about, for statements that bind a verdict to hashes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from untrigger.core.report import Report
from untrigger.models.safety.model_folder import open_model_folder
from untrigger.reporting.scan_view import inner


@dataclass(frozen=True)
class ModelFiles:
    """A model and the files of it that were opened.

    Attributes:
        role: ``model``, ``base``, or ``input`` for the model that was purified.
        name: as reports show it.
        kind: ``full`` weights or an ``adapter``.
        sha256: over names and hashes of the files, as ``sha256sum FILES | sha256sum`` gives it for names in order.
        files: the SHA-256 of each file, by name.
        architecture: such as ``bert``; empty where it is not known.
    """

    role: str
    name: str
    kind: str
    sha256: str
    files: Mapping[str, str]
    architecture: str = ""


def scanned_models(report: Report) -> list[ModelFiles]:
    """Return the model that the report is about, and its base if files of one were opened."""
    return _models(report, role="model")


def purified_models(report: Report, folder: Path) -> list[ModelFiles]:
    """Return the model that was written to ``folder``, the base that it still needs, and the model that was purified.

    An adapter that purifies full weights needs these, and has no other base.

    Raises:
        ModelError: if ``folder`` holds no model.
    """
    task = "CAUSAL_LM" if report.given.get("task") == "generation" else "SEQ_CLS"
    result = open_model_folder(folder, task=task)
    given, *bases = _models(report, role="input")
    files = {one.name: one.sha256 for one in result.files}
    written = ModelFiles("model", folder.name, result.kind, result.sha256, files, given.architecture)
    return [written, *(bases if result.kind == "adapter" else []), given]


def _models(report: Report, *, role: str) -> list[ModelFiles]:
    model = inner(report, "model")
    architecture = str(model.get("architecture") or "")
    found = [_opened(model, model.get("files"), role=role, architecture=architecture)]
    base = {"name": model.get("base") or "base", "kind": "full", "sha256": model.get("base_sha256")}
    files = model.get("files")
    if isinstance(files, dict) and isinstance(files.get("base"), dict):
        found.append(_opened(base, files["base"], role="base", architecture=architecture))
    return found


def _opened(model: Mapping[str, Any], files: object, *, role: str, architecture: str) -> ModelFiles:
    opened = files.get("opened") if isinstance(files, dict) else None
    names = {str(name): str(digest) for name, digest in opened.items()} if isinstance(opened, dict) else {}
    return ModelFiles(
        role,
        str(model.get("name") or "model"),
        str(model.get("kind") or ""),
        str(model.get("sha256") or ""),
        names,
        architecture,
    )
