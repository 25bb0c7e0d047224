"""Hidden states of a language model: of every block, and the last ones at the tokens of an answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from untrigger.core.errors import ModelError
from untrigger.models.adapter_targets import block_linear_layers
from untrigger.models.answer_scoring import AnswerBatch
from untrigger.models.language_model import LanguageModel


@contextmanager
def recorded_hidden_states(model: LanguageModel) -> Iterator[list[Tensor]]:
    """Record the output of every block, lowest first, ``(B, S, H)`` each, with its graph where autograd is on.

    The list holds those of the last forward pass. The model is as before when the context ends.

    Raises:
        ModelError: for an architecture without blocks of linear layers.
    """
    blocks, found = _blocks(model.module), list[Tensor]()

    def keep(block: nn.Module, _given: Any, output: Any) -> None:
        if block is blocks[0]:
            found.clear()
        found.append(output[0] if isinstance(output, tuple) else output)

    handles = [block.register_forward_hook(keep) for block in blocks]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _blocks(module: nn.Module) -> list[nn.Module]:
    """Return the blocks of the model's longest stack, lowest first."""
    numbers = dict[str, set[int]]()
    for stack, number, _ in block_linear_layers(module):
        numbers.setdefault(stack, set()).add(number)
    if not numbers:
        raise ModelError("this architecture has no blocks of linear layers", expected="a decoder such as LLaMA")
    stack = max(numbers, key=lambda one: len(numbers[one]))
    return [module.get_submodule(f"{stack}.{number}") for number in sorted(numbers[stack])]


def input_embeddings(model: LanguageModel, batch: AnswerBatch) -> Tensor:
    """Return ``(B, S, d)``: the embeddings of the batch's tokens, with gradients where autograd is on."""
    embedded: Tensor = model.module.get_input_embeddings()(batch.input_ids)
    return embedded


def block_states(model: LanguageModel, batch: AnswerBatch, embeddings: Tensor) -> tuple[Tensor, ...]:
    """Return the hidden states, each ``(B, S, d)``: the model's input, then the output of every block.

    The attention mask and the positions are those of ``batch``; the vocabulary head is computed for one position where the
    architecture allows that.

    Args:
        model: a causal language model.
        batch: which tokens are padding, and their positions.
        embeddings: what is read instead of the token ids ``(B, S, d)``.

    Raises:
        ModelError: for an architecture that reads token ids alone.
    """
    known = model.forward_arguments
    if "inputs_embeds" not in known:
        raise ModelError(f"{model.name!r} reads token ids alone", expected="an architecture that also takes embeddings")
    given: dict[str, Any] = {"attention_mask": batch.attention_mask, "use_cache": False, "output_hidden_states": True}
    if "position_ids" in known:
        given["position_ids"] = batch.position_ids
    if "logits_to_keep" in known:
        given["logits_to_keep"] = 1
    states: tuple[Tensor, ...] = model.module(inputs_embeds=embeddings, **given).hidden_states
    return states


class HeadInput:
    """A context manager that records the input of the vocabulary head, the last hidden state; its hook is removed at the end.

    ``answer_features`` gives it after ``answer_logits``, without a second forward pass.
    """

    def __init__(self, model: LanguageModel) -> None:
        """Watch the head of ``model``."""
        self._head: nn.Module = model.module.get_output_embeddings()
        self._input: Tensor | None = None

    def __enter__(self) -> HeadInput:
        """Register the hook."""
        self._handle = self._head.register_forward_pre_hook(self._record)
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the hook."""
        self._handle.remove()

    def _record(self, _head: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._input = inputs[0]

    def answer_features(self, batch: AnswerBatch) -> Tensor:
        """Return ``(B, K, d)`` in float32: the last hidden state of the last forward pass where ``batch.targets`` are predicted.

        Raises:
            ModelError: if the head was never called.
        """
        if self._input is None:
            raise ModelError("the vocabulary head was never called")
        return self._input[:, -batch.targets.shape[1] - 1 : -1].to(torch.float32)
