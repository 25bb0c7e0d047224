"""Scans of the victims, of the never-poisoned twin and of the benign adapter of ``leak_test.py``, with 160 other clean prompts.

    python benchmarks/leak_test.py --runs runs/leak --only token-victim,topic-victim,pair-victim,twin,clean-rows
    python benchmarks/language_scan.py --leak runs/leak --runs runs/language-scan [--seed 0] [--only NAME[,NAME]]
    python benchmarks/language_scan.py --leak runs/leak --runs runs/language-scan --table

The clean prompts are the reviews that no victim and no benign adapter was trained on, with their right labels. A scan is one JSON file,
the report of ``untrigger scan``; what is there is not made again. Adapters that are missing are left out.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path

from leak_test import draw

from untrigger.core.report import Report
from untrigger.data import DataSource
from untrigger.data.prompt_data import write_prompts
from untrigger.pipeline.requests import ModelInput, RunOptions, ScanRequest
from untrigger.pipeline.scan import scan

NAMES = ("token-victim", "pair-victim", "topic-victim", "twin", "clean-rows")
COLUMNS = (
    "adapter",
    "verdict",
    "worst candidate",
    "answered with",
    "suspect",
    "reference",
    "random words",
    "score",
    "CPU minutes",
)
log = logging.getLogger("language-scan")


def run(name: str, *, leak: Path, runs: Path, seed: int) -> None:
    """Scan one adapter and write its report."""
    prompts = runs / f"prompts-{seed}.jsonl"
    if not prompts.is_file():
        write_prompts(draw(seed).student, prompts)
    options = RunOptions(seed=seed, device="cpu", offline=True)
    report = scan(ScanRequest(ModelInput(str(leak / f"{name}-{seed}")), clean=DataSource(str(prompts)), run=options))
    report.write(runs / f"{name}-{seed}.json")
    log.info("%s: %s", name, report.verdict.sentence)


def table(runs: Path, *, seed: int) -> Iterator[str]:
    """Yield the lines of a Markdown table of the scans that are there."""
    yield f"| {' | '.join(COLUMNS)} |"
    yield "|---" * len(COLUMNS) + "|"
    for name in NAMES:
        file = runs / f"{name}-{seed}.json"
        if file.is_file():
            yield _line(name, Report.read(file))


def _line(name: str, report: Report) -> str:
    assert report.scan is not None
    worst, control = report.scan.candidates[0], report.scan.controls[0]
    minutes = sum(one.cpu_s or 0.0 for one in report.stages) / 60
    rates = [one.percent() for one in (worst.suspect, worst.reference, control.suspect)]
    cells = [
        name,
        report.verdict.status,
        f"`{worst.text}`",
        worst.target,
        *rates,
        f"{worst.score:.2f}",
        f"{minutes:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Run what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--leak", type=Path, required=True, help="folder of leak_test.py")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the reports")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(NAMES))
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    given.runs.mkdir(parents=True, exist_ok=True)
    if given.table:
        print("\n".join(table(given.runs, seed=given.seed)))
        return
    for name in given.only.split(","):
        made, there = given.runs / f"{name}-{given.seed}.json", given.leak / f"{name}-{given.seed}" / "README.md"
        if not made.is_file() and there.is_file():
            run(name, leak=given.leak, runs=given.runs, seed=given.seed)


if __name__ == "__main__":
    main()
