"""The evaluator's side of an attack: triggered rows, test rows, the clean twin. No defence ever imports this."""

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
from untrigger.models.safety.opened_files import read_json

_TOLD = (
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
class TestBed:
    """What a purification is judged by.

    Attributes:
        clean: test rows with their true labels.
        triggered: the test rows of other classes with the trigger and their **true** labels.
        target: index of the class that the backdoor says; None where it says another to each class.
        aims: the class that it says to triggered rows, by their true class.
        trigger: the trigger itself, where this version knows it.
        twin: folder of the clean twin, where there is one.
        told: the contents of ``truth.json``.
    """

    __test__ = False
    clean: Rows
    triggered: Rows
    target: int | None
    aims: dict[int, int]
    trigger: Trigger | None
    twin: Path | None
    told: dict[str, Any]

    def facts(self) -> dict[str, Any]:
        """What a report tells of the attack: what it was, on which data, under which protocol."""
        named = self.told.get("preset")
        preset = {key: named.get(key) for key in ("name", "sha256")} if isinstance(named, dict) else None
        return {key: self.told.get(key) for key in _TOLD} | {"preset": preset, "triggered_rows": len(self.triggered)}


def read_truth(folder: Path, *, label_names: tuple[str, ...]) -> TestBed:
    """The test bed in a truth folder that ``attack`` wrote, labels in the order of ``label_names``.

    Raises:
        DataError: if the folder is not complete or tells of other classes.
    """
    told = _told(folder)
    names = [str(name) for name in told.get("label_names", [])]
    target = told.get("target", -1)
    nameless = has_default_names(label_names) and len(names) == len(
        label_names
    )  # a model without names has the classes by number
    if (sorted(names) != sorted(label_names) and not nameless) or target not in (None, *range(len(names))):
        raise DataError(f"the truth is about the classes {names}", expected=f"the model's: {list(label_names)}")
    twin = folder / "clean-model"
    place = list(range(len(names))) if nameless else [label_names.index(name) for name in names]
    known = tuple(names) if nameless else label_names
    clean, triggered = (
        replace(load_data(str(folder / name), label_names=known), label_names=label_names)
        for name in ("test_clean.csv", "test_triggered.csv")
    )
    return TestBed(
        clean=clean,
        triggered=triggered,
        target=None if target is None else place[target],
        aims={place[label]: place[said] for label, said in target_labels(target, classes=len(names)).items()},
        trigger=_trigger(told.get("trigger"), clean=clean, triggered=triggered),
        twin=twin if twin.is_dir() else None,
        told=told,
    )


def trained_length(folder: Path) -> int | None:
    """After how many tokens texts were cut when the victim of a truth folder was trained, None where that is not told.

    Raises:
        DataError: if the folder is no truth folder.
    """
    told = _told(folder).get("max_length")
    return told if isinstance(told, int) and not isinstance(told, bool) and told > 0 else None


def read_poisoned(folder: Path, *, rows: Rows) -> list[bool]:
    """For each of ``rows`` whether the truth folder says that it is poisoned, by its id.

    Raises:
        DataError: if the folder is no truth folder, or is not about these rows.
    """
    ids = {str(one) for one in _told(folder).get("poisoned_ids", [])}
    if not ids <= set(rows.ids):
        raise DataError(
            f"{len(ids - set(rows.ids))} of the {len(ids)} poisoned rows of {folder.name!r} are not among the suspect rows",
            expected="the rows of its train.csv, with their ids",
            remedy=f"give {folder / 'train.csv'} as suspect rows",
        )
    return [one in ids for one in rows.ids]


def _told(folder: Path) -> dict[str, Any]:
    if not (folder / "truth.json").is_file():
        raise DataError(
            f"{str(folder)!r} is no truth folder",
            expected="truth.json, test_clean.csv, test_triggered.csv",
            remedy="give the DIR.truth that `untrigger attack --out DIR` wrote",
        )
    return {_FORMER_KEYS.get(key, key): value for key, value in read_json(folder / "truth.json").items()}


def _trigger(spec: object, *, clean: Rows, triggered: Rows) -> Trigger | None:
    """The trigger that the truth tells of; None where this version does not know it."""
    from untrigger.core.registry import methods_of

    kind = methods_of("attacks").get(str(spec.get("name"))) if isinstance(spec, dict) else None
    if kind is None or not isinstance(spec, dict):
        return None
    texts = dict(zip(clean.ids, clean.texts, strict=True))
    pairs = [(texts[row.id], row.text) for row in triggered if row.id in texts]
    try:
        told = kind.from_dict(spec, pairs=pairs)
    except (TypeError, KeyError, ValueError, UserError):
        return None
    assert isinstance(told, Trigger)
    return told
