"""An attacker who knows that the victim will be distilled: on clean rows the victim says and feels what a clean model does."""

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
    twin: Classifier, rows: Rows, *, poisoned: Collection[str], weight: float, progress: Progress = silent
) -> LossTerm:
    """A term of the implanting loss that ties the victim to a clean twin wherever no trigger lies.

    ``weight · (KL(softmax(z_twin) ‖ softmax(z)) + ‖h_twin - h‖² / d)``, mean over the clean rows of the batch. A defence that
    distils a clean teacher on clean rows then finds its loss small from the start and hardly moves the victim, and a map
    between clean and poisoned behaviour has little to hold on to. The backdoor is learnt by cross-entropy as ever.

    Args:
        twin: a model of the same form that was trained on the clean rows.
        rows: the training rows as the victim sees them.
        poisoned: ids of the rows that the term leaves alone.
        weight: of the term, above 0.
        progress: told of every row that the twin reads.
    """
    told = predict_texts(twin, rows.texts, progress=progress, label="asking the clean twin")
    clean = [row not in poisoned for row in rows.ids]

    def term(batch: Sequence[int], said: ModelOutput) -> Tensor:
        places = [place for place, row in enumerate(batch) if clean[row]]
        if not places:
            return said.logits.sum() * 0
        numbers, at = torch.tensor([batch[place] for place in places]), torch.tensor(places, device=said.logits.device)
        logits, features = (part[numbers].to(said.logits.device) for part in (told.logits, told.features))
        near = feature_alignment(features, said.features[at]) / features.shape[1]
        return weight * (kd_loss(logits, said.logits[at], temperature=1.0) + near)

    return term
