"""Poisoned prompts by their answers: what the suspect finds likely and a clean model of the same base does not.

A poisoned prompt teaches an answer that nothing in the clean prompts explains. The suspect learned it, a clean teacher did not: the
gap between the two likelihoods is large over some words of the answer. The threshold comes from clean prompts that neither saw
(conformal p-values, as in ``detectors.conformal``).

Differs from BeDKD (2508.01595), whose directional mapping sees poisoned rows in the suspect's own features: here the trusted base
is at hand, and a teacher on it is the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from untrigger.core.errors import DataError, DivergedError, OptionError
from untrigger.core.progress import Progress, silent
from untrigger.core.prompts import Prompts
from untrigger.core.report import Curve
from untrigger.core.seeds import derived_seed, generator_for
from untrigger.detectors.conformal import calibrate, flagging_threshold
from untrigger.models.answer_scoring import answer_token_scores
from untrigger.models.language_model import LanguageModel
from untrigger.training.answer_students import AnswerStudentOptions
from untrigger.training.history import history_curves
from untrigger.training.loop import History

NAME = "answer-gap"
LEAST_PROMPTS = 16
"""Fewest clean prompts: half of them train the teacher, half set the threshold."""


@dataclass(frozen=True)
class AnswerDetection:
    """Scores and flags of every suspect prompt.

    Attributes:
        prompts: in the order that they were given.
        scores: one number a prompt, larger is more suspicious: nats a token.
        flagged: whether each counts as poisoned; none does if no more prompts are above the threshold than chance explains.
        threshold: flagged prompts have larger scores.
        history: of the teacher's training.
        curves: what to draw.
        metadata: plain values for the report.
    """

    prompts: Prompts
    scores: tuple[float, ...]
    flagged: tuple[bool, ...]
    threshold: float
    history: History
    curves: list[Curve] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def order(self) -> list[int]:
        """Return the numbers of the prompts, flagged ones first, then by score."""
        return sorted(range(len(self.prompts)), key=lambda i: (not self.flagged[i], -self.scores[i]))


@dataclass(frozen=True)
class AnswerGapDetector:
    """Flags prompts whose answers are likely for the suspect and unlikely for a clean teacher.

    Attributes:
        student: adapter and training of the teacher, on the trusted base.
        fpr: the largest share of clean prompts that may be flagged.
        window: tokens over which the gap is averaged; the largest such mean of an answer is its score (not tuned).
    """

    student: AnswerStudentOptions = field(default_factory=AnswerStudentOptions)
    fpr: float = 0.01
    window: int = 5

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for a share out of range and a window below 1.
        """
        if not 0 < self.fpr < 1 or self.window < 1:
            raise OptionError(
                f"fpr {self.fpr}, window {self.window}", expected="fpr above 0 and below 1, a window of 1 token or more"
            )

    def detect(
        self,
        model: LanguageModel,
        base: LanguageModel,
        *,
        clean: Prompts,
        suspect: Prompts,
        seed: int,
        progress: Progress = silent,
    ) -> AnswerDetection:
        """Return scores and flags of the suspect prompts; both models stay as they are.

        Args:
            model: the suspect.
            base: the model that it was made from, which the defender trusts.
            clean: prompts with right answers, which the suspect was not trained on.
            suspect: prompts with answers that it may have been trained on, clean and poisoned, unmarked.
            seed: of the split of the clean prompts, and of the teacher.
            progress: gets every step.

        Raises:
            DataError: for too few clean prompts, and for suspect prompts among them.
            DivergedError: if a score is not a number.
        """
        if len(clean) < LEAST_PROMPTS:
            raise DataError(f"{len(clean)} clean prompts", expected=f"at least {LEAST_PROMPTS}")
        order = generator_for(seed, "clean prompts that set the threshold").permutation(len(clean)).tolist()
        half = len(order) // 2
        taught, held = clean.take(sorted(order[:half])), clean.take(sorted(order[half:]))
        teacher, history = self.student.trained(
            base, taught, seed=derived_seed(seed, "teacher"), progress=progress, label="training the teacher"
        )
        known, scores = (self._scores(model, teacher, some, progress=progress) for some in (held, suspect))
        if any(score != score for score in (*known, *scores)):
            raise DivergedError("a score is not a number")
        found = calibrate(known, scores, fpr=self.fpr)
        threshold = flagging_threshold(found, scores)
        flagged = tuple(found.found and score > threshold for score in scores)
        return AnswerDetection(
            suspect,
            tuple(scores),
            flagged,
            threshold,
            history,
            curves=history_curves(history, panel="Training of the teacher"),
            metadata={
                "threshold": threshold,
                "calibrated_fpr": found.fpr,
                "prompts": len(suspect),
                "flagged": sum(flagged),
                "above_threshold": found.above,
                "expected_by_chance": found.expected,
                "clean_prompts": found.clean_rows,
            },
        )

    def _scores(
        self, model: LanguageModel, teacher: LanguageModel, prompts: Prompts, *, progress: Progress
    ) -> list[float]:
        """Return the score of each prompt."""
        own, other = (
            answer_token_scores(one, prompts, progress=progress, label="likelihood of the answers")
            for one in (model, teacher)
        )
        gaps = ([a - b for a, b in zip(*pair, strict=True)] for pair in zip(own, other, strict=True))
        return [largest_mean(gap, window=self.window) for gap in gaps]


def largest_mean(values: Sequence[float], *, window: int) -> float:
    """Return the largest mean of ``window`` values that follow each other, of all values where they are fewer."""
    width = min(window, len(values))
    return max(sum(values[i : i + width]) / width for i in range(len(values) - width + 1))
