"""W2SDefense as the paper describes it and as its authors released it (2410.14425): distillation on the clean rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from untrigger.core.grant import Grant
from untrigger.core.progress import Progress
from untrigger.core.rows import Rows
from untrigger.core.verdicts import PurificationOutcome
from untrigger.defences.purifier import Purified, Purifier
from untrigger.defences.student import TrainingBudget
from untrigger.methods.defender_rows import split_clean
from untrigger.models.adapter_targets import query_value
from untrigger.models.adapters import AdapterOptions, attach
from untrigger.models.classifier import Classifier, ModelOutput
from untrigger.models.inference import Predictions, predict_texts
from untrigger.runtime.batching import shuffled_batches
from untrigger.training.history import history_curves
from untrigger.training.loop import Loss, Plan, train
from untrigger.training.losses import feature_alignment, kd_loss, released_alignment
from untrigger.training.supervised import accuracy_on
from untrigger.training.teacher_training import TeacherOptions, train_teacher

PUBLISHED_TEACHER = TeacherOptions(lr=2e-5, epochs=5, warmup=0.06, pooling="cls", use_dropout=True)


@dataclass(frozen=True)
class W2SAsDescribed(Purifier):
    """``a·CE(z_S, y) + b·T²·KL(z_T ‖ z_S) + c·‖h_T − h_S‖²`` over the clean rows, best dev epoch kept.

    The frozen teacher's logits and features are computed once.

    Attributes:
        peft: PEFT method of the student.
        rank: rank of a LoRA or DoRA adapter.
        targets: linear layers that are adapted; empty: the query and value projections.
        dropout: LoRA's dropout.
        lr: peak learning rate, linear decay.
        epochs: passes over the clean rows.
        batch_size: rows a step.
        temperature: T.
        a: weight of the cross-entropy.
        b: weight of the distillation.
        c: weight of the feature alignment.
        dev: share of the clean rows that chooses the epoch.
        teacher: how the teacher is trained.

    Differs from the paper: one set of weights (1, 1, 1) for all attacks, because choosing them per attack uses knowledge
    that no defender has.
    """

    name: ClassVar[str] = "w2sdefense-as-described"
    needs: ClassVar[frozenset[str]] = frozenset({"clean", "teacher"})
    released: ClassVar[bool] = False
    peft: str = "lora"
    rank: int = 512
    targets: tuple[str, ...] = ()
    dropout: float = 0.1
    lr: float = 2e-4
    epochs: int = 5
    batch_size: int = 32
    temperature: float = 2.0
    a: float = 1.0
    b: float = 1.0
    c: float = 1.0
    dev: float = 0.15
    teacher: TeacherOptions = field(default=PUBLISHED_TEACHER)

    def _purify(self, model: Classifier, grant: Grant, *, progress: Progress) -> Purified:
        assert grant.clean is not None
        rows, dev = split_clean(grant.clean, dev=self.dev, generator=np.random.default_rng(grant.seed))
        teacher, taught = train_teacher(model, grant, rows=rows, dev=dev, options=self.teacher, progress=progress)
        expected = predict_texts(teacher, rows.texts, progress=progress, label="predictions of the teacher")
        adapter = AdapterOptions(
            method=self.peft, rank=self.rank, targets=self.targets or query_value(model), dropout=self.dropout
        )
        student = attach(model, adapter, generator=torch.Generator().manual_seed(grant.seed))
        loss = self._loss(student, rows, expected=expected)
        rng, lengths = np.random.default_rng(grant.seed), [len(row) for row in student.encode(rows.texts)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(grant.seed)
            history = train(
                student.module,
                loss,
                epochs=lambda _: shuffled_batches(lengths, size=self.batch_size, rng=rng),
                plan=Plan(lr=self.lr, epochs=self.epochs, batch_size=self.batch_size, use_dropout=True),
                score=accuracy_on(student, dev),
                progress=progress,
                label="distilling",
            )
        return Purified(
            student,
            changed=True,
            history=history,
            outcome=PurificationOutcome.NOT_CHECKED,
            summary="the teacher's predictions for the clean rows were distilled, as published",
            metadata={"teacher_dev_accuracy": max(taught.scores)},
            curves=[*history_curves(taught, panel="teacher training"), *history_curves(history, panel="distillation")],
            budget=TrainingBudget(adapter, lr=self.lr, batch_size=self.batch_size, dev=self.dev),
        )

    def _loss(self, student: Classifier, rows: Rows, *, expected: Predictions) -> Loss:
        """Return the loss of a batch of row numbers, with the teacher's predictions ``expected``."""
        ids, labels = student.encode(rows.texts), torch.tensor(rows.labels)

        def loss(batch: Sequence[int]) -> tuple[Tensor, dict[str, float]]:
            output = student.forward(student.collate([ids[i] for i in batch]))
            device = output.logits.device
            ce = functional.cross_entropy(output.logits, labels[list(batch)].to(device))
            kl = kd_loss(expected.logits[list(batch)].to(device), output.logits, temperature=self.temperature)
            alignment = self._alignment(expected.features[list(batch)].to(device), output)
            terms = {"cross-entropy": ce, "distillation": kl, "alignment": alignment}
            value = self.a * ce + self.b * kl + self.c * alignment
            return value, {name: float(term.detach()) for name, term in terms.items()}

        return loss

    def _alignment(self, teacher: Tensor, output: ModelOutput) -> Tensor:
        return feature_alignment(teacher, output.features)


@dataclass(frozen=True)
class W2SAsReleased(W2SAsDescribed):
    """As described, but with the alignment of the released code: every position against the batch's last teacher feature.

    Attributes:
        a: weight of the cross-entropy (released for the word trigger: 5, 0.001, 0.001).
        b: weight of the distillation.
        c: weight of the released_alignment.

    Differs from the paper: everything that the released code does otherwise.
    """

    name: ClassVar[str] = "w2sdefense-as-released"
    a: float = 5.0
    b: float = 0.001
    c: float = 0.001

    def _alignment(self, teacher: Tensor, output: ModelOutput) -> Tensor:
        return released_alignment(teacher, output.features if output.positions is None else output.positions)
