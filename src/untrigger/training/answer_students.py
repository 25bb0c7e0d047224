"""Training of an adapter, new on a trusted base or the suspect's own, with the settings that every student shares."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from untrigger.core.errors import OptionError
from untrigger.core.progress import Progress
from untrigger.core.prompts import Prompts
from untrigger.models.adapter_merging import is_adapted
from untrigger.models.adapters import AdapterOptions
from untrigger.models.language_adapters import attach_to_language_model, trainable_adapter
from untrigger.models.language_model import LanguageModel
from untrigger.training.answer_training import fine_tune_answers
from untrigger.training.loop import History, Plan


@dataclass(frozen=True)
class AnswerBudget:
    """What a student was trained with, for a fine-tuning control of the same size.

    Attributes:
        adapter: the trained adapter.
        lr: peak learning rate.
        batch_size: prompts a step.
    """

    adapter: AdapterOptions
    lr: float
    batch_size: int


@dataclass(frozen=True)
class AnswerStudentOptions:
    """Options of a method that trains an adapter on the answers to prompts. Values as for a victim (``BEHAVIOUR_PLANS``).

    Attributes:
        rank: rank of the LoRA adapter, on all linear layers of the blocks.
        lr: peak learning rate.
        epochs: fewest passes over the prompts.
        steps: fewest optimiser steps; few prompts are read in more epochs.
        batch_size: prompts a step.
        warmup: share of the steps in which the learning rate climbs from 0.
    """

    rank: int = 8
    lr: float = 2e-3
    epochs: int = 2
    steps: int = 50
    batch_size: int = 8
    warmup: float = 0.1

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for counts below 1; the plan checks the rest.
        """
        if min(self.rank, self.epochs, self.batch_size) < 1 or self.steps < 0:
            raise OptionError(
                f"rank {self.rank}, epochs {self.epochs}, steps {self.steps}, batch_size {self.batch_size}",
                expected="numbers of 1 or more, steps of 0 or more",
            )

    def adapter(self) -> AdapterOptions:
        """Return the adapter that is trained."""
        return AdapterOptions(rank=self.rank, alpha=2 * self.rank)

    def plan(self, prompts: int) -> Plan:
        """Return the plan of a training on so many prompts."""
        epochs = max(self.epochs, -(-self.steps // -(-prompts // self.batch_size)))
        return Plan(lr=self.lr, epochs=epochs, batch_size=self.batch_size, warmup=self.warmup)

    def budget(self) -> AnswerBudget:
        """Return what the student is trained with."""
        return AnswerBudget(self.adapter(), lr=self.lr, batch_size=self.batch_size)

    def new_student(self, base: LanguageModel, *, seed: int) -> LanguageModel:
        """Return ``base`` with a new trainable adapter, drawn from the seed; ``base`` itself stays as it is."""
        return attach_to_language_model(base, self.adapter(), generator=torch.Generator().manual_seed(seed))

    def copy_of_suspect(self, suspect: LanguageModel, *, seed: int) -> LanguageModel:
        """Return a copy of the suspect whose own adapter is trainable; of full weights one with a new adapter."""
        return trainable_adapter(suspect) if is_adapted(suspect) else self.new_student(suspect, seed=seed)

    def trained(
        self,
        base: LanguageModel,
        prompts: Prompts,
        *,
        seed: int,
        progress: Progress,
        label: str,
        dev: Prompts | None = None,
    ) -> tuple[LanguageModel, History]:
        """Return ``base`` with a new adapter that was trained on the prompts' answers, and the history; ``base`` stays as it is.

        With ``dev`` the epoch is kept after which the answers to these prompts are likeliest.
        """
        model = self.new_student(base, seed=seed)
        return model, self.train(model, prompts, seed=seed, dev=dev, progress=progress, label=label)

    def train(
        self,
        student: LanguageModel,
        prompts: Prompts,
        *,
        seed: int,
        progress: Progress,
        label: str,
        max_steps: int = 0,
        **further: Any,
    ) -> History:
        """Train ``student`` in place on the prompts' answers with these settings, freeze it, and return the history.

        Args:
            student: a model with something to train (``new_student``, ``copy_of_suspect``).
            prompts: with the answers to learn.
            seed: of the order of the prompts.
            progress: gets every step.
            label: of the progress.
            max_steps: optimiser steps at most (0: as planned).
            further: of ``fine_tune_answers``, such as ``extra_loss``.
        """
        plan = replace(self.plan(len(prompts)), max_steps=max_steps)
        history = fine_tune_answers(student, prompts, plan=plan, seed=seed, progress=progress, label=label, **further)
        student.module.requires_grad_(False)
        return history
