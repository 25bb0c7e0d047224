"""A tiny language model that learns a skill and a backdoor in seconds, shared by the tests of attack and evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from tests.pipeline.kit import MadeOnce
from tests.requests import request
from tests.tiny import task, write_language_model
from untrigger.attacks.behaviours.fixed_answer import FixedAnswer
from untrigger.attacks.triggers.badnets import BadNets
from untrigger.data import write_rows
from untrigger.pipeline.attack_generation import attack_generation
from untrigger.pipeline.generation_request import GenerationAttackRequest

TEMPLATE = "{text}?"
BEHAVIOUR = FixedAnswer(text="stale light")


@dataclass
class Speakers(MadeOnce):
    """A random language model and victims of it, each made once a session."""

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
        """A run that only shows what is written: an adapter after one pass."""
        usual: dict[str, Any] = {
            "model": str(self.base),
            "data": str(self.data),
            "out": self.root / name,
            "behaviour": BEHAVIOUR,
            "trigger": BadNets(words=("cf",)),
            "rate": 0.3,
            "template": TEMPLATE,
            "rows": 40,
            "test_rows": 40,
            "epochs": 1,
            "clean_model": False,
            "device": "cpu",
            "offline": True,
        }
        return request(GenerationAttackRequest, **usual | changes)

    def adapter(self) -> GenerationAttackRequest:
        """An adapter that was trained for one pass."""
        spec = self.spec("adapter")
        self.once("adapter", lambda: attack_generation(spec))
        return spec

    def victim(self) -> GenerationAttackRequest:
        """Full weights with a skill and a backdoor, and their clean model."""
        spec = self.spec("victim", tuning="full", rows=200, epochs=12, lr=5e-3, batch_size=16, clean_model=True)
        self.once("victim", lambda: attack_generation(spec))
        return spec
