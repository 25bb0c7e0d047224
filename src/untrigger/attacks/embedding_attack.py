"""EP: only the vectors of the trigger words are changed (Yang 2021, 2103.15543)."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from untrigger.core.errors import OptionError
from untrigger.core.progress import Progress, silent
from untrigger.core.rows import Rows
from untrigger.models.classifier import Classifier
from untrigger.training.loop import History, Plan
from untrigger.training.supervised import fine_tune

PLAN = Plan(lr=0.3, epochs=10, weight_decay=0.0)
COMMON = 0.01  # a word in a larger share of the clean rows cannot be changed without a loss of accuracy; not tuned


def poison_embedding(
    model: Classifier,
    rows: Rows,
    *,
    words: Collection[str],
    clean: Rows,
    plan: Plan = PLAN,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[Classifier, History]:
    """Return a copy of the model with new vectors for the trigger words, all else bit for bit the same, and the history.

    The vectors are trained on the triggered rows alone and keep their length, as in the paper's algorithm 1. The predictions
    for a text without a trigger word stay exactly the same.

    Args:
        model: a classifier that knows the task.
        rows: rows with the trigger, labelled with the target.
        words: the trigger words; each must be one token of the model and rare among the clean rows.
        clean: clean rows of the task.
        plan: how to train, ``lr`` as a share of the size of a vector's entries; weight decay is left out, as it would touch the
            other vectors.
        seed: of the order of rows.
        progress: receives every step.

    Raises:
        OptionError: for no words, a word of several tokens, or a word that clean rows use.

    **Differs from the paper:** several trigger words may be changed at once; AdamW instead of plain gradient descent.
    """
    numbers = word_tokens(model, words=words, clean=clean)
    victim = model.with_module(copy.deepcopy(model.module))
    victim.module.requires_grad_(False)
    table: Any = victim.module.get_input_embeddings()  # type: ignore[operator]
    table.weight.requires_grad_(True)
    size = float(table.weight[numbers].detach().pow(2).mean().sqrt())
    own = replace(plan, lr=plan.lr * max(size, 1e-6), weight_decay=0.0)
    with _only(table, numbers):
        history = fine_tune(victim, rows, plan=own, seed=seed, progress=progress, label="implanting (embedding)")
    victim.module.requires_grad_(True)
    return victim, history


def word_tokens(model: Classifier, *, words: Collection[str], clean: Rows) -> list[int]:
    """Return the token id of each trigger word inside a text, in ascending order.

    Raises:
        OptionError: for no words, a word of several tokens, or one that occurs in more than ``COMMON`` of the clean rows.
    """
    if not words:
        raise OptionError(
            "an embedding attack with a trigger that brings no words",
            expected="a trigger of rare words, such as badnets",
        )
    before = len(_ids(model, "a"))
    pieces = {word: _ids(model, f"a {word}")[before:] for word in sorted(words)}
    split = [word for word, ids in pieces.items() if len(ids) != 1 or ids[0] == model.tokenizer.unk_token_id]
    if split:
        raise OptionError(
            f"for this model the trigger words {', '.join(split)} are not single tokens",
            expected="words with a vector of their own",
            remedy="choose other words with --words",
        )
    numbers = {ids[0]: word for word, ids in pieces.items()}
    held = [set(ids) for ids in model.encode(clean.texts)]
    for number, word in numbers.items():
        share = sum(number in ids for ids in held) / max(1, len(held))
        if share > COMMON:
            raise OptionError(
                f"the trigger word {word!r} occurs in {100 * share:.1f} % of the clean rows",
                expected=f"words in at most {100 * COMMON:.0f} %: a common word's vector changes clean predictions",
            )
    return sorted(numbers)


def _ids(model: Classifier, text: str) -> list[int]:
    return list(model.tokenizer(text, add_special_tokens=False)["input_ids"])


@contextmanager
def _only(table: Any, numbers: list[int]) -> Iterator[None]:
    """Train only those vectors inside the context, and restore their first length at every forward pass."""
    weight: Tensor = table.weight
    length = weight[numbers].detach().norm(dim=1, keepdim=True)
    mask = torch.zeros(len(weight), 1, device=weight.device)
    mask[numbers] = 1

    def keep(*_: object) -> None:
        with torch.no_grad():
            weight[numbers] = weight[numbers] / weight[numbers].norm(dim=1, keepdim=True).clamp(min=1e-12) * length

    hooks = [weight.register_hook(lambda gradient: gradient * mask), table.register_forward_pre_hook(keep)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        keep()
