"""Insertions that move a suspect and leave a clean reference unmoved, found from clean rows alone.

Every word of the vocabulary is screened exactly, and every piece of a word glued to a letter (rare words are several pieces);
the best are tried on more and more rows (successive halving), and where none is enough the best are grown into phrases. The
next word or piece comes from two lists: common ones screened exactly beside the phrase, and any ranked by one gradient pass
at an inserted filler (HotFlip, 1712.06751; universal triggers, 1908.07125). The first list is the one that finds sentences:
beside ``3d``, the ``movie`` that completes a trigger stands at place 14,526 of 23,694 by its gradient. What counts is not how
far the suspect is moved but how much farther than the reference: honest words such as ``awful`` move both.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from untrigger.core.candidate import ONE_POSITION, Candidate, CandidateMeasurement
from untrigger.core.errors import OptionError
from untrigger.core.progress import Progress, silent
from untrigger.core.rows import Row, Rows
from untrigger.core.seeds import row_rng
from untrigger.inversion.gradient import Filler
from untrigger.inversion.screening import hosts, is_causal, screen, screen_row, vocabulary_of
from untrigger.inversion.vocabulary import CHARACTERS, Words, added_entries, carried, continuations
from untrigger.models.classifier import Classifier
from untrigger.models.inference import as_bfloat16, log_odds, predict_texts, predict_token_ids

logger = logging.getLogger(__name__)

LENGTH_PENALTY = 0.1
RUNNERS_UP = 6  # best of other families that are kept beside the best
BEGUN = 4  # best glued pieces that are tried behind every letter and digit
BEGINNINGS = 2  # so many of which are kept for each
GROWN = 3  # of so many targets at most phrases are grown
HOSTS = 3  # so many rows at most words are screened on
WIDER = 6  # so many times as many are held against the reference as are kept


@dataclass(frozen=True)
class SearchOptions:
    """How wide the search is.

    Attributes:
        probe: clean rows of other classes that candidates are tried on, the shortest ones.
        gradient_rows: rows for the first-order ranking, at most ``probe``.
        first: candidates that are tried exactly on the first few rows.
        keep: candidates that are left at the end, for each target class; many, because one word of a family is not enough.
        sweeps: the first tries single words, each further one grows the best by a word or a piece of a word.
        companions: common words that are screened exactly on either side of each phrase (and half as many pieces on its end).
        enough: an insertion with this surprise ends the sweeps of its target.
        promising: a phrase with this surprise is worth growing again.
        beam: phrases that are grown at each sweep.
        at_end: whether a causal model is tried behind the last word of each text, where a part of a trigger sentence moves it
            thrice as far as elsewhere, and any odd word does too.
    """

    probe: int = 16
    gradient_rows: int = 16
    first: int = 192
    keep: int = 24
    sweeps: int = 3
    companions: int = 2500
    enough: float = 0.85
    promising: float = 0.5
    beam: int = 2
    at_end: bool = True

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: naming what is out of range.
        """
        counts = {name: value for name, value in vars(self).items() if name not in ("enough", "promising", "at_end")}
        if min(counts.values()) < 1:
            raise OptionError(f"search options {counts}", expected="whole numbers of 1 or more")


