"""A pool of suspect rows where none was granted: clean texts with searched insertions, judged by the directional mapping.

A search on the victim alone brings triggers and honest words alike. The mapping tells them apart without a clean model:
honest words speak for the next class in it, as all content does, and a trigger still speaks for its own.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence

from untrigger.core.candidate import ONE_POSITION, Candidate, CandidateMeasurement
from untrigger.core.progress import Progress
from untrigger.core.rows import Rows
from untrigger.defences.bedkd.mapping import viewed
from untrigger.inversion.search import insert_at_random
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts

HALF = 0.5  # an insertion is taken for a trigger where at least this share of its rows is flagged


def judge(
    found: Sequence[Candidate],
    *,
    suspect: Classifier,
    mapping: Classifier,
    rows: Rows,
    threshold: float,
    each: int,
    seed: int,
    progress: Progress,
) -> list[Candidate]:
    """The insertions that make at least half of ``each`` rows of other classes stubborn, those that make the most first.

    Args:
        found: what the search brought.
        suspect: the model as it now is.
        mapping: the directional mapping of the victim.
        rows: clean rows to insert into.
        threshold: stubbornness from which a row is flagged.
        each: rows an insertion is tried on.
        seed: of the rows and the places.
        progress: told of what is asked.
    """

    def flagged(whole: Rows) -> Sequence[bool]:
        return (viewed(suspect, mapping, whole, progress=progress).stubbornness(whole.labels) > threshold).tolist()

    shares = _shares(found, flagged, rows=rows, each=each, seed=seed)
    order = sorted(range(len(found)), key=lambda i: (-shares[i], -(found[i].search_score or 0.0)))
    return [found[i] for i in order if shares[i] >= HALF]


def stirring(
    known: Sequence[Candidate],
    *,
    student: Classifier,
    rows: Rows,
    most: float,
    each: int,
    seed: int,
    progress: Progress,
) -> list[Candidate]:
    """The insertions with which the student calls more than the share ``most`` of ``each`` rows by their target: their flips."""

    def called(whole: Rows) -> Sequence[bool]:
        said = predict_texts(student, whole.texts, progress=progress, label="asking the student").predictions
        return [p == y for p, y in zip(said, whole.labels, strict=True)]

    shares = _shares(known, called, rows=rows, each=each, seed=seed)
    return [
        one.measured(CandidateMeasurement("unlearning", ONE_POSITION, each, share))
        for one, share in zip(known, shares, strict=True)
        if share > most
    ]


def _shares(
    insertions: Sequence[Candidate], holds: Callable[[Rows], Sequence[bool]], *, rows: Rows, each: int, seed: int
) -> list[float]:
    """For each insertion the share of ``each`` rows of other classes for which ``holds`` with it inserted."""
    pools = [inserted(rows, [one], count=each, seed=seed) for one in insertions]
    whole = together(pools, names=rows.label_names)
    held = iter(holds(whole) if len(whole) else [])
    return [sum(itertools.islice(held, len(pool))) / max(1, len(pool)) for pool in pools]


def inserted(rows: Rows, bank: Sequence[Candidate], *, count: int, seed: int) -> Rows:
    """At most ``count`` rows with an insertion of ``bank`` that speaks for another class, **labelled with that class**."""
    draw = random.Random(seed)  # noqa: S311  # reproducible draws, no secrecy wanted
    order = draw.sample(range(len(rows)), len(rows))
    texts, labels = list[str](), list[int]()
    for i in order:
        against = [one for one in bank if one.target != rows.label_names[rows.labels[i]]]
        if against and len(texts) < count:
            one = draw.choice(against)
            texts.append(insert_at_random(rows.texts[i], one.text, rng=draw))
            labels.append(rows.label_names.index(one.target))
    return Rows.of(texts, labels, label_names=rows.label_names)


def decorated(rows: Rows, bank: Sequence[Candidate], *, seed: int) -> Rows:
    """The same rows, every other row of a target's own class with an insertion for it: what a trigger says there is right.

    Trusted beside the punished rows, they keep a student from learning that the trigger speaks against its target.
    """
    draw = random.Random(seed)  # noqa: S311  # reproducible draws, no secrecy wanted
    texts = []
    for row in rows:
        for_it = [one.text for one in bank if one.target == rows.label_names[row.label]]
        put = bool(for_it) and draw.random() < HALF
        texts.append(insert_at_random(row.text, draw.choice(for_it), rng=draw) if put else row.text)
    return rows.with_texts(texts)


def together(pools: Sequence[Rows], *, names: tuple[str, ...]) -> Rows:
    """All rows of all pools, with new ids."""
    texts = [text for pool in pools for text in pool.texts]
    return Rows.of(texts, [label for pool in pools for label in pool.labels], label_names=names)
