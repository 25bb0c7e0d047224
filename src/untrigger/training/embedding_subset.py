"""Word embeddings cut down to the tokens that a training reads, so that the others need no gradient and no optimiser step.

A MiniLM holds 11.7 of its 22.7 million parameters in word embeddings, of which a thousand rows of text read a tenth. Their
gradient, its norm and the optimiser's step over all of them are a seventh of the time of a training step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class EmbeddingSubset(nn.Module):
    """An embedding of some tokens, called with their ids in the whole vocabulary."""

    def __init__(self, whole: nn.Embedding, ids: Tensor) -> None:
        """Copy the rows ``ids (U,)`` of ``whole`` into a trainable ``weight (U, d)``."""
        super().__init__()
        self.weight = nn.Parameter(whole.weight.detach()[ids].clone())
        places = torch.full((whole.num_embeddings,), len(ids), device=ids.device)  # beyond the end: a token outside ids
        places[ids] = torch.arange(len(ids), device=ids.device)
        self.register_buffer("places", places)
        pad = None if whole.padding_idx is None else int(places[whole.padding_idx])
        self.padding_idx = pad if pad is not None and pad < len(ids) else None

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return the embeddings ``(…, d)`` of the tokens ``(…)``."""
        return functional.embedding(self.get_buffer("places")[input_ids], self.weight, self.padding_idx)


@contextmanager
def embedding_subset(module: nn.Module, ids: Iterable[Sequence[int]]) -> Iterator[None]:
    """Cut the word embeddings of ``module`` to the tokens of ``ids`` inside the block, and write them back after it.

    The other rows stay as they are; an optimiser with weight decay would shrink them. Nothing is done where the word
    embeddings are not trained, are shared with another layer, or have a hook on their gradient.
    """
    found = _words(module)
    if found is None:
        yield
        return
    name, whole = found
    used = torch.tensor(sorted({token for row in ids for token in row}), device=whole.weight.device)
    few = EmbeddingSubset(whole, used)
    module.set_submodule(name, few)
    try:
        yield
    finally:
        with torch.no_grad():
            whole.weight[used] = few.weight
        module.set_submodule(name, whole)


def _words(module: nn.Module) -> tuple[str, nn.Embedding] | None:
    """Return name and module of the word embeddings, or None unless they are plain, trained and unshared."""
    owner: Any = next((part for part in module.modules() if hasattr(part, "get_input_embeddings")), None)
    whole = owner.get_input_embeddings() if owner is not None else None
    if (
        type(whole) is not nn.Embedding
        or not whole.weight.requires_grad
        or whole.weight._backward_hooks
        or whole.max_norm
    ):
        return None
    holders = sum(
        parameter is whole.weight for layer in module.modules() for parameter in layer.parameters(recurse=False)
    )
    return (next(name for name, layer in module.named_modules() if layer is whole), whole) if holders == 1 else None
