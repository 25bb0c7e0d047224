"""The ensemble that is distilled: the suspect and clean teachers, calibrated and weighted on held-out clean rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from untrigger.core.progress import Progress
from untrigger.core.rows import Rows
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts
from untrigger.training.stacking import fit_stacking
from untrigger.training.vector_scaling import fit_vector_scaling


class Targets(NamedTuple):
    """Logits ``(N, C)`` that a student is trained on, and the weights of the suspect and of the teachers together."""

    logits: Tensor
    suspect_weight: float
    teacher_weight: float


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
            teacher_weight: the weight of the teachers' mean against the suspect's, 0 to 1; None: both weights are fitted on the
                rows that a teacher was not trained on.
            progress: gets every step.
        """
        count, labels = len(self.rows), torch.tensor(self.rows.labels)
        texts, suspect, teachers = [*self.rows.texts, *texts], None, None
        if teacher_weight is None or teacher_weight < 1:
            logits = predict_texts(self.suspect, texts, progress=progress, label="predictions of the suspect").logits
            suspect = fit_vector_scaling(logits[:count], labels)(logits).log_softmax(dim=1)
        if teacher_weight is None or teacher_weight > 0:
            teachers, known, held = self._teachers(texts, labels, progress=progress)
        if suspect is None or teachers is None:
            only = suspect if teachers is None else teachers
            assert only is not None
            return Targets(only[count:], float(teachers is None), float(suspect is None))
        if teacher_weight is None:
            weights = fit_stacking([suspect[held], known], labels[held]).tolist()
        else:
            weights = [1 - teacher_weight, teacher_weight]
        return Targets((weights[0] * suspect + weights[1] * teachers)[count:], *weights)

    def _teachers(
        self, texts: Sequence[str], labels: Tensor, *, progress: Progress
    ) -> tuple[Tensor, Tensor, list[int]]:
        """Return the teachers' mean log-probabilities, each teacher's own for rows held out from it, and these rows' positions."""
        places = {name: place for place, name in enumerate(self.rows.ids)}
        mean, known, positions = [], [], list[int]()
        for teacher, rows in self.teachers:
            held = [places[name] for name in rows.ids if name in places]
            logits = predict_texts(teacher, texts, progress=progress, label="predictions of a teacher").logits
            scaling = fit_vector_scaling(logits[held], labels[held], fit_bias=False)
            mean.append(scaling(logits).log_softmax(dim=1))
            known.append(mean[-1][held])
            positions += held
        return torch.stack(mean).mean(dim=0), torch.cat(known), positions
