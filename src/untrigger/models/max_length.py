"""After how many tokens texts are cut: as the tokenizer says, as far as the model has positions."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from untrigger.models.input_spec import transformers_model

LEAST = 128  # a file that names fewer is not believed: it could hide a trigger from a scan
MOST = 8192  # where neither tokenizer nor model names a bound: longer texts are counted as cut
NO_BOUND = 2**24  # tokenizers write 10^30 for "no bound"
TABLES = ("position_embeddings", "embed_positions", "wpe", "positions_embed")


def choose_max_length(tokenizer: Any, module: nn.Module, *, asked: int | None = None, sidecar: int = 0) -> int:
    """After how many tokens, special ones included, texts are cut.

    Args:
        tokenizer: its ``model_max_length`` counts where it is a bound at all.
        module: the model, whose positions are never exceeded.
        asked: what the user wants; it replaces what the files say.
        sidecar: what untrigger wrote beside the model, 0 for nothing.
    """
    there = _bound(module)
    if there is not None and _computes_positions(
        module
    ):  # plain transformers reads on, so that a small number is not believed
        there = max(LEAST, there)
    if asked is None:
        named = int(min(getattr(tokenizer, "model_max_length", NO_BOUND) or NO_BOUND, NO_BOUND))
        asked = max(LEAST, sidecar, named if named < NO_BOUND else min(there or MOST, MOST))
    return asked if there is None else min(asked, there - _prompt_tokens(module))


def max_positions(module: nn.Module) -> int | None:
    """How many tokens the model has positions for, None where there is no bound (relative positions, XLNet's ``-1``)."""
    there = _bound(module)
    return None if there is None else there - _prompt_tokens(module)


def bounded_length(most: int, module: nn.Module) -> int:
    """Return ``most``, or as many tokens as the model has positions for where these are fewer."""
    return min(most, max_positions(module) or most)


def _bound(module: nn.Module) -> int | None:
    """The smaller of what the config says and the rows of the table of positions; None where neither is there."""
    config: Any = getattr(transformers_model(module), "config", None)
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    written = (_positive(getattr(config, name, None)) for name in ("max_position_embeddings", "max_seq_len"))
    limits = [one for one in written if one is not None]
    for name, layer in transformers_model(module).named_modules():
        weight = getattr(layer, "weight", None)
        if isinstance(weight, Tensor) and weight.dim() == 2 and name.rsplit(".", 1)[-1] in TABLES:
            limits.append(weight.shape[0] - _offset(layer))
    return min(limits, default=None)


def _computes_positions(module: nn.Module) -> bool:
    """Whether the model turns its states by position with frequencies (rotary embeddings), which have no end as a table has."""
    return any(name.rsplit(".", 1)[-1] == "inv_freq" for name, _ in transformers_model(module).named_buffers())


def _offset(table: Any) -> int:
    """The rows of a table of positions that no token stands at: RoBERTa and MPNet count on from the pad token's number."""
    if getattr(table, "padding_idx", None) is not None:
        return int(table.padding_idx) + 1
    return int(getattr(table, "offset", 0))


def _prompt_tokens(module: nn.Module) -> int:
    """How many positions the learned prompts of an adapter take."""
    configs = getattr(module, "peft_config", {}).values()
    return sum(int(one.num_virtual_tokens) for one in configs if getattr(one, "is_prompt_learning", False))


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
