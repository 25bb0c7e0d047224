"""The family of purifiers: model and grant in, a purified model out, the family's promises kept in one place.

What purifiers share with other families of defences (``detector``) stands here too.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import torch

from untrigger.core.candidate import Candidate
from untrigger.core.errors import ContractError
from untrigger.core.files import new_folder
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress, silent
from untrigger.core.report import Curve, Verdict
from untrigger.core.verdicts import PurificationOutcome
from untrigger.methods.defender_rows import check_rows, overlap_warnings
from untrigger.methods.method import Method
from untrigger.methods.untouched import untouched
from untrigger.models.adapters import AdapterOptions, attach, is_adapted
from untrigger.models.classifier import Classifier
from untrigger.models.inference import check_finite_logits
from untrigger.models.saved_model_check import check_saved_model, comparison_texts
from untrigger.models.saving import loading_text, save_purified
from untrigger.training.loop import History

if TYPE_CHECKING:
    from untrigger.detectors.detector import Detected

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
        summary: a sentence on what was done and seen, for the verdict; empty: a general one for the outcome.
        scanned: what a scan said of ``model``, where the method made one on rows that the model was not trained on.
        findings: insertions that the defence found by itself.
        curves: what to draw.
        metadata: plain values for the report (rounds, teacher accuracy, …).
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
    summary: str = ""
    scanned: Verdict | None = None
    findings: list[Candidate] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
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
            check_saved_model(self.model, working, texts=self.texts)
        return place


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
            check_finite_logits(purified.model, grant.clean)
        texts = comparison_texts(grant.clean.texts) if grant.clean is not None else ()
        return replace(purified, victim=model, texts=texts, warnings=[*overlap_warnings(grant), *purified.warnings])

    @final
    def check(self, grant: Grant) -> None:
        """Nothing, where the grant holds all that is needed.

        Raises:
            NeedsError: naming all that is missing.
        """
        self._check_needs(grant, self.needs)


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
