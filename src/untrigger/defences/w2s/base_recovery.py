"""Lineage: the trusted pre-trained model that a suspect's full weights descend from, and the way back to it.

Fine-tuning moves weights by a few per cent. Where the defender holds what they were before, most of what a poisoner did to
them can be taken back by a low-rank update, without a text that wakes the backdoor.
"""

from __future__ import annotations

import re
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from untrigger.models.adapters import in_blocks, is_adapted, target_pattern
from untrigger.models.classifier import Classifier
from untrigger.models.pretrained import pretrained, quiet
from untrigger.models.safety.model_folder import open_model_folder, read_json, resolve_model
from untrigger.models.weight_sharing import shared_copy

ALIKE = 0.9  # fine-tuned weights lie above 0.99, unrelated ones near 0
SHAPE = ("model_type", "hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size")
WORDS = 64  # rank of the way back for the word embeddings: a few words moved far, the rest hardly
FARTHEST = 4  # a word's gap counts with this power of how far it moved, so that the farthest come back whole


def same_shape(model: Classifier, folder: Path) -> bool:
    """Whether the config in ``folder`` tells of a model of the suspect's architecture and size; no weight is read."""
    file = folder / "config.json"
    own: dict[str, Any] = model.module.config.to_dict()  # type: ignore[union-attr,operator]
    return file.is_file() and all(read_json(file).get(key) == own.get(key) for key in SHAPE)


def ancestor(model: Classifier, name: str | Path, *, offline: bool = False) -> nn.Module | None:
    """The pre-trained model ``name`` where the suspect's weights descend from it, None where they do not.

    Raises:
        ModelError: if it cannot be loaded.
    """
    from transformers import AutoModel

    folder = open_model_folder(resolve_model(name, offline=offline))
    if folder.kind != "full" or is_adapted(model) or not same_shape(model, folder.path):
        return None
    with torch.random.fork_rng(devices=[]):
        base, _ = pretrained(
            AutoModel, folder, expected="the pre-trained model that the suspicious one was made from", whole=False
        )
    base = base.to(model.device).eval()
    return base if likeness(model, base) >= ALIKE else None


def likeness(model: Classifier, base: nn.Module) -> float:
    """The mean cosine between the suspect's and the base's weights over the linear layers of the blocks, 0 for other shapes."""
    inner, other = _inner(model.module), dict(base.named_modules())
    cosines = []
    for stack, number, part in in_blocks(inner):
        name = f"{stack}.{number}.{part}"
        layer, twin = inner.get_submodule(name), other.get(name, inner)
        if type(twin) is not type(layer) or twin.weight.shape != layer.weight.shape:
            return 0.0
        cosines.append(float(torch.cosine_similarity(_flat(layer), _flat(twin), dim=0)))
    return fmean(cosines) if cosines else 0.0


def returned(model: Classifier, base: nn.Module, *, rank: int, generator: torch.Generator) -> tuple[Classifier, float]:
    """The suspect with an adapter that leads its weights back to ``base``, and the share of the way that its rank allows.

    Every linear layer of the blocks gets the best approximation of rank ``rank`` of ``W_base - W_suspect``, the word embeddings
    one of rank ``WORDS`` that brings the words back first that moved farthest: those of a trigger do (the four words of BadNets
    stand among the nine that moved farthest of 30,522, and half to three quarters of their way was left without the
    weights). A pooler and the head start anew. The share is of the squared distance, over the blocks.

    Args:
        model: a classifier of full weights that descends from ``base``.
        base: see ``ancestor``.
        rank: of the adapter.
        generator: of the new head and of the random projections.
    """
    from peft import LoraConfig, TaskType, get_peft_model

    inner, names = _inner(model.module), dict(base.named_modules())
    prefix = str(model.module.base_model_prefix)
    words = next(name for name, layer in inner.named_modules() if layer is inner.get_input_embeddings())
    children = {name for part in (model.module, inner) for name, _ in part.named_children()}
    anew = sorted(children & {"score", "classifier", "pre_classifier", "pooler"})
    pattern = target_pattern(model.module, ("all-linear",))
    config = LoraConfig(
        r=rank,
        lora_alpha=rank,
        target_modules=rf"{pattern}|{prefix}\.{words}",
        modules_to_save=anew,
        task_type=TaskType.SEQ_CLS,
        rank_pattern={words: WORDS},
        alpha_pattern={words: WORDS},
    )
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        module = get_peft_model(shared_copy(model.module), config)
        kept = [_lead_back(layer, names[name]) for name, layer in _adapted(module, prefix)]
        for name, layer in module.named_modules():
            if isinstance(layer, nn.Linear) and ".modules_to_save." in name:
                nn.init.normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
    return model.with_module(module.eval()), fmean(share for share in kept if share is not None)


def keep_low(model: Classifier, share: float) -> Classifier:
    """The same classifier, only a part of the way gone from the suspect where it reads the task best and tells least of a trigger.

    That is the attention of the lowest third of its blocks and all of the lowest sixth. The rest, the word embeddings and the
    head go the whole way. Works in place.

    Args:
        model: a classifier with a plain LoRA adapter that leads away from the suspect, see ``returned``.
        share: of the suspect that stays there, 0 to 1.
    """
    layers = [
        (int(match[1]), match[2], layer)
        for name, layer in _adapted(model.module, "")
        if (match := re.fullmatch(r".+?\.(\d+)\.(.+)", name))
    ]
    blocks = 1 + max((number for number, _, _ in layers), default=0)
    with torch.no_grad():
        for number, part, layer in layers:
            if number < blocks // 6 or (number < blocks // 3 and re.search("attn|attention", part)):
                layer.lora_B[model.module.active_adapter].weight.mul_(1 - share)  # type: ignore[index]
    return model


def _adapted(module: Any, prefix: str) -> list[tuple[str, Any]]:
    from peft.tuners.lora import LoraLayer

    named = module.get_base_model().named_modules()
    return [(name.removeprefix(f"{prefix}."), layer) for name, layer in named if isinstance(layer, LoraLayer)]


def _lead_back(layer: Any, wanted: nn.Module) -> float | None:
    """Start one LoRA layer on the way to ``wanted``; the share of the squared distance that it goes, None for embeddings."""
    table = isinstance(layer.get_base_layer(), nn.Embedding)
    a, b = (layer.lora_embedding_A, layer.lora_embedding_B) if table else (layer.lora_A, layer.lora_B)
    gap = (wanted.get_parameter("weight") - layer.get_base_layer().weight).detach().float()
    rank = min(layer.r["default"], *gap.shape)
    moved = gap.norm(dim=1, keepdim=True) if table else torch.ones(1)
    weights = (moved / moved.max().clamp(min=1e-12)) ** FARTHEST
    left, sizes, right = torch.svd_lowrank(gap * weights, q=min(rank + 16, *gap.shape), niter=4)
    root = sizes[:rank].sqrt()
    with torch.no_grad():
        if table:  # the update is (B A)^T: words by rank, rank by width
            a["default"].zero_()[:rank] = (gap @ right[:, :rank]).T
            b["default"].zero_()[:, :rank] = right[:, :rank]
            return None
        a["default"].weight.zero_()[:rank] = (right[:, :rank] * root).T
        b["default"].weight.zero_()[:, :rank] = left[:, :rank] * root
    return float(sizes[:rank].square().sum() / gap.square().sum().clamp(min=1e-12))


def _inner(module: nn.Module) -> Any:
    """The pre-trained part of a classifier, without its head."""
    return module.base_model


def _flat(layer: Any) -> Tensor:
    return layer.weight.detach().float().flatten()  # type: ignore[no-any-return]
