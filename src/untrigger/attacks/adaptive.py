"""An adaptive attacker who expects distillation: on clean rows the victim matches the logits and features of a clean model."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from untrigger.core.progress import Progress, silent
from untrigger.core.rows import Rows
from untrigger.models.classifier import Classifier, ModelOutput
from untrigger.models.inference import predict_texts
from untrigger.training.losses import feature_alignment, kd_loss
from untrigger.training.supervised import LossTerm


def clean_consistency_loss(
    clean_model: Classifier, rows: Rows, *, poisoned: Collection[str], weight: float, progress: Progress = silent
) -> LossTerm:
    """Return a loss term that keeps the victim close to a clean model on rows without the trigger.

    ``weight · (KL(softmax(z_clean) ‖ softmax(z)) + ‖h_clean - h‖² / d)``, mean over the clean rows of the batch. A defence that
    distils a clean teacher on clean rows then starts with a small loss and changes the victim little, and a mapping
    between clean and poisoned behaviour finds little difference. The backdoor is learnt by cross-entropy as usual.

    Args:
        clean_model: a model of the same architecture, trained on the clean rows.
        rows: the training rows as the victim sees them.
        poisoned: ids of the rows that the term skips.
        weight: of the term, above 0.
        progress: receives every row that the clean model predicts.
    """
    target = predict_texts(clean_model, rows.texts, progress=progress, label="predicting with the clean model")
    clean = [row not in poisoned for row in rows.ids]

    def term(batch: Sequence[int], output: ModelOutput) -> Tensor:
        places = [place for place, row in enumerate(batch) if clean[row]]
        if not places:
            return output.logits.sum() * 0
        numbers, at = (
            torch.tensor([batch[place] for place in places]),
            torch.tensor(places, device=output.logits.device),
        )
        logits, features = (part[numbers].to(output.logits.device) for part in (target.logits, target.features))
        near = feature_alignment(features, output.features[at]) / features.shape[1]
        return weight * (kd_loss(logits, output.logits[at], temperature=1.0) + near)

    return term
