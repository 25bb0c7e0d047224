"""Features of texts by a pre-trained encoder without a task: the mean of its last hidden state over the tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from untrigger.core.progress import Progress, silent
from untrigger.models.classifier import Classifier
from untrigger.models.inference import as_bfloat16, map_batches
from untrigger.models.weak_teacher import MappedEncoder, load_weak_teacher


def load_text_encoder(
    name: str | Path, *, offline: bool = False, device: str = "auto", max_length: int = 128
) -> Classifier:
    """Return a pre-trained encoder for ``mean_pooled_features``; its classification head is not used.

    Args:
        name: folder, hub name or embedded model that the defender trusts.
        offline: use no hub.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        max_length: texts are cut after this many tokens.

    Raises:
        ModelError: if it is not an encoder that can be loaded.
    """
    return as_bfloat16(
        load_weak_teacher(
            name, width=1, label_names=("",), pooling="mean", offline=offline, device=device, max_length=max_length
        )
    )


def mean_pooled_features(
    encoder: Classifier, texts: Sequence[str], *, progress: Progress = silent, label: str = "encoding texts"
) -> Tensor:
    """Return ``(N, d)``, on the CPU: the encoder's output for each text, its mean over the tokens, in the order given."""
    module, ids = encoder.module.eval(), encoder.encode(texts)
    assert isinstance(module, MappedEncoder)
    if not ids:
        return torch.zeros(0, 0)

    def outputs(batch: Any) -> tuple[Tensor]:
        return (module.pooled(batch.input_ids, batch.attention_mask).float(),)

    (features,) = map_batches(encoder, ids, outputs, progress=progress, label=label)
    return features
