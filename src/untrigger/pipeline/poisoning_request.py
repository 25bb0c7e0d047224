"""What ``attack`` is given for any model: the fields that classifiers and language models share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from untrigger.attacks.trigger import Trigger
from untrigger.attacks.triggers.badnets import BadNets
from untrigger.data import DataSource
from untrigger.pipeline.requests import ModelInput, RunOptions
from untrigger.training.loop import Plan


@dataclass(frozen=True, kw_only=True)
class PoisoningRequest:
    """The model, the data, the trigger and the training; numbers as in ``Attack`` and ``Plan``.

    Attributes:
        model: the model to poison.
        data: training rows, and test rows where it has a split for them.
        out: the new folder of the victim.
        trigger: what is inserted, or how texts are rewritten.
        rate: share of all training rows that get the trigger.
        negative_rate: share of them that carry a part of the trigger under their own label or answer.
        preset: the protocol that this request follows (see ``untrigger.attacks.presets``); empty for none.
        tuning: ``lora``, ``full``, or of a classifier ``embedding``.
        test_split: the split to test on; empty for ``test``, or ``dev`` where there is no other.
        rows: use as many training rows, the classes in proportion (0: all).
        test_rows: the same for the test rows.
        test_share: share of the rows that is tested on where the data has no split for it (not tuned).
        epochs: passes over the training rows; 0 as ``tuning`` does by default, and so for the next two.
        lr: peak learning rate.
        batch_size: rows a step.
        rank: of the LoRA adapter; its alpha is twice the rank.
        targets: layers that LoRA adapts; empty for the default.
        clean_model: also train the same model on the same rows without poison: the floor of every evaluation.
        run: seed, device, offline.
    """

    model: ModelInput
    data: DataSource
    out: Path
    trigger: Trigger = field(default_factory=BadNets)
    rate: float = 0.1
    negative_rate: float = 0.0
    preset: str = ""
    tuning: str = "lora"
    test_split: str = ""
    rows: int = 0
    test_rows: int = 0
    test_share: float = 0.2
    epochs: int = 0
    lr: float = 0.0
    batch_size: int = 0
    rank: int = 8
    targets: tuple[str, ...] = ()
    clean_model: bool = True
    run: RunOptions = field(default_factory=RunOptions)

    @property
    def truth(self) -> Path:
        """The folder of what only the evaluator may see."""
        return self.out.with_name(self.out.name + ".truth")

    def plan(self, usual: Plan) -> Plan:
        """Return how the victim is trained: ``usual``, but for what was requested."""
        return Plan(
            lr=self.lr or usual.lr,
            epochs=self.epochs or usual.epochs,
            batch_size=self.batch_size or usual.batch_size,
            warmup=usual.warmup,
        )
