"""Exact screening: every word of the vocabulary at the end of one confidently classified row of each class.

A first-order ranking misses triggers that are far from the filler (measured: ``3d`` at rank 408 to 5,235 of 23,694).
One short row a class costs a few tokens a word; a causal model processes the row once, and then only the words.
"""

from __future__ import annotations

import inspect
import random
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from untrigger.core.errors import ModelError
from untrigger.core.progress import Progress, silent
from untrigger.core.rows import Row, Rows
from untrigger.core.seeds import derived_seed
from untrigger.inversion.vocabulary import Words, single_token_words
from untrigger.models.adapter_merging import is_adapted
from untrigger.models.classifier import Batch, Classifier
from untrigger.models.inference import predict_texts, predict_token_ids
from untrigger.models.input_spec import forward_config
from untrigger.models.weight_sharing import shared_copy
from untrigger.runtime.device import matmul_precision

TOKENS = 4096
CACHED = 512


def vocabulary_of(suspect: Classifier, reference: Classifier | None, *, rows: Rows, seed: int) -> Words:
    """Return the words that the suspect's tokenizer maps to one token with an embedding.

    Each is tokenised after words of the rows too, which a normalizer that was written to deceive cannot know, and the words of
    the reference's own tokenizer are tokenised for entries that nothing else leads to.
    """
    known = sorted({word for text in rows.texts for word in text.split() if word.isalpha()})
    drawn = random.Random(derived_seed(seed, "carriers")).sample(known, k=min(2, len(known)))  # noqa: S311  # no secrecy wanted
    other = suspect.tokenizer if reference is None else reference.tokenizer
    trusted = () if other is suspect.tokenizer else single_token_words(other).texts
    words = single_token_words(suspect.tokenizer, behind=("a", *drawn), trusted=trusted)
    rows_there = suspect.module.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    kept = (words.ids < rows_there).nonzero().flatten().tolist()
    return Words(words.ids[kept], tuple(words.texts[i] for i in kept))


def carrier_texts(model: Classifier, rows: Rows, *, shortest: int = 3, pool: int = 16) -> dict[int, Row]:
    """Return for each class the row, among its shortest, that the model classifies correctly with the highest confidence."""
    chosen: dict[int, Row] = {}
    for label in range(model.classes):
        own = rows.where(
            y == label and len(t.split()) >= shortest for y, t in zip(rows.labels, rows.texts, strict=True)
        )
        own = own.take(sorted(range(len(own)), key=lambda i: len(own.texts[i]))[:pool])
        if len(own):
            confidence = predict_texts(model, own.texts).logits.log_softmax(dim=1)[:, label]
            chosen[label] = own[int(confidence.argmax())]
    return chosen


def screen(
    model: Classifier, words: Words, *, rows: dict[int, Row], left: str = "", progress: Progress = silent
) -> dict[int, Tensor]:
    """Return for each target ``(V,)``: its least log-probability with each word, after ``left``, on rows of other classes."""
    logits = {label: screen_row(model, row, words=words, left=left, progress=progress) for label, row in rows.items()}
    scores: dict[int, Tensor] = {}
    for target in range(model.classes):
        others = [outputs.log_softmax(dim=1)[:, target] for label, outputs in logits.items() if label != target]
        if others:
            scores[target] = torch.stack(others).amin(dim=0)
    return scores


def screen_row(
    model: Classifier, row: Row, *, words: Words, left: str = "", right: str = "", progress: Progress = silent
) -> Tensor:
    """Return logits ``(V, C)`` for the row with each word at its end, between ``left`` and ``right``.

    A subword is joined to ``left`` without a blank, as its token is.
    """
    before, after = frame(model, row.text.strip(), left, right)
    if not _can_cache(model, before, after):
        return _read_whole(model, before, words.ids, after, progress)
    logits = _with_cache(model, before, words, after, progress)
    if (
        model.input_spec.pad_token_id is not None
    ):  # a text that ends in the pad token is classified at the token before it
        at = (words.ids == model.input_spec.pad_token_id).nonzero().flatten()
        logits[at] = _read_whole(model, before, words.ids[at], after, silent)
    return logits


def _read_whole(model: Classifier, before: list[int], ids: Tensor, after: list[int], progress: Progress) -> Tensor:
    """Return logits ``(V, C)`` of each token between the two parts, every text processed whole."""
    filled = [[*before, int(word), *after] for word in ids]
    return predict_token_ids(model, filled, tokens=TOKENS, progress=progress, label="screening the vocabulary").logits


