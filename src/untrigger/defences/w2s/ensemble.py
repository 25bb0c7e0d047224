"""The ensemble that is distilled: the suspect and clean teachers, calibrated and weighted on held-out clean rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from untrigger.core.progress import Progress
from untrigger.core.rows import Rows
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts
from untrigger.training.stacking import fit_least_weight
from untrigger.training.vector_scaling import fit_vector_scaling


class Targets(NamedTuple):
    """Logits ``(N, C)`` that a student is trained on, and the weights of the suspect and of the teachers together."""

    logits: Tensor
    suspect_weight: float
    teacher_weight: float


class _SuspectPredictions(NamedTuple):
    """Calibrated log-probabilities ``(N, C)``; ``biased``: of the clean rows, in scale alone: a preferred class stays so."""

    calibrated: Tensor
    biased: Tensor


class _TeacherPredictions(NamedTuple):
    """Calibrated log-probabilities: the teachers' mean ``(N, C)``, and each teacher's own for the clean rows held out from it.

    ``positions`` are those of the held-out rows among the clean rows.
    """

    mean: Tensor
    held_out: Tensor
    positions: list[int]


@dataclass(frozen=True)
class CalibratedEnsemble:
    """Models whose predictions for texts without a trigger are averaged.

    Attributes:
        suspect: the suspect model; it was not trained on the clean rows, so these calibrate it.
        teachers: clean teachers, each with clean rows that it was not trained on.
        rows: the clean rows that calibrate; those of a teacher that are not among them do not count.
    """

    suspect: Classifier
    teachers: Sequence[tuple[Classifier, Rows]]
    rows: Rows

    def predict(self, texts: Sequence[str], *, teacher_weight: float | None, progress: Progress) -> Targets:
        """Return what the ensemble predicts; a model without weight is not run.

        Args:
            texts: without a trigger.
            teacher_weight: the weight of the teachers' mean against the suspect's, 0 to 1; None: on the rows that a teacher was
                not trained on, the suspect gets the least weight with which the ensemble is as right as the suspect itself
                (``docs/results/w2sdefense.md#the-least-weight-of-the-suspect``).
            progress: gets every step.
        """
        count, texts = len(self.rows), [*self.rows.texts, *texts]
        suspect = self._suspect(texts, progress=progress) if teacher_weight is None or teacher_weight < 1 else None
        teachers = self._teachers(texts, progress=progress) if teacher_weight is None or teacher_weight > 0 else None
        if teachers is None:
            assert suspect is not None
            return Targets(suspect.calibrated[count:], 1.0, 0.0)
        if suspect is None:
            return Targets(teachers.mean[count:], 0.0, 1.0)
        if teacher_weight is None:
            labels = torch.tensor(self.rows.labels)[teachers.positions]
            known = [suspect.calibrated[teachers.positions], teachers.held_out]
            itself = float(functional.cross_entropy(suspect.biased[teachers.positions], labels))
            weights = fit_least_weight(known, labels, bound=itself).tolist()
        else:
            weights = [1 - teacher_weight, teacher_weight]
        return Targets((weights[0] * suspect.calibrated + weights[1] * teachers.mean)[count:], *weights)

    def _suspect(self, texts: Sequence[str], *, progress: Progress) -> _SuspectPredictions:
        logits = predict_texts(self.suspect, texts, progress=progress, label="predictions of the suspect").logits
        known, labels = logits[: len(self.rows)], torch.tensor(self.rows.labels)
        scaling, scale = (fit_vector_scaling(known, labels, fit_bias=bias) for bias in (True, False))
        return _SuspectPredictions(scaling(logits).log_softmax(dim=1), scale(known).log_softmax(dim=1))

    def _teachers(self, texts: Sequence[str], *, progress: Progress) -> _TeacherPredictions:
        labels = torch.tensor(self.rows.labels)
        places = {name: place for place, name in enumerate(self.rows.ids)}
        mean, known, positions = [], [], list[int]()
        for teacher, rows in self.teachers:
            held = [places[name] for name in rows.ids if name in places]
            logits = predict_texts(teacher, texts, progress=progress, label="predictions of a teacher").logits
            scaling = fit_vector_scaling(logits[held], labels[held], fit_bias=False)
            mean.append(scaling(logits).log_softmax(dim=1))
            known.append(mean[-1][held])
            positions += held
        return _TeacherPredictions(torch.stack(mean).mean(dim=0), torch.cat(known), positions)
