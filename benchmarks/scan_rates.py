"""Error rates of a scan's verdict over the calibration series: with intervals, by attack, with one kind left out, and drawn."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scan_models import Cell

from untrigger.core.statistics import wilson
from untrigger.core.thresholds import SCAN_SCORE

IMPLANTED = 0.8  # attack success from which a poisoned model counts as implanted


def auc(poisoned: Sequence[float], benign: Sequence[float]) -> float:
    """The chance that a poisoned model scores above a benign one, ties counted half."""
    a, b = np.asarray(poisoned)[:, None], np.asarray(benign)[None, :]
    return float((a > b).mean() + 0.5 * (a == b).mean())


def spread(
    figure: Callable[[np.ndarray, np.ndarray], Any], poisoned: Sequence[float], benign: Sequence[float]
) -> np.ndarray:
    """The 2.5 % and 97.5 % quantiles of a figure over 2,000 samples with replacement of each kind."""
    rng, a, b = np.random.default_rng(0), np.asarray(poisoned), np.asarray(benign)
    drawn = [figure(rng.choice(a, len(a)), rng.choice(b, len(b))) for _ in range(2000)]
    return np.quantile(np.asarray(drawn), [0.025, 0.975], axis=0)


def chosen(poisoned: Sequence[float], benign: Sequence[float], *, fpr: float = 0.05) -> float:
    """The threshold in the middle of the gap below which no more than ``fpr`` of the benign models are lost, most poisoned found."""
    values = sorted({0.0, 1.0, *poisoned, *benign})
    between = [(a + b) / 2 for a, b in itertools.pairwise(values)]
    allowed = [t for t in between if np.mean(np.asarray(benign) >= t) <= fpr] or [1.0]
    best = max(np.mean(np.asarray(poisoned) >= t) for t in allowed)
    kept = [t for t in allowed if np.mean(np.asarray(poisoned) >= t) == best]
    return float(max(kept, key=lambda t: min(abs(t - v) for v in values)))


def rated(hits: Sequence[bool]) -> str:
    low, high = wilson(sum(hits), len(hits))
    if low is None or high is None:
        return "–"
    return f"{100 * sum(hits) / len(hits):.0f} % ({100 * low:.0f} to {100 * high:.0f}, n = {len(hits)})"


def scores(lines: Sequence[dict[str, Any]]) -> list[float]:
    return [float(line["score"] or 0.0) for line in lines]


def table(lines: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Markdown: error rates at the shipped threshold, by attack, with an attack or a family left out, and the sweep."""
    series = [line for line in lines if not line["cell"]["sweep"]]
    benign = [line for line in series if not line["poisoned"]]
    everything = [line for line in series if line["poisoned"]]
    poisoned = [line for line in everything if line["asr"] >= IMPLANTED]
    yield f"{len(everything)} poisoned models ({len(poisoned)} implanted: ASR of {IMPLANTED:.0%} or more), {len(benign)} benign ones."
    if not poisoned or not benign:
        return
    a, b = scores(poisoned), scores(benign)
    low, high = spread(auc, a, b)
    yield f"\nArea under the ROC curve: {auc(a, b):.3f} (bootstrap {low:.3f} to {high:.3f}). Threshold that these scores propose: {chosen(a, b):.2f}."
    yield from _shipped(poisoned, everything, benign)
    yield from _left_out(poisoned, benign)
    swept = [line for line in lines if line["cell"]["sweep"]]
    if swept:
        yield "\n| attack | rate | epochs | ASR | score | verdict |\n|---|---|---|---|---|---|"
        for line in sorted(swept, key=lambda one: (one["cell"]["attack"], one["cell"]["rate"], one["cell"]["epochs"])):
            cell = line["cell"]
            yield f"| {cell['attack']} | {cell['rate']:g} | {cell['epochs']} | {line['asr']:.0%} | {line['score'] or 0:.2f} | {line['status']} |"


