"""The directional mapping of BeDKD examined: what it says of clean and poisoned rows, and what moves that.

    python benchmarks/mapping.py --runs runs/bedkd [--only minilm] [--seeds 0] [--attacks badnets,insent1] [--ways ours]
    python benchmarks/mapping.py --runs runs/bedkd --table       # the table, and a picture of each victim's distributions

Every mapping is trained on clean rows that the victim was not trained on, and asked about the victim's training rows, the
test rows, and 360 further clean rows, which calibrate. ``ours`` trains an adapter and stops when the watched rows are turned
(``whole``: goes on to the end), ``described`` trains all weights for 20 epochs and holds the hidden states. Victims of all poison rates are
mapped as each way does by default; α, T and the number of clean rows are varied on those of the model's own rate and on rewrites.

Resumable: a setting whose JSON is there is not trained again. One victim is loaded and asked once for all of its settings.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from math import exp
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from victims import REWRITES, arguments, clean_rows, percent, victims

from untrigger.core.files import write_text
from untrigger.core.rows import Rows
from untrigger.data import load_data
from untrigger.defences.bedkd.bedkd_published import MAPPING as PUBLISHED
from untrigger.defences.bedkd.row_detection.bedkd_detector import MAPPING, MappingStop
from untrigger.defences.bedkd.row_detection.directional_mapping import CopyConfig, PredictionPair, train_mapping
from untrigger.defences.bedkd.row_sets import sample_per_class
from untrigger.detectors.conformal import CalibratedThreshold, calibrate, flagging_threshold
from untrigger.evaluation.ground_truth import read_poisoned
from untrigger.evaluation.metrics import detection_metrics
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts
from untrigger.models.loading import load_model
from untrigger.pipeline.attack_request import AttackRequest

STOP = MappingStop()
WAYS = {"ours": (MAPPING, 160), "described": (PUBLISHED, 80)}
ALPHAS, TEMPERATURES, COUNTS = (0.3, 0.5, 0.8, 1.0), (1.0, 1.5, 2.5, 5.0), (40, 80, 160, 320)
RELEASED = 0.1  # the released code flags a row below this distance whose label the victim says
FPR, FALSE_SHARE = 0.01, 0.02
log = logging.getLogger("series")


@dataclass(frozen=True)
class Setting:
    """How one mapping is trained; ``whole`` where nothing stops it early."""

    way: str
    alpha: float
    temperature: float
    rows: int
    whole: bool = False

    @property
    def name(self) -> str:
        return f"{self.way}-a{self.alpha:g}-t{self.temperature:g}-{self.rows}{'-whole' if self.whole else ''}"

    @property
    def copying(self) -> CopyConfig:
        return replace(WAYS[self.way][0], alpha=self.alpha, temperature=self.temperature)


def usual(way: str) -> Setting:
    options, rows = WAYS[way]
    return Setting(way, options.alpha, options.temperature, rows, whole=way != "ours")


def settings(way: str, *, varied: bool) -> list[Setting]:
    """The way's default and, where it is varied, each of α, T and the number of rows alone; the default first, none twice."""
    first = usual(way)
    chosen = [first]
    if varied:
        chosen += [replace(first, rows=count) for count in COUNTS]
        chosen += [replace(first, alpha=alpha, whole=True) for alpha in ALPHAS]
        chosen += [replace(first, temperature=temperature, whole=True) for temperature in TEMPERATURES]
    return list(dict.fromkeys(chosen))


def optimum(alpha: float, temperature: float) -> float:
    """The probability of the next class at which ``α·CE + (1-α)·KL`` is least, two classes and a victim without doubt.

    With the log-odds z of the next class its slope is ``-α·(1 - s(z)) + (1-α)/T·s(z/T)``, which grows with z.
    """

    def s(z: float) -> float:
        return 1 / (1 + exp(-z))

    low, high = -50.0, 50.0
    for _ in range(60):
        z = (low + high) / 2
        low, high = (low, z) if -alpha * (1 - s(z)) + (1 - alpha) / temperature * s(z / temperature) > 0 else (z, high)
    return s(low)


class Asked(NamedTuple):
    """One victim with all rows that its mappings are trained on and asked about, and what the victim says to them."""

    victim: Classifier
    training: Rows
    calibrating: Rows
    rows: dict[str, Rows]
    said: dict[str, Any]
    poisoned: list[bool]


