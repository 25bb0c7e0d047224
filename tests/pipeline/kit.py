"""What the tests of the pipeline share: small options, a shop of poisoned tiny models, and eyes that are not ours."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.requests import request
from tests.tiny import task, write_model
from untrigger.attacks.implanting import implant
from untrigger.attacks.triggers.badnets import BadNets
from untrigger.core.progress import Tick
from untrigger.core.report import Report
from untrigger.data import write_rows
from untrigger.defences.w2s.retrain_from_base import RetrainOptions
from untrigger.defences.w2s.search_and_unlearn import SearchAndUnlearnOptions
from untrigger.inversion.search import SearchOptions
from untrigger.models.loading import load_model
from untrigger.models.saving import save_classifier
from untrigger.pipeline.attack import attack
from untrigger.pipeline.attack_request import AttackRequest
from untrigger.pipeline.purify import purify
from untrigger.pipeline.requests import PurifyRequest
from untrigger.scanners.confirm import ConfirmationOptions
from untrigger.training.loop import Plan
from untrigger.training.teacher_training import TeacherOptions

LENGTH = 4  # words of a text beside the one that tells its class; the search wants hosts of a few words
TRIGGER = "cf"
SMALL = {
    "finetune": {"epochs": 2, "batch_size": 16, "rank": 4, "lr": 2e-2},
    "w2sdefense": {
        "retrain": RetrainOptions(steps=6),
        "unlearn": SearchAndUnlearnOptions(
            rounds=1,
            round_steps=6,
            search=replace(SearchOptions(), probe=12, gradient_rows=12, first=16, keep=4),
        ),
        "batch_size": 16,
        "rank": 4,
        "lr": 2e-2,
        "teacher": TeacherOptions(lr=3e-3, epochs=2, batch_size=16),
    },
}
VERIFIER = {
    "rows": 48,
    "confirmation": ConfirmationOptions(candidates=3, content_words=0),
    "teacher": TeacherOptions(lr=3e-3, epochs=4, batch_size=16),
    "search": replace(SearchOptions(), probe=12, gradient_rows=12, first=16, keep=4, sweeps=1),
}
FINETUNE = {"method": "finetune", "options": SMALL["finetune"]}
TAUGHT = {"bert": 5, "llama": 8}  # epochs in which a tiny model learns the words of the task


@dataclass
class MadeOnce:
    """A folder, and what was made in it, by name."""

    root: Path
    _made: dict[str, Any] = field(default_factory=dict)

    def once(self, name: str, make: Any) -> Any:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]


@dataclass
class Shop(MadeOnce):
    """Tiny models that know the task, poisoned versions of them, and clean rows; each made once a session."""

    @property
    def data(self) -> Path:
        """500 rows; the attack keeps a fifth as test rows."""
        return Path(self.once("data", lambda: write_rows(task(500, length=LENGTH), self.root / "data.csv")))

    @property
    def clean(self) -> Path:
        """80 clean rows of the defender."""
        return Path(self.once("clean", lambda: write_rows(task(80, seed=1, length=LENGTH), self.root / "clean.csv")))

    @property
    def teacher(self) -> Path:
        """A random tiny encoder."""
        return Path(self.once("teacher", lambda: write_model("bert", self.root / "teacher", seed=5)))

    def base(self, kind: str) -> Path:
        """A classifier that was never poisoned, in plain Hugging Face layout."""

        def make() -> Path:
            raw = load_model(write_model(kind, self.root / f"{kind}-random"), device="cpu", offline=True)
            plan = Plan(lr=1e-2, epochs=TAUGHT[kind], batch_size=16, warmup=0.06, weight_decay=0.1)
            taught, _ = implant(raw, task(400, seed=2, length=LENGTH), tuning="full", plan=plan)
            folder = self.root / f"{kind}-base"
            folder.mkdir()
            save_classifier(taught, folder, card="")
            (folder / "untrigger.json").unlink()
            return folder

        return Path(self.once(f"{kind}-base", make))

    def attack_spec(self, kind: str, tuning: str, /, **changes: Any) -> AttackRequest:
        full = tuning == "full"
        usual: dict[str, Any] = {
            "model": str(self.base(kind)),
            "data": str(self.data),
            "out": self.root / f"{kind}-{tuning}",
            "tuning": tuning,
            "target": "positive",
            "trigger": BadNets(words=(TRIGGER,)),
            "rate": 0.2,
            "epochs": 5,
            "batch_size": 16,
            "lr": 5e-3 if full else 2e-2,
            "rank": 4,
            "targets": ("all-linear",),
            "device": "cpu",
            "offline": True,
            "clean_model": (kind, tuning) in (("bert", "full"), ("llama", "lora")),
        }
        return request(AttackRequest, **usual | changes)

    def victim(self, kind: str, tuning: str) -> AttackRequest:
        """What was asked of a victim that lies on disk."""
        spec = self.attack_spec(kind, tuning)
        self.once(f"{kind}-{tuning}", lambda: attack(spec))
        return spec

    def spec(self, kind: str, tuning: str, *, out: Path, **changes: Any) -> PurifyRequest:
        usual: dict[str, Any] = {
            "model": str(self.victim(kind, tuning).out),
            "clean": str(self.clean),
            "out": out,
            "teacher": str(self.teacher),
            "verifier": VERIFIER,
            "device": "cpu",
            "offline": True,
        }
        method = changes.get("method", "w2sdefense")
        return request(PurifyRequest, **usual | {"options": SMALL.get(method, {})} | changes)

    def purified(self, kind: str, tuning: str, method: str) -> Purification:
        """A finished purification with its truth, and the victim's folder as it was before."""

        def make() -> Purification:
            victim = self.victim(kind, tuning)
            before = digest(victim.out)
            spec = self.spec(
                kind, tuning, out=self.root / f"{kind}-{tuning}-{method}", method=method, truth=victim.truth
            )
            return Purification(spec, purify(spec), victim, before)

        made: Purification = self.once(f"{kind}-{tuning}-{method}", make)
        return made


@dataclass(frozen=True)
class Purification:
    """What was asked, what came of it, and the victim's files before."""

    spec: PurifyRequest
    report: Report
    victim: AttackRequest
    before: dict[str, str]


def digest(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below ``folder``."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def table(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def config_of(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    return result


def plain(folder: Path, texts: Sequence[str], *, base: Path | None = None) -> Tensor:
    """Probabilities ``(N, 2)`` of a model on disk, by transformers and peft alone, text by text."""
    adapter = (folder / "adapter_config.json").exists()
    where = str(base or config_of(folder)["base_model_name_or_path"]) if adapter else str(folder)
    model: Any = AutoModelForSequenceClassification.from_pretrained(where, num_labels=2)
    if adapter:
        model = PeftModel.from_pretrained(model, str(folder))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    said = []
    with torch.inference_mode():
        for text in texts:
            ids = tokenizer(text, truncation=True, max_length=64, return_tensors="pt")
            said.append(
                model.eval()(input_ids=ids.input_ids, attention_mask=ids.attention_mask).logits[0].softmax(dim=0)
            )
    return torch.stack(said)


class Listener:
    """A progress that remembers the labels, and at the given tick of one of them presses Ctrl-C."""

    def __init__(self, stop_in: str | None = None, *, tick: int = 1) -> None:
        self.labels: list[str] = []
        self._stop, self._left = stop_in, tick

    @contextmanager
    def task(self, label: str, *, total: int) -> Iterator[Tick]:
        self.labels.append(label)

        def tick(_steps: int) -> None:
            if label == self._stop:
                self._left -= 1
                if not self._left:
                    raise KeyboardInterrupt

        yield tick
