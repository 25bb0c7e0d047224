"""The models of the calibration series of `untrigger scan`: 28 poisoned, 28 benign, a sweep of training intensity, and lent ones."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from victims import MODELS

from untrigger.attacks.badnets import BadNets
from untrigger.attacks.insent import InSent
from untrigger.pipeline.attack import AttackSpec
from untrigger.vocabulary.trigger import Trigger

ROWS, TEST_ROWS = 1500, 400
TRIGGERS: dict[str, Trigger] = {
    "words": BadNets(), "word": BadNets(words=("cf",)), "odd": BadNets(words=("Voldemort",)),
    "sentence": InSent(), "plain": InSent(sentence="no cross no crown"),
}  # fmt: skip
TARGET = "positive"


@dataclass(frozen=True)
class Cell:
    """One model of the zoo; ``attack`` is a name of ``TRIGGERS``, empty for a benign model.

    ``lent`` is the folder of another series' victim, where the model, or for a benign one its twin, comes from there.
    """

    data: str
    via: str
    attack: str = ""
    policy: str = "dirty"
    rate: float = 0.1
    rank: int = 8
    epochs: int = 2
    seed: int = 0
    model: str = "minilm-l6"
    sweep: bool = False
    lent: str = ""

    @property
    def name(self) -> str:
        if self.lent:
            return Path(self.lent).name + ("" if self.attack else "-twin")
        kind = f"{self.attack}-{self.policy}-{self.rate:g}" if self.attack else "benign"
        rank = f"-r{self.rank}" if self.via == "lora" else ""
        return f"{self.model.split('/')[-1]}-{Path(self.data).stem}-{self.via}{rank}-{kind}-e{self.epochs}-{self.seed}"

    @property
    def family(self) -> str:
        return f"{self.model.split('/')[-1]} {self.via}"

    @property
    def kind(self) -> str:
        return f"{self.attack} {self.policy}" if self.attack else "benign"

    def spec(self, runs: Path) -> AttackSpec:
        return AttackSpec(
            model=self.model, data=self.data, out=runs / "models" / self.name, target=TARGET, via=self.via, rank=self.rank,
            trigger=TRIGGERS[self.attack or "words"], rate=self.rate, policy=self.policy, rows=ROWS, test_rows=TEST_ROWS,
            epochs=self.epochs, seed=self.seed, twin=False, offline=True,
        )  # fmt: skip


def zoo(model: str = "minilm-l6") -> list[Cell]:
    """Seven poisoned and seven benign models of each way of training on each data set: 28 and 28.

    An adapter is trained thrice as long: after two epochs the four words are not yet learned (attack success 38 %).
    """
    cells = []
    for data in ("rotten-tomatoes", "customer-reviews"):
        for via in ("full", "lora"):
            times = 3 if via == "lora" else 1
            short, usual, long, longest = times, 2 * times, 3 * times, 4 * times
            cells += [
                Cell(data, via, "words", epochs=usual), Cell(data, via, "words", policy="clean", rate=0.2, seed=1, epochs=long),
                Cell(data, via, "word", rate=0.05, rank=4, seed=2, epochs=usual),
                Cell(data, via, "odd", seed=3, rank=16, epochs=usual),
                Cell(data, via, "sentence", seed=0, epochs=usual),
                Cell(data, via, "sentence", policy="clean", rate=0.2, seed=1, epochs=long),
                Cell(data, via, "plain", rate=0.2, rank=32, seed=2, epochs=usual),
            ]  # fmt: skip
            cells += [
                Cell(data, via, seed=0, epochs=usual), Cell(data, via, seed=1, epochs=usual),
                Cell(data, via, seed=2, rank=4, epochs=usual), Cell(data, via, seed=3, rank=16, epochs=usual),
                Cell(data, via, seed=4, epochs=short), Cell(data, via, seed=5, epochs=longest),
                Cell(data, via, seed=6, rank=32, epochs=long),
            ]  # fmt: skip
    return [replace(cell, model=model) for cell in cells]


def sweep() -> list[Cell]:
    """Training intensity: too little and too much is where published detectors fail (2409.00399)."""
    steps = [(rate, epochs) for rate in (0.01, 0.03, 0.1, 0.3) for epochs in (1, 3, 8)]
    return [
        Cell("rotten-tomatoes", "full", attack, rate=rate, epochs=epochs, sweep=True)
        for attack in ("words", "sentence")
        for rate, epochs in steps
    ]


def lent(series: Path, names: Sequence[str], seeds: Sequence[int]) -> list[Cell]:
    """Victims with a word and a sentence that lie in another series, and the twin that those of a seed share."""
    cells = []
    for name, seed in itertools.product(names, seeds):
        for kind, trigger in (("words", "badnets"), ("sentence", "insent"), ("", "badnets")):
            folder = series / "victims" / f"{name}-{trigger}-{seed}"
            if folder.is_dir():
                like = MODELS[name]
                told = {"rate": like.rate, "rank": like.rank, "epochs": like.epochs, "seed": seed, "model": like.model}
                cells.append(Cell(like.data, like.via, kind, lent=str(folder), **told))
    return cells
