"""Presets: the settings of published evaluations, frozen, each with its hash."""

from untrigger.attacks.presets.preset import Preset
from untrigger.attacks.presets.published_presets import PRESETS, preset

__all__ = ["PRESETS", "Preset", "preset"]
