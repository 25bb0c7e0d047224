"""The family of scanners: model and grant in, a verdict out."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

from untrigger.core.candidate import Candidate
from untrigger.core.errors import DataError, ModelError
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress, silent
from untrigger.core.report import Curve, Verdict
from untrigger.core.rows import Rows
from untrigger.core.scan_result import Scan
from untrigger.core.statistics import Measurement
from untrigger.methods.defender_rows import check_granted_rows
from untrigger.methods.method import Method
from untrigger.methods.untouched import untouched
from untrigger.models.classifier import Classifier
from untrigger.scanners.policy import Policy
from untrigger.training.loop import History

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScanContext:
    """What a scanner may use beside the grant; none of it is needed.

    Attributes:
        reference: a clean classifier of the same task that the defender trusts; without it one is trained.
        words: words worth measuring, such as those whose embedding moved most.
        rewritten: rows in another style or sentence pattern with their true labels.
        rewritten_name: how the report calls them.
        known: candidates of an earlier scan: the search starts from them too, and every one is confirmed again.
        held_out: rows to confirm on, none of them among the grant's clean rows; without them a part of those is held out.
    """

    reference: Classifier | None = None
    words: Sequence[str] = ()
    rewritten: Rows | None = None
    rewritten_name: str = "rewritten rows"
    known: Sequence[Candidate] = ()
    held_out: Rows | None = None


@dataclass(frozen=True)
class ScanResult:
    """What a scanner gives back.

    Attributes:
        verdict: clean, suspicious, backdoored or undecided, and one sentence.
        scan: candidates, controls and what was not looked for.
        found: what the search found, best first, for a purifier to unlearn.
        reference: the clean reference, given or trained, for a second scan to use again.
        measurements: accuracies of both models and the flip rates of the worst candidate.
        history: of the reference's training; empty where it was given.
        curves: what to draw.
        metadata: plain values for the report.
        warnings: what a user should know before trusting the verdict.
    """

    verdict: Verdict
    scan: Scan
    found: list[Candidate] = field(default_factory=list)
    reference: Classifier | None = None
    measurements: list[Measurement] = field(default_factory=list)
    history: History = field(default_factory=History)
    curves: list[Curve] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Scanner(Method):
    """A method that decides whether a model is backdoored. An author writes ``_scan``; every public field is an option.

    ``needs`` names the fields of the grant without which the method cannot run; a reference that is given stands in
    for the teacher.
    """

    @abstractmethod
    def _scan(
        self, model: Classifier, grant: Grant, *, policy: Policy, context: ScanContext, progress: Progress
    ) -> ScanResult:
        """Scan. ``model`` and a given reference must stay exactly as they are."""

    def held_out_rows(self, rows: Rows, *, seed: int) -> Rows:  # noqa: ARG002
        """Return the clean rows of the grant that candidates are confirmed on; all, where the search holds none out."""
        return rows

    @final
    def scan(
        self,
        model: Classifier,
        grant: Grant,
        *,
        policy: Policy | None = None,
        context: ScanContext | None = None,
        progress: Progress = silent,
    ) -> ScanResult:
        """Return the verdict with its evidence; ``model`` stays as it is.

        Args:
            model: the suspect classifier.
            grant: what the defender may use.
            policy: thresholds and allowed findings; by default the shipped ones.
            context: a trusted reference and words worth measuring.
            progress: gets every long step.

        Raises:
            NeedsError: if the grant lacks something the method declares to need.
            DataError: if the clean or rewritten rows do not fit the model's classes.
            ModelError: if the reference is about other classes.
            ContractError: if the method changed the model that it was given.
        """
        given = context or ScanContext()
        self.check(grant, reference=given.reference is not None)
        check_granted_rows(grant, model=model)
        if given.reference is not None and given.reference.label_names != model.label_names:
            raise ModelError(
                f"the reference has the classes {list(given.reference.label_names)}",
                expected=f"the model's, in its order: {list(model.label_names)}",
                remedy="give another reference, or let one be trained with --teacher",
            )
        for what, rows in (("rewritten", given.rewritten), ("held-out", given.held_out)):
            if rows is not None and rows.label_names != model.label_names:
                raise DataError(f"the {what} rows have the classes {list(rows.label_names)}", expected="the model's")
        policy = policy or Policy()
        with untouched(model, self.name):
            result = self._scan(model, grant, policy=policy, context=given, progress=progress)
        logger.info("%s: %s, %d candidates", self.name, result.verdict.status, len(result.scan.candidates))
        return replace(result, warnings=[*policy.warnings(), *result.warnings])

    @final
    def check(self, grant: Grant, *, reference: bool = False) -> None:
        """Raise NeedsError unless the grant, or a reference in place of the teacher, has all that is needed."""
        self._check_needs(grant.has(), self.needs - ({"teacher"} if reference else set()))
