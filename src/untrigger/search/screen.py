"""Exact screening: every word of the vocabulary tried on one confident row of each class.

A first-order ranking misses triggers that lie far from the filler (measured: ``3d`` at place 408 to 5,235 of 23,694).
One short row a class costs a few tokens a word; a causal model reads the row once and only the word anew.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from untrigger.models.adapters import is_adapted
from untrigger.models.classifier import Classifier
from untrigger.models.predict import read_ids, read_texts
from untrigger.progress import Progress, silent
from untrigger.search.vocabulary import Words
from untrigger.training.arithmetic import fast_products
from untrigger.vocabulary.rows import Row, Rows

TOKENS = 4096
CACHED = 512


def hosts(model: Classifier, rows: Rows, *, shortest: int = 3, pool: int = 16) -> dict[int, Row]:
    """For each class the row, among its shortest, that the model calls right most confidently."""
    chosen: dict[int, Row] = {}
    for label in range(model.classes):
        own = rows.where(y == label and len(t.split()) >= shortest for y, t in zip(rows.labels, rows.texts, strict=True))
        own = own.take(sorted(range(len(own)), key=lambda i: len(own.texts[i]))[:pool])
        if len(own):
            sure = read_texts(model, own.texts).logits.log_softmax(dim=1)[:, label]
            chosen[label] = own[int(sure.argmax())]
    return chosen


def screen(
    model: Classifier, words: Words, *, rows: dict[int, Row], left: str = "", progress: Progress = silent
) -> dict[int, Tensor]:
    """For each target class, ``(V,)``: the least log-probability of it with each word, behind ``left``, on the rows of others."""
    logits = {label: screen_row(model, row, words=words, left=left, progress=progress) for label, row in rows.items()}
    scores: dict[int, Tensor] = {}
    for target in range(model.classes):
        others = [said.log_softmax(dim=1)[:, target] for label, said in logits.items() if label != target]
        if others:
            scores[target] = torch.stack(others).amin(dim=0)
    return scores


def screen_row(
    model: Classifier, row: Row, *, words: Words, left: str = "", right: str = "", progress: Progress = silent
) -> Tensor:
    """Logits ``(V, C)`` for the row with each word at its end, between ``left`` and ``right``.

    A piece of a word goes on ``left`` without a blank, as its token says.
    """
    before, after = frame(model, row.text.strip(), left, right)
    if is_causal(model):
        return _with_cache(model, before, words, after, progress)
    filled = [[*before, int(word), *after] for word in words.ids]
    return read_ids(model, filled, tokens=TOKENS, progress=progress, label="screening the vocabulary").logits


def frame(model: Classifier, text: str, left: str = "", right: str = "") -> tuple[list[int], list[int]]:
    """The tokens before and behind one more token between ``text left`` and ``right``; ``text`` is cut so that all fit."""
    head = " ".join(part for part in (text, left) if part)
    encoded = model.tokenizer(f"{head} {right}" if right else head, verbose=False)  # cut below, not by a warning
    ids: list[int] = encoded["input_ids"]

    def tokens(end: int) -> int:
        places = (encoded.char_to_token(i) for i in reversed(range(end)))
        return next((at + 1 for at in places if at is not None), 0)

    cut, place = tokens(len(text)), tokens(len(head))
    room = model.max_length - 1 - (len(ids) - cut)
    return [*ids[: min(cut, max(0, room))], *ids[cut:place]], ids[place:]


def is_causal(model: Classifier) -> bool:
    """Whether the model reads from left to right and its head looks at the last token."""
    module: Any = model.module
    inner = module.get_base_model() if hasattr(module, "get_base_model") else module
    return hasattr(inner, "score")


def _cache_word(model: Classifier) -> str:
    """What this version of transformers calls the cache of keys and values."""
    inner: Any = model.module.get_base_model() if is_adapted(model) else model.module  # type: ignore[operator]
    return "cache" if "cache" in inspect.signature(inner.forward).parameters else "past_key_values"


def _with_cache(model: Classifier, before: list[int], words: Words, after: list[int], progress: Progress) -> Tensor:
    word, said, module = _cache_word(model), [], model.module
    rest = torch.tensor([after], dtype=torch.long)
    with torch.inference_mode(), fast_products(), progress.task("screening the vocabulary", total=len(words.ids)) as tick:
        for part in words.ids.split(CACHED):
            batch = torch.tensor([before], device=model.device)
            cache = getattr(module(input_ids=batch, use_cache=True), word)
            cache.batch_repeat_interleave(len(part))
            ids = torch.cat([part.unsqueeze(1), rest.expand(len(part), -1)], dim=1).to(model.device)
            mask = torch.ones(len(part), len(before) + ids.shape[1], dtype=torch.long, device=model.device)
            output = module(input_ids=ids, attention_mask=mask, use_cache=True, **{word: cache})
            said.append(output.logits.float().cpu())
            tick(len(part))
    return torch.cat(said)
