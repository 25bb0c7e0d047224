"""Base recovery: the pre-trained model that full weights were fine-tuned from, and a low-rank update that leads back to it.

Fine-tuning changes weights by a few per cent. A defender who holds the base can take most of that change back, without a
single text that activates the backdoor.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import nn

from untrigger.core.errors import OptionError
from untrigger.models.adapter_merging import is_adapted
from untrigger.models.adapter_targets import target_pattern
from untrigger.models.classifier import Classifier
from untrigger.models.pretrained import pretrained, quiet
from untrigger.models.safety.model_folder import open_model, read_json
from untrigger.models.weight_cosine import MADE_FROM_BASE, weight_cosine
from untrigger.models.weight_sharing import shared_copy

SHAPE = ("model_type", "hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size")
HEADS = {"score", "classifier", "pre_classifier", "pooler"}
OVERSAMPLING, ITERATIONS = 16, 4  # of the randomised SVD


@dataclass(frozen=True)
class RecoveryOptions:
    """How full weights are reset to their base.

    Attributes:
        min_cosine: mean cosine between the weights of suspect and base from which the suspect was made from it, -1 to 1;
            fine-tuned weights have more than 0.99, unrelated ones about 0.
        rank: of the low-rank projection onto the base; the higher, the less of the suspect is left (see
            ``docs/results/w2sdefense.md#base-recovery``).
        embedding_rank: the same for the word embeddings, in which a few words moved far and the rest hardly (the same
            place).
        row_power: weight of a word in that projection: how far it moved, to this power (the same place).
        lower_layer_mix: share of the suspect that stays in the lowest blocks, 0 to 1, times its weight in the ensemble (see
            ``docs/results/w2sdefense.md#what-of-the-suspect-stays``).
        full_mix_depth: share of the blocks, from the bottom, of which all linear layers are mixed, 0 to 1 (the same place).
        attention_mix_depth: the same for the attention alone (the same place).
        head_std: standard deviation of the new head's weights (not tuned).
    """

    min_cosine: float = MADE_FROM_BASE
    rank: int = 128
    embedding_rank: int = 64
    row_power: int = 4
    lower_layer_mix: float = 0.5
    full_mix_depth: float = 1 / 6
    attention_mix_depth: float = 1 / 3
    head_std: float = 0.02

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for ranks below 1, a power or deviation below 0, and shares outside 0 to 1.
        """
        shares = (self.lower_layer_mix, self.full_mix_depth, self.attention_mix_depth)
        fits = min(self.rank, self.embedding_rank) >= 1 and all(0 <= share <= 1 for share in shares)
        if not fits or self.row_power < 0 or self.head_std < 0 or not -1 <= self.min_cosine <= 1:
            raise OptionError(
                f"recovery options {vars(self)}",
                expected="ranks of 1 or more, row_power and head_std of 0 or more, shares from 0 to 1",
            )


def same_shape(model: Classifier, folder: Path) -> bool:
    """Return whether the config in ``folder`` has the suspect's architecture and size; no weight is read."""
    file = folder / "config.json"
    own: dict[str, Any] = model.module.config.to_dict()  # type: ignore[union-attr,operator]
    return file.is_file() and all(read_json(file).get(key) == own.get(key) for key in SHAPE)


def load_base_of(
    model: Classifier,
    name: str | Path,
    *,
    offline: bool = False,
    min_cosine: float = RecoveryOptions.min_cosine,
) -> nn.Module | None:
    """Return the pre-trained model ``name``, or None unless the suspect's full weights were fine-tuned from it.

    Raises:
        ModelError: if it cannot be loaded.
    """
    from transformers import AutoModel

    folder = open_model(name, offline=offline)
    if folder.kind != "full" or is_adapted(model) or not same_shape(model, folder.path):
        return None
    with torch.random.fork_rng(devices=[]):
        base, _ = pretrained(
            AutoModel, folder, expected="the pre-trained model that the suspicious one was made from", whole=False
        )
    base = base.to(model.device).eval()
    return base if weight_cosine(_encoder(model.module), base) >= min_cosine else None


def reset_to_base(
    model: Classifier, base: nn.Module, *, options: RecoveryOptions, generator: torch.Generator
) -> tuple[Classifier, float]:
    """Return the suspect with a low-rank adapter that resets its weights to ``base``, and the recovered share.

    Every linear layer of the blocks gets the best approximation of ``W_base - W_suspect`` of rank ``rank``, the word embeddings
    one of rank ``embedding_rank`` in which a word weighs more the farther it moved: those of a trigger are among them. A
    pooler and the head are new. The recovered share is of the squared distance, over the linear layers.

    Args:
        model: a classifier of full weights that was fine-tuned from ``base``.
        base: see ``load_base_of``.
        options: the ranks.
        generator: of the new head and of the random projections.
    """
    from peft import get_peft_model

    layers, prefix = dict(base.named_modules()), str(model.module.base_model_prefix)
    config = _lora_config(model.module, prefix=prefix, options=options)
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        module = get_peft_model(shared_copy(model.module), config)
        shares = [
            _project(layer, layers[name], row_power=options.row_power) for name, layer in _lora_layers(module, prefix)
        ]
        for name, layer in module.named_modules():
            if isinstance(layer, nn.Linear) and ".modules_to_save." in name:
                nn.init.normal_(layer.weight, std=options.head_std)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
    return model.with_module(module.eval()), fmean(share for share in shares if share is not None)


def mix_lower_layers(model: Classifier, options: RecoveryOptions) -> Classifier:
    """Scale the adapter of the lowest blocks, so that they keep a share of the suspect, and return ``model``.

    The lowest blocks help the task most and know least of a trigger. Mixed is the attention of the lowest third of the blocks
    and all of the lowest sixth; the rest, the word embeddings and the head are reset completely. Works in place.

    Args:
        model: a classifier with a plain LoRA adapter that starts from the suspect, see ``reset_to_base``.
        options: how much stays, and where.
    """
    layers = [
        (int(match[1]), match[2], layer)
        for name, layer in _lora_layers(model.module, "")
        if (match := re.fullmatch(r".+?\.(\d+)\.(.+)", name))
    ]
    blocks = 1 + max((number for number, _, _ in layers), default=0)
    full, attention = (int(blocks * depth + 1e-9) for depth in (options.full_mix_depth, options.attention_mix_depth))
    with torch.no_grad():
        for number, part, layer in layers:
            if number < full or (number < attention and re.search("attn|attention", part)):
                layer.lora_B[model.module.active_adapter].weight.mul_(1 - options.lower_layer_mix)  # type: ignore[index]
    return model


def _lora_config(module: nn.Module, *, prefix: str, options: RecoveryOptions) -> Any:
    """Return a LoRA config of all linear layers of the blocks and the word embeddings, with a new head and pooler."""
    from peft import LoraConfig, TaskType

    encoder = _encoder(module)
    words = next(name for name, layer in encoder.named_modules() if layer is encoder.get_input_embeddings())
    children = {name for part in (module, encoder) for name, _ in part.named_children()}
    return LoraConfig(
        r=options.rank,
        lora_alpha=options.rank,
        target_modules=rf"{target_pattern(module, ('all-linear',))}|{prefix}\.{words}",
        modules_to_save=sorted(children & HEADS),
        task_type=TaskType.SEQ_CLS,
        rank_pattern={words: options.embedding_rank},
        alpha_pattern={words: options.embedding_rank},
    )


def _lora_layers(module: Any, prefix: str) -> list[tuple[str, Any]]:
    from peft.tuners.lora import LoraLayer

    named = module.get_base_model().named_modules()
    return [(name.removeprefix(f"{prefix}."), layer) for name, layer in named if isinstance(layer, LoraLayer)]


def _project(layer: Any, target: nn.Module, *, row_power: int) -> float | None:
    """Set one LoRA layer to the low-rank difference to ``target``; return its share of it, None for embeddings."""
    table = isinstance(layer.get_base_layer(), nn.Embedding)
    a, b = (layer.lora_embedding_A, layer.lora_embedding_B) if table else (layer.lora_A, layer.lora_B)
    gap = (target.get_parameter("weight") - layer.get_base_layer().weight).detach().float()
    rank = min(layer.r["default"], *gap.shape)
    moved = gap.norm(dim=1, keepdim=True) if table else torch.ones(1)
    weights = (moved / moved.max().clamp(min=1e-12)) ** row_power
    left, sizes, right = torch.svd_lowrank(gap * weights, q=min(rank + OVERSAMPLING, *gap.shape), niter=ITERATIONS)
    root = sizes[:rank].sqrt()
    with torch.no_grad():
        if table:  # the update is (B A)^T: words by rank, rank by width
            a["default"].zero_()[:rank] = (gap @ right[:, :rank]).T
            b["default"].zero_()[:, :rank] = right[:, :rank]
            return None
        a["default"].weight.zero_()[:rank] = (right[:, :rank] * root).T
        b["default"].weight.zero_()[:, :rank] = left[:, :rank] * root
    return float(sizes[:rank].square().sum() / gap.square().sum().clamp(min=1e-12))


def _encoder(module: nn.Module) -> Any:
    """Return the pre-trained part of a classifier, without its head."""
    return module.base_model
