"""Training histories: concatenated, and as curves."""

from __future__ import annotations

from collections.abc import Sequence

from untrigger.core.report import Curve
from untrigger.training.loop import History


def history_curves(history: History, *, panel: str, score: str = "dev accuracy") -> list[Curve]:
    """Return the loss and its terms step by step, and the score epoch by epoch, as curves of one panel."""
    steps: list[float | None] = [float(i + 1) for i in range(history.steps)]
    curves = [Curve("loss", panel, steps, list(history.losses))]
    names = dict.fromkeys(name for terms in history.terms for name in terms)
    for name in names if len(names) > 1 else ():
        curves.append(Curve(name, panel, steps, [terms.get(name) for terms in history.terms]))
    if history.scores:
        epochs: list[float | None] = [float(i + 1) for i in range(len(history.scores))]
        curves.append(Curve(score, panel, epochs, list(history.scores), x_label="epoch", y_label=score))
    return curves


def concat_histories(parts: Sequence[History]) -> History:
    """Return one history of several in a row, without their scores."""
    return History([x for part in parts for x in part.losses], [x for part in parts for x in part.terms])
