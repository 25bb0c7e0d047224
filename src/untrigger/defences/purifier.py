"""The family of purifiers: model and grant in, a purified model out. The checks that every purifier passes are made here."""

from __future__ import annotations

import logging
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from untrigger.core.candidate import Candidate
from untrigger.core.errors import ContractError
from untrigger.core.files import new_folder
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress, silent
from untrigger.core.report import Curve, Verdict
from untrigger.core.verdicts import PurificationOutcome
from untrigger.defences.student import TrainingBudget
from untrigger.methods.defender_rows import check_granted_rows, overlap_warnings
from untrigger.methods.method import Method
from untrigger.methods.untouched import untouched
from untrigger.models.adapter_merging import is_adapted
from untrigger.models.classifier import Classifier
from untrigger.models.saved_model_check import check_saved_model, comparison_texts
from untrigger.models.saving import loading_text, save_purified
from untrigger.models.smoke_test import check_finite_logits
from untrigger.training.loop import History

if TYPE_CHECKING:
    from untrigger.detectors.detector import Detection

logger = logging.getLogger(__name__)

PLAIN_CARD = (
    "# Output of an untrigger purifier: not evaluated\n\nMade through the Python interface, without an evaluation: nothing here "
    "says whether a backdoor is left.\n"
)


@dataclass(frozen=True)
class Purified:
    """The result of a purifier.

    Attributes:
        model: the purified classifier; the suspect itself where ``changed`` is false.
        changed: whether the model was changed.
        history: of the student's training, all rounds together.
        outcome: what the method knows about ``model``; required.
        summary: what was done and found, in a sentence for the verdict; empty for the general sentence of the outcome.
        scanned: the verdict of a scan of ``model`` on rows that it was not trained on, where the method made one.
        findings: candidate triggers that the method found.
        curves: what to draw.
        metadata: plain values for the report, such as rounds and teacher accuracy.
        warnings: what a user should know before trusting the result.
        budget: what was trained, for a control of the same size; by default ``Purifier.budget()``.
        victim: the classifier that was given; set by ``Purifier.purify``.
        onto: whether ``model`` was made from ``Grant.onto`` instead of the suspect; it is saved as full weights.
        detected: what a detector within the method found among the suspect rows.
        texts: clean rows on which a saved model is compared with the one in memory; set by ``Purifier.purify``.
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
    budget: TrainingBudget | None = None
    victim: Classifier | None = None
    onto: bool = False
    detected: Detection | None = None
    texts: tuple[str, ...] = ()

    def save(self, folder: str | Path, *, merge: bool = False) -> Path:
        """Write the model to a new folder in the format of the suspect, or as full weights, and return the folder.

        The folder is loaded with plain transformers and peft and compared with the model in memory on clean rows.

        Raises:
            OutputError: if the folder exists, cannot be written, or cannot be loaded by these libraries.
            ModelError: if the format cannot be kept (see ``save_purified``), or the folder predicts otherwise.
        """
        place, victim, merge = Path(folder), self.victim or self.model, merge or self.onto
        with new_folder(place) as working:
            loading = loading_text(self.model if self.onto else victim, whole=merge or not is_adapted(self.model))
            save_purified(victim, self.model, working, card=f"{PLAIN_CARD}\n{loading}\n", merge=merge)
            check_saved_model(self.model, working, texts=self.texts)
        return place


@dataclass(frozen=True)
class Purifier(Method):
    """A method that cleans a model. An author writes ``_purify``; every public field is an option."""

    @abstractmethod
    def _purify(self, model: Classifier, grant: Grant, *, progress: Progress) -> Purified:
        """Run the algorithm; ``model`` must stay exactly as it is."""

    @final
    def purify(self, model: Classifier, grant: Grant, *, progress: Progress = silent) -> Purified:
        """Return the purified model with all that was found; ``model`` itself stays as it is.

        Args:
            model: the suspect classifier.
            grant: what the defender may use.
            progress: gets every long step.

        Raises:
            NeedsError: if the grant lacks something that the method needs.
            DataError: if the clean rows do not fit the model's classes.
            DivergedError: if training fails or the model's predictions are not finite.
            ContractError: if the method changed the model that it was given, or states no outcome that fits.
        """
        self.check(grant)
        check_granted_rows(grant, model=model)
        with untouched(model, self.name):
            purified = self._purify(model, grant, progress=progress)
        check_outcome(purified.outcome, changed=purified.changed, name=self.name)
        _check_onto(purified, grant, victim=model, name=self.name)
        logger.info("%s: %s, %d steps", self.name, purified.outcome, purified.history.steps)
        if grant.clean is not None:
            check_finite_logits(purified.model, grant.clean)
        return replace(
            purified,
            victim=model,
            texts=comparison_texts(grant.clean.texts) if grant.clean is not None else (),
            budget=purified.budget or self.budget(),
            warnings=[*overlap_warnings(grant), *purified.warnings],
        )

    @final
    def check(self, grant: Grant) -> None:
        """Raise NeedsError, with all that is missing, unless the grant holds what the method needs."""
        self._check_needs(grant.has(), self.needs)

    def budget(self) -> TrainingBudget | None:
        """Return what a student is trained with; None for a method whose control is fine-tuning with its defaults."""
        return None


def _check_onto(purified: Purified, grant: Grant, *, victim: Classifier, name: str) -> None:
    """Raise ContractError for a model on another base that nobody granted, or whose classes are not the victim's."""
    if purified.onto and (grant.onto is None or purified.model.label_names != victim.label_names):
        raise ContractError(
            f"{name} gives back another pre-trained model, which was not granted, or with other classes"
        )


def check_outcome(outcome: PurificationOutcome | None, *, changed: bool, name: str) -> None:
    """Raise ContractError unless the method ``name`` states an outcome that agrees with whether it changed the model."""
    if not isinstance(outcome, PurificationOutcome):
        raise ContractError(
            f"{name} gives back the outcome {outcome!r}; expected one of "
            + ", ".join(f"PurificationOutcome.{one.name}" for one in PurificationOutcome)
        )
    if not outcome.fits(changed=changed):
        done = "changed" if changed else "left as it was"
        raise ContractError(f"{name} states {outcome.value!r} about a model that was {done}")
