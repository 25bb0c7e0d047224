"""Saving classifiers in Hugging Face layout, so that transformers and peft load them by themselves."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from peft import PeftModel
from safetensors.torch import save_file

from untrigger.models.adapters import fold
from untrigger.models.classifier import Classifier
from untrigger.models.load import SIDECAR, quiet


def save_classifier(model: Classifier, folder: Path, *, card: str, base: str | None = None) -> None:
    """Weights or adapter, tokenizer, model card and label names written into ``folder``.

    Args:
        model: what to save.
        folder: an existing folder.
        card: text of ``README.md``.
        base: for an adapter, the base that its config shall name (default: where the base was loaded from).
    """
    with quiet():
        model.module.save_pretrained(folder)  # type: ignore[operator]
        model.tokenizer.save_pretrained(folder)
    if isinstance(model.module, PeftModel):
        _name_base(folder, base or model.source.base or model.source.name)
    _sidecar(model, folder)
    (folder / "README.md").write_text(card, encoding="utf-8")


def save_folded(victim: Classifier, student: Classifier, folder: Path, *, card: str) -> None:
    """One LoRA adapter for the victim's adapter and the student's on top of it, for the victim's own base.

    Raises:
        ModelError: if one of the two is no plain LoRA adapter.
    """
    config, tensors = fold(victim.module, student.module)
    config.base_model_name_or_path = victim.source.base
    config.save_pretrained(str(folder))
    save_file({key: value.cpu() for key, value in tensors.items()}, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    with quiet():
        victim.tokenizer.save_pretrained(folder)
    _sidecar(student, folder)
    (folder / "README.md").write_text(card, encoding="utf-8")


def save_purified(victim: Classifier, student: Classifier, folder: Path, *, card: str, merge: bool = False) -> None:
    """The student in the victim's format: one adapter for an adapter, an antidote adapter for full weights.

    Args:
        victim: the model that was purified.
        student: what came of it, the victim itself or with an adapter on it.
        folder: an existing folder.
        card: text of ``README.md``.
        merge: write merged full weights instead.

    Raises:
        ModelError: if an adapter came in that no single adapter can follow.
    """
    if merge:
        save_classifier(merged(student), folder, card=card)
    elif student is victim:
        save_classifier(victim, folder, card=card)
    elif victim.source.kind == "adapter":
        save_folded(victim, student, folder, card=card)
    else:
        local = Path(victim.source.name)
        save_classifier(student, folder, card=card, base=str(local.resolve()) if local.exists() else victim.source.name)


def merged(student: Classifier) -> Classifier:
    """The student with its adapter merged into full weights; the student itself stays as it is."""
    if isinstance(student.module, PeftModel):
        return student.with_module(copy.deepcopy(student.module).merge_and_unload())
    return student


def _sidecar(model: Classifier, folder: Path) -> None:
    told = {"label_names": list(model.label_names), "max_length": model.max_length}
    (folder / SIDECAR).write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _name_base(folder: Path, base: str) -> None:
    file = folder / "adapter_config.json"
    config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
