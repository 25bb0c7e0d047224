"""A phrase made longer by a word before it, a word after it, or a subword on its end."""

from __future__ import annotations

from untrigger.core.progress import Progress
from untrigger.core.rows import Row, Rows
from untrigger.inversion.gradient import Filler
from untrigger.inversion.ranking import order_by_excess
from untrigger.inversion.screening import screen_row
from untrigger.inversion.search_space import Models, SearchSpace
from untrigger.inversion.vocabulary import Words
from untrigger.models.inference import predict_texts


class PhraseGrower:
    """Grows phrases by common words, screened exactly beside the phrase, and by any, ranked by one gradient pass."""

    def __init__(self, space: SearchSpace, filler: Filler, models: Models, *, progress: Progress) -> None:
        """Keep what every growth needs."""
        self.space, self.filler, self.models, self.progress = space, filler, models, progress

    def grown(self, phrase: str, *, target: int, probe: Rows, beam: int) -> list[str]:
        """Return a phrase, one of ``beam``, with a word before it, after it, or a subword on its end, the best of either list."""
        options = self.space.options
        share = max(1, options.first // (12 * beam))
        few = probe.take(range(min(len(probe), options.gradient_rows)))
        before, after = (self.filler.gradient(*at, target, few) for at in (("", phrase), (phrase, "")))
        left, right, ends = self.neighbour_words(phrase, target=target, count=3 * share)
        words, subwords = self.space.words, self.space.subwords
        return [
            *(f"{word} {phrase}" for word in [*left, *self.filler.best(before, words, share)]),
            *(f"{phrase} {word}" for word in [*right, *self.filler.best(after, words, share)]),
            *(f"{phrase}{end}" for end in [*ends, *self.filler.best(after, subwords, share)]),
        ]

    def neighbour_words(self, phrase: str, *, target: int, count: int) -> tuple[list[str], list[str], list[str]]:
        """Return common words with the largest excess before and after the phrase, and subwords on its end.

        Screened on the one carrier text on which the phrase alone has the lowest probability of the target.
        """
        rows = self.space.carriers_of_others(target)
        if not rows:
            return [], [], []
        logits = predict_texts(self.space.suspect, [f"{row.text} {phrase}" for row in rows]).logits
        row = rows[int(logits.log_softmax(dim=1)[:, target].argmin())]
        words, subwords = self.space.common
        return (
            self._best(words, row, target, count, right=phrase),
            self._best(words, row, target, count, left=phrase),
            self._best(subwords, row, target, count, left=phrase, separator=""),
        )

    def _best(
        self, words: Words, row: Row, target: int, count: int, *, left: str = "", right: str = "", separator: str = " "
    ) -> list[str]:
        if not words.texts:
            return []
        logits = screen_row(self.models.suspect, row, words=words, left=left, right=right, progress=self.progress)
        most = min(self.space.options.compared * count, len(words.texts))
        first = logits.log_softmax(dim=1)[:, target].topk(most)
        texts = [words.texts[int(i)] for i in first.indices]
        grown = [f"{left}{separator}{text} {right}".strip() for text in texts]
        order = order_by_excess(first.values, grown, models=self.models, target=target, rows=[row])
        return [texts[int(i)] for i in order[:count]]
