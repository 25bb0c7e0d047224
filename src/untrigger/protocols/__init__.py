"""Protocols of published evaluations, frozen: what each says, and the hash of it."""

from untrigger.protocols.preset import Preset
from untrigger.protocols.published import PRESETS, preset

__all__ = ["PRESETS", "Preset", "preset"]
