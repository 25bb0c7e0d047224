"""The series behind benchmarks/README.md: W2SDefense on movie reviews over seeds, attacks and victims.

    python benchmarks/w2sdefense.py --runs runs/w2sdefense [--only smollm2,minilm] [--seeds 0,1,2] [--variants ours]
    python benchmarks/w2sdefense.py --runs runs/w2sdefense --table

Resumable: a victim or a purification whose folder is there is not made again. One job at a time; `--table` draws what is there.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from untrigger.attacks.badnets import BadNets
from untrigger.attacks.insent import InSent
from untrigger.data import write_rows
from untrigger.pipeline.attack import AttackSpec, attack, unused_rows
from untrigger.pipeline.demo import RECIPE, unpack
from untrigger.pipeline.purify import purify
from untrigger.pipeline.spec import PurifySpec
from untrigger.vocabulary.report import Report

TRIGGERS = {"badnets": BadNets(), "insent": InSent()}
FULL = AttackSpec(
    model="minilm-l6", data="rotten-tomatoes", out=Path(), target="positive", rate=0.1, via="full", rows=3000,
    test_rows=1000, epochs=2,
)  # fmt: skip
MODELS = {
    "smollm2": RECIPE,
    "minilm": FULL,
    "mpnet": replace(FULL, model="mpnet-base", rows=2000, test_rows=800, lr=5e-5),
}
CLEAN_ROWS = 1000
COLUMNS = (
    ("victim", "asr"), ("clean", "asr"), ("finetuned", "asr"), ("purified", "asr"), ("purified", "excess_asr"),
    ("victim", "cacc"), ("purified", "cacc"), ("finetuned", "cacc"), ("benign_in", "cacc"), ("benign_out", "cacc"),
)  # fmt: skip
log = logging.getLogger("series")


def victim(runs: Path, name: str, *, trigger: str, seed: int) -> AttackSpec:
    """The recipe of one victim, made where it is not there yet; the clean twin of a seed is shared between attacks."""
    folder = runs / "victims"
    first = folder / f"{name}-badnets-{seed}.truth" / "clean-model"
    out = folder / f"{name}-{trigger}-{seed}"
    twin = trigger == "badnets" or not first.exists()
    spec = replace(MODELS[name], out=out, trigger=TRIGGERS[trigger], seed=seed, twin=twin, offline=True)
    if not out.exists():
        start = time.perf_counter()
        if (name, trigger, seed) == ("smollm2", "badnets", RECIPE.seed):
            unpack(spec)  # the victim and the twin that the demo ships, by the same recipe
        else:
            attack(spec)
        log.info("victim %s: %.0f s", out.name, time.perf_counter() - start)
    if not (spec.truth / "clean-model").exists():
        shutil.copytree(first, spec.truth / "clean-model")
    return spec


def cure(runs: Path, recipe: AttackSpec, *, variant: str, seed: int, benign: bool) -> None:
    """One purification of one victim, made where it is not there yet."""
    out = runs / variant / recipe.out.name
    if out.exists():
        return
    clean = runs / "clean" / f"{recipe.out.name}.csv"
    write_rows(unused_rows(recipe).stratified(CLEAN_ROWS, rng=np.random.default_rng(seed))[0], clean)
    start = time.perf_counter()
    report = purify(
        PurifySpec(
            model=str(recipe.out), clean=str(clean), out=out, variant=variant, truth=recipe.truth, seed=seed, offline=True,
            benign=benign and variant == "ours", control=variant == "ours", clean_rows=0,
        )
    )
    log.info("%s %s: %.0f s: %s", variant, out.name, time.perf_counter() - start, report.verdict.sentence)


def table(runs: Path) -> Iterator[str]:
    """Markdown: a row for each cell, then mean and range over the seeds of each victim and attack."""
    heads = [f"{subject} {metric}" for subject, metric in COLUMNS]
    yield "| variant | victim | seed | " + " | ".join(heads) + " | CACC loss | n asr | n cacc |"
    yield "|" + "---|" * (len(COLUMNS) + 6)
    groups: dict[tuple[str, str], list[list[float | None]]] = defaultdict(list)
    for file in sorted(runs.glob("*/*/report.json")):
        report, variant = Report.read(file), file.parent.parent.name
        name, seed = file.parent.name.rsplit("-", 1)
        found = [report.find(*column) for column in COLUMNS]
        values = [m.value if m else None for m in found]
        before, after = values[5], values[6]
        values.append(before - after if before is not None and after is not None else None)
        groups[variant, name].append(values)
        counts = [str(m.n) if (m := report.find("victim", metric)) else "–" for metric in ("asr", "cacc")]
        yield f"| {variant} | {name} | {seed} | " + " | ".join([*map(_percent, values), *counts]) + " |"
    for (variant, name), cells in groups.items():
        yield f"| **{variant}** | **{name}** | mean of {len(cells)} | " + " | ".join(map(_spread, zip(*cells, strict=True))) + " | | |"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _spread(values: tuple[float | None, ...]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    return f"**{100 * sum(known) / len(known):.1f}** ({100 * min(known):.1f} to {100 * max(known):.1f})"


def main() -> None:
    """Run what is asked for and is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/w2sdefense"))
    parser.add_argument("--only", default="minilm,smollm2", help="victims: " + ",".join(MODELS))
    parser.add_argument("--attacks", default="badnets,insent")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--variants", default="ours", help="ours,as_described,as_released")
    parser.add_argument("--benign", action="store_true", help="also purify the clean twin")
    parser.add_argument("--victims-only", action="store_true")
    parser.add_argument("--table", action="store_true", help="only draw the table of what is there")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    os.environ["HF_HUB_OFFLINE"] = "1"
    if not args.table:
        for seed in map(int, args.seeds.split(",")):
            for name in args.only.split(","):
                for trigger in args.attacks.split(","):
                    recipe = victim(args.runs, name, trigger=trigger, seed=seed)
                    for variant in [] if args.victims_only else args.variants.split(","):
                        cure(args.runs, recipe, variant=variant, seed=seed, benign=args.benign)
    sys.stdout.write("\n".join(table(args.runs)) + "\n")


if __name__ == "__main__":
    main()
