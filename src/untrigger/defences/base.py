"""The family of purifiers: model and grant in, a purified model out, the family's promises kept in one place.

What purifiers share with other families of defences (``detector``) stands here too.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

import torch

from untrigger.errors import ContractError, DataError, DivergedError, NeedsError, OptionError
from untrigger.models.adapters import AdapterOptions, attach, is_adapted
from untrigger.models.classifier import Classifier
from untrigger.models.predict import read_texts
from untrigger.models.proof import chosen_texts, prove
from untrigger.models.save import loading_text, save_purified
from untrigger.progress import Progress, silent
from untrigger.storage import new_folder
from untrigger.training.loop import History
from untrigger.vocabulary.grant import Grant
from untrigger.vocabulary.report import Curve, Finding, Verdict
from untrigger.vocabulary.rows import Rows, overlap
from untrigger.vocabulary.verdicts import PurificationOutcome

if TYPE_CHECKING:
    from untrigger.defences.detector import Detected

PLAIN_CARD = (
    "# Output of an untrigger purifier: not evaluated\n\nMade through the Python interface, without an evaluation: nothing here "
    "says whether a backdoor is left.\n"
)


@dataclass(frozen=True)
class Purified:
    """What a purifier gives back.

    Attributes:
        model: the purified classifier; the victim itself where ``changed`` is false.
        changed: whether anything was done.
        history: of the student's training, all rounds together.
        outcome: what the method knows about ``model``; every method must state it, the family refuses a result without.
        account: a sentence on what was done and seen, for the verdict; empty: a general one for the outcome.
        scanned: what a scan said of ``model``, where the method made one on rows that the model was not trained on.
        findings: insertions that the defence found by itself.
        curves: what to draw.
        told: plain values for the report (rounds, teacher accuracy, …).
        warnings: what a user should know before trusting the result.
        adapter: what was trained, for a control of the same size; None where the method's own options say it.
        victim: the classifier that was given; the family fills it in.
        detected: what a detector within the method said of the suspect rows.
        texts: clean rows by which a saved model is compared with the one in memory; the family fills them in.
    """

    model: Classifier
    changed: bool
    history: History
    outcome: PurificationOutcome | None = None
    account: str = ""
    scanned: Verdict | None = None
    findings: list[Finding] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    adapter: AdapterOptions | None = None
    victim: Classifier | None = None
    detected: Detected | None = None
    texts: tuple[str, ...] = ()

    def save(self, folder: str | Path, *, merge: bool = False) -> Path:
        """The new folder with the purified model in the format that the victim came in, or merged full weights.

        It is loaded afresh by plain transformers and peft and compared with the model in memory, on clean rows of the grant.

        Raises:
            OutputError: if the folder exists, cannot be written, or cannot be loaded by these libraries.
            ModelError: if the format cannot be kept (see ``save_purified``), or the folder answers otherwise.
        """
        place, victim = Path(folder), self.victim or self.model
        with new_folder(place) as working:
            card = PLAIN_CARD + "\n" + loading_text(victim, whole=merge or not is_adapted(self.model)) + "\n"
            save_purified(victim, self.model, working, card=card, merge=merge)
            prove(self.model, working, texts=self.texts)
        return place


@dataclass(frozen=True)
class Method(ABC):
    """What every defence is: a name, options (every public field), and what it needs.

    ``needs`` names the fields of the grant without which the method cannot run, ``uses`` those that it uses where they
    are there.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset({"clean"})
    uses: ClassVar[frozenset[str]] = frozenset()
    variants: ClassVar[Mapping[str, Callable[..., Any]]] = {}

    def options(self) -> dict[str, Any]:
        """Every option with its value."""
        return asdict(self)

    def _check_needs(self, grant: Grant, needs: frozenset[str]) -> None:
        missing = sorted(needs - grant.has())
        if missing:
            raise NeedsError(f"{self.name} needs {', '.join(missing)}", remedy="grant it, or take another method")


