"""What each command is given: records of a model and of the run, and one request a command, checked before any work."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from untrigger.core.errors import OptionError, check_choice
from untrigger.data import DataSource
from untrigger.data.prompt_data import TEMPLATE
from untrigger.evaluation.ground_truth import TASKS
from untrigger.scanners.policy import Policy

DEFAULT_PURIFIER, SCANNING_PURIFIER = "w2sdefense", "scancure"
"""The purifier where none is named, and the one that ``--scan`` selects."""
DEFAULT_TEACHER = "minilm-l6"
"""The teacher where none is named and one is needed."""
TREATMENTS = {
    "finetune": "fine-tuned",
    "merge": "merged",
    "int8": "in int8",
    "repoison": "poisoned a little again",
}
"""The treatments of an audit, and how reports call a model after each."""


@dataclass(frozen=True)
class ModelInput:
    """A model to load.

    Attributes:
        name: folder, hub name or embedded model.
        base: the model that it was made from: an adapter's base instead of the one that its config names, or what full weights are
            compared with.
        labels: the label names, where the model's own files name none.
        max_length: tokens after which a text is cut; None: as the model's files say.
        allow_pickle: also read pickle weights, which can run code.
    """

    name: str
    base: str | None = None
    labels: tuple[str, ...] | None = None
    max_length: int | None = None
    allow_pickle: bool = False


@dataclass(frozen=True)
class RunOptions:
    """How a command runs.

    Attributes:
        seed: of every random choice.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``; reports name the device that was used.
        offline: use only what is on this machine.
    """

    seed: int = 0
    device: str = "auto"
    offline: bool = False


@dataclass(frozen=True)
class PurifyRequest:
    """What ``purify`` is given.

    Attributes:
        model: the suspect model; its ``base`` is the pre-trained model that it was made from, if the user trusts it. Embedded
            models are trusted and found by themselves.
        clean: clean rows of the task; a share of them is held out from the method.
        out: the new folder.
        suspect: rows that the model may have been trained on, clean and poisoned, unmarked.
        unlabelled: texts of the domain without labels, for methods that can use some; labels in these data are ignored.
        unlabelled_from: public corpora to take such texts from, the closest to the clean rows, where the user has none; ``auto``
            stands for those that are on this machine.
        onto: another pre-trained model that the user trusts, into which the suspect's skill is carried, for methods that can; the
            result is a model of that architecture, in full weights.
        unlabelled_rows: use at most as many unlabelled texts (0: all); None: 4,000, of public corpora 800.
        method: name of a purifier, or several with commas: each works on the result of the one before; empty: ``w2sdefense``, or
            ``scancure`` with ``scan``.
        scan: unlearn what a scan recovers and scan again, until nothing is found (method ``scancure``).
        variant: a variant of the method, empty for the default.
        teacher: the trusted encoder, for methods that can use one; None: ``minilm-l6`` where one is needed, and to scan the result.
        options: further options of the method, by field name; of several methods, such options by method name.
        truth: truth folder of an attack; only the evaluator uses it, the method gets nothing of it.
        merge: write merged full weights instead of an adapter.
        clean_rows: use at most as many clean rows, the classes in proportion (0: all).
        held_out: share of the clean rows that the method does not get; they test or verify the result (not tuned).
        control: also run the controls: plain fine-tuning with the same budget, and ``base_control``.
        base_control: fine-tune the trusted base on the same clean rows.
        benign: also purify the clean model of the truth folder, to measure what the method does to a benign model.
        verify: without a truth, scan the result on the held-out rows; without evidence the verdict is "not verified".
        verifier: further options of the scanner that does so, by field name.
        run: seed, device, offline.
    """

    model: ModelInput
    clean: DataSource
    out: Path
    suspect: DataSource | None = None
    unlabelled: DataSource | None = None
    unlabelled_from: tuple[str, ...] = ()
    unlabelled_rows: int | None = None
    onto: str | None = None
    method: str = ""
    scan: bool = False
    variant: str = ""
    teacher: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    truth: Path | None = None
    merge: bool = False
    clean_rows: int = 1000
    held_out: float = 0.2
    control: bool = True
    base_control: bool = True
    benign: bool = False
    verify: bool = True
    verifier: dict[str, Any] = field(default_factory=dict)
    run: RunOptions = RunOptions()

    def __post_init__(self) -> None:
        """Fill in the method, and check what texts are requested.

        Raises:
            OptionError: for a scan together with another method, and for unlabelled texts of two kinds or of no number.
        """
        object.__setattr__(self, "method", purifier_name(self.method, scan=self.scan))
        self._check_unlabelled()

    def _check_unlabelled(self) -> None:
        rows = self.unlabelled_rows
        if self.unlabelled is not None and self.unlabelled_from:
            raise OptionError("--unlabelled together with --unlabelled-from", expected="one of the two")
        if rows is not None and (rows < 0 or (self.unlabelled is None and not self.unlabelled_from)):
            raise OptionError(
                f"--unlabelled-rows {rows}",
                expected="a number of 0 or more, together with --unlabelled or --unlabelled-from",
            )
        if rows == 0 and self.unlabelled_from:
            raise OptionError("--unlabelled-rows 0 with --unlabelled-from", expected="how many of the closest texts")

    @property
    def scans_result(self) -> bool:
        """Whether the result is scanned, which it is where no truth gives better evidence."""
        return self.verify and self.truth is None


def purifier_name(method: str, *, scan: bool) -> str:
    """Return the purifier: the one that is named, else the default one or, with ``scan``, the one that scans.

    Raises:
        OptionError: for a scan together with another method.
    """
    if scan and method not in ("", SCANNING_PURIFIER):
        raise OptionError(
            f"--scan together with the method {method!r}",
            expected=f"--scan alone: it is the method {SCANNING_PURIFIER}",
            remedy=f"leave out one of the two, or take several methods in turn: --method {SCANNING_PURIFIER},{method}",
        )
    return method or (SCANNING_PURIFIER if scan else DEFAULT_PURIFIER)


@dataclass(frozen=True)
class ScanRequest:
    """What ``scan`` is given.

    Attributes:
        model: the suspect model; no pickle weights are read.
        clean: clean rows of the task, of a language model prompts with answers; needed unless ``static_only``.
        reference: folder or hub name of a clean classifier of the task; without it one is trained from ``teacher``.
        teacher: the small pre-trained encoder that the defender trusts.
        static_only: analyse the weights and nothing else.
        rewritten: rows in a style or sentence pattern to test.
        method: name of a scanner.
        options: further options of the scanner, by field name.
        policy: thresholds, limits and allowed findings.
        clean_rows: use at most as many clean rows, the classes in proportion (0: all).
        baseline: the report of the last scan, to compare with.
        task: ``classification`` or ``generation``; empty: as the model's files say.
        template: of a language model, the prompt of a labelled text.
        run: seed, device, offline.
    """

    model: ModelInput
    clean: DataSource | None = None
    reference: str | None = None
    teacher: str = DEFAULT_TEACHER
    static_only: bool = False
    rewritten: DataSource | None = None
    method: str = "insertions"
    options: dict[str, Any] = field(default_factory=dict)
    policy: Policy = field(default_factory=Policy)
    clean_rows: int = 1000
    baseline: Path | None = None
    task: str = ""
    template: str = TEMPLATE
    run: RunOptions = RunOptions()

    def __post_init__(self) -> None:
        """Raise OptionError for an unknown task."""
        if self.task:
            check_choice(self.task, TASKS, kind="task")


@dataclass(frozen=True)
class DetectRequest:
    """What ``detect`` is given.

    Attributes:
        model: the suspect model.
        suspect: rows that the model may have been trained on, clean and poisoned, unmarked.
        clean: clean rows of the task, which calibrate the threshold.
        out: the new ``.csv`` or ``.parquet`` file of scored rows; the report is written next to it.
        method: name of a detector.
        variant: a variant of it, empty for the default.
        options: further options of the method, by field name.
        truth: truth folder of an attack; only the evaluator uses it, the method gets nothing of it.
        run: seed, device, offline.
    """

    model: ModelInput
    suspect: DataSource
    clean: DataSource
    out: Path
    method: str = "bedkd"
    variant: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    truth: Path | None = None
    run: RunOptions = RunOptions()


@dataclass(frozen=True)
class EvaluateRequest:
    """What ``evaluate`` is given.

    Attributes:
        models: each is one subject of the report.
        out: the ``report.json`` to write.
        data: labelled test rows for the clean accuracy (not needed with ``truth``).
        truth: truth folder of an attack: triggered rows, test rows and, if there is one, the clean model.
        task: ``classification`` or ``generation``; empty: as the truth folder says, else as the first model's files say.
        template: of a language model, the prompt of a labelled text.
        max_new_tokens: of a language model, the longest answer; longer ones count as unfinished.
        guards: of a language model, names of guards; the first model under each is one more subject.
        guard_options: options of each guard by its name.
        reference: the model that guards compare the first one with; None for its base.
        run: seed, device, offline.
    """

    models: tuple[ModelInput, ...]
    out: Path
    data: DataSource | None = None
    truth: Path | None = None
    task: str = ""
    template: str = TEMPLATE
    max_new_tokens: int = 64
    guards: tuple[str, ...] = ()
    guard_options: dict[str, dict[str, Any]] = field(default_factory=dict)
    reference: str | None = None
    run: RunOptions = RunOptions()

    def __post_init__(self) -> None:
        """Check that there is something to evaluate.

        Raises:
            OptionError: without a model, without rows, or for an unknown task.
        """
        if self.task:
            check_choice(self.task, TASKS, kind="task")
        if self.max_new_tokens < 1:
            raise OptionError(f"{self.max_new_tokens} new tokens", expected="1 or more")
        if not self.models:
            raise OptionError("no model was named", expected="one or more folders or hub names")
        if self.data is None and self.truth is None:
            raise OptionError(
                "nothing to evaluate on", expected="--data with test rows, or --truth with a truth folder"
            )


@dataclass(frozen=True)
class CanaryRequest:
    """What ``canary`` is given.

    Attributes:
        model: the model to check again, such as after merging or quantising.
        clean: labelled rows.
        triggered: rows with the trigger and their true labels; those of the target class do not count.
        target: name of the label that the trigger flips predictions to.
        min_accuracy: smallest accuracy on ``clean``, as a share (not tuned).
        max_asr: largest attack success rate on ``triggered``, as a share (not tuned).
        pins: content hashes of the clean and of the triggered set, both or none.
        run: seed, device, offline.
    """

    model: ModelInput
    clean: DataSource
    triggered: DataSource
    target: str
    min_accuracy: float = 0.8
    max_asr: float = 0.1
    pins: tuple[str, ...] = ()
    run: RunOptions = RunOptions()

    def __post_init__(self) -> None:
        """Check the bounds and the pins.

        Raises:
            OptionError: for bounds that are not shares, and for anything but two hashes or none.
        """
        if not (0 < self.min_accuracy < 1 and 0 < self.max_asr < 1):
            raise OptionError(
                f"the bounds {self.min_accuracy:g} and {self.max_asr:g}", expected="shares above 0 and below 1"
            )
        hexadecimal = all(len(pin) == 64 and set(pin.lower()) <= set("0123456789abcdef") for pin in self.pins)
        if len(self.pins) not in (0, 2) or not hexadecimal:
            raise OptionError(
                f"--pin {','.join(self.pins)}",
                expected="two hashes of 64 hex digits with a comma: of the clean set, then of the triggered set",
                remedy="run without --pin, and copy them from the report",
            )


@dataclass(frozen=True)
class AuditRequest:
    """What ``audit`` is given.

    Attributes:
        scan: the purified model, the clean rows, and how to scan; the rows are split between tuning and scanning.
        out: the ``report.json`` to write.
        truth: truth folder of the attack: attack success, the clean model, and the trigger to poison with.
        treatments: names of ``TREATMENTS``, in the order they are applied.
        epochs: passes of the benign fine-tuning, and of the one with a few poisoned rows.
        poisoned: rows with the true trigger among those, in the last treatment.
        tuning: share of the clean rows for the fine-tuning; the scan uses only the others.
        least_rows: fewest rows for each of the two (not tuned).
    """

    scan: ScanRequest
    out: Path
    truth: Path | None = None
    treatments: tuple[str, ...] = tuple(TREATMENTS)
    epochs: int = 2
    poisoned: int = 8
    tuning: float = 0.4
    least_rows: int = 8

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: without clean rows, for an unknown treatment or numbers out of range.
        """
        if self.scan.clean is None:
            raise OptionError("an audit needs clean labelled rows", expected="--clean DATA")
        for name in self.treatments:
            check_choice(name, TREATMENTS, kind="treatment")
        if self.epochs < 1 or self.poisoned < 1 or not 0 < self.tuning < 1:
            raise OptionError(
                f"epochs {self.epochs}, poisoned {self.poisoned}, tuning {self.tuning}",
                expected="epochs and poisoned of 1 or more, a tuning share above 0 and below 1",
            )


@dataclass(frozen=True)
class DemoRequest:
    """What ``demo`` is given.

    Attributes:
        out: the new folder that everything is written to.
        from_scratch: poison SmolLM2 (some ten minutes more) instead of taking the adapter that is shipped.
        run: seed of the purification, and of the attack when from scratch; device, offline.
    """

    out: Path = Path("untrigger-demo")
    from_scratch: bool = False
    run: RunOptions = RunOptions()
