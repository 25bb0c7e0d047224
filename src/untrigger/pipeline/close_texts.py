"""Choose from public corpora the texts that are closest to clean rows, by the features of a trusted pre-trained encoder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from untrigger.core.errors import DataError
from untrigger.core.progress import Progress, silent
from untrigger.core.rows import Rows, text_key
from untrigger.core.seeds import generator_for
from untrigger.data.passages import passages, word_lengths
from untrigger.models.classifier import Classifier
from untrigger.models.text_features import mean_pooled_features

MOST_CLEAN = 1000  # clean rows that passages are compared with
FIRST_SHARE = 0.25  # of the passages, drawn in equal shares; the others where these were close
LEAST_LIFT = 0.6
"""Measured for 100 rows of SST-2, 800 of 4,000 passages: rotten-tomatoes 1.2, imdb 1.1, nyt-editorials 0.5, reuters-r8 -0.1."""


@dataclass(frozen=True)
class Choice:
    """Texts that were chosen.

    Attributes:
        texts: the chosen texts.
        corpora: the corpus of each.
        compared: how many passages of each corpus were compared.
        similarity: mean cosine similarity of each text to the clean row that it was chosen for.
        clean_similarity: mean cosine similarity of each clean row to the closest other one.
        background: mean cosine similarity of two clean rows.
    """

    texts: tuple[str, ...]
    corpora: tuple[str, ...]
    compared: dict[str, int]
    similarity: float
    clean_similarity: float
    background: float

    def counts(self) -> dict[str, int]:
        """Return the number of texts from each corpus, also of those that gave none."""
        return dict.fromkeys(self.compared, 0) | Counter(self.corpora)

    @property
    def far(self) -> bool:
        """Whether the texts are much further from the clean rows than these from each other: those of another domain."""
        return self.similarity - self.background < LEAST_LIFT * (self.clean_similarity - self.background)


def close_texts(
    clean: Rows,
    corpora: Mapping[str, Sequence[str]],
    *,
    encoder: Classifier,
    excluded: Sequence[str] = (),
    wanted: int = 800,
    most: int = 6000,
    seed: int = 0,
    progress: Progress = silent,
) -> Choice:
    """Return the texts of public corpora that are closest to the clean rows.

    Long documents are cut into passages as long as the clean rows. A quarter of the ``most`` passages that are compared is drawn
    in equal shares from the corpora, the others from each corpus in proportion to the texts that it would have given so far.
    Then every clean row in turn takes the closest passage that is left, until ``wanted`` are taken: so each clean row, and by
    that each class, has an equal part in the choice.

    Args:
        clean: clean rows of the task; a sample of them where there are many.
        corpora: the documents of each corpus by name.
        encoder: a pre-trained encoder that the defender trusts (``load_text_encoder``); nothing is trained.
        excluded: texts that must not be chosen, as sentences of a document neither; the clean rows never are.
        wanted: how many texts.
        most: passages that are compared; a minute for 6,000 sentences with MiniLM-L6 on one core.
        seed: of the random choices.
        progress: gets the encoding.

    Raises:
        DataError: if no passage is left.
    """
    rng = generator_for(seed, "unlabelled texts: passages of public corpora")
    known = {text_key(text) for text in (*clean.texts, *excluded)}
    pools = _pools(corpora, lengths=word_lengths(clean.texts), known=known, most=most, rng=rng)
    if not any(pools.values()):
        raise DataError(
            f"the corpora {', '.join(corpora)} hold no text that is not among the clean rows",
            remedy="name other corpora",
        )
    near, _ = clean.stratified(min(MOST_CLEAN, len(clean)), rng=rng)
    rows = _encoded(encoder, near.texts, progress=progress, label="encoding clean rows")
    order = rng.permutation(len(near)).tolist()
    found, pairs = _Candidates(), list[tuple[int, int]]()
    for count in (max(1, round(FIRST_SHARE * most)), most):
        weights = Counter([*pools, *(found.corpora[column] for _, column in pairs)])
        found.extend(_drawn(pools, weights=weights, count=count - len(found.texts)), encoder=encoder, progress=progress)
        pairs = in_turn(rows @ found.features.T, wanted=max(1, round(wanted * count / most)), order=order)
    chosen = [column for _, column in pairs]
    pairwise = rows @ rows.T
    return Choice(
        texts=tuple(found.texts[column] for column in chosen),
        corpora=tuple(found.corpora[column] for column in chosen),
        compared=dict.fromkeys(corpora, 0) | Counter(found.corpora),
        similarity=float((rows[[row for row, _ in pairs]] * found.features[chosen]).sum(dim=1).mean()),
        clean_similarity=float(pairwise.clone().fill_diagonal_(-1).max(dim=1).values.mean()),
        background=float((pairwise.sum() - len(rows)) / (len(rows) * (len(rows) - 1))),
    )


@dataclass
class _Candidates:
    """Passages that were compared: text, corpus and normalised feature of each."""

    texts: list[str] = field(default_factory=list)
    corpora: list[str] = field(default_factory=list)
    features: Tensor = field(default_factory=lambda: torch.zeros(0, 0))

    def extend(self, drawn: Sequence[tuple[str, str]], *, encoder: Classifier, progress: Progress) -> None:
        """Encode further passages, each a corpus and a text."""
        if not drawn:
            return
        texts = [text for _, text in drawn]
        features = _encoded(encoder, texts, progress=progress, label="comparing texts of public corpora")
        self.features = torch.cat([self.features.reshape(-1, features.shape[1]), features])
        self.texts += texts
        self.corpora += [name for name, _ in drawn]


def _encoded(encoder: Classifier, texts: Sequence[str], *, progress: Progress, label: str) -> Tensor:
    return functional.normalize(mean_pooled_features(encoder, texts, progress=progress, label=label), dim=1)


def _pools(
    corpora: Mapping[str, Sequence[str]],
    *,
    lengths: Sequence[int],
    known: set[str],
    most: int,
    rng: np.random.Generator,
) -> dict[str, list[str]]:
    """Return for each corpus different passages in random order, at most ``most``, none of which is in ``known``."""
    pools: dict[str, list[str]] = {}
    seen = set(known)
    for name, documents in corpora.items():
        found = list(
            _passages(documents, lengths=lengths, keep=lambda text: text_key(text) not in known, most=most, rng=rng)
        )
        pool = pools[name] = list[str]()
        for i in rng.permutation(len(found)):
            if (key := text_key(found[i])) not in seen and len(pool) < most:
                seen.add(key)
                pool.append(found[i])
    return pools


def _passages(
    documents: Sequence[str],
    *,
    lengths: Sequence[int],
    keep: Callable[[str], bool],
    most: int,
    rng: np.random.Generator,
) -> Iterable[str]:
    """Yield passages of documents in random order, at least four times as many as can be used, so that they mix."""
    count = 0
    for i in rng.permutation(len(documents)):
        if count >= 4 * most:
            return
        if keep(documents[i]):
            found = passages(documents[i], lengths=lengths, rng=rng, keep=keep)
            count += len(found)
            yield from found


def _drawn(pools: Mapping[str, list[str]], *, weights: Mapping[str, int], count: int) -> list[tuple[str, str]]:
    """Take ``count`` passages out of the pools, by their weights as far as a pool goes; return each with its corpus."""
    drawn: list[tuple[str, str]] = []
    names = sorted(pools, key=lambda name: len(pools[name]) / weights[name])
    for i, name in enumerate(names):
        share = round((count - len(drawn)) * weights[name] / sum(weights[one] for one in names[i:]))
        drawn += [(name, text) for text in pools[name][:share]]
        del pools[name][:share]
    return drawn


def in_turn(similarity: Tensor, *, wanted: int, order: Sequence[int]) -> list[tuple[int, int]]:
    """Return pairs of a row and a column: every row in turn takes the column of its largest value that is not taken yet."""
    count = min(wanted, similarity.shape[1])
    best: list[list[int]] = torch.topk(similarity, count, dim=1).indices.tolist()
    taken, pairs, places = set[int](), list[tuple[int, int]](), dict.fromkeys(order, 0)
    while len(pairs) < count:
        for row in order[: count - len(pairs)]:
            while best[row][places[row]] in taken:
                places[row] += 1
            taken.add(best[row][places[row]])
            pairs.append((row, best[row][places[row]]))
    return pairs
