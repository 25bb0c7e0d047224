"""The models of the calibration series of `untrigger scan`: 28 poisoned, 28 benign, a sweep of training intensity, hard tasks, and those of other series."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from victims import MODELS

from untrigger.attacks.trigger import Trigger
from untrigger.attacks.triggers.badnets import BadNets
from untrigger.attacks.triggers.insent import InSent
from untrigger.core.files import new_folder
from untrigger.core.rows import Rows
from untrigger.core.seeds import generator_for
from untrigger.data import DataSource, load_splits, write_rows
from untrigger.pipeline.attack_request import AttackRequest
from untrigger.pipeline.requests import ModelInput, RunOptions

ROWS, TEST_ROWS = 1500, 400
TRIGGERS: dict[str, Trigger] = {
    "words": BadNets(),
    "word": BadNets(words=("cf",)),
    "odd": BadNets(words=("Voldemort",)),
    "sentence": InSent(),
    "plain": InSent(sentence="no cross no crown"),
}
TARGET = "positive"


@dataclass(frozen=True)
class Cell:
    """One model of the zoo; ``attack`` is a name of ``TRIGGERS``, empty for a benign model.

    ``victim`` is the folder of another series' victim, where the model, or for a benign one its clean model, comes from there.
    ``noise`` is the share of wrong labels among the training rows, the defender's clean rows among them; test labels stay true.
    """

    data: str
    tuning: str
    attack: str = ""
    policy: str = "dirty"
    rate: float = 0.1
    rank: int = 8
    epochs: int = 2
    seed: int = 0
    model: str = "minilm-l6"
    sweep: bool = False
    victim: str = ""
    target: str = TARGET
    noise: float = 0.0

    @property
    def data_name(self) -> str:
        """The last part of the data's path that is not merely ``clean``, with the label noise."""
        place = Path(self.data)
        name = place.parent.name if place.name == "clean" else place.stem
        return f"{name}-noise{self.noise:g}" if self.noise else name

    @property
    def name(self) -> str:
        if self.victim:
            return Path(self.victim).name + ("" if self.attack else "-clean")
        kind = f"{self.attack}-{self.policy}-{self.rate:g}" if self.attack else "benign"
        rank = f"-r{self.rank}" if self.tuning == "lora" else ""
        return f"{self.model.split('/')[-1]}-{self.data_name}-{self.tuning}{rank}-{kind}-e{self.epochs}-{self.seed}"

    @property
    def family(self) -> str:
        return f"{self.model.split('/')[-1]} {self.tuning}"

    @property
    def kind(self) -> str:
        return f"{self.attack} {self.policy}" if self.attack else "benign"

    def spec(self, runs: Path) -> AttackRequest:
        return AttackRequest(
            model=ModelInput(self.model),
            data=DataSource(self._data(runs)),
            out=runs / "models" / self.name,
            target=self.target,
            tuning=self.tuning,
            rank=self.rank,
            trigger=TRIGGERS[self.attack or "words"],
            rate=self.rate,
            policy=self.policy,
            rows=ROWS,
            test_rows=TEST_ROWS,
            epochs=self.epochs,
            clean_model=False,
            run=RunOptions(seed=self.seed, offline=True),
        )

    def _data(self, runs: Path) -> str:
        """The data as they are, or the folder of a copy with wrong labels, made where it is not there yet."""
        if not self.noise:
            return self.data
        place = runs / "data" / self.data_name
        if not place.exists():
            splits = load_splits(self.data, offline=True)
            with new_folder(place) as folder:
                for split, rows in splits.items():
                    write_rows(rows if split == "test" else mislabelled(rows, self.noise), folder / f"{split}.csv")
        return str(place)


