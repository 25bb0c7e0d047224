"""What a scan of a model still needs, and what can be done with what is there: the answer to a scan without clean rows."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from typing import Any

from untrigger import assets
from untrigger.core.errors import ModelError, OptionError
from untrigger.data.public_datasets import PUBLIC_DATASETS, PublicDataset
from untrigger.models.adapter_loading import open_base
from untrigger.models.class_names import class_names, has_default_names
from untrigger.pipeline.load_inputs import open_model
from untrigger.pipeline.requests import ScanRequest
from untrigger.scanners.insertion_scanner import InsertionScanner
from untrigger.scanners.verdict_basis import EvidenceOptions

ROWS = "rows.csv"
"""The file of clean rows in the commands that are shown."""


class MissingRowsError(OptionError):
    """A scan without clean rows, with what the model's files state and the commands that are possible."""

    def __init__(self, guide: Guide) -> None:
        """Set the parts of the message, and ``details`` for the JSON output."""
        super().__init__(
            f"a scan of {guide.name!r} needs clean labelled rows; {guide.model_sentence()}",
            expected=guide.rows_sentence(),
            remedy="\n".join(f"{reason}: {command}" for reason, command in guide.commands()),
        )
        self.details: dict[str, Any] = guide.to_dict()


@dataclass(frozen=True)
class Guide:
    """What the files of a model state, and what a scan of it can use.

    Attributes:
        name: the model as the user named it.
        kind: ``full`` weights or an ``adapter``.
        architecture: the ``model_type`` of its config, or of its base's; empty where it is not known.
        labels: its label names in order; empty where they cannot be known without its base.
        data: embedded data sets with the same classes.
        teacher: the teacher that a reference would be trained from.
        teacher_state: the state of that asset; empty for a model that is not an asset.
        options: further words of the command line that the model needs (``--base``, ``--labels``).
    """

    name: str
    kind: str
    architecture: str
    labels: tuple[str, ...]
    data: tuple[PublicDataset, ...]
    teacher: str
    teacher_state: str
    options: tuple[str, ...] = ()

    def model_sentence(self) -> str:
        """Return what the model is."""
        what = "an adapter" if self.kind == "adapter" else "a model with full weights"
        architecture = f" ({self.architecture})" if self.architecture else ""
        classes = f"with {len(self.labels)} classes" if self.labels else "whose classes are known with its base only"
        return f"it is {what}{architecture} {classes}"

    def rows_sentence(self) -> str:
        """Return which rows are needed: columns, classes and how many."""
        classes = f"the classes {', '.join(self.labels)}" if self.labels else "the classes of the model"
        text = f"--clean with a column text and a column label, {classes}; at least 8 rows, two of each class"
        if self.labels:
            text += f"; about {self.rows_for_verdict()} rows for the verdict clean"
        return f"{text}; 1,000 are used at most (--clean-rows)"

    def rows_for_verdict(self) -> int:
        """Return how many rows of balanced classes it takes for the verdict clean."""
        classes = max(2, len(self.labels))
        held_out = EvidenceOptions().least_rows * classes / (classes - 1)
        return 10 * math.ceil(held_out / InsertionScanner().held_out / 10)

    def commands(self) -> list[tuple[str, str]]:
        """Return what can be done, each with its command."""
        found = [("with rows of your own", self._command("--clean", ROWS))]
        for one in self.data:
            labels = ("--labels", ",".join(one.label_names)) if has_default_names(self.labels) else ()
            reason = f"if its task is that of the embedded data set {one.name} ({one.description})"
            found.append((reason, self._command("--clean", one.name, *labels)))
        found.append(
            (
                "with a clean classifier of the task that you trust",
                self._command("--clean", ROWS, "--reference", "MODEL"),
            )
        )
        if self.teacher_state not in ("", "ready"):
            reason = f"the reference is trained from the asset {self.teacher}, which is fetched first"
            found.append((reason, f"untrigger assets fetch {self.teacher}"))
        found.append(("without rows, in seconds, for hints only", self._command("--static-only")))
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the guide as plain values."""
        return {
            "model": {
                "name": self.name,
                "kind": self.kind,
                "architecture": self.architecture,
                "labels": list(self.labels),
            },
            "rows": {
                "columns": ["text", "label"],
                "least": 8,
                "least_per_class": 2,
                "for_verdict_clean": self.rows_for_verdict() if self.labels else None,
            },
            "embedded_data": [one.name for one in self.data],
            "teacher": {"name": self.teacher, "state": self.teacher_state},
            "commands": [{"reason": reason, "command": command} for reason, command in self.commands()],
        }

    def _command(self, *words: str) -> str:
        return shlex.join(["untrigger", "scan", self.name, *self.options, *words])


def missing_rows(request: ScanRequest) -> MissingRowsError:
    """Return the error for a scan without clean rows; only the files of the model are looked at.

    Raises:
        ModelError: for a model that cannot be opened.
        UnsafeFileError: for files that must not be opened.
    """
    opened = open_model(request.model, request.run)
    root, labels = opened.folder, tuple[str, ...]()
    try:
        if opened.folder.kind == "adapter":
            root = opened.base or open_base(opened.folder, None, allow_pickle=False, offline=request.run.offline)
        labels = class_names(opened.folder, root, request.model.labels, new_head=False)
    except ModelError:
        if request.model.labels or opened.folder.kind != "adapter":
            raise
    teacher = request.teacher
    state = assets.status(teacher).state if teacher in assets.names(kind="model") else ""
    return MissingRowsError(
        Guide(
            name=request.model.name,
            kind=opened.folder.kind,
            architecture=str(root.config.get("model_type") or ""),
            labels=labels,
            data=tuple(one for one in PUBLIC_DATASETS.values() if one.asset and _same_classes(one, labels)),
            teacher=teacher,
            teacher_state=state,
            options=_options(request),
        )
    )


def _same_classes(data: PublicDataset, labels: tuple[str, ...]) -> bool:
    """Return whether a data set has these classes in any order; of classes without names, whether it has as many."""
    if has_default_names(labels):
        return len(labels) == len(data.label_names)
    return sorted(name.casefold() for name in labels) == sorted(name.casefold() for name in data.label_names)


def _options(request: ScanRequest) -> tuple[str, ...]:
    base = ("--base", request.model.base) if request.model.base else ()
    return (*base, *(("--labels", ",".join(request.model.labels)) if request.model.labels else ()))
