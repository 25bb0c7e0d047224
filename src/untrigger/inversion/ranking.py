"""The order of candidates at the end of rows by how much more the suspect goes to the target than the reference."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from untrigger.core.rows import Row
from untrigger.inversion.search_space import Models
from untrigger.models.inference import predict_texts


def order_by_excess(
    suspect: Tensor, phrases: Sequence[str], *, models: Models, target: int, rows: Sequence[Row]
) -> Tensor:
    """Return the indices of the phrases, largest excess of the log-probability first.

    Args:
        suspect: log-probability of the target under the suspect for each phrase, the least over the rows.
        phrases: what is put at the end of the rows.
        models: the reference of which is used; without one the suspect alone decides.
        target: the class.
        rows: of other classes.
    """
    if models.reference is None or not phrases:
        return suspect.argsort(descending=True, stable=True)
    texts = [f"{row.text} {phrase}" for row in rows for phrase in phrases]
    logits = predict_texts(models.reference, texts).logits
    reference = logits.log_softmax(dim=1)[:, target].view(len(rows), -1)
    return (suspect - reference.amin(dim=0)).argsort(descending=True, stable=True)