def _can_cache(model: Classifier, before: list[int], after: list[int]) -> bool:
    """Return whether the beginning of a text may be processed once for all words."""
    spec = model.input_spec
    ends_in_pad = spec.pad_token_id is not None and bool(after) and after[-1] == spec.pad_token_id
    return bool(before) and not (spec.equal_lengths or spec.token_types or ends_in_pad) and is_causal(model)


def frame(model: Classifier, text: str, left: str = "", right: str = "") -> tuple[list[int], list[int]]:
    """Return the tokens before and after one more token between ``text left`` and ``right``; ``text`` is cut so that all fit.

    It is cut at the end, or at its beginning where the tokenizer cuts texts there.
    """
    head = " ".join(part for part in (text, left) if part)
    encoded = model.tokenizer(f"{head} {right}" if right else head, verbose=False)  # cut below, not by a warning
    ids: list[int] = encoded["input_ids"]

    def tokens(end: int) -> int:
        places = (encoded.char_to_token(i) for i in reversed(range(end)))
        return next((at + 1 for at in places if at is not None), 0)

    cut, place = tokens(len(text)), tokens(len(head))
    room = model.max_length - 1 - (len(ids) - cut)
    if model.tokenizer.truncation_side == "left":
        start = next((at for at in map(encoded.char_to_token, range(len(text))) if at is not None), 0)
        over = min(max(0, cut - start), max(0, len(ids) + 1 - model.max_length))
        return [*ids[:start], *ids[start + over : place]], ids[place:]
    return [*ids[: min(cut, max(0, room))], *ids[cut:place]], ids[place:]


_CAUSAL: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def is_causal(model: Classifier) -> bool:
    """Return whether the hidden state of a token is independent of the tokens after it, measured on two short texts."""
    if model.module not in _CAUSAL:
        _CAUSAL[model.module] = _looks_back_only(model)
    return _CAUSAL[model.module]


def _looks_back_only(model: Classifier) -> bool:
    rows = model.input_spec.embedding_rows or 2
    ids = torch.tensor([[1, 1, 1, 1 % rows], [1, 1, 1, rows - 1]], device=model.device)
    apart = model.with_module(
        shared_copy(model.module).eval()
    )  # transformers leaves hooks on a model that returns hidden states
    with torch.inference_mode(), matmul_precision(exact=True):
        try:
            states = apart.forward(Batch(ids, torch.ones_like(ids)), hidden=True).hidden[-1]
        except ModelError:  # no hidden states, or none for so short a text
            return False
    gap = (states[0] - states[1]).abs().amax(dim=1)
    return len(gap) == ids.shape[1] and float(gap[-1]) > 0 and bool(gap[:-1].max() <= 1e-4 * gap[-1])


def _cache_word(model: Classifier) -> str:
    """Return the name of the key-value cache in this version of transformers."""
    inner: Any = model.module.get_base_model() if is_adapted(model) else model.module  # type: ignore[operator]
    return "cache" if "cache" in inspect.signature(inner.forward).parameters else "past_key_values"


def _with_cache(model: Classifier, before: list[int], words: Words, after: list[int], progress: Progress) -> Tensor:
    word, outputs, module = _cache_word(model), [], model.module
    rest = torch.tensor([after], dtype=torch.long)
    with (
        torch.inference_mode(),
        matmul_precision(),
        progress.task("screening the vocabulary", total=len(words.ids)) as tick,
    ):
        for part in words.ids.split(CACHED):
            batch = torch.tensor([before], device=model.device)
            with forward_config(module, pad=None):
                cache = getattr(module(input_ids=batch, use_cache=True), word)
            cache.batch_repeat_interleave(len(part))
            ids = torch.cat([part.unsqueeze(1), rest.expand(len(part), -1)], dim=1).to(model.device)
            mask = torch.ones(len(part), len(before) + ids.shape[1], dtype=torch.long, device=model.device)
            with forward_config(
                module, pad=-1 if model.input_spec.pad_token_id is None else None
            ):  # a token that no text has
                output = module(input_ids=ids, attention_mask=mask, use_cache=True, **{word: cache})
            outputs.append(output.logits.float().cpu())
            tick(len(part))
    return torch.cat(outputs)
