"""The evaluator's side of an attack: triggered rows, test rows, the clean model. No defence imports this."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from untrigger.attacks.poisoned import target_labels
from untrigger.attacks.trigger import Trigger
from untrigger.core.errors import DataError, UserError
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
        named = self.metadata.get("preset")
        preset = {key: named.get(key) for key in ("name", "sha256")} if isinstance(named, dict) else None
        return {key: self.metadata.get(key) for key in _IN_REPORTS} | {
            "preset": preset,
            "triggered_rows": len(self.triggered),
        }


def read_truth(folder: Path, *, label_names: tuple[str, ...]) -> GroundTruth:
    """Read the truth folder that ``attack`` wrote, labels in the order of ``label_names``.

    Raises:
        DataError: if the folder is not complete or holds other classes.
    """
    content = _read_json(folder)
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
        trigger=_trigger(content.get("trigger"), clean=clean, triggered=triggered),
        clean_model=clean_model if clean_model.is_dir() else None,
        metadata=content,
    )


def trained_length(folder: Path) -> int | None:
    """Return the length in tokens at which the victim of a truth folder was trained, None if it is not stated.

    Raises:
        DataError: if the folder is not a truth folder.
    """
    length = _read_json(folder).get("max_length")
    return length if isinstance(length, int) and not isinstance(length, bool) and length > 0 else None


def read_poisoned(folder: Path, *, rows: Rows) -> list[bool]:
    """Return for each of ``rows`` whether it is poisoned, by its id in the truth folder.

    Raises:
        DataError: if the folder is not a truth folder, or is not about these rows.
    """
    ids = {str(one) for one in _read_json(folder).get("poisoned_ids", [])}
    if not ids <= set(rows.ids):
        raise DataError(
            f"{len(ids - set(rows.ids))} of the {len(ids)} poisoned rows of {folder.name!r} are not among the suspect rows",
            expected="the rows of its train.csv, with their ids",
            remedy=f"give {folder / 'train.csv'} as suspect rows",
        )
    return [one in ids for one in rows.ids]


def _read_json(folder: Path) -> dict[str, Any]:
    if not (folder / "truth.json").is_file():
        raise DataError(
            f"{str(folder)!r} is not a truth folder",
            expected="truth.json, test_clean.csv, test_triggered.csv",
            remedy="give the DIR.truth that `untrigger attack --out DIR` wrote",
        )
    return {_FORMER_KEYS.get(key, key): value for key, value in read_json(folder / "truth.json").items()}


def _trigger(spec: object, *, clean: Rows, triggered: Rows) -> Trigger | None:
    """Return the trigger with this specification, None if this version does not know it."""
    from untrigger.core.registry import methods_of

    kind = methods_of("attacks").get(str(spec.get("name"))) if isinstance(spec, dict) else None
    if kind is None or not isinstance(spec, dict):
        return None
    texts = dict(zip(clean.ids, clean.texts, strict=True))
    pairs = [(texts[row.id], row.text) for row in triggered if row.id in texts]
    try:
        trigger = kind.from_dict(spec, pairs=pairs)
    except (TypeError, KeyError, ValueError, UserError):
        return None
    assert isinstance(trigger, Trigger)
    return trigger
