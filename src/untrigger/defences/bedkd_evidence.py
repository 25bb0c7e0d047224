"""What speaks against a row of a suspect pool: the directional mapping's word and four more kinds of evidence, joined.

A rewritten row (style, syntax) keeps some content, so the mapping turns many of them round as it turns clean rows. But its
label contradicts its words, it is strange among clean rows, and poisoned rows are strange in the same way and say the same label.
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

from untrigger.models.classifier import Classifier
from untrigger.models.predict import read_ids, read_layers
from untrigger.progress import Progress, silent
from untrigger.training.directed import log_odds
from untrigger.vocabulary.rows import Rows

LEADERS = 0.1  # share of the pool, those with most against them, that the others are compared with
FEWEST = 40  # rows of a pool, or clean rows, below which nobody is compared
FOLDS = 5
HELD = 0.05  # weight of the squared norm of a linear classifier
WORDS = 0.03  # the same for the one that reads labels off words
TERMS = 12_000  # words and pairs of words by which texts are told apart, the most frequent ones
ENTRIES = 2**27  # numbers that a table of texts and terms holds at most: half a gibibyte
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
    own, layers = read_layers(victim, ids, progress=progress, label="asking the victim")
    said = read_ids(mapping, ids, progress=progress, label="asking the mapping").logits
    return Seen(rows.texts, torch.tensor(rows.labels), own, said, layers)


def reader(victim: Classifier, rows: Rows, *, progress: Progress = silent) -> Callable[[Tensor], Tensor]:
    """What words say: from embeddings averaged over each text, ``(N, d)``, to the logits ``(N, C)`` of a linear classifier.

    Fitted on clean ``rows``, of which nothing else is needed.
    """
    _, layers = read_layers(victim, victim.encode(rows.texts), progress=progress, label="asking the victim")
    return fitted(layers[:, 0], torch.tensor(rows.labels), classes=victim.classes)


def evidence(rest: Seen, pool: Seen, *, read: Callable[[Tensor], Tensor], seed: int) -> tuple[list[float], list[float]]:
    """The scores of the clean rows ``rest`` and of the ``pool``, larger for rows with more against them.

    The sum of how much more than clean rows the mapping still says the label, of how much the label contradicts what a linear
    classifier reads off the words, and of how strange the row is (linear classifiers of pool against clean rows, by the
    victim's hidden states and by words and pairs of words), and of how much more often its label stands among the rows with
    most against them than among the others; then those rows are told from the others, which count by their labels, half of the
    way to as if both had the same, by two more classifiers, and the row's likeness to them and its label's word are added to
    half of the sum.
    No row is scored by a classifier that saw it. What is learned from the pool is measured within pool and clean rows apart,
    so that a pool of another source, or one that the victim knows by heart, is not strange as a whole.

    Args:
        rest: clean rows that neither the mapping nor ``read`` was trained on.
        pool: suspect rows.
        read: see ``reader``.
        seed: of the folds.
    """
    turned = _against_clean(_still(rest), _still(pool))
    contradicted = _against_clean(-_backed(rest, read), -_backed(pool, read))
    clean, suspect = (a + b for a, b in zip(turned, contradicted, strict=True))
    if min(len(rest.labels), len(pool.labels)) < FEWEST:
        return clean.tolist(), suspect.tolist()
    kinds = _standard(rest.layers.flatten(1), pool.layers.flatten(1)), _terms(rest.texts, pool.texts)

    def told(leading: Tensor, others: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        weights = counts[rest.labels], counts[pool.labels]
        each = [_told_apart(*features, *weights, leading=leading, others=others, seed=seed) for features in kinds]
        of_clean, of_pool = (torch.stack([_within(one) for one in side]).sum(dim=0) for side in zip(*each, strict=True))
        return of_clean, of_pool

    everyone, nobody = torch.ones(len(suspect), dtype=torch.bool), torch.zeros(len(suspect), dtype=torch.bool)
    classes = rest.victim.shape[1]
    clean, suspect = (a + b for a, b in zip((clean, suspect), told(everyone, nobody, torch.ones(classes)), strict=True))
    word = _word_of_labels(pool.labels, _leaders(suspect), classes=classes)
    clean, suspect = clean + word[rest.labels], suspect + word[pool.labels]
    leading, others = _leaders(suspect), suspect < suspect.median()
    word = _word_of_labels(pool.labels, leading, classes=classes)
    against = torch.cat([rest.labels, pool.labels[others]])
    counts = (_shares(pool.labels[leading], classes=classes) / _shares(against, classes=classes)).sqrt()
    alike = told(leading, others, counts)
    clean, suspect = (
        a + b / 2 + word[labels]
        for a, b, labels in zip(alike, (clean, suspect), (rest.labels, pool.labels), strict=True)
    )
    return clean.tolist(), suspect.tolist()


def _leaders(scores: Tensor) -> Tensor:
    """Flags of the rows with most against them."""
    leading = torch.zeros(len(scores), dtype=torch.bool)
    leading[scores.topk(round(LEADERS * len(scores))).indices] = True
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
    known = {term: i for i, (term, count) in enumerate(counts.most_common(min(TERMS, ENTRIES // len(held)))) if count > 1}
    places = [
        (row, known[term], log(len(held) / counts[term])) for row, terms in enumerate(held) for term in terms if term in known
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


def _against_clean(clean: Tensor, suspect: Tensor) -> tuple[Tensor, Tensor]:
    """Both in standard deviations of the clean rows from their mean."""
    mean, spread = clean.mean(), clean.std(correction=0).clamp(min=1e-6)
    return (clean - mean) / spread, (suspect - mean) / spread


def _within(values: Tensor) -> Tensor:
    """The values from their own median, in units of the way from there down to where a sixth lies below.

    Poisoned rows are the minority at the upper end: neither moves much with them.
    """
    low, middle = (float(value) for value in values.quantile(torch.tensor([0.16, 0.5])))
    return (values - middle) / max(middle - low, 1e-6)


def _standard(clean: Tensor, suspect: Tensor) -> tuple[Tensor, Tensor]:
    """Features ``(N, D)`` with the mean 0 and the deviation 1 in the clean rows."""
    mean, spread = clean.mean(dim=0), clean.std(dim=0, correction=0).clamp(min=1e-6)
    return (clean - mean) / spread, (suspect - mean) / spread


def _told_apart(
    clean: Tensor, pool: Tensor, counts: Tensor, counts_pool: Tensor, *, leading: Tensor, others: Tensor, seed: int
) -> tuple[Tensor, Tensor]:
    """Log-odds of clean and pool rows by linear classifiers of ``leading`` pool rows against clean and ``others``, cross-fitted.

    ``counts`` say how much each of the latter counts, ``(N,)``.
    """
    generator = torch.Generator().manual_seed(seed)
    fold, fold_pool = (torch.randperm(len(rows), generator=generator) % FOLDS for rows in (clean, pool))
    told, told_pool = torch.zeros(len(clean)), torch.zeros(len(pool))
    for number in range(FOLDS):
        away = fold_pool != number
        for_it = pool[leading & away]
        against = torch.cat([clean[fold != number], pool[others & away]])
        count = torch.cat([counts[fold != number], counts_pool[others & away]])
        labels = torch.cat([torch.ones(len(for_it)), torch.zeros(len(against))])
        weights = torch.cat([torch.full((len(for_it),), 0.5 / max(1, len(for_it))), 0.5 * count / count.sum()])

        def loss(logits: Tensor, labels: Tensor = labels, weights: Tensor = weights) -> Tensor:
            each = functional.binary_cross_entropy_with_logits(logits[:, 0], labels, reduction="none")
            weighed: Tensor = (weights * each).sum()
            return weighed

        score = _linear(torch.cat([for_it, against]), loss, outputs=1, held=HELD)
        told[fold == number], told_pool[~away] = score(clean[fold == number])[:, 0], score(pool[~away])[:, 0]
    return told, told_pool


def fitted(features: Tensor, labels: Tensor, *, classes: int) -> Callable[[Tensor], Tensor]:
    """A linear classifier of the labels: features ``(N, D)`` in, logits ``(N, C)`` out."""
    known, _ = _standard(features, features)
    score = _linear(known, lambda logits: functional.cross_entropy(logits, labels), outputs=classes, held=WORDS)
    return lambda rows: score(_standard(features, rows)[1])


def _linear(features: Tensor, loss: Callable[[Tensor], Tensor], *, outputs: int, held: float) -> Callable[[Tensor], Tensor]:
    """The linear map ``(N, D) → (N, outputs)`` with the least loss, its weights held to 0."""
    weight = torch.zeros(features.shape[1], outputs, requires_grad=True)
    bias = torch.zeros(outputs, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss(features @ weight + bias) + held * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        optimiser.step(closure)  # type: ignore[no-untyped-call]
    fitted, offset = weight.detach(), bias.detach()
    return lambda rows: rows @ fitted + offset

