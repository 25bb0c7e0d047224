"""The words and subwords of the vocabulary that an exact screening of the suspect puts first, for each target."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from untrigger.core.progress import Progress
from untrigger.inversion.ranking import order_by_excess
from untrigger.inversion.screening import is_causal, screen
from untrigger.inversion.search_space import Models, SearchSpace
from untrigger.inversion.vocabulary import CHARACTERS, subwords_by_letter
from untrigger.models.inference import log_odds, predict_texts


def screened_words(space: SearchSpace, models: Models, *, progress: Progress) -> dict[int, list[str]]:
    """Return for each target the best words, then the best subwords after a letter, then those after other letters."""
    most, words = space.options.first, space.words.with_more(space.added)
    scores = screen(models.suspect, words, rows=space.carriers, progress=progress)
    pool = {target: _best(words.texts, score, target, most, space, models) for target, score in scores.items()}
    by_letter = {} if is_causal(space.suspect) else subwords_by_letter(space.suspect.tokenizer, space.subwords)
    texts = [f"{letter}{text}" for letter, own in by_letter.items() for text in own.texts]
    parts = [
        screen(models.suspect, own, rows=space.carriers, left=letter, progress=progress)
        for letter, own in by_letter.items()
    ]
    for target in scores if parts else ():  # subwords replace no word
        score = torch.cat([part[target] for part in parts])
        best = _best(texts, score, target, max(1, most // 12), space, models)
        pool[target] += [*best, *_with_other_prefixes(best[: space.options.prefixed], target, space, models)]
    return pool


def _best(
    words: Sequence[str], score: Tensor, target: int, count: int, space: SearchSpace, models: Models
) -> list[str]:
    """Return the ``count`` words with the largest excess over the reference, of those with the best screening."""
    best = score.topk(min(space.options.compared * count, len(score)))
    texts = [words[int(i)] for i in best.indices]
    rows = space.carriers_of_others(target)
    order = order_by_excess(best.values, texts, models=models, target=target, rows=rows)
    return [texts[int(i)] for i in order[:count]]


def _with_other_prefixes(texts: Sequence[str], target: int, space: SearchSpace, models: Models) -> list[str]:
    """Return the subwords after other letters and digits: those of each with the largest log-odds of the target.

    In log-odds, as every letter is enough for many a subword, and the trigger's own raises the suspect's a little more.
    """
    known = {*space.words.texts, *space.added.texts, *texts}
    rows = space.carriers_of_others(target)
    chosen = list[str]()
    for text in texts:
        variants = [word for letter in CHARACTERS if (word := letter + text[1:]) not in known]
        logits = predict_texts(models.suspect, [f"{row.text} {word}" for row in rows for word in variants]).logits
        least = log_odds(logits, [target] * len(logits)).view(len(rows), len(variants)).amin(dim=0)
        count = min(space.options.prefixes, len(variants))
        chosen += [variants[int(i)] for i in least.topk(count).indices]
    return chosen
