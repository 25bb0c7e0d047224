"""What a report says of a model: its name, kind and base, the hash of everything that was opened, and what was not opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from untrigger.core.grant import Grant
from untrigger.models.classifier import Classifier
from untrigger.models.language_model import LanguageModel


def shown(name: str) -> str:
    """Return a model's name as reports show it: the last part of a local path, hub names whole."""
    return Path(name).name if Path(name).exists() else name


def model_facts(model: Classifier | LanguageModel) -> dict[str, Any]:
    """Return the entry of a model in a report's ``given``.

    ``sha256`` covers config, weights and tokenizer, ``base_sha256`` the same files of an adapter's base. ``revision`` is the commit
    that was fetched for a hub name.
    """
    source = model.source
    facts: dict[str, Any] = {
        "name": shown(source.name),
        "kind": source.kind,
        "architecture": str(getattr(model.module.config, "model_type", "")),
        "sha256": source.sha256,
        "files": dict(source.files),
    }
    if source.commit:
        facts["revision"] = source.commit
    if source.base:
        revision = source.base_commit or source.revision
        facts |= {"base": shown(source.base), "base_sha256": source.base_sha256, "base_revision": revision}
    return facts


def given_entry(model: Classifier, grant: Grant) -> dict[str, Any]:
    """Return what a report's ``given`` says of the suspect model and of what the defender used."""
    return {
        "model": model_facts(model),
        "labels": list(model.label_names),
        "defender": grant.describe(),
        "max_length": model.max_length,
    }
