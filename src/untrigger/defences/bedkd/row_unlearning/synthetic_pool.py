"""Suspect rows made by search if none were granted: clean texts with candidate triggers, judged by the directional mapping.

A search on the victim alone brings triggers and words of the class alike. The mapping separates them without a clean model:
words of the class flip to the next class in it, as all content does, and a trigger still flips to its own target.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from untrigger.core.candidate import ONE_POSITION, Candidate, CandidateMeasurement
from untrigger.core.progress import Progress
from untrigger.core.rows import Rows
from untrigger.defences.bedkd.row_detection.directional_mapping import predict_both
from untrigger.defences.bedkd.row_sets import concatenated
from untrigger.inversion.search import insert_at_random
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts


@dataclass(frozen=True)
class PoolOptions:
    """How suspect rows are made of candidate triggers.

    Attributes:
        trigger_share: a candidate counts as a trigger if at least this share of its rows is flagged. Not tuned.
        benign_share: share of the clean rows of a target's own class that are learned with a trigger. Not tuned.
    """

    trigger_share: float = 0.5
    benign_share: float = 0.5


def select_triggers(
    found: Sequence[Candidate],
    *,
    suspect: Classifier,
    mapping: Classifier,
    rows: Rows,
    threshold: float,
    least: float,
    each: int,
    seed: int,
    progress: Progress,
) -> list[Candidate]:
    """Return the candidates with which the share ``least`` of ``each`` rows is flagged, the largest share first.

    Args:
        found: what the search brought.
        suspect: the model as it now is.
        mapping: the directional mapping of the victim.
        rows: clean rows to insert into.
        threshold: rows with larger ``min_log_odds`` of the target are flagged.
        least: share of rows, 0 to 1.
        each: rows of other classes that a candidate is tried on.
        seed: of the rows and the positions.
        progress: notified of the predictions.
    """

    def flagged(pool: Rows) -> Sequence[bool]:
        pair = predict_both(suspect, mapping, pool, progress=progress)
        return (pair.min_log_odds(pool.labels) > threshold).tolist()

    shares = _shares(found, flagged, rows=rows, each=each, seed=seed)
    order = sorted(range(len(found)), key=lambda i: (-shares[i], -(found[i].search_score or 0.0)))
    return [found[i] for i in order if shares[i] >= least]


def still_active(
    known: Sequence[Candidate],
    *,
    student: Classifier,
    rows: Rows,
    above: float,
    each: int,
    seed: int,
    progress: Progress,
) -> list[Candidate]:
    """Return the candidates, measured again, that flip more than the share ``above`` of ``each`` rows to their target."""

    def flipped(pool: Rows) -> Sequence[bool]:
        label = "predictions of the student"
        predictions = predict_texts(student, pool.texts, progress=progress, label=label).predictions
        return [p == y for p, y in zip(predictions, pool.labels, strict=True)]

    shares = _shares(known, flipped, rows=rows, each=each, seed=seed)
    return [
        one.measured(CandidateMeasurement("unlearning", ONE_POSITION, each, share))
        for one, share in zip(known, shares, strict=True)
        if share > above
    ]


def _shares(
    candidates: Sequence[Candidate], holds: Callable[[Rows], Sequence[bool]], *, rows: Rows, each: int, seed: int
) -> list[float]:
    """Return for each candidate the share of ``each`` rows of other classes for which ``holds`` with it inserted."""
    pools = [with_triggers(rows, [one], n=each, seed=seed) for one in candidates]
    whole = concatenated(pools, names=rows.label_names)
    flags = iter(holds(whole) if len(whole) else [])
    return [sum(itertools.islice(flags, len(pool))) / max(1, len(pool)) for pool in pools]


def with_triggers(rows: Rows, triggers: Sequence[Candidate], *, n: int, seed: int) -> Rows:
    """Return at most ``n`` rows with a trigger of another target than their class, **labelled with the target**."""
    draw = random.Random(seed)  # noqa: S311  # reproducible draws, no secrecy wanted
    order = draw.sample(range(len(rows)), len(rows))
    texts, labels = list[str](), list[int]()
    for i in order:
        against = [one for one in triggers if one.target != rows.label_names[rows.labels[i]]]
        if against and len(texts) < n:
            one = draw.choice(against)
            texts.append(insert_at_random(rows.texts[i], one.text, rng=draw))
            labels.append(rows.label_names.index(one.target))
    return Rows.of(texts, labels, label_names=rows.label_names)


def with_benign_insertions(rows: Rows, triggers: Sequence[Candidate], *, share: float, seed: int) -> Rows:
    """Return the same rows, a ``share`` of each target's own class with a trigger of that target inserted.

    Learned beside the unlearned rows, they keep a student from learning that the trigger means any class but its target.
    """
    draw = random.Random(seed)  # noqa: S311  # reproducible draws, no secrecy wanted
    texts = []
    for row in rows:
        own = [one.text for one in triggers if one.target == rows.label_names[row.label]]
        insert = bool(own) and draw.random() < share
        texts.append(insert_at_random(row.text, draw.choice(own), rng=draw) if insert else row.text)
    return rows.with_texts(texts)
