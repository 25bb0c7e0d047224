"""The record that every builder of an asset gets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class BuildInputs:
    """What a builder reads, and where it may write temporary files.

    Attributes:
        archives: the verified archives, in the order of the catalogue.
        scratch: an empty folder that is removed after the build.
        needed: the folder of each asset that is fetched first, by name (``Asset.needs``).
    """

    archives: list[Path]
    scratch: Path
    needed: dict[str, Path]
