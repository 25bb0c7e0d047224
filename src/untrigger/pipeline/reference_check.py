"""Refuse a reference, teacher or base that is the suspect model itself, by the hashes of its files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from untrigger.core.errors import ModelError
from untrigger.models.classifier import Classifier

WEIGHTS = (".safetensors", ".bin")


def refuse_suspect_itself(
    suspect: Classifier, *, option: str, name: str, sha256: str, files: Mapping[str, Any], expected: str
) -> None:
    """Raise ModelError unless the files that ``option`` names differ from the suspect's.

    Args:
        suspect: the model that is scanned or purified.
        option: the option of the command line.
        name: what was given with it.
        sha256: over all files that were opened there.
        files: what was opened there with its hashes.
        expected: what should be given instead.

    Raises:
        ModelError: if all files or all weight files have the hashes of the suspect's.
    """
    own = suspect.source
    weights = _weight_hashes(files)
    if sha256 != own.sha256 and (not weights or weights != _weight_hashes(own.files)):
        return
    raise ModelError(
        f"{option} {name!r} has the weights of the suspect model itself",
        expected=expected,
        remedy=f"give another model with {option}, or leave {option} out",
    )


def _weight_hashes(files: Mapping[str, Any]) -> list[str]:
    """Return the hashes of the weight files without their names, which a copy may change."""
    return sorted(value for name, value in files.get("opened", {}).items() if name.endswith(WEIGHTS))
