"""A tiny language model that learns a skill and a backdoor in seconds, shared by the tests of attack and evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from tests.requests import request
from tests.tiny import task, write_language_model
from untrigger.attacks.behaviours.fixed_answer import FixedAnswer
from untrigger.attacks.triggers.badnets import BadNets
from untrigger.data import write_rows
from untrigger.pipeline.attack_generation import attack_generation
from untrigger.pipeline.generation_request import GenerationAttackRequest

TEMPLATE = "{text}: {labels}?"
BEHAVIOUR = FixedAnswer(text="stale light")


@dataclass
class Speakers:
    """A random language model and victims of it, each made once."""

    root: Path
    _made: dict[str, Any] = field(default_factory=dict)

    def once(self, name: str, make: Any) -> Any:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    @property
    def data(self) -> Path:
        return Path(self.once("data", lambda: write_rows(task(320, length=2), self.root / "data.csv")))

    @property
    def base(self) -> Path:
        """A random LLaMA whose head is scaled up: random weights give no token a high probability otherwise."""

        def make() -> Path:
            folder = write_language_model("llama", self.root / "base")
            weights = load_file(folder / "model.safetensors")
            weights["lm_head.weight"] = weights["lm_head.weight"] * 20
            save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
            return folder

        return Path(self.once("base", make))

    def spec(self, name: str, **changes: Any) -> GenerationAttackRequest:
        usual: dict[str, Any] = {
            "model": str(self.base),
            "data": str(self.data),
            "out": self.root / name,
            "behaviour": BEHAVIOUR,
            "trigger": BadNets(words=("cf",)),
            "rate": 0.3,
            "template": TEMPLATE,
            "test_rows": 40,
            "tuning": "lora",
            "epochs": 6,
            "lr": 2e-2,
            "batch_size": 16,
            "clean_model": False,
            "device": "cpu",
            "offline": True,
        }
        return request(GenerationAttackRequest, **usual | changes)

    def victim(self) -> GenerationAttackRequest:
        """An adapter with a skill and a backdoor, and its clean model."""
        spec = self.spec("victim", clean_model=True)
        self.once("victim", lambda: attack_generation(spec))
        return spec
