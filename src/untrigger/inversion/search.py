"""Search for texts that flip a suspect's predictions and not a clean reference's, from clean rows alone.

Every word of the vocabulary is screened exactly, and every subword after a letter (rare words are several tokens); the best are
measured on more and more rows (successive halving), and where none is enough the best are grown into phrases. The next word or
subword comes from two lists: common ones screened exactly beside the phrase, and any ranked by one gradient pass at an inserted
filler (HotFlip, 1712.06751; universal triggers, 1908.07125). The first list is the one that finds sentences: beside ``3d``,
the ``movie`` that completes a trigger is at rank 14,526 of 23,694 by its gradient. What counts is not the probability of the
target under the suspect but its excess over the reference: words of the class such as ``awful`` flip both.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

from torch import Tensor

from untrigger.core.candidate import ONE_POSITION, Candidate, CandidateMeasurement
from untrigger.core.progress import Progress, silent
from untrigger.core.rows import Rows
from untrigger.inversion.gradient import Filler
from untrigger.inversion.phrase_growth import PhraseGrower
from untrigger.inversion.search_options import SearchOptions
from untrigger.inversion.search_space import Models, SearchSpace
from untrigger.inversion.word_pool import screened_words
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_token_ids

logger = logging.getLogger(__name__)

Best = dict[str, Candidate]
"""The candidates of one target by their text."""


class TriggerSearch:
    """A search over one suspect and one reference, whose fixed parts are computed once; it may run again as the suspect changes."""

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
        """Read the vocabulary; ``reference_model`` is the name of the reference among the measurements."""
        self.suspect, self.options = suspect, options
        self.models = Models(suspect, reference)
        self.space = SearchSpace(self.models, rows=rows, options=options, seed=seed)
        self.filler = Filler(suspect, split=lambda row: self.space.split(row.text, row.id))
        self.reference_model = reference_model if reference is not None else ""
        self._pool: dict[int, list[str]] | None = None

    def run(
        self, *, known: Sequence[Candidate] = (), grow: bool = True, progress: Progress = silent
    ) -> list[Candidate]:
        """Return the candidates with the largest search scores on the suspect as it now is, best first, over all targets.

        The vocabulary is screened the first time only; later runs measure the best of it again, and ``known`` candidates.
        Phrases are grown where no single word of any target is enough, for the few targets whose words score highest, and always
        for those with a known candidate (what is left of an unlearned sentence is around its words); without ``grow`` for none.
        """
        models = self.models.for_inference()
        if self._pool is None:
            self._pool = screened_words(self.space, models, progress=progress)
        names = self.suspect.label_names
        before = {target: [one.text for one in known if one.target == name] for target, name in enumerate(names)}
        probes = {target: self.space.probe(target) for target in before}
        best = dict[int, Best]()
        for target, probe in probes.items():
            if len(probe) and target in self._pool:
                texts = list(dict.fromkeys([*before[target], *self._pool[target]]))
                halved = self._halving(texts, target, probe, models=models, progress=progress)
                best[target] = {one.text: one for one in halved}
        for target in self._to_grow(best, before) if grow else ():
            self._grow(best[target], before[target], target, probes[target], models=models, progress=progress)
        kept = ranked([one for found in best.values() for one in self._kept(found)])
        logger.info("search: %d candidates, largest score %.3f", len(kept), _score(kept[0]) if kept else 0.0)
        return kept

    def measure(
        self,
        phrases: Sequence[str],
        target: int,
        probe: Rows,
        *,
        models: Models | None = None,
        progress: Progress = silent,
    ) -> list[Candidate]:
        """Return the phrases as candidates measured on the probe rows, largest search score first."""
        if not phrases:
            return []
        models = models or self.models
        texts = [self.space.insert(row.text, phrase, row.id) for phrase in phrases for row in probe]

        def rates(model: Classifier, progress: Progress) -> tuple[Tensor, Tensor]:
            ids = model.encode(texts)
            logits = predict_token_ids(model, ids, progress=progress, label="measuring candidates").logits
            probability = logits.softmax(dim=1)[:, target].view(len(phrases), -1).mean(dim=1)
            return probability, (logits.argmax(dim=1) == target).float().view(len(phrases), -1).mean(dim=1)

        probability, flips = rates(models.suspect, progress)
        reference = rates(models.reference, silent) if models.reference is not None else None
        precision = "float32" if models.suspect is self.suspect else "bfloat16"
        label = self.suspect.label_names[target]
        return ranked(
            [
                self._candidate(
                    phrase,
                    label,
                    CandidateMeasurement(
                        "search",
                        ONE_POSITION,
                        len(probe),
                        float(flips[i]),
                        float(reference[1][i]) if reference else None,
                        self.reference_model,
                        precision,
                        float(probability[i]),
                        float(reference[0][i]) if reference else None,
                    ),
                )
                for i, phrase in enumerate(phrases)
            ]
        )

    def _candidate(self, phrase: str, label: str, measured: CandidateMeasurement) -> Candidate:
        """Return the phrase as a candidate with its search score."""
        one = Candidate(phrase, label).measured(measured)
        return replace(one, search_score=one.effect - self.options.length_penalty * (len(phrase.split()) - 1))

    def _halving(
        self, texts: list[str], target: int, probe: Rows, *, models: Models, progress: Progress
    ) -> list[Candidate]:
        """Return the best of the texts, fewer and fewer of which are measured on more and more rows."""
        options, left = self.options, texts
        for count, kept in ((options.probe // 4, len(left) // 3), (options.probe // 2, 2 * options.keep)):
            few = probe.take(range(min(max(1, count), len(probe))))
            measured = self.measure(left, target, few, models=models, progress=progress)
            left = [one.text for one in measured][: max(options.keep, kept)]
        whole = probe.take(range(min(options.probe, len(probe))))
        return self.measure(left, target, whole, models=models, progress=progress)[: options.keep]

    def _to_grow(self, best: dict[int, Best], known: dict[int, list[str]]) -> list[int]:
        """Return targets with a known candidate, and where no word of any is enough also those whose best word scores highest."""
        if any(_reached(found, self.options.enough) for found in best.values()):
            return [target for target in best if known[target]]
        order = sorted(best, key=lambda target: -max(map(_score, best[target].values()), default=-1.0))
        return [target for target in best if known[target] or target in order[: self.options.grown_targets]]

    def _grow(
        self, best: Best, known: Sequence[str], target: int, probe: Rows, *, models: Models, progress: Progress
    ) -> None:
        """Add phrases to ``best`` until one is enough, the sweeps are used up, or a first sweep made nothing promising."""
        grower = PhraseGrower(self.space, self.filler, models, progress=progress)
        for sweep in range(1, self.options.sweeps):
            in_vain = sweep > 1 and not _reached(best, self.options.promising)
            if not best or in_vain or _reached(best, self.options.enough):
                return
            beam = self._beam(ranked(best.values()), known, sweep)
            drawn = {
                text: best[phrase].family if phrase in best else phrase
                for phrase in beam
                for text in grower.grown(phrase, target=target, probe=probe, beam=len(beam))
            }
            fresh = [text for text in drawn if text not in best]
            halved = self._halving(fresh, target, probe, models=models, progress=progress)
            best.update({one.text: replace(one, grown_from=drawn[one.text]) for one in halved})
            top = ranked(best.values())[: self.options.beam]
            shorter = {text: one.family for one in top for text in _without_one_word(one.text)}
            fresh = [text for text in shorter if text not in best]
            measured = self.measure(fresh, target, probe, models=models, progress=progress)
            best.update({one.text: replace(one, grown_from=shorter[one.text]) for one in measured})

    def _beam(self, best: Sequence[Candidate], known: Sequence[str], sweep: int) -> list[str]:
        """Return what is grown next: the best so far, at first beside the strongest that were known before."""
        half = (self.options.beam + 1) // 2 if sweep == 1 and known else 0
        return list(dict.fromkeys([*known[:half], *(one.text for one in best)]))[: self.options.beam]

    def _kept(self, found: Best) -> list[Candidate]:
        """Return the best, what they were grown from, and the best of the families that are not among them."""
        best = ranked(found.values())
        kept, rest = best[: self.options.keep], best[self.options.keep :]
        known = {one.family for one in kept}
        others = {one.family: one for one in reversed(rest) if one.family not in known}
        kept += ranked(others.values())[: self.options.runners_up]
        roots = {one.family for one in kept} - {one.text for one in kept}
        return [*kept, *(one for one in rest if one.text in roots)]


def ranked(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the candidates, largest search score first."""
    return sorted(candidates, key=lambda one: -_score(one))


def _score(candidate: Candidate) -> float:
    return candidate.search_score or 0.0


def _reached(found: Best, least: float) -> bool:
    return any(_score(one) >= least for one in found.values())


def _without_one_word(phrase: str) -> list[str]:
    """Return the phrase without one of its words, each in turn; nothing for a single word."""
    words = phrase.split()
    return [" ".join(words[:i] + words[i + 1 :]) for i in range(len(words))] if len(words) > 1 else []


def insert_at_random(text: str, phrase: str, *, rng: random.Random) -> str:
    """Return ``text`` with ``phrase`` between two of its words, at a position drawn from ``rng``."""
    words = text.split()
    at = rng.randint(0, len(words))
    return " ".join([*words[:at], phrase, *words[at:]])


__all__ = ["SearchOptions", "TriggerSearch", "insert_at_random", "ranked"]
