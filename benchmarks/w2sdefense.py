"""The series behind docs/results/w2sdefense.md: W2SDefense over seeds, attacks and victims.

    python benchmarks/w2sdefense.py --runs runs/w2sdefense [--only smollm2,minilm] [--seeds 0,1,2] [--variants ours]
    python benchmarks/w2sdefense.py --runs runs/w2sdefense --table

Resumable: a victim or a purification whose folder exists is not made again. Run one job at a time; `--table` prints what there is.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from victims import arguments, clean_rows, percent, spread, victims

from untrigger.cli.settings import settings
from untrigger.core.report import Report
from untrigger.data import DataSource
from untrigger.defences.w2s.w2sdefense import W2SDefense
from untrigger.pipeline.attack_request import AttackRequest
from untrigger.pipeline.purify import purify
from untrigger.pipeline.requests import ModelInput, PurifyRequest, RunOptions

COLUMNS = (
    ("victim", "asr"),
    ("clean", "asr"),
    ("finetuned", "asr"),
    ("base_finetuned", "asr"),
    ("purified", "asr"),
    ("purified", "untriggered_hit_rate"),
    ("purified", "excess_asr"),
    ("victim", "cacc"),
    ("purified", "cacc"),
    ("finetuned", "cacc"),
    ("base_finetuned", "cacc"),
    ("purified", "gain_kept"),
    ("finetuned", "gain_kept"),
    ("benign_in", "cacc"),
    ("benign_out", "cacc"),
)
log = logging.getLogger("series")


def purify_victim(
    runs: Path,
    recipe: AttackRequest,
    *,
    variant: str,
    benign: bool,
    control: bool = True,
    given: Sequence[str] = (),
    called: str = "",
) -> None:
    """Purify one victim, unless its report exists."""
    out = runs / (called or variant) / recipe.out.name
    if out.exists():
        return
    start = time.perf_counter()
    report = purify(
        PurifyRequest(
            model=ModelInput(str(recipe.out)),
            clean=DataSource(str(clean_rows(runs, recipe))),
            out=out,
            variant=variant,
            truth=recipe.truth,
            benign=benign and variant == "ours",
            control=control and variant == "ours",
            options=settings(W2SDefense, given, what="method w2sdefense"),
            clean_rows=0,
            run=RunOptions(seed=recipe.run.seed, offline=True),
        )
    )
    log.info("%s %s: %.0f s: %s", out.parent.name, out.name, time.perf_counter() - start, report.verdict.sentence)


def table(runs: Path) -> Iterator[str]:
    """Markdown: a row for each cell, then mean and range over the seeds of each victim and attack."""
    heads = [f"{subject} {metric}" for subject, metric in COLUMNS]
    yield "| variant | victim | seed | " + " | ".join(heads) + " | CACC loss | n asr | n cacc |"
    yield "|" + "---|" * (len(COLUMNS) + 6)
    groups: dict[tuple[str, str], list[list[float | None]]] = defaultdict(list)
    for file in sorted(runs.glob("*/*/report.json")):
        report, variant = Report.read(file), file.parent.parent.name
        name, seed = file.parent.name.rsplit("-", 1)
        measured = {column: m.value if (m := report.find(*column)) else None for column in COLUMNS}
        values, before, after = list(measured.values()), measured["victim", "cacc"], measured["purified", "cacc"]
        values.append(before - after if before is not None and after is not None else None)
        groups[variant, name].append(values)
        counts = [str(m.n) if (m := report.find("victim", metric)) else "–" for metric in ("asr", "cacc")]
        yield f"| {variant} | {name} | {seed} | " + " | ".join([*map(percent, values), *counts]) + " |"
    for (variant, name), cells in groups.items():
        yield (
            f"| **{variant}** | **{name}** | mean of {len(cells)} | "
            + " | ".join(map(spread, zip(*cells, strict=True)))
            + " | | |"
        )


def main() -> None:
    """Run the requested cells that have no report yet."""
    parser = arguments(__doc__, runs="runs/w2sdefense")
    parser.set_defaults(only="minilm,smollm2", attacks="badnets,insent")
    parser.add_argument("--variants", default="ours", help="ours,as_described,as_released")
    parser.add_argument("--set", action="append", default=[], help="a further option of ours, as of `untrigger purify`")
    parser.add_argument(
        "--called", default="", help="folder of --runs for what --set makes, by default that of the variant"
    )
    parser.add_argument("--benign", action="store_true", help="also purify the clean model")
    parser.add_argument("--victims-only", action="store_true")
    args = parser.parse_args()
    if args.set and not args.called:
        parser.error("--set needs --called NAME, so that its runs are not taken for those of the defaults")
    for recipe in victims(args) if not args.table else ():
        for variant in [] if args.victims_only else args.variants.split(","):
            purify_victim(
                args.runs,
                recipe,
                variant=variant,
                benign=args.benign,
                control=args.control,
                given=args.set,
                called=args.called,
            )
    sys.stdout.write("\n".join(table(args.runs)) + "\n")


if __name__ == "__main__":
    main()