def mislabelled(rows: Rows, share: float, *, seed: int = 0) -> Rows:
    """The rows, a share of each class with a wrong label, drawn evenly from the other classes."""
    rng, classes = generator_for(seed, "noise"), len(rows.label_names)  # attacks draw their rows by the seed
    wrong = set(rows.stratified(round(share * len(rows)), rng=rng)[0].ids)
    steps = rng.integers(1, classes, size=len(rows))
    labels = [
        (label + int(step)) % classes if name in wrong else label
        for name, label, step in zip(rows.ids, rows.labels, steps, strict=True)
    ]
    return rows.with_labels(labels)


def hard(model: str = "minilm-l6", *, tweets: str = "") -> list[Cell]:
    """Tasks on which benign models are often wrong: two poisoned and two benign models of each.

    One in five labels of the customer reviews is wrong; ``tweets`` is a folder of OLID (offensive tweets, 0 and 1), where
    there is one: its benign models reach 80 %, the largest class alone 66 %.
    """
    tasks = [Cell("customer-reviews", "full", model=model, noise=0.2)]
    if tweets:
        tasks.append(Cell(tweets, "full", model=model, target="1"))
    return [
        replace(task, attack=attack, seed=seed)
        for task in tasks
        for attack, seed in (("words", 0), ("", 0), ("sentence", 1), ("", 1))
    ]


def zoo(model: str = "minilm-l6") -> list[Cell]:
    """Seven poisoned and seven benign models of each way of training on each data set: 28 and 28.

    An adapter is trained thrice as long: after two epochs the four words are not yet learned (attack success 38 %).
    """
    cells = []
    for data in ("rotten-tomatoes", "customer-reviews"):
        for tuning in ("full", "lora"):
            times = 3 if tuning == "lora" else 1
            short, usual, long, longest = times, 2 * times, 3 * times, 4 * times
            cells += [
                Cell(data, tuning, "words", epochs=usual),
                Cell(data, tuning, "words", policy="clean", rate=0.2, seed=1, epochs=long),
                Cell(data, tuning, "word", rate=0.05, rank=4, seed=2, epochs=usual),
                Cell(data, tuning, "odd", seed=3, rank=16, epochs=usual),
                Cell(data, tuning, "sentence", seed=0, epochs=usual),
                Cell(data, tuning, "sentence", policy="clean", rate=0.2, seed=1, epochs=long),
                Cell(data, tuning, "plain", rate=0.2, rank=32, seed=2, epochs=usual),
            ]
            cells += [
                Cell(data, tuning, seed=0, epochs=usual),
                Cell(data, tuning, seed=1, epochs=usual),
                Cell(data, tuning, seed=2, rank=4, epochs=usual),
                Cell(data, tuning, seed=3, rank=16, epochs=usual),
                Cell(data, tuning, seed=4, epochs=short),
                Cell(data, tuning, seed=5, epochs=longest),
                Cell(data, tuning, seed=6, rank=32, epochs=long),
            ]
    return [replace(cell, model=model) for cell in cells]


def sweep() -> list[Cell]:
    """Training intensity: too little and too much is where published detectors fail (2409.00399)."""
    steps = [(rate, epochs) for rate in (0.01, 0.03, 0.1, 0.3) for epochs in (1, 3, 8)]
    return [
        Cell("rotten-tomatoes", "full", attack, rate=rate, epochs=epochs, sweep=True)
        for attack in ("words", "sentence")
        for rate, epochs in steps
    ]


def victims_of(series: Path, names: Sequence[str], seeds: Sequence[int]) -> list[Cell]:
    """Victims with a word and a sentence of another series, and the clean model that those of a seed share."""
    cells = []
    for name, seed in itertools.product(names, seeds):
        for kind, trigger in (("words", "badnets"), ("sentence", "insent"), ("", "badnets")):
            folder = series / "victims" / f"{name}-{trigger}-{seed}"
            if folder.is_dir():
                like = MODELS[name]
                cell = Cell(like.data.name, like.tuning, kind, model=like.model.name, victim=str(folder), seed=seed)
                cells.append(replace(cell, rate=like.rate, rank=like.rank, epochs=like.epochs))
    return cells
