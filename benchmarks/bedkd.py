"""The series behind docs/results/bedkd.md: BeDKD on the suspect rows that the victims were trained on.

    python benchmarks/bedkd.py --runs runs/bedkd [--only minilm,smollm2,mpnet] [--seeds 0,1,2] [--variants ours,as_released]
    python benchmarks/bedkd.py --runs runs/bedkd --sst2 SST2 [--attacks syntactic,style]      # rewrites, from a folder
    python benchmarks/bedkd.py --runs runs/bedkd --table

The defender holds all rows that the victim was trained on, unmarked and shuffled, and 1,000 clean rows that it was not.
Resumable: a victim or a purification whose folder is there is not made again. One job at a time; `--table` draws what is there.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from victims import REWRITES, arguments, clean_rows, percent, spread, victims

from untrigger.core.errors import DivergedError
from untrigger.core.report import Report
from untrigger.data import DataSource
from untrigger.pipeline.attack_request import AttackRequest
from untrigger.pipeline.purify import purify
from untrigger.pipeline.requests import ModelInput, PurifyRequest, RunOptions

INSERTED = "badnets,insent,badnets20,insent20"
FAILED = "failed.txt"
COLUMNS = {
    "AUROC": ("detector", "auroc"),
    "precision": ("detector", "precision"),
    "recall": ("detector", "recall"),
    "FPR": ("detector", "fpr"),
    "ASR": ("victim", "asr"),
    "ASR after": ("purified", "asr"),
    "no trigger": ("purified", "untriggered_hit_rate"),
    "tuned ASR": ("finetuned", "asr"),
    "base ASR": ("base_finetuned", "asr"),
    "floor": ("clean", "asr"),
    "excess": ("purified", "excess_asr"),
    "CACC": ("victim", "cacc"),
    "CACC after": ("purified", "cacc"),
    "base CACC": ("base_finetuned", "cacc"),
    "gain kept": ("purified", "gain_kept"),
}
TARGETS = {"AUROC": (0.98, 1.0), "precision": (0.95, 1.0), "excess": (-1.0, 0.03), "CACC loss": (-1.0, 0.005)}
COSTS = ("steps", "wall s", "CPU s", "steps ÷ released", "wall ÷ released")
log = logging.getLogger("series")


def cure(runs: Path, recipe: AttackRequest, *, variant: str, control: bool = True) -> None:
    """One purification of one victim, made where it is not there yet; one that diverged leaves a file that says so."""
    out = runs / "bedkd" / variant / recipe.out.name
    if out.exists():
        return
    start = time.perf_counter()
    spec = PurifyRequest(
        model=ModelInput(str(recipe.out)),
        clean=DataSource(str(clean_rows(runs, recipe))),
        suspect=DataSource(str(recipe.truth / "train.csv")),
        out=out,
        method="bedkd",
        variant=variant,
        truth=recipe.truth,
        control=control and variant == "ours",
        clean_rows=0,
        run=RunOptions(seed=recipe.run.seed, offline=True),
    )
    try:
        outcome = purify(spec).verdict.sentence
    except DivergedError as error:
        outcome = error.what
        out.mkdir(parents=True)
        (out / FAILED).write_text(outcome + "\n", encoding="utf-8")
    log.info("%s %s: %.0f s: %s", variant, out.name, time.perf_counter() - start, outcome)


def figures(report: Report) -> dict[str, float | None]:
    """What one purification came to: rates as shares, steps and seconds of the mapping and the unlearning together."""
    found = {name: report.find(*column) for name, column in COLUMNS.items()}
    metrics: dict[str, float | None] = {name: m.value if m else None for name, m in found.items()}
    before, after = metrics["CACC"], metrics["CACC after"]
    metrics["CACC loss"] = before - after if before is not None and after is not None else None
    stage = next(stage for stage in report.stages if stage.name == "purify")
    metrics["steps"] = (stage.steps or 0) + report.method["options"]["mapping_steps"]
    return metrics | {"wall s": stage.wall_s, "CPU s": stage.cpu_s}


def compared(metrics: dict[str, float | None], released: dict[str, float | None] | None) -> dict[str, float | None]:
    """The same with steps and wall time as shares of those of the released code on the same victim."""
    shares: dict[str, float | None] = {}
    for share, cost in (("steps ÷ released", "steps"), ("wall ÷ released", "wall s")):
        mine, theirs = metrics[cost], released[cost] if released else None
        shares[share] = mine / theirs if mine is not None and theirs else None
    return metrics | shares


def met(metrics: dict[str, float | None]) -> bool:
    """Whether a cell is where it should be in detection, excess ASR and CACC loss; what was not measured is not."""
    return all((value := metrics[name]) is not None and low <= value <= high for name, (low, high) in TARGETS.items())


def table(runs: Path) -> Iterator[str]:
    """Markdown: a row for each cell, then mean and range over the seeds of each victim and attack."""
    rates = [*COLUMNS, "CACC loss"]
    yield "| variant | victim | seed | " + " | ".join([*rates, *COSTS]) + " | met |"
    yield "|" + "---|" * (len(rates) + len(COSTS) + 4)
    cells: dict[tuple[str, str], dict[str, Any]] = {}
    for file in sorted(runs.glob("bedkd/*/*/*")):
        if file.name in ("report.json", FAILED):
            cells[file.parent.parent.name, file.parent.name] = figures(Report.read(file)) if file.name != FAILED else {}
    groups: dict[tuple[str, str], list[dict[str, float | None]]] = defaultdict(list)
    for (variant, cell), found in cells.items():
        name, seed = cell.rsplit("-", 1)
        if not found:
            yield f"| {variant} | {name} | {seed} |" + " diverged |" + " |" * (len(rates) + len(COSTS))
            continue
        metrics = compared(found, cells.get(("as_released", cell)))
        groups[variant, name].append(metrics)
        costs = [_number(metrics[cost], digits=2 if "÷" in cost else 0) for cost in COSTS]
        line = [*(percent(metrics[one]) for one in rates), *costs, "yes" if met(metrics) else "no"]
        yield f"| {variant} | {name} | {seed} | " + " | ".join(line) + " |"
    for (variant, name), some in groups.items():
        means = [spread([one[r] for one in some]) for r in rates]
        costs = [spread([one[c] for one in some], scale=1, digits=2 if "÷" in c else 0) for c in COSTS]
        line = [*means, *costs, f"{sum(map(met, some))} of {len(some)}"]
        yield f"| **{variant}** | **{name}** | mean of {len(some)} | " + " | ".join(line) + " |"


def _number(value: float | None, *, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def main() -> None:
    """Run what is asked for and is not there yet."""
    parser = arguments(__doc__, runs="runs/bedkd")
    parser.add_argument("--variants", default="ours", help="ours,as_described,as_released")
    args = parser.parse_args()
    args.attacks = args.attacks or ",".join([INSERTED, *(REWRITES if args.sst2 else ())])
    for recipe in victims(args) if not args.table else ():
        for variant in args.variants.split(","):
            cure(args.runs, recipe, variant=variant, control=args.control)
    sys.stdout.write("\n".join(table(args.runs)) + "\n")


if __name__ == "__main__":
    main()
