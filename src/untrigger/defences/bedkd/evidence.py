"""What speaks against a row of a suspect pool: the directional mapping's word and four more kinds of evidence, joined.

A rewritten row (style, syntax) keeps some content, so the mapping turns many of them round as it turns clean rows. But its
label contradicts its words, it is strange among clean rows, and poisoned rows are strange in the same way and say the same label.

The clean rows that calibrate a threshold are scored as if they stood in the pool, in every step: what is learned from the pool is
learned from both together, against other clean rows. So a clean row of the pool and a calibrating one are exchangeable, whatever
the poisoned rows look like (AdaDetect: Marandon et al. 2022, 2208.06685), and conformal thresholds hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import log
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from untrigger.core.progress import Progress, silent
from untrigger.core.rows import Rows
from untrigger.models.classifier import Classifier
from untrigger.models.inference import hidden_state_means, log_odds, predict_token_ids

LEADERS = 0.1  # share of the pool, those with most against them, that the others are compared with
FEWEST = 40  # rows of a pool, or clean rows, below which nobody is compared
FOLDS = 5
HELD = 0.05  # weight of the squared norm of a linear classifier
WORDS = 0.03  # the same for the one that reads labels off words
TERMS = 12_000  # words and pairs of words by which texts are told apart, the most frequent ones
ENTRIES = 2**27  # numbers that a table of texts and terms holds at most: half a gibibyte
ITERATIONS = 60  # of L-BFGS for a linear classifier, at most
LENGTH = 30.0  # of a text's vector of terms: as long as one of a thousand features of deviation 1


class Seen(NamedTuple):
    """Rows as the victim and its directional mapping see them.

    Attributes:
        texts: the rows as they are.
        labels: ``(N,)``.
        victim: the victim's logits, ``(N, C)``.
        mapping: the mapping's logits, ``(N, C)``.
        layers: the victim's hidden states, averaged over each text: embedding, middle and last layer, ``(N, 3, d)``.
    """

    texts: Sequence[str]
    labels: Tensor
    victim: Tensor
    mapping: Tensor
    layers: Tensor

    def followed(self, among: Sequence[bool]) -> float:
        """The share of the rows ``among`` these whose label the victim says too, 1 where there are none."""
        some = torch.tensor(list(among), dtype=torch.bool)
        return float((self.victim.argmax(dim=1) == self.labels)[some].float().mean()) if some.any() else 1.0


def seen(victim: Classifier, mapping: Classifier, rows: Rows, *, progress: Progress = silent) -> Seen:
    """What both models see in the rows."""
    ids = victim.encode(rows.texts)
    own, layers = hidden_state_means(victim, ids, progress=progress, label="asking the victim")
    said = predict_token_ids(mapping, ids, progress=progress, label="asking the mapping").logits
    return Seen(rows.texts, torch.tensor(rows.labels), own, said, layers)


def only_victim(victim: Classifier, rows: Rows, *, progress: Progress = silent) -> Known:
    """What the victim alone sees in clean rows that nothing is calibrated on."""
    _, layers = hidden_state_means(victim, victim.encode(rows.texts), progress=progress, label="asking the victim")
    return Known(rows.texts, torch.tensor(rows.labels), layers)


class Known(NamedTuple):
    """Clean rows that others are compared with: ``texts``, ``labels (N,)`` and the victim's ``layers (N, 3, d)``."""

    texts: Sequence[str]
    labels: Tensor
    layers: Tensor


def reader(known: Known, *, classes: int) -> Callable[[Tensor], Tensor]:
    """What words say: from embeddings averaged over each text, ``(N, d)``, to the logits ``(N, C)`` of a linear classifier.

    Fitted on clean rows, of which nothing else is needed.
    """
    return fitted(known.layers[:, 0], known.labels, classes=classes)