def asked(runs: Path, recipe: AttackRequest) -> Asked:
    """The victim loaded, and asked about its training rows and about clean rows."""
    victim = load_model(str(recipe.out), offline=True, max_length=recipe.model.max_length)
    names = victim.label_names
    clean = load_data(str(clean_rows(runs, recipe)), label_names=names)
    most, rest, _ = sample_per_class(
        clean, max(COUNTS), rng=np.random.default_rng(recipe.run.seed), purpose="the mapping", spare=False
    )
    rows = {
        "pool": load_data(str(recipe.truth / "train.csv"), label_names=names),
        "clean": rest,
        "test": load_data(str(recipe.truth / "test_clean.csv"), label_names=names),
    }
    said = {name: predict_texts(victim, some.texts).logits for name, some in rows.items()}
    return Asked(victim, most, rest, rows, said, read_poisoned(recipe.truth, rows=rows["pool"]))


def measured(one: Asked, setting: Setting, *, seed: int) -> dict[str, Any]:
    """One line: every row's distance and smaller log-odds, and what the mapping says to clean test rows."""
    rng = np.random.default_rng(seed)
    rows, _, warnings = sample_per_class(one.training, setting.rows, rng=rng, purpose="the mapping", spare=False)
    watch = None if setting.whole else one.calibrating.stratified(min(STOP.rows, len(one.calibrating)), rng=rng)[0]
    start = time.perf_counter()
    mapped = train_mapping(
        one.victim,
        rows,
        config=setting.copying,
        seed=seed,
        stop_rows=watch,
        stop_below=STOP.flipped / one.victim.classes,
    )
    seconds = time.perf_counter() - start
    views = {
        name: PredictionPair(one.said[name], predict_texts(mapped.model, some.texts).logits)
        for name, some in one.rows.items()
    }
    return {
        "setting": asdict(setting),
        "steps": mapped.history.steps,
        "train_s": round(seconds, 1),
        "warnings": warnings,
        "poisoned": [int(flag) for flag in one.poisoned],
        "agreeing": _plain(views["pool"].victim_agrees(one.rows["pool"].labels).int()),
        "distance": {name: _plain(view.distance()) for name, view in views.items()},
        "min_log_odds": {name: _plain(view.min_log_odds(one.rows[name].labels)) for name, view in views.items()},
        **_turned(views["test"], one.rows["test"]),
    }


def _turned(view: PredictionPair, rows: Rows) -> dict[str, float]:
    """Of the test rows that the victim gets right: the mapping's probability of the next class, and how often it says another."""
    right = view.victim_agrees(rows.labels)
    flipped = ~view._replace(victim=view.mapping).victim_agrees(rows.labels)
    p = view.mapping.softmax(dim=1)
    given = [float(p[i, (label + 1) % p.shape[1]]) for i, label in enumerate(rows.labels) if right[i]]
    return {"flipped": float(flipped[right].float().mean()), "next_class": sum(given) / max(1, len(given))}


def _plain(values: Any) -> list[float]:
    return [round(value, 4) for value in values.tolist()]


def judged(line: dict[str, Any]) -> tuple[CalibratedThreshold, float]:
    """What the clean rows say of the pool's smaller log-odds, the mapping's part in the score of ours."""
    scores = line["min_log_odds"]
    seen = calibrate(scores["clean"], scores["pool"], fpr=FPR, false_share=FALSE_SHARE)
    return seen, flagging_threshold(seen, scores["pool"])


def figures(line: dict[str, Any]) -> dict[str, float | None]:
    """AUROC, precision, recall and FPR of the released rule and of ours, and the share of clean test rows that ours flags."""
    d, s, poisoned = line["distance"], line["min_log_odds"], [bool(flag) for flag in line["poisoned"]]
    low = [x < RELEASED and bool(agrees) for x, agrees in zip(d["pool"], line["agreeing"], strict=True)]
    seen, threshold = judged(line)
    high = [seen.found and x > threshold for x in s["pool"]]
    rates = {
        **{
            f"d {m.metric}": m.value for m in detection_metrics([-x for x in d["pool"]], flagged=low, poisoned=poisoned)
        },
        **{f"s {m.metric}": m.value for m in detection_metrics(s["pool"], flagged=high, poisoned=poisoned)},
    }
    return rates | {"s test": sum(x > threshold for x in s["test"]) / len(s["test"])}


