"""Hidden states: what every decoder block of a language model puts out, recorded while the model runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from untrigger.core.errors import ModelError
from untrigger.models.adapter_targets import block_linear_layers
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
