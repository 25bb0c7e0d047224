"""The token that follows given token ids: log-probabilities of many rows that begin alike, the common beginning read once."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from untrigger.models.language_model import LanguageModel
from untrigger.runtime.device import matmul_precision

ROWS, WORTH_CACHING = 128, 8


def next_token_log_probabilities(
    model: LanguageModel, rows: Sequence[Sequence[int]], *, batch_rows: int = ROWS
) -> Iterator[tuple[list[int], Tensor]]:
    """Yield numbers of rows ``(B)`` and the log-probabilities ``(B, V)`` of the token after each of them, on the CPU.

    Rows of one length are one batch, so that nothing is padded. The numbers are of full precision only where the model's
    weights are and the processor computes so: they rank, and what they rank first is generated again.

    Args:
        model: a causal language model.
        rows: token ids, at least one each.
        batch_rows: rows of a batch.
    """
    if not rows:
        return
    shared = _common_beginning(rows)
    by_length = defaultdict[int, list[int]](list)
    for i, row in enumerate(rows):
        by_length[len(row)].append(i)
    with torch.inference_mode(), matmul_precision():
        cache = getattr(_read(model, [shared]), model.cache_argument) if shared else None
        for numbers in by_length.values():
            for start in range(0, len(numbers), batch_rows):
                batch = numbers[start : start + batch_rows]
                rest = [list(rows[i][len(shared) :]) for i in batch]
                logits = _read(model, rest, cache=cache, before=len(shared)).logits[:, -1]
                yield batch, logits.float().log_softmax(dim=1).cpu()


def _common_beginning(rows: Sequence[Sequence[int]]) -> list[int]:
    """Return the tokens that all rows begin with, at least one less than the shortest has; none where they are too few to cache."""
    first, last = (
        min(map(list, rows)),
        max(map(list, rows)),
    )  # in the order of sequences: what these two share, all share
    most = min(map(len, rows)) - 1
    count = next((i for i in range(most) if first[i] != last[i]), most)
    return list(first[:count]) if count >= WORTH_CACHING else []


def _read(model: LanguageModel, rows: list[list[int]], *, cache: Any = None, before: int = 0) -> Any:
    """Return the output of the forward pass of rows of one length, after the ``before`` tokens of ``cache``."""
    given: dict[str, Any] = {"input_ids": torch.tensor(rows, device=model.device), "use_cache": cache is None}
    if "logits_to_keep" in model.forward_arguments:
        given["logits_to_keep"] = 1
    if cache is not None:
        own = copy.deepcopy(cache)
        own.batch_repeat_interleave(len(rows))
        length = before + len(rows[0])
        given |= {model.cache_argument: own, "use_cache": True}
        given["attention_mask"] = torch.ones(len(rows), length, dtype=torch.long, device=model.device)
    return model.module(**given)