def table(runs: Path) -> Iterator[str]:
    """Markdown: a row for each victim and setting."""
    heads = [f"{what} {name}" for what in "ds" for name in ("AUROC", "precision", "recall", "FPR")]
    yield (
        "| victim | way | α | T | rows a class | steps | s | flipped | p(next) | optimum | "
        + " | ".join(heads)
        + " | s test FPR |"
    )
    yield "|" + "---|" * (len(heads) + 11)
    for file in sorted(runs.glob("mapping/*/*.json")):
        line = json.loads(file.read_text(encoding="utf-8"))
        one = Setting(**line["setting"])
        way = f"{one.way}{', whole' if one.whole and one.way == 'ours' else ''}"
        turned = [percent(line["flipped"]), percent(line["next_class"]), percent(optimum(one.alpha, one.temperature))]
        rates = [percent(value) for value in figures(line).values()]
        yield (
            f"| {file.parent.name} | {way} | {one.alpha:g} | {one.temperature:g} | {one.rows} | {line['steps']} | {line['train_s']:.0f} | "
            + " | ".join([*turned, *rates])
            + " |"
        )


def draw(folder: Path) -> None:
    """``folder.svg``: distance and smaller log-odds of poisoned rows, of the other training rows and of clean test rows, by way."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    files = [(way, file) for way in WAYS if (file := folder / f"{usual(way).name}.json").exists()]
    if not files:
        return
    figure = Figure(figsize=(9, 0.4 + 2.6 * len(files)), layout="constrained")
    FigureCanvasSVG(figure)
    for row, (way, file) in zip(figure.subplots(len(files), 2, squeeze=False), files, strict=True):
        line = json.loads(file.read_text(encoding="utf-8"))
        poisoned = np.asarray(line["poisoned"], dtype=bool)
        for axes, score, limits in zip(row, ("distance", "min_log_odds"), ((0, 1), (-6, 6)), strict=True):
            pool, test = np.asarray(line[score]["pool"]), np.asarray(line[score]["test"])
            kinds = (
                ("poisoned", pool[poisoned], "#c8501e"),
                ("other training rows", pool[~poisoned], "#0069b4"),
                ("clean test rows", test, "#666666"),
            )
            _bars(axes, kinds, bins=np.linspace(*limits, 41))
            axes.set(xlabel=score, ylabel=f"share of rows, {way}", xlim=limits)
        row[0].axvline(RELEASED, color="black", linewidth=0.8, linestyle="--")
        row[1].axvline(judged(line)[1], color="black", linewidth=0.8, linestyle="--")
    figure.axes[0].legend(fontsize="small")
    figure.savefig(folder.with_name(folder.name + ".svg"), metadata={"Date": None})


def _bars(axes: Any, kinds: Sequence[tuple[str, np.ndarray, str]], *, bins: np.ndarray) -> None:
    for name, values, colour in kinds:
        shares = np.full(len(values), 1 / max(1, len(values)))
        clipped = np.clip(values, bins[0], bins[-1])
        axes.hist(clipped, bins=bins, weights=shares, histtype="step", color=colour, label=f"{name} ({len(values)})")


def run(args: argparse.Namespace) -> None:
    """Every setting that is asked for and is not there yet."""
    for recipe in victims(args):
        folder, one = args.runs / "mapping" / recipe.out.name, None
        varied = recipe.out.name.split("-")[1] in ("badnets", "insent", *REWRITES)
        for setting in [each for way in args.ways.split(",") for each in settings(way, varied=varied)]:
            file = folder / f"{setting.name}.json"
            if file.exists():
                continue
            one = one or asked(args.runs, recipe)
            line = measured(one, setting, seed=recipe.run.seed)
            write_text(file, text=json.dumps(line) + "\n")
            rates = figures(line)
            log.info(
                "%s %s: %.0f s, AUROC %.3f and %.3f",
                folder.name,
                setting.name,
                line["train_s"],
                rates["d auroc"],
                rates["s auroc"],
            )


def main() -> None:
    """Run what is asked for and is not there yet, then draw."""
    parser = arguments(__doc__, runs="runs/bedkd")
    parser.set_defaults(seeds="0")
    parser.add_argument("--ways", default="ours,described")
    args = parser.parse_args()
    rates = [f"{name}{rate}" for name in ("badnets", "insent") for rate in ("", 1, 5, 20)]
    args.attacks = args.attacks or ",".join([*rates, *(REWRITES if args.sst2 else ())])
    if not args.table:
        run(args)
    sys.stdout.write("\n".join(table(args.runs)) + "\n")
    for folder in sorted((args.runs / "mapping").glob("*/")):
        draw(folder)


if __name__ == "__main__":
    main()
