"""The student of a purifier: its adapter, how it is trained, and the budget that a control must match."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from untrigger.core.errors import OptionError
from untrigger.models.adapters import AdapterOptions, attach
from untrigger.models.classifier import Classifier
from untrigger.training.loop import MICRO_BATCH, Plan


@dataclass(frozen=True)
class TrainingBudget:
    """What a student was trained with, for a fine-tuning control of the same size.

    Attributes:
        adapter: the trained adapter.
        lr: peak learning rate.
        batch_size: rows a step.
        dev: share of the clean rows that was held out; None where the method has no such option.
    """

    adapter: AdapterOptions
    lr: float
    batch_size: int
    dev: float | None = None


@dataclass(frozen=True)
class StudentOptions:
    """Options of a method that trains an adapter on the suspect model.

    Attributes:
        peft: PEFT method of the student.
        rank: rank of a LoRA or DoRA adapter.
        targets: linear layers that are adapted.
    """

    peft: str = "lora"
    rank: int = 16
    targets: tuple[str, ...] = ("all-linear",)

    def adapter(self) -> AdapterOptions:
        """Return the adapter that is trained."""
        return AdapterOptions(method=self.peft, rank=self.rank, targets=self.targets)

    def student(self, model: Classifier, *, seed: int) -> Classifier:
        """Return ``model`` with a new adapter on it, drawn from the seed; ``model`` itself stays as it is."""
        return attach(model, self.adapter(), generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class StudentTraining(StudentOptions):
    """Options of a method that trains an adapter with a loss of its own.

    Attributes:
        lr: peak learning rate.
        batch_size: rows a step.
        warmup: share of the steps in which the learning rate climbs from 0, 0 to 1 (not tuned).
    """

    lr: float = 1e-3
    batch_size: int = 32
    warmup: float = 0.1

    def plan(self, *, epochs: int = 1) -> Plan:
        """Return the plan of one training of the student."""
        return Plan(lr=self.lr, epochs=epochs, batch_size=self.batch_size, warmup=self.warmup, micro_batch=MICRO_BATCH)

    def budget(self) -> TrainingBudget | None:
        """Return the budget of the training."""
        return TrainingBudget(self.adapter(), lr=self.lr, batch_size=self.batch_size)


@dataclass(frozen=True)
class DistillationOptions(StudentTraining):
    """Options of a method whose loss is ``a·CE(z_S, y) + b·T²·KL(z ‖ z_S)`` and further terms.

    Attributes:
        temperature: T of every distillation term.
        a: weight of the cross-entropy with the true label.
        b: weight of the distillation from predictions without a trigger.
    """

    temperature: float = 2.0
    a: float = 1.0
    b: float = 1.0

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for a batch of one row, half of which cannot hold triggers.
        """
        if self.batch_size < 2:
            raise OptionError(f"batch_size {self.batch_size}", expected="2 or more")
