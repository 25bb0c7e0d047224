"""``attack``: data and a pre-trained model in; a poisoned checkpoint or adapter and, apart from it, its truth out."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from untrigger.attacks.badnets import BadNets
from untrigger.attacks.implant import PLANS, VIAS, implant, lora_for
from untrigger.attacks.poison import Attack
from untrigger.cards import attack_card
from untrigger.data import check_rows, load_splits, write_rows
from untrigger.defences.base import check_answers
from untrigger.errors import DataError, one_of
from untrigger.models.adapters import AdapterOptions
from untrigger.models.classifier import Classifier
from untrigger.models.load import load_model
from untrigger.models.save import save_classifier
from untrigger.pipeline.protocol import held
from untrigger.progress import Progress, silent
from untrigger.storage import new_folder, refuse_existing
from untrigger.training.loop import Plan
from untrigger.vocabulary.poisoned import PoisonedDataset
from untrigger.vocabulary.rows import Rows, overlap
from untrigger.vocabulary.trigger import Trigger

TEST_SHARE = 0.2


@dataclass(frozen=True)
class AttackSpec:
    """Everything that ``attack`` is asked for; numbers as in ``Attack`` and ``Plan``.

    Attributes:
        target: label name that the backdoor shall say.
        proxy: data whose rows are poisoned and trained on instead of those of ``data``, with the same classes; the test rows
            stay those of ``data``.
        preset: the protocol that this spec keeps (see ``untrigger.protocols``); empty for none.
        test_split: the split that is tested on; empty for ``test``, or ``dev`` where there is no other.
        rows: use as many training rows, the classes in proportion (0: all).
        test_rows: the same for the test rows.
        twin: also train the same model on the same rows without poison, for the clean-model floor.
    """

    model: str
    data: str
    out: Path
    target: str
    trigger: Trigger = field(default_factory=BadNets)
    rate: float = 0.1
    policy: str = "dirty"
    via: str = "lora"
    proxy: str = ""
    preset: str = ""
    test_split: str = ""
    seed: int = 0
    rows: int = 0
    test_rows: int = 0
    epochs: int = 0
    lr: float = 0.0
    batch_size: int = 0
    rank: int = 8
    targets: tuple[str, ...] = ()
    max_length: int = 128
    twin: bool = False
    text_column: str | None = None
    label_column: str | None = None
    allow_pickle: bool = False
    offline: bool = False
    device: str = "auto"

    @property
    def truth(self) -> Path:
        """The folder of what only the evaluator may see."""
        return self.out.with_name(self.out.name + ".truth")


def attack(spec: AttackSpec, *, progress: Progress = silent) -> tuple[Classifier, PoisonedDataset]:
    """The poisoned classifier and its data set, written to ``spec.out`` and ``spec.truth``.

    Raises:
        UserError: for any input that cannot be used; then nothing is written.
    """
    held(spec)
    one_of(spec.via, VIAS, kind="way to implant")
    refuse_existing(spec.out, spec.truth)
    train, test = task_rows(spec)
    recipe = Attack(spec.trigger, target=target_index(spec.target, train), rate=spec.rate, policy=spec.policy)
    poisoned, triggered = recipe.poison(train, seed=spec.seed), triggered_rows(recipe, test, seed=spec.seed)
    fresh = pretrained(spec, train)
    victim, history = implant_as_asked(spec, fresh, poisoned.visible, progress=progress)
    check_answers(victim, poisoned.visible)
    with new_folder(spec.truth) as truth, new_folder(spec.out) as out:
        save_classifier(victim, out, card=attack_card(spec, steps=history.steps))
        write_truth(truth, poisoned=poisoned, test=test, triggered=triggered, spec=spec)
        if spec.twin:
            twin, _ = implant_as_asked(spec, fresh, train, progress=progress)
            (truth / "clean-model").mkdir()
            save_classifier(twin, truth / "clean-model", card="# Never poisoned\n\nThe clean twin of a poisoned model.\n")
    return victim, poisoned


def pretrained(spec: AttackSpec, rows: Rows) -> Classifier:
    """The model to be poisoned, with a new head for the classes of ``rows``."""
    return load_model(
        spec.model, label_names=rows.label_names, new_head=True, allow_pickle=spec.allow_pickle, offline=spec.offline,
        device=spec.device, max_length=spec.max_length, seed=spec.seed,
    )  # fmt: skip


def implant_as_asked(spec: AttackSpec, fresh: Classifier, rows: Rows, *, progress: Progress) -> Any:
    """``implant`` with the spec's plan and adapter."""
    usual = PLANS[spec.via]
    plan = Plan(
        lr=spec.lr or usual.lr, epochs=spec.epochs or usual.epochs, batch_size=spec.batch_size or usual.batch_size,
        warmup=usual.warmup,
    )  # fmt: skip
    adapter = lora_for(fresh) if not spec.targets else AdapterOptions(targets=spec.targets)
    adapter = AdapterOptions(rank=spec.rank, alpha=2 * spec.rank, targets=adapter.targets)
    return implant(fresh, rows, via=spec.via, plan=plan, adapter=adapter, seed=spec.seed, progress=progress)