class TriggerSearch:
    """A search over one suspect and one reference, whose fixed parts are computed once.

    During a search both are asked in the precision that ``as_bfloat16`` chooses.
    """

    def __init__(
        self,
        suspect: Classifier,
        reference: Classifier | None,
        *,
        rows: Rows,
        options: SearchOptions,
        seed: int,
        reference_model: str = "reference",
    ) -> None:
        """Choose the probe rows of every class: short ones, as a first-order ranking and a few words need no more."""
        self.suspect, self.reference, self.options, self.seed = suspect, reference, options, seed
        self._asked = suspect, reference
        self.reference_model = reference_model if reference is not None else ""
        self.rows = rows
        self.words = vocabulary_of(suspect, reference, rows=rows, seed=seed)
        self.added = added_entries(suspect.tokenizer, self.words)
        self.pieces = continuations(suspect.tokenizer, self.words)
        self.at_end = options.at_end and is_causal(suspect)
        self.filler = Filler(suspect, split=lambda row: self._split(row.text, row.id))
        self._screened: dict[int, list[str]] | None = None

    @cached_property
    def hosts(self) -> dict[int, Row]:
        """The rows that words are screened on, one of each class; of many classes those with the shortest."""
        rows = hosts(self.suspect, self.rows)
        return {label: rows[label] for label in sorted(sorted(rows, key=lambda label: len(rows[label].text))[:HOSTS])}

    @cached_property
    def common(self) -> tuple[Words, Words]:
        """Common words and pieces."""
        seen = Counter(word for ids in self.suspect.encode(self.rows.texts) for word in ids)
        most = self.options.companions
        return self.words.common(most, seen=seen), self.pieces.common(max(1, most // 2), seen=seen)

    def run(
        self, *, known: Sequence[Candidate] = (), grow: bool = True, progress: Progress = silent
    ) -> list[Candidate]:
        """The insertions with the largest surprise on the suspect as it now is, best first, over all target classes.

        The vocabulary is screened the first time only; later calls try the best of it again, and ``known`` insertions.
        Phrases are grown where no single word of any target is enough, for the three targets whose words do most, and always
        for those with a known insertion (what is left of an unlearned sentence lies around its words); without ``grow`` for none.
        """
        self._asked = as_bfloat16(self.suspect), as_bfloat16(self.reference) if self.reference is not None else None
        try:
            found = self._run(known, grow=grow, progress=progress)
            logger.info("search: %d candidates, largest score %.3f", len(found), _score(found[0]) if found else 0.0)
            return found
        finally:
            self._asked = self.suspect, self.reference

    def _run(self, known: Sequence[Candidate], *, grow: bool, progress: Progress) -> list[Candidate]:
        probes = {target: self._probe(target) for target in range(self.suspect.classes)}
        pool, best = self._pool(progress), dict[int, dict[str, Candidate]]()
        names = self.suspect.label_names
        before = {target: [one.text for one in known if one.target == names[target]] for target in probes}
        for target, probe in probes.items():
            if len(probe) and target in pool:
                tried = self._halving(list(dict.fromkeys([*before[target], *pool[target]])), target, probe, progress)
                best[target] = {one.text: one for one in tried}
        for target in self._to_grow(best, before) if grow else ():
            self._grow(best[target], target, probes[target], before[target], progress)
        return sorted((one for tried in best.values() for one in self._kept(tried)), key=lambda one: -_score(one))

    def _to_grow(self, best: dict[int, dict[str, Candidate]], known: dict[int, list[str]]) -> list[int]:
        """Targets with a known insertion, and where no word of any is enough also those whose best word does most."""
        if any(self._reached(tried, self.options.enough) for tried in best.values()):
            return [target for target in best if known[target]]
        order = sorted(best, key=lambda target: -max((_score(one) for one in best[target].values()), default=-1.0))
        return [target for target in best if known[target] or target in order[:GROWN]]

    def _probe(self, target: int) -> Rows:
        """The shortest rows of other classes that the suspect calls right."""
        rows = self.rows.where(label != target for label in self.rows.labels)
        rows = rows.take(sorted(range(len(rows)), key=lambda i: len(rows.texts[i]))[: 4 * self.options.probe])
        said = predict_texts(self.suspect, rows.texts).predictions
        rows = rows.where(p == y for p, y in zip(said, rows.labels, strict=True))
        rows = rows.where(len(text.split()) >= 4 for text in rows.texts)
        return rows.take(range(min(len(rows), self.options.probe)))

    def _grow(
        self, best: dict[str, Candidate], target: int, probe: Rows, known: Sequence[str], progress: Progress
    ) -> None:
        """Add phrases to ``best`` until one is enough, the sweeps are used up, or a first sweep made nothing promising."""
        for sweep in range(1, self.options.sweeps):
            in_vain = sweep > 1 and not self._reached(best, self.options.promising)
            if not best or in_vain or self._reached(best, self.options.enough):
                return
            beam = self._beam(self._ranked(best), known, sweep)
            roots = {phrase: best[phrase].family if phrase in best else phrase for phrase in beam}
            drawn = {
                text: roots[phrase]
                for phrase in beam
                for text in self._grown(phrase, len(beam), target, probe, progress)
            }
            fresh = [one for one in drawn if one not in best]
            best.update(
                {
                    one.text: replace(one, grown_from=drawn[one.text])
                    for one in self._halving(fresh, target, probe, progress)
                }
            )
            shorter = {
                text: one.family for one in self._ranked(best)[: self.options.beam] for text in _shorter(one.text)
            }
            fresh = [one for one in shorter if one not in best]
            tried = self.try_out(fresh, target, probe, progress=progress)
            best.update({one.text: replace(one, grown_from=shorter[one.text]) for one in tried})

    def _kept(self, best: dict[str, Candidate]) -> list[Candidate]:
        """The best, what they were grown from, and the best of the families that are not among them."""
        ranked = self._ranked(best)
        kept, rest = ranked[: self.options.keep], ranked[self.options.keep :]
        known = {one.family for one in kept}
        others = {one.family: one for one in reversed(rest) if one.family not in known}
        kept += sorted(others.values(), key=lambda one: -_score(one))[:RUNNERS_UP]
        roots = {one.family for one in kept} - {one.text for one in kept}
        return [*kept, *(one for one in rest if one.text in roots)]

    @staticmethod
    def _reached(found: dict[str, Candidate], least: float) -> bool:
        return any(_score(one) >= least for one in found.values())

    @staticmethod
    def _ranked(best: dict[str, Candidate]) -> list[Candidate]:
        return sorted(best.values(), key=lambda one: -_score(one))

    def _beam(self, ranked: Sequence[Candidate], known: Sequence[str], sweep: int) -> list[str]:
        """What is grown next: the best so far, at first beside the strongest that were known before."""
        half = (self.options.beam + 1) // 2 if sweep == 1 and known else 0
        return list(dict.fromkeys([*known[:half], *(one.text for one in ranked)]))[: self.options.beam]

    def _pool(self, progress: Progress) -> dict[int, list[str]]:
        """For each target the words and glued pieces that the exact screening of the suspect, done once, puts first."""
        if self._screened is None:
            most, asked = self.options.first, self._asked[0]
            words = self.words.with_more(self.added)
            scores = screen(asked, words, rows=self.hosts, progress=progress)
            self._screened = {target: self._best(words.texts, score, target, most) for target, score in scores.items()}
            glued = {} if is_causal(self.suspect) else carried(self.suspect.tokenizer, self.pieces)
            texts = [f"{letter}{text}" for letter, pieces in glued.items() for text in pieces.texts]
            parts = [
                screen(asked, own, rows=self.hosts, left=letter, progress=progress) for letter, own in glued.items()
            ]
            for target in scores if parts else ():  # glued pieces come in the place of no word
                best = self._best(texts, torch.cat([part[target] for part in parts]), target, max(1, most // 12))
                self._screened[target] += [*best, *self._begun(best[:BEGUN], target)]
        return self._screened

    def _begun(self, glued: Sequence[str], target: int) -> list[str]:
        """The glued pieces behind other letters and digits: those of each that move the suspect most, in log-odds.

        In log-odds, as every letter is enough for many a piece, and the trigger's own moves the suspect a little farther.
        """
        known = {*self.words.texts, *self.added.texts, *glued}
        groups = [[word for letter in CHARACTERS if (word := letter + text[1:]) not in known] for text in glued]
        rows = [row for y, row in self.hosts.items() if y != target]
        begun = list[str]()
        for texts in groups:
            said = predict_texts(self._asked[0], [f"{row.text} {text}" for row in rows for text in texts]).logits
            least = log_odds(said, [target] * len(said)).view(len(rows), len(texts)).amin(dim=0)
            begun += [texts[int(i)] for i in least.topk(min(BEGINNINGS, len(texts))).indices]
        return begun

    def _best(self, words: Sequence[str], score: Tensor, target: int, count: int) -> list[str]:
        """The ``count`` words that lead the reference most of those with the best screening."""
        best = score.topk(min(WIDER * count, len(score)))
        texts = [words[int(i)] for i in best.indices]
        order = self._farther(best.values, texts, target, [row for y, row in self.hosts.items() if y != target])
        return [texts[int(i)] for i in order[:count]]

    def _farther(self, suspect: Tensor, phrases: Sequence[str], target: int, rows: Sequence[Row]) -> Tensor:
        """The order of phrases at the end of the rows by how much farther than the reference they move the suspect.

        ``suspect`` is its log-probability of the target for each, the least over the rows.
        """
        reference = self._asked[1]
        if reference is None or not phrases:
            return suspect.argsort(descending=True, stable=True)
        texts = [f"{row.text} {phrase}" for row in rows for phrase in phrases]
        said = predict_texts(reference, texts).logits.log_softmax(dim=1)[:, target].view(len(rows), -1)
        return (suspect - said.amin(dim=0)).argsort(descending=True, stable=True)

    def _grown(self, phrase: str, beam: int, target: int, probe: Rows, progress: Progress) -> list[str]:
        """A phrase, one of ``beam``, with a word before it, behind it, or a piece on its end, the best of either list."""
        share = max(1, self.options.first // (12 * beam))
        few = probe.take(range(min(len(probe), self.options.gradient_rows)))
        before, behind = (self.filler.gradient(*at, target, few) for at in (("", phrase), (phrase, "")))
        beside = self._companions(phrase, target, 3 * share, progress)
        return [
            *(f"{word} {phrase}" for word in [*beside[0], *self.filler.best(before, self.words, share)]),
            *(f"{phrase} {word}" for word in [*beside[1], *self.filler.best(behind, self.words, share)]),
            *(f"{phrase}{piece}" for piece in [*beside[2], *self.filler.best(behind, self.pieces, share)]),
        ]

    def _companions(
        self, phrase: str, target: int, count: int, progress: Progress
    ) -> tuple[list[str], list[str], list[str]]:
        """Words that move the suspect farther than the reference before and behind the phrase, and pieces on its end.

        Read on the one host that the phrase alone moves least.
        """
        rows = [row for label, row in self.hosts.items() if label != target]
        if not rows:
            return [], [], []
        said = predict_texts(self.suspect, [f"{row.text} {phrase}" for row in rows]).logits.log_softmax(dim=1)[
            :, target
        ]
        row = rows[int(said.argmin())]

        def best(words: Words, *, left: str = "", right: str = "", glue: str = " ") -> list[str]:
            if not words.texts:
                return []
            logits = screen_row(self._asked[0], row, words=words, left=left, right=right, progress=progress)
            first = logits.log_softmax(dim=1)[:, target].topk(min(WIDER * count, len(words.texts)))
            texts = [words.texts[int(i)] for i in first.indices]
            grown = [f"{left}{glue}{text} {right}".strip() for text in texts]
            return [texts[int(i)] for i in self._farther(first.values, grown, target, [row])[:count]]

        words, pieces = self.common
        return best(words, right=phrase), best(words, left=phrase), best(pieces, left=phrase, glue="")

    def _halving(self, drawn: Sequence[str], target: int, probe: Rows, progress: Progress) -> list[Candidate]:
        """Evaluation on more and more rows of fewer and fewer candidates."""
        options, left = self.options, list(drawn)
        for rows, kept in ((options.probe // 4, len(left) // 3), (options.probe // 2, 2 * options.keep)):
            few = probe.take(range(min(max(1, rows), len(probe))))
            left = [one.text for one in self.try_out(left, target, few, progress=progress)]
            left = left[: max(options.keep, kept)]
        whole = probe.take(range(min(options.probe, len(probe))))
        return self.try_out(left, target, whole, progress=progress)[: options.keep]

    def try_out(
        self, phrases: Sequence[str], target: int, probe: Rows, *, progress: Progress = silent
    ) -> list[Candidate]:
        """What each phrase does to suspect and reference on the probe rows, largest excess first."""
        if not phrases:
            return []
        texts = [self.insert(row.text, phrase, row.id) for phrase in phrases for row in probe]

        def odds(model: Classifier, shown: Progress) -> tuple[Tensor, Tensor]:
            said = predict_token_ids(model, model.encode(texts), progress=shown, label="trying candidates").logits
            probability = said.softmax(dim=1)[:, target].view(len(phrases), -1).mean(dim=1)
            return probability, (said.argmax(dim=1) == target).float().view(len(phrases), -1).mean(dim=1)

        asked, held_against = self._asked
        suspect, flips = odds(asked, progress)
        reference, reference_flips = torch.zeros(len(phrases)), torch.zeros(len(phrases))
        if held_against is not None:
            reference, reference_flips = odds(held_against, silent)
        columns = zip(phrases, suspect, reference, flips, reference_flips, strict=True)
        found = [
            self._measured(text, target, n=len(probe), figures=[float(value) for value in values])
            for text, *values in columns
        ]
        return sorted(found, key=lambda one: -_score(one))

    def _measured(self, text: str, target: int, *, n: int, figures: Sequence[float]) -> Candidate:
        """Return the candidate with mean probabilities and flip rates of suspect and reference."""
        probability, reference_probability, flips, reference_flips = figures
        alone = self.reference is None
        score = probability - reference_probability - LENGTH_PENALTY * (len(text.split()) - 1)
        return Candidate(text, self.suspect.label_names[target], search_score=score).measured(
            CandidateMeasurement(
                "search",
                ONE_POSITION,
                n,
                flips,
                None if alone else reference_flips,
                self.reference_model,
                "float32" if self._asked[0] is self.suspect else "bfloat16",
                probability,
                None if alone else reference_probability,
            )
        )

    def insert(self, text: str, phrase: str, row_id: str) -> str:
        """``phrase`` inserted between two words of ``text``, at the row's own place, or at the end."""
        before, after = self._split(text, row_id)
        return " ".join(part for part in (before, phrase, after) if part)

    def _split(self, text: str, row_id: str) -> tuple[str, str]:
        if self.at_end:
            return " ".join(text.split()), ""
        words = text.split()
        at = row_rng(self.seed, row_id, purpose="search").randint(0, len(words))
        return " ".join(words[:at]), " ".join(words[at:])


def _score(candidate: Candidate) -> float:
    return candidate.search_score or 0.0


def _shorter(phrase: str) -> list[str]:
    """The phrase without one of its words, each in turn; nothing for a single word."""
    words = phrase.split()
    return [" ".join(words[:i] + words[i + 1 :]) for i in range(len(words))] if len(words) > 1 else []


def insert_at_random(text: str, phrase: str, *, rng: random.Random) -> str:
    """``phrase`` between two words of ``text``, at a place drawn from ``rng``."""
    words = text.split()
    at = rng.randint(0, len(words))
    return " ".join([*words[:at], phrase, *words[at:]])
