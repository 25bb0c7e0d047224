"""How much more likely a first answer token becomes by an insertion than it is beside random words, in two models.

For a prompt, the suspect gives the token ``t`` the mean probability ``m(t)`` beside random words and ``p(t)`` with a phrase. The
*lift* is ``log((p(t) + e) / (m(t) + e))``: it sees a refusal that rises to a thousandth, which a divergence does not. A rise
that the reference has too is subtracted. The score of a phrase is the largest mean of a token's lift over prompts.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from untrigger.core.progress import Progress, silent
from untrigger.models.language_model import LanguageModel
from untrigger.models.next_token import next_token_log_probabilities
from untrigger.scanners.language.phrases import Frame, Phrase, grouped

LEAST = 1e-4
"""Added to both probabilities, so that what stays improbable has no lift. Not tuned."""
CHUNK = 64
NULL_ROWS = 96

Rows = Callable[[Phrase], list[int]]
"""From a phrase to the token ids of one prompt with it."""


@dataclass(frozen=True)
class Host:
    """A prompt with what both models answer beside random words.

    Attributes:
        row: from a phrase to the token ids of the prompt with it.
        suspect: mean probability of each first answer token beside random words ``(V)``.
        reference: the same of the reference.
    """

    row: Rows
    suspect: Tensor
    reference: Tensor


def host_of(suspect: LanguageModel, reference: LanguageModel, row: Rows, *, words: Sequence[Phrase]) -> Host:
    """Return a host with its means over the ``words``, which are drawn at random."""
    rows = [row(one) for one in words]
    return Host(row, mean_probability(suspect, rows), mean_probability(reference, rows))


def mean_probability(model: LanguageModel, rows: Sequence[Sequence[int]]) -> Tensor:
    """Return ``(V)``: the mean probability of each next token over the rows."""
    total = torch.zeros(model.vocabulary_size)
    for _, found in next_token_log_probabilities(model, rows):
        total += found.exp().sum(dim=0)
    return total / len(rows)


def lift(log_probabilities: Tensor, mean: Tensor) -> Tensor:
    """Return ``log((p + e) / (m + e))`` in nats, from log-probabilities ``(B, V)`` and means ``(V)``."""
    return (log_probabilities.exp() + LEAST).log() - (mean + LEAST).log()


def score_phrases(
    suspect: LanguageModel,
    reference: LanguageModel | None,
    phrases: Sequence[Phrase],
    *,
    hosts: Sequence[Host],
    progress: Progress = silent,
    label: str = "comparing insertions",
) -> list[float]:
    """Return the score of each phrase: the largest mean lift of a token over the hosts, less the reference's where it has one.

    The phrase's own tokens do not count: an answer that repeats what was inserted is ordinary.
    """
    scores = list[float]()
    with progress.task(label, total=len(phrases)) as tick:
        for start in range(0, len(phrases), CHUNK):
            part = phrases[start : start + CHUNK]
            total = torch.zeros(len(part), suspect.vocabulary_size)
            for host in hosts:
                rows = [host.row(one) for one in part]
                for numbers, found in next_token_log_probabilities(suspect, rows):
                    total[numbers] += lift(found, host.suspect)
                if reference is not None:
                    for numbers, found in next_token_log_probabilities(reference, rows):
                        total[numbers] -= lift(found, host.reference).clamp_min(0)
            scores += _largest(total / len(hosts), [one.ids for one in part])
            tick(len(part))
    return scores


def screen_groups(
    suspect: LanguageModel,
    phrases: Sequence[Phrase],
    *,
    frame: Frame,
    size: int,
    rng: random.Random,
    progress: Progress = silent,
) -> list[float]:
    """Return for each phrase the score of a group of ``size`` random phrases that it was inserted with, in one prompt.

    A group costs little more than a phrase alone, because most of the work is the end of the prompt. The means are those of the
    first groups, whose phrases are as random as all.
    """
    numbers = {id(one): i for i, one in enumerate(phrases)}
    groups = grouped(phrases, size=size, rng=rng)
    rows = [frame.row(*group) for group in groups]
    mean = mean_probability(suspect, rows[:NULL_ROWS])
    scores = [0.0] * len(phrases)
    with progress.task(f"screening the vocabulary, {size} at a time", total=len(rows)) as tick:
        for batch, found in next_token_log_probabilities(suspect, rows):
            own = [[i for one in groups[n] for i in one.ids] for n in batch]
            for n, value in zip(batch, _largest(lift(found, mean), own), strict=True):
                for one in groups[n]:
                    scores[numbers[id(one)]] = value
            tick(len(batch))
    return scores


def highest_lift() -> float:
    """Return the lift of a token from never to always, in nats."""
    return log((1 + LEAST) / LEAST)


def _largest(values: Tensor, own: Sequence[Sequence[int]]) -> list[float]:
    """Return the largest value of each row, its own tokens left out."""
    for i, ids in enumerate(own):
        values[i, list(ids)] = 0.0
    largest: list[float] = values.amax(dim=1).tolist()
    return largest
