"""Features of several subjects in two dimensions, for plotting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from untrigger.core.report import FeaturePoint
from untrigger.core.rows import Rows

PLOTTED = 150  # points of each kind a subject: more only blot the picture


def pca_points(clean: Tensor, triggered: Tensor, *, rows: tuple[Rows, Rows], subject: str) -> list[FeaturePoint]:
    """Return the first two principal components of one subject's features ``(N, d)`` and ``(M, d)`` as points."""
    a, b = clean[:PLOTTED], triggered[:PLOTTED]
    names = rows[0].label_names
    labels: Sequence[int] = [*rows[0].labels[: len(a)], *rows[1].labels[: len(b)]]
    both = np.concatenate([a.numpy(), b.numpy()]).astype(np.float64)
    return [
        {"subject": subject, "x": x, "y": y, "label": names[label], "triggered": i >= len(a)}
        for i, ((x, y), label) in enumerate(zip(_two_components(both), labels, strict=True))
    ]


def _two_components(features: np.ndarray) -> list[tuple[float, float]]:
    """Return the first two principal components of ``(N, d)``, 0 for one that does not exist."""
    from sklearn.decomposition import PCA

    components = min(2, *features.shape)
    flat = PCA(components).fit_transform(features) if components else np.zeros((len(features), 0))
    padded = np.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))
    return [(float(x), float(y)) for x, y in padded]
