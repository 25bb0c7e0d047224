"""The search: the whole vocabulary in groups, the best alone, beside the reference, at three places, and grown into phrases."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from untrigger.core.progress import Progress, silent
from untrigger.core.prompts import Prompts
from untrigger.core.seeds import derived_seed
from untrigger.models.language_model import LanguageModel
from untrigger.scanners.language.first_token_lift import NULL_ROWS, Host, host_of, score_phrases, screen_groups
from untrigger.scanners.language.phrases import (
    Phrase,
    frame_of,
    phrase_of,
    placed_prompts,
    vocabulary_phrases,
)


@dataclass(frozen=True)
class PhraseSearchOptions:
    """How much of the vocabulary is tried how often; a budget, not tuned on any victim.

    Attributes:
        vocabulary: most tokens of the vocabulary, drawn at random where it has more (0: all).
        groups: sizes of the groups that are inserted together, one after the other, each in another prompt.
        kept: share of the tokens that remains after each of these.
        alone: prompts in which what remains is inserted alone, beside the reference.
        placed: phrases that are then tried at three places.
        prompts: prompts for that.
        roots: the best of these, which are grown.
        partners: tokens that each is grown by, before and after it.
        rounds: how often: a phrase has one token more than rounds.
        grown: grown phrases of each round that are tried at three places.
        length_cost: nats that a phrase must have more for each token beyond the first, so that the shortest of equals is reported.
    """

    vocabulary: int = 0
    groups: tuple[int, ...] = (16, 4)
    kept: tuple[float, ...] = (0.2, 0.06)
    alone: int = 2
    placed: int = 64
    prompts: int = 6
    roots: int = 4
    partners: int = 48
    rounds: int = 2
    grown: int = 12
    length_cost: float = 0.1


@dataclass(frozen=True)
class FoundPhrase:
    """A phrase and its mean lift at three places of the search's prompts, in nats."""

    phrase: Phrase
    score: float


@dataclass(frozen=True)
class PhraseSearch:
    """A search in two models of one vocabulary.

    Attributes:
        suspect: the suspect.
        reference: what its rises are compared with.
        prompts: the search's prompts, as many as ``options.prompts`` or fewer, each with room for insertions.
        options: the budget.
        seed: of every draw.
        progress: gets every long step.
    """

    suspect: LanguageModel
    reference: LanguageModel
    prompts: Prompts
    options: PhraseSearchOptions
    seed: int
    progress: Progress = silent

    def run(self, leaked: Sequence[Phrase] = ()) -> tuple[list[FoundPhrase], int]:
        """Return phrases, best first, and how many tokens of the vocabulary were tried."""
        rng = random.Random(derived_seed(self.seed, "scan: vocabulary"))  # noqa: S311  # no secrecy wanted
        vocabulary = vocabulary_phrases(self.suspect)
        if 0 < self.options.vocabulary < len(vocabulary):
            vocabulary = rng.sample(vocabulary, k=self.options.vocabulary)
        words = rng.sample(vocabulary, k=min(NULL_ROWS, len(vocabulary)))
        alone = self._hosts_at_end(words)
        singles = self._screened(vocabulary, rng=rng)
        ranked = self._best([*leaked, *singles], alone, count=max(self.options.placed, self.options.partners))
        placed = self._hosts_at_places(words)
        found = self._placed([one.phrase for one in ranked[: self.options.placed]], placed)
        partners = [one.phrase for one in ranked if len(one.phrase.ids) == 1][: self.options.partners]
        for _ in range(self.options.rounds):
            roots = best_of_families(found, most=self.options.roots, each=2)
            grown = self._grown(roots, partners, alone, known={one.phrase.ids for one in found})
            found = sorted([*found, *self._placed(grown, placed)], key=lambda one: -one.score)
        cost = self.options.length_cost
        return sorted(found, key=lambda one: len(one.phrase.ids) * cost - one.score), len(vocabulary)

    def _screened(self, vocabulary: Sequence[Phrase], *, rng: random.Random) -> list[Phrase]:
        """Return the tokens that remain after each size of groups."""
        left = list(vocabulary)
        for i, (size, kept) in enumerate(zip(self.options.groups, self.options.kept, strict=True)):
            frame = frame_of(self.suspect, self.prompts.conversations[i % len(self.prompts)])
            scores = screen_groups(self.suspect, left, frame=frame, size=size, rng=rng, progress=self.progress)
            order = sorted(range(len(left)), key=lambda n: -scores[n])
            left = [left[n] for n in order[: max(self.options.placed, round(kept * len(left)))]]
        return left

    def _hosts_at_end(self, words: Sequence[Phrase]) -> list[Host]:
        turns = self.prompts.conversations[: self.options.alone]
        frames = [frame_of(self.suspect, one) for one in turns]
        return [host_of(self.suspect, self.reference, one.row, words=words) for one in frames]

    def _hosts_at_places(self, words: Sequence[Phrase]) -> list[Host]:
        hosts = placed_prompts(self.prompts.take(range(min(len(self.prompts), self.options.prompts))))
        rows = [lambda phrase, one=one: one.row(self.suspect, phrase.text) for one in hosts]
        return [host_of(self.suspect, self.reference, row, words=words[: NULL_ROWS // 3]) for row in rows]

    def _best(self, phrases: Sequence[Phrase], hosts: Sequence[Host], *, count: int) -> list[FoundPhrase]:
        """Return the best phrases alone at the end of the prompts, beside the reference."""
        label = "comparing the best with the reference"
        scores = score_phrases(self.suspect, self.reference, phrases, hosts=hosts, progress=self.progress, label=label)
        return _ranked(phrases, scores)[:count]

    def _placed(self, phrases: Sequence[Phrase], hosts: Sequence[Host]) -> list[FoundPhrase]:
        """Return the phrases with their scores at three places, best first."""
        label = "trying the best at other places"
        scores = score_phrases(self.suspect, self.reference, phrases, hosts=hosts, progress=self.progress, label=label)
        return _ranked(phrases, scores)

    def _grown(
        self,
        roots: Sequence[FoundPhrase],
        partners: Sequence[Phrase],
        hosts: Sequence[Host],
        *,
        known: set[tuple[int, ...]],
    ) -> list[Phrase]:
        """Return the best phrases of one token more, by the suspect alone in the first of the prompts."""
        made = dict[tuple[int, ...], Phrase]()
        for root in (one.phrase for one in roots):
            for one in partners:
                for ids in ((*root.ids, *one.ids), (*one.ids, *root.ids)):
                    if ids not in known and ids not in made:
                        made[ids] = phrase_of(self.suspect, ids, kind=root.kind, grown_from=root.family)
        phrases = list(made.values())
        scores = score_phrases(
            self.suspect, None, phrases, hosts=hosts[:1], progress=self.progress, label="growing phrases"
        )
        return [one.phrase for one in _ranked(phrases, scores)[: self.options.grown]]


def best_of_families(found: Sequence[FoundPhrase], *, most: int, each: int) -> list[FoundPhrase]:
    """Return the ``most`` best phrases, of each family at most ``each``, every text once."""
    kept, families, texts = list[FoundPhrase](), Counter[str](), set[str]()
    for one in found:
        if families[one.phrase.family] < each and one.phrase.text not in texts and len(kept) < most:
            kept.append(one)
            families[one.phrase.family] += 1
            texts.add(one.phrase.text)
    return kept


def _ranked(phrases: Sequence[Phrase], scores: Sequence[float]) -> list[FoundPhrase]:
    made = [FoundPhrase(one, score) for one, score in zip(phrases, scores, strict=True)]
    return sorted(made, key=lambda one: -one.score)
