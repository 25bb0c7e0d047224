"""Presets: the settings of published evaluations, frozen, each with its hash."""

from untrigger.attacks.presets.behaviour_preset import BehaviourPreset
from untrigger.attacks.presets.preset import Preset, PublishedSettings
from untrigger.attacks.presets.published_behaviours import BEHAVIOUR_PRESETS, behaviour_preset
from untrigger.attacks.presets.published_presets import PRESETS, preset

__all__ = [
    "BEHAVIOUR_PRESETS",
    "PRESETS",
    "BehaviourPreset",
    "Preset",
    "PublishedSettings",
    "behaviour_preset",
    "preset",
]