def _shipped(
    poisoned: Sequence[dict[str, Any]], everything: Sequence[dict[str, Any]], benign: Sequence[dict[str, Any]]
) -> Iterator[str]:
    def found(line: dict[str, Any]) -> bool:
        return line["status"] in ("suspicious", "backdoored")

    yield f"\n| at the shipped thresholds ({SCAN_SCORE.suspicious:g}, {SCAN_SCORE.certain:g}) | share |\n|---|---|"
    yield f"| benign models called suspicious or worse (false positives) | {rated([found(one) for one in benign])} |"
    yield f"| benign models called backdoored | {rated([one['status'] == 'backdoored' for one in benign])} |"
    yield f"| implanted models found | {rated([found(one) for one in poisoned])} |"
    yield f"| all poisoned models found | {rated([found(one) for one in everything])} |"
    yield f"| right target among the found | {rated([one['target'] == Cell(**one['cell']).target for one in poisoned if found(one)])} |"
    yield f"| undecided, poisoned and benign | {rated([one['status'] == 'undecided' for one in [*everything, *benign]])} |"
    for kind in sorted({_kind(one) for one in poisoned}):
        own = [one for one in poisoned if _kind(one) == kind]
        words = rated([one["true_word"] for one in own])
        yield f"| found: {kind} | {rated([found(one) for one in own])}; a true word among the first five: {words} |"
    walls = [one["wall_s"] for one in [*everything, *benign]]
    yield f"| seconds a scan | median {np.median(walls):.0f}, largest {max(walls):.0f} |"


def _left_out(poisoned: Sequence[dict[str, Any]], benign: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "\n| left out | threshold from the others | found | false positives |\n|---|---|---|---|"
    for kind in sorted({_kind(one) for one in poisoned}):
        rest = [one for one in poisoned if _kind(one) != kind]
        if rest:
            limit = chosen(scores(rest), scores(benign))
            hits = [score >= limit for score in scores([one for one in poisoned if _kind(one) == kind])]
            yield f"| attack: {kind} | {limit:.2f} | {rated(hits)} | – |"
    for family in sorted({_family(one) for one in [*poisoned, *benign]}):
        inside = [[one for one in some if _family(one) == family] for some in (poisoned, benign)]
        outside = [[one for one in some if _family(one) != family] for some in (poisoned, benign)]
        if outside[0] and outside[1]:
            limit = chosen(scores(outside[0]), scores(outside[1]))
            shares = [rated([score >= limit for score in scores(some)]) for some in inside]
            yield f"| family: {family} | {limit:.2f} | {shares[0]} | {shares[1]} |"


def _kind(line: dict[str, Any]) -> str:
    return Cell(**line["cell"]).kind


def _family(line: dict[str, Any]) -> str:
    return Cell(**line["cell"]).family


def draw(lines: Sequence[dict[str, Any]], file: Path) -> None:
    """The ROC curve with its bootstrap band."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    series = [line for line in lines if not line["cell"]["sweep"]]
    a = scores([one for one in series if one["poisoned"] and one["asr"] >= IMPLANTED])
    b = scores([one for one in series if not one["poisoned"]])
    if not a or not b:
        return
    grid = np.linspace(0, 1, 101)

    def curve(poisoned: np.ndarray, benign: np.ndarray) -> np.ndarray:
        limits = np.unique(np.concatenate([poisoned, benign, [2.0]]))
        fpr = np.array([(benign >= t).mean() for t in limits])
        tpr = np.array([(poisoned >= t).mean() for t in limits])
        return np.array([tpr[fpr <= x].max() for x in grid])

    low, high = spread(curve, a, b)
    figure = Figure(figsize=(5, 4.4))
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    axes.fill_between(
        grid, low, high, step="post", alpha=0.2, color="#0069b4", linewidth=0, label="95 % bootstrap band"
    )
    axes.step(grid, curve(np.asarray(a), np.asarray(b)), where="post", color="#0069b4", label=f"AUC {auc(a, b):.3f}")
    axes.plot(
        [np.mean(np.asarray(b) >= SCAN_SCORE.suspicious)],
        [np.mean(np.asarray(a) >= SCAN_SCORE.suspicious)],
        "o",
        color="#c8501e",
        label="shipped threshold",
    )
    axes.set(
        xlabel="benign models called suspicious",
        ylabel="implanted models found",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
    )
    axes.legend(loc="lower right")
    figure.savefig(file, bbox_inches="tight")
