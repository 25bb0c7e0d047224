"""First-order ranking of what comes next in a phrase: one gradient pass at an inserted filler (HotFlip, 1712.06751)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from untrigger.core.rows import Row, Rows
from untrigger.inversion.vocabulary import Words
from untrigger.models.classifier import Classifier
from untrigger.models.inference import log_odds
from untrigger.runtime.batching import packed
from untrigger.runtime.device import matmul_precision

FILLER = "the"


class Filler:
    """A placeholder token between two inserted texts, and the first-order gain of other words in its place."""

    def __init__(self, suspect: Classifier, *, split: Callable[[Row], tuple[str, str]]) -> None:
        """Remember the suspect; ``split`` cuts a row's text in two where insertions go."""
        self._suspect, self._split = suspect, split

    def gradient(self, left: str, right: str, target: int, rows: Rows) -> Tensor:
        """Return the gradient ``(d,)`` of the target's log-odds by the embedding of the filler, summed over the rows.

        A single zero where the filler is cut off in every row.
        """
        ids, places = self._filled(left, right, rows)
        total = torch.zeros(())
        for batch in packed([len(row) for row in ids], tokens=2048):
            for part in self._suspect.forward_groups(
                self._suspect.collate([ids[i] for i in batch])
            ):  # one forward pass, one gradient
                total = total + self._gradient([ids[batch[i]] for i in part], [places[batch[i]] for i in part], target)
        return total

    def best(self, gradient: Tensor, words: Words, count: int) -> list[str]:
        """Return the words with the largest first-order gain."""
        if not words.texts or not gradient.dim():
            return []
        weight: Tensor = self._suspect.module.get_input_embeddings().weight.detach()  # type: ignore[operator]
        gain = (weight[words.ids.to(weight.device)].float() @ gradient.to(weight.device)).cpu()
        return [words.texts[int(i)] for i in gain.topk(min(count, len(words.texts))).indices]

    def _filled(self, left: str, right: str, rows: Rows) -> tuple[list[list[int]], list[int]]:
        texts, starts = [], []
        for row in rows:
            before, after = self._split(row)
            head = " ".join(part for part in (before, left) if part)
            starts.append(len(head) + 1 if head else 0)
            texts.append(" ".join(part for part in (head, FILLER, right, after) if part))
        encoded = self._suspect.tokenizer(texts, truncation=True, max_length=self._suspect.max_length)
        places = [encoded.char_to_token(i, start) for i, start in enumerate(starts)]
        kept = [i for i, place in enumerate(places) if place is not None]
        return [encoded["input_ids"][i] for i in kept], [places[i] for i in kept]

    def _gradient(self, ids: list[list[int]], places: list[int], target: int) -> Tensor:
        caught: list[Tensor] = []

        def keep(_module: object, _inputs: object, output: Tensor) -> Tensor:
            leaf = output.detach().requires_grad_(True)
            caught.append(leaf)
            return leaf

        handle = self._suspect.module.get_input_embeddings().register_forward_hook(keep)  # type: ignore[operator]
        try:
            with torch.enable_grad(), matmul_precision():
                logits = self._suspect.forward(self._suspect.collate(ids)).logits
                (gradient,) = torch.autograd.grad(log_odds(logits, [target] * len(ids)).sum(), caught[0])
        finally:
            handle.remove()
        index = torch.tensor(places, device=gradient.device)
        return gradient[torch.arange(len(ids), device=gradient.device), index].sum(dim=0).float().cpu()