@dataclass(frozen=True)
class StudentOptions:
    """What a method that trains an adapter on what came has among its options.

    Attributes:
        peft: PEFT method of the student.
        rank: rank of a LoRA or DoRA adapter.
        targets: linear layers that are adapted.
    """

    peft: str = "lora"
    rank: int = 16
    targets: tuple[str, ...] = ("all-linear",)

    def adapter(self) -> AdapterOptions:
        """The adapter that is trained."""
        return AdapterOptions(method=self.peft, rank=self.rank, targets=self.targets)

    def student(self, model: Classifier, *, seed: int) -> Classifier:
        """``model`` with a new adapter on it, drawn by the seed; ``model`` is left as it is."""
        return attach(model, self.adapter(), generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Purifier(Method):
    """A method that cleans a model. An author writes ``_purify``; every public field is an option."""

    @abstractmethod
    def _purify(self, model: Classifier, grant: Grant, *, progress: Progress) -> Purified:
        """The algorithm. ``model`` must be left exactly as it is."""

    @final
    def purify(self, model: Classifier, grant: Grant, *, progress: Progress = silent) -> Purified:
        """The purified model with what was found on the way; ``model`` is left as it is.

        Args:
            model: the suspicious classifier.
            grant: what the defender may use.
            progress: told of every long step.

        Raises:
            NeedsError: if the grant lacks something the method declares to need.
            DataError: if the clean rows do not fit the model's classes.
            DivergedError: if training fails or ends in a model that answers with no numbers.
            ContractError: if the method changed the model that it was given, or does not state an outcome that fits.
        """
        self.check(grant)
        check_rows(grant, model=model)
        with untouched(model, self.name):
            purified = self._purify(model, grant, progress=progress)
        check_outcome(purified, self.name)
        if grant.clean is not None:
            check_answers(purified.model, grant.clean)
        texts = chosen_texts(grant.clean.texts) if grant.clean is not None else ()
        return replace(purified, victim=model, texts=texts, warnings=[*leaks(grant), *purified.warnings])

    @final
    def check(self, grant: Grant) -> None:
        """Nothing, where the grant holds all that is needed.

        Raises:
            NeedsError: naming all that is missing.
        """
        self._check_needs(grant, self.needs)


def check_rows(grant: Grant, *, model: Classifier) -> None:
    """Nothing, where the rows that are granted fit the model.

    Raises:
        DataError: for clean rows that cannot teach it, or suspect rows of other classes.
    """
    if grant.clean is not None:
        check_clean(grant.clean, model=model)
    if grant.suspect is not None:
        _check_classes(grant.suspect, model=model, what="suspect")


def leaks(grant: Grant) -> list[str]:
    """What there is to say of clean rows that are suspect rows too."""
    if grant.clean is None or grant.suspect is None:
        return []
    shared = overlap(grant.clean, grant.suspect)
    if not shared:
        return []
    return [
        f"{shared} of the {len(grant.clean)} clean rows also stand among the suspect rows: what was learned or calibrated "
        "on them says too little about the others"
    ]


def check_clean(rows: Rows, *, model: Classifier, least: int = 8) -> None:
    """Nothing, where the clean rows can teach this model.

    Raises:
        DataError: for other classes than the model's, a class without rows, or too few rows.
    """
    _check_classes(rows, model=model, what="clean")
    empty = [name for name, count in rows.class_counts().items() if count < 2]
    if empty:
        raise DataError(
            f"the clean rows hold fewer than two rows of {', '.join(empty)}", remedy="give clean rows of every class"
        )
    if len(rows) < least:
        raise DataError(f"{len(rows)} clean rows", expected=f"at least {least}", remedy="give more clean rows")


def _check_classes(rows: Rows, *, model: Classifier, what: str) -> None:
    if rows.label_names != model.label_names:
        raise DataError(
            f"the {what} rows have the classes {list(rows.label_names)}",
            expected=f"the model's, in its order: {list(model.label_names)}",
            remedy="rename the labels in the file, or give the model's label names with --labels",
        )


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


def check_outcome(purified: Purified, name: str) -> None:
    """Nothing, where the method ``name`` states an outcome that is true of what it gives back.

    Raises:
        ContractError: for a result without an outcome, with a word of its own, or with one that contradicts ``changed``.
    """
    outcome = purified.outcome
    if not isinstance(outcome, PurificationOutcome):
        raise ContractError(
            f"{name} gives back the outcome {outcome!r}; expected one of "
            + ", ".join(f"PurificationOutcome.{one.name}" for one in PurificationOutcome)
        )
    if not outcome.fits(changed=purified.changed):
        done = "changed" if purified.changed else "left as it was"
        raise ContractError(f"{name} states {outcome.value!r} about a model that was {done}")


def check_answers(model: Classifier, rows: Rows, *, most: int = 16) -> None:
    """Nothing, where the trained model answers the first rows with numbers.

    Raises:
        DivergedError: if it does not, as after a last step that was too large.
    """
    if not bool(read_texts(model, rows.texts[:most]).logits.isfinite().all()):
        raise DivergedError("the trained model answers with what is no number", remedy="use a smaller learning rate")


def split_clean(rows: Rows, *, dev: float, generator: Any) -> tuple[Rows, Rows]:
    """Rows to train on and rows to choose by: a stratified share ``dev`` (0 to 1) of at least one row a class.

    Raises:
        OptionError: for a share outside (0, 1).
    """
    if not 0 < dev < 1:
        raise OptionError(f"dev share {dev}", expected="a share above 0 and below 1")
    count = max(len(rows.label_names), round(dev * len(rows)))
    held, rest = rows.stratified(count, rng=generator)
    return rest, held


def curves_of(history: History, *, panel: str) -> list[Curve]:
    """The loss and its parts step by step, and the score epoch by epoch, as curves of one panel."""
    steps: list[float | None] = [float(i + 1) for i in range(history.steps)]
    curves = [Curve("loss", panel, steps, list(history.losses))]
    names = dict.fromkeys(name for terms in history.terms for name in terms)
    for name in names if len(names) > 1 else ():
        curves.append(Curve(name, panel, steps, [terms.get(name) for terms in history.terms]))
    if history.scores:
        epochs: list[float | None] = [float(i + 1) for i in range(len(history.scores))]
        curves.append(
            Curve("dev accuracy", panel, epochs, list(history.scores), x_label="epoch", y_label="dev accuracy")
        )
    return curves


def joined(parts: Sequence[History]) -> History:
    """One history of several in a row; scores are not carried over."""
    return History([x for part in parts for x in part.losses], [x for part in parts for x in part.terms])


def fingerprint(model: Classifier) -> str:
    """A hash over the bytes of every weight and buffer."""
    digest = hashlib.blake2b()
    for name, value in model.module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