def evidence(
    rest: Seen, pool: Seen, *, known: Known, read: Callable[[Tensor], Tensor], seed: int
) -> tuple[list[float], list[float]]:
    """The scores of the clean rows ``rest`` and of the ``pool``, larger for rows with more against them.

    The sum of how much more than most rows the mapping still says the label, of how much the label contradicts what a linear
    classifier reads off the words, and of how strange the row is (linear classifiers of pool and ``rest`` against ``known``
    rows, by the victim's hidden states and by words and pairs of words), and of how much more often its label stands among the
    rows with most against them than among the others; then those rows are separated from the others, which count by their labels,
    half of the way to as if both had the same, by two more classifiers, and the row's likeness to them and its label's word are
    added to half of the sum.
    No row is scored by a classifier that saw it. ``rest`` and ``pool`` go through all of it as one. What is learned is measured
    from the middle of either side, so that a pool of another source, or one that the victim knows by heart, is not strange as a
    whole; this alone treats the two apart, and moves a threshold by no more than the chance error of a median.

    Args:
        rest: clean rows that calibrate: neither the mapping, nor when it stopped, nor ``read`` depends on them.
        pool: suspect rows.
        known: other clean rows.
        read: see ``reader``.
        seed: of the folds.
    """
    both = _Both(len(rest.labels), torch.cat([rest.labels, pool.labels]))
    scores = sum(
        (_in_spreads(torch.cat([one(rest), one(pool)])) for one in (_still, lambda rows: -_backed(rows, read))),
        start=torch.zeros(len(both.labels)),
    )
    if min(len(rest.labels), len(pool.labels)) < FEWEST:
        return both.parted(scores)
    layers = torch.cat([rest.layers, pool.layers]).flatten(1)
    kinds = _standard(known.layers.flatten(1), layers), _terms(known.texts, [*rest.texts, *pool.texts])

    def strange(leading: Tensor, others: Tensor, counts: Tensor) -> Tensor:
        weights = counts[known.labels], counts[both.labels]
        each = [_told_apart(*features, *weights, leading=leading, others=others, seed=seed) for features in kinds]
        return torch.stack([both.from_the_middle(one) for one in each]).sum(dim=0)

    everyone, classes = torch.ones(len(scores), dtype=torch.bool), rest.victim.shape[1]
    scores = scores + strange(everyone, ~everyone, torch.ones(classes))
    count = round(LEADERS * len(pool.labels))
    scores = scores + _word_of_labels(both.labels, _leaders(scores, count), classes=classes)[both.labels]
    leading, others = _leaders(scores, count), scores < scores.median()
    word = _word_of_labels(both.labels, leading, classes=classes)
    against = torch.cat([known.labels, both.labels[others]])
    counts = (_shares(both.labels[leading], classes=classes) / _shares(against, classes=classes)).sqrt()
    return both.parted(strange(leading, others, counts) + scores / 2 + word[both.labels])


class _Both(NamedTuple):
    """Clean rows that calibrate, ``clean`` of them, and behind them the pool, with the labels of all."""

    clean: int
    labels: Tensor

    def parted(self, scores: Tensor) -> tuple[list[float], list[float]]:
        """The scores of either side."""
        return scores[: self.clean].tolist(), scores[self.clean :].tolist()

    def from_the_middle(self, values: Tensor) -> Tensor:
        """The values from the median of their own side, in a unit that both sides share.

        Poisoned rows are the minority at the upper end: neither median nor unit moves much with them.
        """
        sides = values[: self.clean], values[self.clean :]
        centred = torch.cat([side - side.median() for side in sides])
        return centred / _way_down(centred)


def _leaders(scores: Tensor, count: int) -> Tensor:
    """Flags of the ``count`` rows with most against them."""
    leading = torch.zeros(len(scores), dtype=torch.bool)
    leading[scores.topk(count).indices] = True
    return leading


def _word_of_labels(labels: Tensor, leading: Tensor, *, classes: int) -> Tensor:
    """How much likelier each label is among the leading rows than among the others, ``(C,)``, as a logarithm."""
    return (_shares(labels[leading], classes=classes) / _shares(labels[~leading], classes=classes)).log()


def _shares(labels: Tensor, *, classes: int) -> Tensor:
    """The share of each label, ``(C,)``, as if each had been seen once more."""
    counts = torch.bincount(labels, minlength=classes) + 1.0
    return counts / counts.sum()


