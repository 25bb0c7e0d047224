"""What a model's files say that it does: generate text or classify it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from untrigger.core.errors import ModelError
from untrigger.models.safety.hub_files import resolve_model
from untrigger.models.safety.regular_files import read_json

LANGUAGE_MODELS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
"""Ends of the names of architectures that generate text."""


def generates_text(name: str | Path, *, offline: bool = False) -> bool:
    """Return whether a folder, hub name or embedded model is a language model, or an adapter of one; no weights are read.

    Raises:
        ModelError: if there is no such model, or its config cannot be read.
    """
    adapter, config = _configs(resolve_model(name, offline=offline))
    return is_language_config(config) if adapter is None else adapter.get("task_type") == "CAUSAL_LM"


def is_language_config(config: dict[str, Any]) -> bool:
    """Return whether a ``config.json`` names the architecture of a language model."""
    return any(str(one).endswith(LANGUAGE_MODELS) for one in _architectures(config))


def check_generates_text(name: str | Path, *, offline: bool = False) -> None:
    """Raise ModelError for a classifier or an adapter of one; a model that cannot be found is left to its loading."""
    try:
        folder = resolve_model(name, offline=offline)
    except ModelError:
        return
    adapter, config = _configs(folder)
    if adapter is None:
        check_language_config(config, name=name)
    elif adapter.get("task_type") == "SEQ_CLS":
        raise _is_classifier(name, kind="an adapter of task_type SEQ_CLS")


def check_language_config(config: dict[str, Any], *, name: str | Path) -> None:
    """Raise ModelError for the ``config.json`` of a classifier."""
    kind = next((one for one in _architectures(config) if one.endswith("Classification")), None)
    if kind is not None:
        raise _is_classifier(name, kind=kind[:60])


def _is_classifier(name: str | Path, *, kind: str) -> ModelError:
    return ModelError(
        f"{str(name)!r} is a classifier ({kind})",
        expected="a causal language model, or an adapter of one, such as smollm2-135m",
        remedy="leave out --behaviour and --task generation; to poison a classifier, give --target LABEL",
    )


def _configs(folder: Path) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Return the configs of an adapter and of full weights: None where there is no adapter, empty where there is nothing else."""
    adapter, config = folder / "adapter_config.json", folder / "config.json"
    if adapter.exists():
        return read_json(adapter, origin=adapter), {}
    return None, read_json(config, origin=config) if config.exists() else {}


def _architectures(config: dict[str, Any]) -> list[str]:
    named = config.get("architectures")
    return [str(one) for one in named] if isinstance(named, list) else []
