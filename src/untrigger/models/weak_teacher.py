"""The weak teacher: a small encoder whose feature already has the student's width (W2SDefense, section 3)."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from untrigger.core.errors import ModelError, check_choice
from untrigger.models.classifier import Classifier, ModelSource
from untrigger.models.max_length import bounded_length
from untrigger.models.pretrained import pretrained, tokenizer_of
from untrigger.models.safety.model_folder import open_model
from untrigger.runtime.device import pick_device

POOLINGS = ("cls", "mean")


class MappedEncoder(nn.Module):
    """Encoder, pooling, the map ``g`` (linear and ReLU) to the student's width, and a linear classifier."""

    def __init__(self, encoder: Any, *, width: int, classes: int, pooling: str) -> None:
        """Add a new map and classifier to ``encoder``."""
        super().__init__()
        self.encoder: Any = encoder
        self.config: Any = encoder.config
        self.pooling = check_choice(pooling, POOLINGS, kind="pooling")
        self.map = nn.Sequential(nn.Linear(int(self.config.hidden_size), width), nn.ReLU())
        self.classifier = nn.Linear(width, classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        """Return ``logits (B, C)``; the classifier's input is the feature ``h_T (B, width)``."""
        return SimpleNamespace(logits=self.classifier(self.map(self.pooled(input_ids, attention_mask))))

    def pooled(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return ``(B, d)``: the encoder's output at the first token, or its mean over the tokens."""
        hidden: Tensor = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.pooling == "cls":
            return hidden[:, 0]
        weight = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)


def load_weak_teacher(
    name: str | Path,
    *,
    width: int,
    label_names: tuple[str, ...],
    pooling: str = "cls",
    seed: int = 0,
    offline: bool = False,
    device: str = "auto",
    max_length: int = 128,
) -> Classifier:
    """Return an untrained teacher around the pre-trained encoder ``name``, every parameter trainable.

    Args:
        name: folder, hub name or embedded model that the defender trusts.
        width: width of the student's feature.
        label_names: the task's classes.
        pooling: ``cls`` (as the paper) or ``mean``.
        seed: of the fresh map and classifier.
        offline: use no hub.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        max_length: texts are cut after this many tokens.

    Raises:
        ModelError: if it is not an encoder that can be loaded.
    """
    from transformers import AutoModel

    folder = open_model(name, offline=offline)
    with torch.random.fork_rng(devices=[]):  # a pooler that no file holds is drawn
        torch.manual_seed(seed)
        encoder, _ = pretrained(
            AutoModel,
            folder,
            expected="a pre-trained encoder such as minilm-l6",
            whole=False,
            attn_implementation="eager",
        )
    tokenizer = tokenizer_of(folder)
    if tokenizer.pad_token_id is None:
        raise ModelError(f"the teacher {str(name)!r} has no pad token", expected="an encoder such as minilm-l6")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = MappedEncoder(encoder, width=width, classes=len(label_names), pooling=pooling)
    source = ModelSource(name=str(name), kind="full", sha256=folder.sha256)
    limit = bounded_length(max_length, encoder)
    return Classifier(module.to(pick_device(device)), tokenizer, label_names, source, max_length=limit)