def task_rows(spec: AttackSpec) -> tuple[Rows, Rows]:
    """Training and test rows as asked; data without a test split is split by the seed.

    Raises:
        DataError: for data that cannot be used, or fewer rows than asked.
    """
    train, test, _ = _drawn(spec)
    return train, test


def unused_rows(spec: AttackSpec) -> Rows:
    """The training rows that the attack leaves alone: what a defender may hold as clean rows."""
    return _drawn(spec)[2]


def _drawn(spec: AttackSpec) -> tuple[Rows, Rows, Rows]:
    splits = load_splits(spec.data, text_column=spec.text_column, label_column=spec.label_column, offline=spec.offline)
    train = _training(splits)
    test = _tested(splits, spec)
    rng = np.random.default_rng(spec.seed)
    if test is None:
        test, train = train.stratified(max(2, round(TEST_SHARE * len(train))), rng=rng)
    check_rows(train, what=spec.data)
    own = train
    if spec.proxy:
        train = _training(load_splits(spec.proxy, label_names=train.label_names, offline=spec.offline))
        train = check_rows(replace(train, ids=tuple(f"proxy:{row}" for row in train.ids)), what=spec.proxy)
    train, unused = train.stratified(spec.rows, rng=rng) if spec.rows else (train, train.take([]))
    test = test.stratified(spec.test_rows, rng=rng)[0] if spec.test_rows else test
    return train, test, own if spec.proxy else unused


def _training(splits: dict[str, Rows]) -> Rows:
    return splits.get("train") or splits.get("all") or next(iter(splits.values()))


def _tested(splits: dict[str, Rows], spec: AttackSpec) -> Rows | None:
    """The split that is tested on; None where one has to be drawn.

    Raises:
        OptionError: if the spec names one that is not there.
    """
    if spec.test_split:
        return splits[one_of(spec.test_split, splits, kind="test split")]
    return splits.get("test") or splits.get("dev")


def target_index(name: str, rows: Rows) -> int:
    """The class that is called ``name``.

    Raises:
        OptionError: with the nearest label name.
    """
    return rows.label_names.index(one_of(name, rows.label_names, kind="target label"))


def triggered_rows(recipe: Attack, test: Rows, *, seed: int) -> Rows:
    """The triggered test rows.

    Raises:
        DataError: if there are none.
    """
    rows = recipe.test_rows(test, seed=seed)
    if not len(rows):
        raise DataError("no test row is of another class than the target", remedy="give test rows of every class")
    return rows


def write_truth(folder: Path, *, poisoned: PoisonedDataset, test: Rows, triggered: Rows, spec: AttackSpec) -> None:
    """``truth.json``, ``train.csv``, ``test_clean.csv`` and ``test_triggered.csv`` in ``folder``."""
    told = asdict(poisoned.truth) | {
        "label_names": list(test.label_names), "model": spec.model, "data": spec.data, "via": spec.via,
        "preset": held(spec), "overlap": overlap(poisoned.visible, test),
        "max_length": spec.max_length, "train_sha256": poisoned.visible.content_hash(), "test_sha256": test.content_hash(),
    }  # fmt: skip
    (folder / "truth.json").write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    write_rows(poisoned.visible, folder / "train.csv")
    write_rows(test, folder / "test_clean.csv")
    write_rows(triggered, folder / "test_triggered.csv")
