"""Choose after how many tokens texts are cut: as many as the tokenizer names, at most as many as the model has positions."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from untrigger.models.input_spec import transformers_model

MIN_LENGTH = 128  # a file that names fewer tokens is not believed: it could hide a trigger from a scan
DEFAULT_LENGTH = 8192  # where neither tokenizer nor model names a bound; longer texts are counted as cut
UNBOUNDED = 2**24  # tokenizers write 10^30 for "no bound"
POSITION_TABLES = ("position_embeddings", "embed_positions", "wpe", "positions_embed")


def choose_max_length(tokenizer: Any, module: nn.Module, *, requested: int | None = None, sidecar: int = 0) -> int:
    """Return after how many tokens, special ones included, texts are cut.

    Args:
        tokenizer: its ``model_max_length`` counts where it is a bound at all.
        module: the model, whose positions are never exceeded.
        requested: the user's choice, which replaces that of the files.
        sidecar: the length in the file that untrigger wrote beside the model, 0 for none.
    """
    positions = _positions(module)
    if positions is not None and _has_rotary_embeddings(module):  # plain transformers reads on past a small number
        positions = max(MIN_LENGTH, positions)
    if requested is None:
        named = int(min(getattr(tokenizer, "model_max_length", UNBOUNDED) or UNBOUNDED, UNBOUNDED))
        default = min(positions or DEFAULT_LENGTH, DEFAULT_LENGTH)
        requested = max(MIN_LENGTH, sidecar, named if named < UNBOUNDED else default)
    return requested if positions is None else min(requested, positions - _virtual_tokens(module))


def max_positions(module: nn.Module) -> int | None:
    """Return how many tokens the model has positions for, None where there is no bound (relative positions, XLNet's ``-1``)."""
    positions = _positions(module)
    return None if positions is None else positions - _virtual_tokens(module)


def bounded_length(length: int, module: nn.Module) -> int:
    """Return ``length``, or as many tokens as the model has positions for where these are fewer."""
    return min(length, max_positions(module) or length)


def _positions(module: nn.Module) -> int | None:
    """Return the smaller of the config's number and the rows of the position embeddings; None where there is neither."""
    config: Any = getattr(transformers_model(module), "config", None)
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    in_config = (_positive(getattr(config, name, None)) for name in ("max_position_embeddings", "max_seq_len"))
    limits = [one for one in in_config if one is not None]
    for name, layer in transformers_model(module).named_modules():
        weight = getattr(layer, "weight", None)
        if isinstance(weight, Tensor) and weight.dim() == 2 and name.rsplit(".", 1)[-1] in POSITION_TABLES:
            limits.append(weight.shape[0] - _reserved_rows(layer))
    return min(limits, default=None)


def _has_rotary_embeddings(module: nn.Module) -> bool:
    """Return whether the model has rotary position embeddings, which work for any position, unlike a table."""
    return any(name.rsplit(".", 1)[-1] == "inv_freq" for name, _ in transformers_model(module).named_buffers())


def _reserved_rows(table: Any) -> int:
    """Return how many rows of position embeddings no token uses: RoBERTa and MPNet start after the pad token's number."""
    if getattr(table, "padding_idx", None) is not None:
        return int(table.padding_idx) + 1
    return int(getattr(table, "offset", 0))


def _virtual_tokens(module: nn.Module) -> int:
    """Return how many positions the virtual tokens of prompt learning take."""
    configs = getattr(module, "peft_config", {}).values()
    return sum(int(one.num_virtual_tokens) for one in configs if getattr(one, "is_prompt_learning", False))


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
