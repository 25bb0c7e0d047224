"""Features of several subjects in two dimensions, for looking at."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from untrigger.core.report import FeaturePoint
from untrigger.core.rows import Rows

MOST = 150  # points of each kind a subject: more only blot the picture


def points(clean: Tensor, triggered: Tensor, *, rows: tuple[Rows, Rows], subject: str) -> list[FeaturePoint]:
    """The first two principal components of one subject's features ``(N, d)`` and ``(M, d)``, as drawable points."""
    a, b = clean[:MOST], triggered[:MOST]
    both = torch.cat([a, b]).double()
    centred = both - both.mean(dim=0)
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    flat = centred @ axes[:2].T
    if flat.shape[1] < 2:  # a feature one wide has one component
        flat = torch.cat([flat, torch.zeros(len(flat), 1)], dim=1)
    names = rows[0].label_names
    labels: Sequence[int] = [*rows[0].labels[: len(a)], *rows[1].labels[: len(b)]]
    return [
        {"subject": subject, "x": float(x), "y": float(y), "label": names[label], "triggered": i >= len(a)}
        for i, ((x, y), label) in enumerate(zip(flat.tolist(), labels, strict=True))
    ]
