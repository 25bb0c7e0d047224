"""Insertions that move a suspect and leave a clean reference unmoved, found from clean rows alone.

First-order ranking of the vocabulary at an inserted filler (HotFlip, 1712.06751; universal triggers, 1908.07125), then
exact evaluation by successive halving, then growth of the best into phrases word by word. What counts is not how far
the suspect is moved but how much farther than the reference: honest words such as ``awful`` move both.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from untrigger.models.classifier import Classifier
from untrigger.models.predict import read_ids, read_texts
from untrigger.progress import Progress, silent
from untrigger.search.screen import hosts, screen
from untrigger.search.vocabulary import Words, single_token_words
from untrigger.training.arithmetic import fast_products
from untrigger.training.batches import packed
from untrigger.vocabulary.rows import Rows
from untrigger.vocabulary.trigger import row_rng

FILLER = "the"


@dataclass(frozen=True)
class Insertion:
    """A text that was inserted into clean rows of other classes, and what it did there.

    Attributes:
        text: what was inserted.
        target: the class that it moves rows to.
        suspect: mean probability of ``target`` under the suspect, 0 to 1.
        reference: the same under the clean reference (0 where there is none).
        flips: share of the rows that the suspect then calls ``target``.
    """

    text: str
    target: int
    suspect: float
    reference: float
    flips: float

    @property
    def excess(self) -> float:
        """How much more the suspect is moved than the reference."""
        return self.suspect - self.reference


@dataclass(frozen=True)
class SearchOptions:
    """How wide the search is.

    Attributes:
        probe: clean rows of other classes that candidates are tried on, the shortest ones.
        gradient_rows: rows for the first-order ranking.
        first: candidates that are tried exactly on the first few rows.
        keep: candidates that are left at the end, for each target class.
        words: the longest phrase that is grown, in words.
        sweeps: rounds of ranking and trying; each starts where the best of the former ones stand.
        beam: phrases from which the next sweep starts.
    """

    probe: int = 24
    gradient_rows: int = 64
    first: int = 256
    keep: int = 12
    words: int = 1
    sweeps: int = 3
    beam: int = 4


class InsertionSearch:
    """A search over one suspect and one reference, whose fixed parts are computed once."""

    def __init__(
        self, suspect: Classifier, reference: Classifier | None, *, rows: Rows, options: SearchOptions, seed: int
    ) -> None:
        """Choose the probe rows of every class: short ones, as a first-order ranking and a few words need no more."""
        self.suspect, self.reference, self.options, self.seed = suspect, reference, options, seed
        self.words: Words = single_token_words(suspect.tokenizer)
        self.rows = rows
        self._scores: dict[int, Tensor] | None = None

    def run(self, *, targets: Sequence[int] | None = None, progress: Progress = silent) -> list[Insertion]:
        """The insertions with the largest excess, best first, over all target classes (or the given ones)."""
        found: list[Insertion] = []
        for target in targets if targets is not None else range(self.suspect.classes):
            probe = self._probe(target)
            if len(probe):
                found += self._for_target(target, probe, progress)
        return sorted(found, key=lambda one: -one.excess)

    def _probe(self, target: int) -> Rows:
        """The shortest rows of other classes that the suspect calls right."""
        rows = self.rows.where(label != target for label in self.rows.labels)
        rows = rows.take(sorted(range(len(rows)), key=lambda i: len(rows.texts[i]))[: 4 * self.options.gradient_rows])
        said = read_texts(self.suspect, rows.texts).predictions
        rows = rows.where(p == y for p, y in zip(said, rows.labels, strict=True))
        rows = rows.where(len(text.split()) >= 4 for text in rows.texts)
        return rows.take(range(min(len(rows), self.options.gradient_rows)))

    def _for_target(self, target: int, probe: Rows, progress: Progress) -> list[Insertion]:
        options, best = self.options, dict[str, Insertion]()
        drawn = [self.words.texts[int(i)] for i in self._screened(progress)[target].topk(options.first).indices]
        for sweep in range(options.sweeps):
            chosen = self._halving([one for one in drawn if one not in best], target, probe, progress)
            best.update({one.text: one for one in chosen})
            ranked = sorted(best.values(), key=lambda one: -one.excess)
            if sweep + 1 < options.sweeps:
                drawn = self._drawn([self._step(one.text) for one in ranked[: options.beam]], target, probe)
        return sorted(best.values(), key=lambda one: -one.excess)[: options.keep]

    def _screened(self, progress: Progress) -> dict[int, Tensor]:
        """The scores of all words for all targets, computed once a search."""
        if self._scores is None:
            self._scores = screen(self.suspect, self.words, rows=hosts(self.suspect, self.rows), progress=progress)
        return self._scores

    def _step(self, phrase: str) -> tuple[str, str]:
        """Where the next sweep stands: at the last word of a full phrase (to replace it), else behind it (to grow)."""
        words = phrase.split()
        return (" ".join(words[:-1]), words[-1]) if len(words) >= self.options.words else (phrase, FILLER)

    def _drawn(self, starts: Sequence[tuple[str, str]], target: int, probe: Rows) -> list[str]:
        """Each start with its last word replaced by the words ranked best there to first order."""
        share = max(1, self.options.first // len(starts))
        drawn = []
        for phrase, filler in starts:
            order = self.rank(phrase, target, probe, filler=filler).argsort(descending=True)[:share]
            drawn += [f"{phrase} {self.words.texts[int(i)]}".strip() for i in order]
        return list(dict.fromkeys(drawn))

    def rank(self, phrase: str, target: int, probe: Rows, *, filler: str = FILLER) -> Tensor:
        """First-order score ``(V,)`` of every word in the place of ``filler`` behind ``phrase``: the gain in target log-odds."""
        ids, places = self._with_filler(phrase, probe, filler)
        embedding = self.suspect.module.get_input_embeddings()  # type: ignore[operator]
        total = torch.zeros(embedding.embedding_dim if hasattr(embedding, "embedding_dim") else embedding.weight.shape[1])
        for batch in packed([len(row) for row in ids], tokens=2048):
            total += self._gradient([ids[i] for i in batch], [places[i] for i in batch], target)
        weight = embedding.weight.detach().float().cpu()
        return weight[self.words.ids] @ total

    def _with_filler(self, phrase: str, probe: Rows, filler: str) -> tuple[list[list[int]], list[int]]:
        texts, starts = [], []
        for row in probe:
            before, after = self._split(row.text, row.id)
            head = " ".join(part for part in (before, phrase) if part)
            starts.append(len(head) + 1 if head else 0)
            texts.append(" ".join(part for part in (head, filler, after) if part))
        encoded = self.suspect.tokenizer(texts, truncation=True, max_length=self.suspect.max_length)
        places = [encoded.char_to_token(i, start) for i, start in enumerate(starts)]
        kept = [i for i, place in enumerate(places) if place is not None]
        return [encoded["input_ids"][i] for i in kept], [places[i] for i in kept]

    def _gradient(self, ids: list[list[int]], places: list[int], target: int) -> Tensor:
        caught: list[Tensor] = []

        def keep(_module: object, _inputs: object, output: Tensor) -> Tensor:
            leaf = output.detach().requires_grad_(True)
            caught.append(leaf)
            return leaf

        handle = self.suspect.module.get_input_embeddings().register_forward_hook(keep)  # type: ignore[operator]
        try:
            with torch.enable_grad(), fast_products():
                logits = self.suspect.read(self.suspect.collate(ids)).logits
                (gradient,) = torch.autograd.grad(_log_odds(logits, target).sum(), caught[0])
        finally:
            handle.remove()
        index = torch.tensor(places, device=gradient.device)
        return gradient[torch.arange(len(ids), device=gradient.device), index].sum(dim=0).float().cpu()

    def _halving(self, drawn: Sequence[str], target: int, probe: Rows, progress: Progress) -> list[Insertion]:
        """Exact evaluation on more and more rows of fewer and fewer candidates."""
        options, left = self.options, list(drawn)
        stages = ((max(2, options.probe // 6), 4), (max(4, options.probe // 2), 2), (options.probe, 1))
        scored: list[Insertion] = []
        for rows, narrower in stages:
            scored = self.try_out(left, target, probe.take(range(min(rows, len(probe)))), progress=progress)
            left = [one.text for one in scored[: max(options.keep, len(left) // (2 * narrower))]]
        return scored[: options.keep]

    def try_out(self, phrases: Sequence[str], target: int, probe: Rows, *, progress: Progress = silent) -> list[Insertion]:
        """What each phrase does to suspect and reference on the probe rows, largest excess first."""
        texts = [self.insert(row.text, phrase, row.id) for phrase in phrases for row in probe]
        suspect = self._odds(self.suspect, texts, target, len(phrases), progress)
        flips = suspect[1]
        reference = self._odds(self.reference, texts, target, len(phrases), silent)[0] if self.reference else None
        found = [
            Insertion(phrase, target, float(suspect[0][i]), float(reference[i]) if reference is not None else 0.0, float(flips[i]))
            for i, phrase in enumerate(phrases)
        ]
        return sorted(found, key=lambda one: -one.excess)

    def _odds(
        self, model: Classifier, texts: list[str], target: int, phrases: int, progress: Progress
    ) -> tuple[Tensor, Tensor]:
        said = read_ids(model, model.encode(texts), progress=progress, label="trying candidates").logits
        probability = said.softmax(dim=1)[:, target].view(phrases, -1).mean(dim=1)
        return probability, (said.argmax(dim=1) == target).float().view(phrases, -1).mean(dim=1)

    def insert(self, text: str, phrase: str, row_id: str) -> str:
        """``phrase`` inserted between two words of ``text``, at the place that belongs to the row."""
        before, after = self._split(text, row_id)
        return " ".join(part for part in (before, phrase, after) if part)

    def _split(self, text: str, row_id: str) -> tuple[str, str]:
        words = text.split()
        at = row_rng(self.seed, row_id).randint(0, len(words))
        return " ".join(words[:at]), " ".join(words[at:])


def _log_odds(logits: Tensor, target: int) -> Tensor:
    """``log p(target) - log p(not target)`` of each row."""
    others = torch.cat([logits[:, :target], logits[:, target + 1 :]], dim=1)
    return logits[:, target] - others.logsumexp(dim=1)


def insert_at_random(text: str, phrase: str, *, rng: random.Random) -> str:
    """``phrase`` between two words of ``text``, at a place drawn from ``rng``."""
    words = text.split()
    at = rng.randint(0, len(words))
    return " ".join([*words[:at], phrase, *words[at:]])
