"""Search and unlearn: look for insertions that move the student farther than the clean teacher, and train them away."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

from untrigger.core.candidate import Candidate
from untrigger.core.errors import OptionError
from untrigger.core.progress import Progress
from untrigger.core.rows import Rows
from untrigger.defences.student import DistillationOptions
from untrigger.defences.trigger_unlearning import TriggerUnlearning, UnlearningOptions
from untrigger.inversion.search import SearchOptions, TriggerSearch
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts
from untrigger.training.loop import History
from untrigger.training.supervised import accuracy_on

logger = logging.getLogger(__name__)

REPORTED = 12  # findings of each search in the report


@dataclass(frozen=True)
class SearchAndUnlearnOptions(UnlearningOptions):
    """When a search result is unlearned, and when the rounds end. The score is the one that the search ranks by.

    Attributes:
        rounds: the most rounds of unlearning; a search follows the last of them.
        alarm_score: score from which an insertion is taken for a trigger (not tuned).
        relative_score: where the largest score is at least that, insertions with at least this share of the largest are
            unlearned, 0 to 1 (not tuned); weaker ones are task-relevant words, and unlearning those costs accuracy.
        stop_score: the rounds end where the largest score of a search is below; until then unlearning goes on (not tuned).
        retrained_stop_score: the same for a student that was retrained from its base and never unlearned (not tuned).
        search_share: share of the clean rows that the search reads and the student is not trained on, 0 to 1 (not tuned).
        search: how wide the search is.
    """

    rounds: int = 4
    alarm_score: float = 0.5
    relative_score: float = 0.6
    stop_score: float = 0.45
    retrained_stop_score: float = 0.7
    search_share: float = 0.3
    search: SearchOptions = field(default_factory=SearchOptions)

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for shares and scores out of range.
        """
        super().__post_init__()
        if not 0 < self.search_share < 1:
            raise OptionError(f"search_share {self.search_share}", expected="a share above 0 and below 1")
        scores = (self.alarm_score, self.relative_score, self.stop_score, self.retrained_stop_score)
        if not all(0 <= score <= 1 for score in scores):
            raise OptionError(
                f"alarm_score {self.alarm_score}, relative_score {self.relative_score}, stop_score {self.stop_score}, "
                f"retrained_stop_score {self.retrained_stop_score}",
                expected="numbers from 0 to 1",
            )

    def threshold(self, largest: float) -> float:
        """Return the score from which insertions are unlearned, given the largest that a search found."""
        return self.relative_score * largest if largest >= self.alarm_score else self.alarm_score


@dataclass
class SearchRounds:
    """What the rounds of one student found.

    Attributes:
        histories: one for every round of unlearning.
        accuracies: on the dev rows, after every round of unlearning.
        findings: the first insertions of every search.
        largest_scores: of every search; one more than there were rounds.
        has_searched: whether the last search had rows to try insertions on.
        finished: whether the last search ended the rounds; else the rounds were used up.
    """

    histories: list[History] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    findings: list[Candidate] = field(default_factory=list)
    largest_scores: list[float] = field(default_factory=list)
    has_searched: bool = False
    finished: bool = False


def search_and_unlearn(
    student: Classifier,
    teacher: Classifier,
    *,
    rows: Rows,
    search_rows: Rows,
    dev: Rows,
    options: SearchAndUnlearnOptions,
    training: DistillationOptions,
    retrained: bool,
    seed: int,
    progress: Progress,
) -> SearchRounds:
    """Train ``student`` in place until a search finds nothing that counts or the rounds are used up; a search is last.

    Args:
        student: a classifier with an adapter.
        teacher: the clean reference.
        rows: clean rows to unlearn on.
        search_rows: clean rows that the search reads; the student is not trained on them.
        dev: clean rows on which accuracy is measured.
        options: thresholds and steps.
        training: rate, batch size and weights of the loss.
        retrained: whether the student was just retrained from its base.
        seed: of every draw.
        progress: gets every step.
    """
    search = TriggerSearch(student, teacher, rows=search_rows, options=options.search, seed=seed)
    unlearning = TriggerUnlearning(
        student,
        options,
        training=training,
        reference=teacher,
        rows=rows,
        words=search.space.words,
        suspect_logits=predict_texts(student, rows.texts).logits,
    )
    done, triggers, accuracy = SearchRounds(), dict[str, Candidate](), accuracy_on(student, dev)
    for number in range(options.rounds + 1):
        found = search.run(known=sorted(triggers.values(), key=_score, reverse=True), progress=progress)
        largest = _score(found[0]) if found else 0.0
        done.largest_scores.append(largest)
        logger.info("round %d: %d candidates, largest score %.3f", number + 1, len(found), largest)
        done.findings += [replace(one, round=number + 1) for one in found[:REPORTED]]
        done.has_searched = bool(found)
        done.finished = _is_finished(largest, options, number=number, retrained=retrained, known=bool(triggers))
        if done.finished or number == options.rounds:
            break
        triggers.update({one.text: one for one in found if _score(one) >= options.threshold(largest)})
        steps = options.more_steps if number else options.round_steps
        history = unlearning.train(list(triggers.values()), steps=steps, seed=seed * 1000 + number, progress=progress)
        done.histories.append(history)
        done.accuracies.append(accuracy())
    return done


def _is_finished(
    largest: float, options: SearchAndUnlearnOptions, *, number: int, retrained: bool, known: bool
) -> bool:
    """Return whether search ``number`` ends the rounds: its score is low, or nothing was ever found to unlearn.

    A student that was neither retrained nor unlearned gets a round in any case.
    """
    if number == 0:
        return retrained and largest < options.retrained_stop_score
    return largest < options.stop_score or not known


def _score(one: Candidate) -> float:
    return one.search_score or 0.0
