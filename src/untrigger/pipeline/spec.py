"""What ``purify`` and ``evaluate`` are asked for: one flat record each, checked before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from untrigger.core.errors import OptionError

USUAL, SCANS = "w2sdefense", "scancure"
"""The purifier where none is named, and the one that ``--scan`` stands for."""
TEACHER = "minilm-l6"
"""The teacher where none is named and one is needed."""


@dataclass(frozen=True)
class PurifySpec:
    """Everything that ``purify`` is asked for.

    Attributes:
        model: folder or hub name of the suspicious model or adapter.
        clean: clean labelled rows of the task (see ``untrigger.data.load_data``).
        out: the new folder.
        suspect: rows that the model may have been trained on, clean and poisoned, unmarked.
        method: name of a purifier, or several with commas: each works on the result of the one before; empty: ``w2sdefense``, or
            ``scancure`` where ``scan`` is set.
        scan: from scan to cure: unlearn what a scan recovers and scan again, until nothing is found (method ``scancure``).
        variant: a variant of it, empty for the default.
        teacher: the small pre-trained encoder that the defender trusts, for every method that can use one; None: ``minilm-l6`` for
            methods that cannot do without, and for the scan of the result.
        options: further options of the method, by field name; of several methods, such options by method name.
        truth: truth folder of an attack; only the evaluator uses it, and nothing of it reaches the method.
        merge: write merged full weights instead of an adapter.
        base: the pre-trained model that the suspicious one was made from, which the user trusts: an adapter's base instead of the
            one that its config names, or what full weights are led back to. Embedded models are trusted and found by themselves.
        labels: the model's label names, where its own files do not tell them.
        clean_rows: use at most as many clean rows, the classes in proportion (0: all).
        control: also run the matched-budget fine-tuning control.
        benign: also purify the clean twin of the truth folder, to see what the method does to a benign model.
        verify: where no truth is given, scan the result on the rows that were held out; without evidence the verdict is
            "not verified".
        verifier: further options of the scanner that does so, by field name.
    """

    model: str
    clean: str
    out: Path
    suspect: str | None = None
    method: str = ""
    scan: bool = False
    variant: str = ""
    teacher: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    truth: Path | None = None
    merge: bool = False
    base: str | None = None
    labels: tuple[str, ...] | None = None
    text_column: str | None = None
    label_column: str | None = None
    split: str | None = None
    drop_empty: bool = False
    clean_rows: int = 1000
    control: bool = True
    benign: bool = False
    verify: bool = True
    verifier: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    max_length: int | None = None
    allow_pickle: bool = False
    offline: bool = False
    device: str = "auto"

    def __post_init__(self) -> None:
        """Settle the method.

        Raises:
            OptionError: for a scan together with another method.
        """
        object.__setattr__(self, "method", method_name(self.method, scan=self.scan))


def method_name(method: str, *, scan: bool) -> str:
    """The purifier that is meant: the one that is named, else the usual one or, with ``scan``, the one that scans.

    Raises:
        OptionError: for a scan together with another method.
    """
    if scan and method not in ("", SCANS):
        raise OptionError(
            f"--scan together with the method {method!r}",
            expected=f"--scan alone: it is the method {SCANS}",
            remedy=f"leave out one of the two, or take several methods in turn: --method {SCANS},{method}",
        )
    return method or (SCANS if scan else USUAL)


@dataclass(frozen=True)
class EvaluateSpec:
    """Everything that ``evaluate`` is asked for.

    Attributes:
        models: folders or hub names; each is one subject of the report.
        data: labelled test rows for the clean accuracy (not needed with ``truth``).
        truth: truth folder of an attack: triggered rows, test rows and the clean twin where there is one.
        out: the ``report.json`` to write.
    """

    models: tuple[str, ...]
    out: Path
    data: str | None = None
    truth: Path | None = None
    base: str | None = None
    labels: tuple[str, ...] | None = None
    text_column: str | None = None
    label_column: str | None = None
    split: str | None = None
    max_length: int | None = None
    allow_pickle: bool = False
    offline: bool = False
    device: str = "auto"
    seed: int = 0


@dataclass(frozen=True)
class DetectSpec:
    """Everything that ``detect`` is asked for.

    Attributes:
        model: folder or hub name of the suspicious model or adapter.
        suspect: rows that the model may have been trained on, clean and poisoned, unmarked.
        clean: clean labelled rows of the task, which calibrate.
        out: the new ``.csv`` or ``.parquet`` file of scored rows; the report goes beside it.
        method: name of a detector.
        variant: a variant of it, empty for the default.
        options: further options of the method, by field name.
        truth: truth folder of an attack; only the evaluator uses it, and nothing of it reaches the method.
    """

    model: str
    suspect: str
    clean: str
    out: Path
    method: str = "bedkd"
    variant: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    truth: Path | None = None
    base: str | None = None
    labels: tuple[str, ...] | None = None
    text_column: str | None = None
    label_column: str | None = None
    split: str | None = None
    drop_empty: bool = False
    seed: int = 0
    max_length: int | None = None
    allow_pickle: bool = False
    offline: bool = False
    device: str = "auto"
