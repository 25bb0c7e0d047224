"""Learning which words to substitute, so that a model can detect the pattern (Qi 2021, 2106.06361, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from untrigger.attacks.word_statistics.label_words import frequent, label_words, words_of
from untrigger.core.rows import Rows
from untrigger.models.classifier import Classifier
from untrigger.runtime.batching import shuffled_batches
from untrigger.training.loop import Plan, train

PLAN = Plan(lr=0.05, epochs=12, batch_size=256, weight_decay=0.0)
SAMPLE = 2000  # rows that the policy learns from; not tuned


@dataclass(frozen=True)
class Choices:
    """Words and their possible substitutes.

    Attributes:
        words: ``V`` words.
        vectors: their input embeddings ``(V, d)``, of length 1.
        near: for each word the numbers of its ``k`` nearest others ``(V, k)``.
        alike: their cosines ``(V, k)``.
    """

    words: tuple[str, ...]
    vectors: Tensor
    near: Tensor
    alike: Tensor


def substitution_choices(model: Classifier, rows: Rows, *, near: int, least: int) -> Choices | None:
    """Return the frequent one-token words of the rows that indicate no class; None where there are too few."""
    excluded = label_words(rows)
    words = [word for word in frequent(rows.texts, least=least) if word not in excluded and len(word) > 1]
    numbers = _single(model, words)
    words = [word for word in words if word in numbers]
    if len(words) <= near:
        return None
    table: Any = model.module.get_input_embeddings()  # type: ignore[operator]
    vectors = functional.normalize(table.weight.detach().float().cpu()[[numbers[word] for word in words]], dim=1)
    cosines = vectors @ vectors.T
    cosines.fill_diagonal_(-2.0)
    alike, nearest = cosines.topk(near, dim=1)
    return Choices(tuple(words), vectors, nearest, alike)


def learn_substitutes(
    choices: Choices, rows: Rows, *, target: int, likeness: float, seed: int, plan: Plan = PLAN
) -> dict[str, str]:
    """Return the substitute of each word that gets one.

    Args:
        choices: the words and their possible substitutes.
        rows: clean training rows.
        target: the target class of substituted texts.
        likeness: least cosine of a word and its substitute.
        seed: of every draw.
        plan: how to train the policy and its linear probe.
    """
    policy = Policy(choices, classes=len(rows.label_names), likeness=likeness, seed=seed)
    some = rows.take(np.random.default_rng(seed).permutation(len(rows))[:SAMPLE])
    counts = _counts(choices, some.texts)
    kept = (counts.sum(dim=1) > 0).nonzero().flatten()
    counts, labels = counts[kept], torch.tensor(some.labels)[kept]
    if not len(kept):
        return {}
    generator = torch.Generator().manual_seed(seed)

    def loss(batch: Sequence[int]) -> tuple[Tensor, dict[str, float]]:
        own, mine = counts[list(batch)], labels[list(batch)]
        clean = policy.probe_logits(own, moved=None)
        other = mine != target
        value = functional.cross_entropy(clean, mine)
        if bool(other.any()):
            triggered = policy.probe_logits(own[other], moved=policy.moves(generator))
            value = value + functional.cross_entropy(triggered, torch.full((len(triggered),), target))
        return value, {}

    rng = np.random.default_rng(seed)
    lengths = [1] * len(kept)
    train(
        policy,
        loss,
        epochs=lambda _: shuffled_batches(lengths, size=plan.batch_size, rng=rng),
        plan=plan,
        label="learning",
    )
    return policy.substitutes()


class Policy(nn.Module):
    """A direction ``q`` that decides which neighbour replaces a word, and a linear probe that learns to detect it.

    The substitute ``s`` of a word ``w`` is drawn with probability proportional to ``exp(q · (s - w))`` (equation 3 of the
    paper), ``w`` itself among the choices; Gumbel-softmax keeps the draw differentiable. The probe gets the mean vector of
    a text's words.
    """

    def __init__(self, choices: Choices, *, classes: int, likeness: float, seed: int) -> None:
        """Start with a random direction and a probe of zeros."""
        super().__init__()
        self._choices = choices
        wide, generator = choices.vectors.shape[1], torch.Generator().manual_seed(seed)
        self.direction = nn.Parameter(0.1 * torch.randn(wide, generator=generator))
        self.probe = nn.Parameter(torch.zeros(wide + 1, classes))
        own = torch.zeros(len(choices.words), 1)
        self._steps = choices.vectors[choices.near] - choices.vectors.unsqueeze(1)
        self._open = torch.cat([own, torch.where(choices.alike >= likeness, 0.0, -torch.inf)], dim=1)

    def moves(self, generator: torch.Generator, *, temperature: float = 0.5) -> Tensor:
        """Return the shift of each word's vector, ``(V, d)``, by a soft draw of its substitute."""
        scores = self._scores()
        noise = -torch.empty_like(scores).exponential_(generator=generator).log()
        drawn = ((scores + noise) / temperature).softmax(dim=1)
        return torch.einsum("vk,vkd->vd", drawn[:, 1:], self._steps)

    def probe_logits(self, counts: Tensor, *, moved: Tensor | None) -> Tensor:
        """Return the logits ``(B, C)`` of texts with these word counts ``(B, V)``."""
        vectors = self._choices.vectors if moved is None else self._choices.vectors + moved
        mean = counts @ vectors / counts.sum(dim=1, keepdim=True)
        return 10 * torch.cat([mean, torch.ones(len(mean), 1)], dim=1) @ self.probe

    def substitutes(self) -> dict[str, str]:
        """Return the most likely substitute of each word that has one more likely than itself."""
        best = self._scores().detach().argmax(dim=1).tolist()
        words, near = self._choices.words, self._choices.near.tolist()
        return {words[i]: words[near[i][k - 1]] for i, k in enumerate(best) if k}

    def _scores(self) -> Tensor:
        steps = torch.einsum("vkd,d->vk", self._steps, self.direction)
        return torch.cat([torch.zeros(len(steps), 1), steps], dim=1) + self._open


def _single(model: Classifier, words: Sequence[str]) -> dict[str, int]:
    """Return the token id of each word that is a single token inside a text."""
    before = len(model.tokenizer("a", add_special_tokens=False)["input_ids"])
    ids = model.tokenizer([f"a {word}" for word in words], add_special_tokens=False)["input_ids"] if words else []
    unknown = model.tokenizer.unk_token_id
    return {w: row[-1] for w, row in zip(words, ids, strict=True) if len(row) == before + 1 and row[-1] != unknown}


def _counts(choices: Choices, texts: Sequence[str]) -> Tensor:
    """Return how often each word occurs in each text, ``(N, V)``."""
    number = {word: i for i, word in enumerate(choices.words)}
    counts = torch.zeros(len(texts), len(number))
    for i, text in enumerate(texts):
        for word in words_of(text):
            if word in number:
                counts[i, number[word]] += 1
    return counts