def _terms(clean: Sequence[str], pool: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Which words and pairs of neighbours each text holds, and how it begins, ``(N, V)``: rare ones count more (tf-idf).

    Terms of a single text are left out; of the others those that most texts hold are taken, ``TERMS`` or as many as a table of
    ``ENTRIES`` has room for. A row is ``LENGTH`` long.
    """
    held = [_words_and_pairs(text) for text in (*clean, *pool)]
    counts = Counter(term for terms in held for term in terms)
    known = {
        term: i for i, (term, count) in enumerate(counts.most_common(min(TERMS, ENTRIES // len(held)))) if count > 1
    }
    places = [
        (row, known[term], log(len(held) / counts[term]))
        for row, terms in enumerate(held)
        for term in terms
        if term in known
    ]
    found = torch.zeros(len(held), max(1, len(known)))
    if places:
        rows, columns, values = zip(*places, strict=True)
        found[list(rows), list(columns)] = torch.tensor(values)
    found *= LENGTH / found.norm(dim=1, keepdim=True).clamp(min=1e-6)
    return found[: len(clean)], found[len(clean) :]


def _words_and_pairs(text: str) -> list[str]:
    """Each once, in the order of the text: which of equally frequent terms are taken must not hang on Python's hashes."""
    words = ["", *text.lower().split()]  # the first pair says how the text begins
    return list(dict.fromkeys([*words[1:], *(" ".join(pair) for pair in pairwise(words))]))


def _still(rows: Seen) -> Tensor:
    """The log-odds that the mapping still gives to the rows' labels."""
    return log_odds(rows.mapping, rows.labels.tolist())


def _backed(rows: Seen, read: Callable[[Tensor], Tensor]) -> Tensor:
    """The log-odds that ``read`` gives to the rows' labels by their words."""
    return log_odds(read(rows.layers[:, 0]), rows.labels.tolist())


def _in_spreads(values: Tensor) -> Tensor:
    """The values from their median, in units of the way from there down to where a sixth lies below."""
    return (values - values.median()) / _way_down(values)


def _way_down(values: Tensor) -> float:
    """The way from the median down to where a sixth lies below; for a bell curve one standard deviation."""
    low, middle = (float(value) for value in values.quantile(torch.tensor([0.16, 0.5])))
    return max(middle - low, 1e-6)


def _standard(clean: Tensor, suspect: Tensor) -> tuple[Tensor, Tensor]:
    """Features ``(N, D)`` with the mean 0 and the deviation 1 in the clean rows."""
    mean, spread = clean.mean(dim=0), clean.std(dim=0, correction=0).clamp(min=1e-6)
    return (clean - mean) / spread, (suspect - mean) / spread


def _told_apart(
    known: Tensor, rows: Tensor, counts: Tensor, counts_rows: Tensor, *, leading: Tensor, others: Tensor, seed: int
) -> Tensor:
    """Log-odds of the rows by linear classifiers of ``leading`` rows against ``known`` and ``others``, cross-fitted, ``(N,)``.

    ``counts`` say how much each of the latter counts.
    """
    fold = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)) % FOLDS
    scores = torch.zeros(len(rows))
    for number in range(FOLDS):
        away = fold != number
        for_it = rows[leading & away]
        against = torch.cat([known, rows[others & away]])
        count = torch.cat([counts, counts_rows[others & away]])
        labels = torch.cat([torch.ones(len(for_it)), torch.zeros(len(against))])
        weights = torch.cat([torch.full((len(for_it),), 0.5 / max(1, len(for_it))), 0.5 * count / count.sum()])

        def loss(logits: Tensor, labels: Tensor = labels, weights: Tensor = weights) -> Tensor:
            each = functional.binary_cross_entropy_with_logits(logits[:, 0], labels, reduction="none")
            weighed: Tensor = (weights * each).sum()
            return weighed

        scores[~away] = _linear(torch.cat([for_it, against]), loss, outputs=1, held=HELD)(rows[~away])[:, 0]
    return scores


def fitted(features: Tensor, labels: Tensor, *, classes: int) -> Callable[[Tensor], Tensor]:
    """A linear classifier of the labels: features ``(N, D)`` in, logits ``(N, C)`` out."""
    known, _ = _standard(features, features)
    score = _linear(known, lambda logits: functional.cross_entropy(logits, labels), outputs=classes, held=WORDS)
    return lambda rows: score(_standard(features, rows)[1])


def _linear(
    features: Tensor, loss: Callable[[Tensor], Tensor], *, outputs: int, held: float
) -> Callable[[Tensor], Tensor]:
    """The linear map ``(N, D) → (N, outputs)`` with the least loss, its weights held to 0."""
    weight = torch.zeros(features.shape[1], outputs, requires_grad=True)
    bias = torch.zeros(outputs, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss(features @ weight + bias) + held * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        optimiser.step(closure)  # type: ignore[no-untyped-call]
    fitted, offset = weight.detach(), bias.detach()
    return lambda rows: rows @ fitted + offset
