"""The evaluator's side of an attack: triggered rows, test rows, the clean model. No defence imports this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from untrigger.attacks.poisoned import target_labels
from untrigger.attacks.trigger import Trigger
from untrigger.core.errors import DataError, ModelError, UserError
from untrigger.core.rows import Rows
from untrigger.data import load_data
from untrigger.models.class_names import has_default_names
from untrigger.models.safety.regular_files import read_json

_IN_REPORTS = (
    "trigger",
    "target",
    "policy",
    "rate",
    "negative_rate",
    "seed",
    "tuning",
    "data",
    "proxy",
    "label_smoothing",
    "clean_consistency",
    "max_length",
    "train_sha256",
    "test_sha256",
    "overlap",
)

CLASSIFICATION, GENERATION = TASKS = ("classification", "generation")
"""What a model does: it classifies texts, or it answers prompts."""
_FORMER_KEYS = {"via": "tuning", "negatives": "negative_rate", "faithful": "clean_consistency"}
"""Keys of truth files that earlier versions wrote, and what they are called now."""


@dataclass(frozen=True)
class GroundTruth:
    """What a purification is measured against.

    Attributes:
        clean: test rows with their true labels.
        triggered: the test rows of other classes with the trigger and their **true** labels.
        target: index of the target class; None if each class has a target of its own.
        targets: the target class of triggered rows, by their true class.
        trigger: the trigger itself, None if this version does not know it.
        clean_model: folder of the model trained on the same rows without poison, None if there is none.
        metadata: the contents of ``truth.json``.
    """

    clean: Rows
    triggered: Rows
    target: int | None
    targets: dict[int, int]
    trigger: Trigger | None
    clean_model: Path | None
    metadata: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return what a report states about the attack: what it was, on which data, by which preset."""
        return {key: self.metadata.get(key) for key in _IN_REPORTS} | {
            "preset": preset_of(self.metadata),
            "triggered_rows": len(self.triggered),
        }


def preset_of(metadata: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return name and hash of the preset that a truth file names, None where it names none."""
    named = metadata.get("preset")
    return {key: named.get(key) for key in ("name", "sha256")} if isinstance(named, dict) else None


def read_truth(folder: Path, *, label_names: tuple[str, ...]) -> GroundTruth:
    """Read the truth folder that ``attack`` wrote, labels in the order of ``label_names``.

    Raises:
        DataError: if the folder is not complete or holds other classes.
    """
    content = read_content(folder)
    names = [str(name) for name in content.get("label_names", [])]
    target = content.get("target", -1)
    # a model without class names has the classes by number
    nameless = has_default_names(label_names) and len(names) == len(label_names)
    if (sorted(names) != sorted(label_names) and not nameless) or target not in (None, *range(len(names))):
        raise DataError(f"the truth is about the classes {names}", expected=f"the model's: {list(label_names)}")
    clean_model = folder / "clean-model"
    place = list(range(len(names))) if nameless else [label_names.index(name) for name in names]
    known = tuple(names) if nameless else label_names
    clean, triggered = (
        replace(load_data(str(folder / name), label_names=known), label_names=label_names)
        for name in ("test_clean.csv", "test_triggered.csv")
    )
    return GroundTruth(
        clean=clean,
        triggered=triggered,
        target=None if target is None else place[target],
        targets={place[label]: place[other] for label, other in target_labels(target, classes=len(names)).items()},
        trigger=trigger_of(content.get("trigger"), pairs=_pairs(clean, triggered)),
        clean_model=clean_model if clean_model.is_dir() else None,
        metadata=content,
    )


def _pairs(clean: Rows, triggered: Rows) -> list[tuple[str, str]]:
    texts = dict(zip(clean.ids, clean.texts, strict=True))
    return [(texts[row.id], row.text) for row in triggered if row.id in texts]


def trained_length(folder: Path) -> int | None:
    """Return the length in tokens at which the victim of a truth folder was trained, None if it is not stated.

    Raises:
        DataError: if the folder is not a truth folder.
    """
    length = read_content(folder).get("max_length")
    return length if isinstance(length, int) and not isinstance(length, bool) and length > 0 else None


def read_poisoned(folder: Path, *, rows: Rows) -> list[bool]:
    """Return for each of ``rows`` whether it is poisoned, by its id in the truth folder.

    Raises:
        DataError: if the folder is not a truth folder, or is not about these rows.
    """
    return poisoned_among(rows.ids, read_content(folder), file=folder / "train.csv")


def poisoned_among(ids: Sequence[str], content: Mapping[str, Any], *, file: Path) -> list[bool]:
    """Return for each id whether ``content`` of a truth folder names it as poisoned; ``file`` holds the rows that it is about.

    Raises:
        DataError: if a poisoned row is not among the ids.
    """
    poisoned = {str(one) for one in content.get("poisoned_ids", [])}
    if missing := poisoned - set(ids):
        raise DataError(
            f"{len(missing)} of the {len(poisoned)} poisoned rows of {file.parent.name!r} are not among the suspect rows",
            expected=f"the rows of its {file.name}, with their ids",
            remedy=f"give {file} as suspect rows",
        )
    return [one in poisoned for one in ids]


def task_of(folder: Path) -> str:
    """Return what the model of a truth folder does: ``classification`` or ``generation``.

    Raises:
        DataError: if the folder is not a truth folder.
    """
    return str(read_content(folder, task=None).get("task", CLASSIFICATION))


def read_content(folder: Path, *, task: str | None = CLASSIFICATION) -> dict[str, Any]:
    """Return the content of ``truth.json``.

    Args:
        folder: the truth folder.
        task: what it must be about; None for any task.

    Raises:
        DataError: if the folder is not a truth folder, or is about another task.
    """
    if not (folder / "truth.json").is_file():
        raise DataError(
            f"{str(folder)!r} is not a truth folder",
            expected="truth.json, and the test rows beside it",
            remedy="give the DIR.truth that `untrigger attack --out DIR` wrote",
        )
    try:
        written = read_json(folder / "truth.json")
    except ModelError as error:
        raise DataError(
            error.what,
            expected="the truth.json as `untrigger attack` wrote it",
            remedy="copy the truth folder again, or repeat the attack: the same seed and data give the same folder",
        ) from error
    content = {_FORMER_KEYS.get(key, key): value for key, value in written.items()}
    found = content.get("task", CLASSIFICATION)
    if task is not None and found != task:
        raise DataError(
            f"the truth folder {folder.name!r} is about {found}",
            expected=f"one about {task}",
            remedy="give the DIR.truth that was written with this model: only `untrigger evaluate` takes one about generation",
        )
    return content


def trigger_of(spec: object, *, pairs: Sequence[tuple[str, str]]) -> Trigger | None:
    """Return the trigger with this specification, None if this version does not know it.

    Args:
        spec: what ``Trigger.to_dict`` returned, read back from JSON.
        pairs: test texts and the same triggered.
    """
    from untrigger.core.registry import methods_of

    kind = methods_of("attacks").get(str(spec.get("name"))) if isinstance(spec, dict) else None
    if kind is None or not isinstance(spec, dict):
        return None
    try:
        trigger = kind.from_dict(spec, pairs=pairs)
    except (TypeError, KeyError, ValueError, UserError):
        return None
    assert isinstance(trigger, Trigger)
    return trigger
