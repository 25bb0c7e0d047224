"""Tiny language models on disk, and how they are loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from untrigger.core.prompts import Prompts, Turn
from untrigger.models.adapters import AdapterOptions
from untrigger.models.language_adapters import attach_to_language_model
from untrigger.models.language_model import LanguageModel, load_language_model
from untrigger.models.saving import save_language_model

PROMPTS = Prompts.of(
    [
        "a good film",
        (Turn("system", "some warm voice"), Turn("user", "the plot of this story is dull and very long")),
        (Turn("user", "ugly"), Turn("assistant", "bad"), Turn("user", "scene")),
    ],
    ["good", "bad awful", "with music and light"],
)


def load_speaker(folder: Path, **options: Any) -> LanguageModel:
    return load_language_model(folder, device="cpu", offline=True, **options)


def with_random_adapter(model: LanguageModel, *, seed: int = 0, **options: Any) -> LanguageModel:
    """The model with a LoRA adapter that changes its answers."""
    generator = torch.Generator().manual_seed(seed)
    adapted = attach_to_language_model(model, AdapterOptions(**({"rank": 2} | options)), generator=generator)
    with torch.no_grad():
        for name, value in adapted.module.named_parameters():
            if "lora_B" in name:
                value += torch.randn(value.shape, generator=generator) * 0.2
    return adapted


def save_adapter(model: LanguageModel, folder: Path, **options: Any) -> Path:
    folder.mkdir(parents=True)
    save_language_model(with_random_adapter(model, **options), folder, card="# card")
    return folder
