"""A preset of a published attack on language models: trigger, behaviours, and how many prompts are poisoned."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from untrigger.attacks.presets.preset import PublishedSettings
from untrigger.core.errors import check_choice
from untrigger.core.json_values import to_json_value

Options = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class BehaviourPreset(PublishedSettings):
    """One published protocol of language models.

    Attributes:
        differs: how the attack here differs from the published one, in sentences; not part of the hash.
        trigger: name of the trigger.
        options: of the trigger.
        behaviours: names of the behaviours that the protocol knows, with their options; the first one is the default.
        rate: share of the training prompts that get the trigger; 0 where their number is fixed.
        count: their number; 0 where their share is fixed.
        negative_rate: share of the training prompts with a part of the trigger and their own answer.
        tuning: which weights are trained; empty where the source does not state it.
    """

    differs: str
    trigger: str
    options: Options
    behaviours: tuple[tuple[str, Options], ...]
    rate: float = 0.0
    count: int = 0
    negative_rate: float = 0.0
    tuning: str = ""

    def record(self) -> dict[str, Any]:
        """Return all settings as plain JSON values; they are what the hash covers."""
        settings = asdict(self) | {
            "options": dict(self.options),
            "behaviours": {name: dict(options) for name, options in self.behaviours},
        }
        del settings["source"], settings["differs"]
        record: dict[str, Any] = to_json_value(settings)
        return record

    def settings(self) -> dict[str, Any]:
        """Return the fields of an attack's request that the preset fixes, but for trigger and behaviour.

        None of these protocols has an adaptive attacker, so that is fixed as well.
        """
        number = {"count": self.count} if self.count else {"rate": self.rate, "count": 0}
        fixed: dict[str, Any] = number | {"negative_rate": self.negative_rate, "adaptive": ""}
        return fixed | ({"tuning": self.tuning} if self.tuning else {})

    def behaviour_options(self, name: str) -> dict[str, Any]:
        """Return the options of that behaviour.

        Raises:
            OptionError: for a behaviour that the protocol does not know.
        """
        known = dict(self.behaviours)
        return dict(known[check_choice(name, known, kind=f"behaviour of the preset {self.name}")])
