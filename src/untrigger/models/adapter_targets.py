"""Which layers of a model an adapter goes on, as names and as the pattern that PEFT takes."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from torch import nn

from untrigger.core.errors import ModelError, OptionError
from untrigger.models.classifier import Classifier

_BLOCK = re.compile(r"(.+?)\.(\d+)\.(.+)")
"""The name of a layer in a stack of blocks: ``encoder.layer`` . ``3`` . ``attention.self.query``."""


def block_linear_layers(module: nn.Module) -> Iterator[tuple[str, int, str]]:
    """Yield stack, block number and name inside the block of every linear layer in a block."""
    for name, layer in module.named_modules():
        match = _BLOCK.fullmatch(name)
        if match and (isinstance(layer, nn.Linear) or type(layer).__name__ == "Conv1D"):
            stack, number, inner = match.groups()
            yield stack, int(number), inner


def target_pattern(module: nn.Module, targets: Sequence[str], *, upper: float = 1.0) -> str:
    """Return a regular expression for PEFT that matches exactly the target layers of the ``upper`` share of the blocks.

    Raises:
        OptionError: if a target names no layer of the model.
        ModelError: if the blocks hold no linear layer.
    """
    layers = list(block_linear_layers(module))
    known, alternatives = {inner.split(".")[-1] for _, _, inner in layers}, []
    for stack in dict.fromkeys(stack for stack, _, _ in layers):
        inner_names = list(dict.fromkeys(inner for other, _, inner in layers if other == stack))
        chosen = [n for n in inner_names if "all-linear" in targets or n in targets or n.split(".")[-1] in targets]
        if chosen:
            blocks = sorted({number for other, number, _ in layers if other == stack})
            top = blocks[-math.ceil(upper * len(blocks)) :]
            numbers = r"\d+" if upper == 1 else f"({'|'.join(map(str, top))})"
            alternatives.append(rf"{re.escape(stack)}\.{numbers}\.({'|'.join(map(re.escape, chosen))})")
    full_names = {inner for _, _, inner in layers}
    missing = [t for t in targets if t != "all-linear" and t not in full_names and t not in known]
    if missing or not alternatives:
        raise _no_such_layer(missing or list(targets), known)
    return "|".join(alternatives)


def _no_such_layer(missing: Sequence[str], known: set[str]) -> ModelError | OptionError:
    if not known:
        return ModelError(
            "the blocks of this architecture hold no plain linear layer that an adapter could go on",
            expected="an encoder or decoder of linear layers",
            remedy="take a method with --set peft=ln_tuning",
        )
    return OptionError(
        f"no linear layer named {', '.join(missing)}", expected="all-linear, or of " + ", ".join(sorted(known))
    )


def query_value(model: Classifier) -> tuple[str, ...]:
    """Return the names of the query and value projections of this architecture, ``("all-linear",)`` where it has none."""
    present = {name.split(".")[-1] for name, _ in model.module.named_modules()}
    named = tuple(t for t in ("q_proj", "v_proj", "query", "value", "q", "v") if t in present)
    return named or ("all-linear",)


def exact_pattern(names: Iterable[str]) -> str:
    """Return a regular expression that matches exactly ``names``, with the block numbers of one kind of layer in one group."""
    kinds: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in names:
        match = _BLOCK.fullmatch(name)
        stack, number, inner = match.groups() if match else (name, "", "")
        kinds[stack, inner].append(number)
    parts = [
        rf"{re.escape(stack)}\.({'|'.join(sorted(numbers, key=int))})\.{re.escape(inner)}"
        if inner
        else re.escape(stack)
        for (stack, inner), numbers in kinds.items()
    ]
    return "|".join(parts)


def is_within(name: str, saved: Sequence[str]) -> bool:
    """Return whether the layer ``name`` is one of the modules that PEFT saves under these names, or is inside one."""
    dotted = f".{name}."
    return any(f".{one}." in dotted for one in saved)


def is_transposed(module: nn.Module) -> bool:
    """Return whether the linear layers keep their weights transposed, as GPT-2's ``Conv1D`` does."""
    return any(type(layer).__name__ == "Conv1D" for layer in module.modules())
