"""Strong victims: models that were trained on far more rows than their user has (docs/results/w2sdefense.md#strong-victims).

    python benchmarks/strong_victims.py --sst2 SST2 --runs runs/strong [--attacks badnets,insent,style,syntactic] [--seeds 0,1,2]
        [--clean 64,100,400] [--unlabelled 0,700] [--triggered 0,25] [--no-control] [--set KEY=VALUE --called NAME]
    python benchmarks/strong_victims.py --runs runs/strong --table

The victim is trained on all rows of SST-2. The defender has ``--clean`` rows of its dev split, and texts of the rest of that split
without their labels; ``--triggered`` of these texts carry the trigger, to measure whether they bring the backdoor back. The triggered
texts are test rows, the only ones that a public release has in rewritten form; they are counted in the attack success too.
Resumable: a victim or a purification whose folder exists is not made again.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from victims import ATTACKS, arguments, percent

from untrigger.attacks.triggers.badnets import BadNets
from untrigger.attacks.triggers.insent import InSent
from untrigger.cli.settings import settings
from untrigger.core.report import Report
from untrigger.data import DataSource, load_data, write_rows
from untrigger.defences.w2s.w2sdefense import W2SDefense
from untrigger.evaluation.ground_truth import read_truth
from untrigger.pipeline.attack import attack
from untrigger.pipeline.attack_request import AttackRequest
from untrigger.pipeline.purify import purify
from untrigger.pipeline.requests import ModelInput, PurifyRequest, RunOptions

HELD_OUT = 2  # the fewest rows that a purification keeps from its method; the truth measures better
TRIGGERS: dict[str, dict[str, Any]] = {"badnets": {"trigger": BadNets()}, "insent": {"trigger": InSent()}}
COLUMNS = (
    ("victim", "cacc"),
    ("purified", "cacc"),
    ("base_finetuned", "cacc"),
    ("clean", "cacc"),
    ("purified", "gain_kept"),
    ("victim", "asr"),
    ("purified", "asr"),
    ("purified", "untriggered_hit_rate"),
    ("clean", "asr"),
    ("clean", "untriggered_hit_rate"),
    ("base_finetuned", "asr"),
    ("finetuned", "asr"),
)
log = logging.getLogger("series")


def victim(runs: Path, sst2: Path, *, name: str, seed: int) -> AttackRequest:
    """Return the recipe of a victim, made if it is not there; the clean model of a seed is shared between attacks."""
    fields = TRIGGERS.get(name) or {key: ATTACKS[name][key] for key in ("trigger", "rate")}
    spec = AttackRequest(
        model=ModelInput("minilm-l6"),
        data=DataSource(str(sst2 / "clean")),
        out=runs / "victims" / f"sst2-{name}-{seed}",
        target="1",
        tuning="full",
        epochs=2,
        policy=ATTACKS[name].get("policy", "dirty"),
        paired=sst2 / ATTACKS[name]["paired"] if "paired" in ATTACKS[name] else None,
        run=RunOptions(seed=seed, offline=True),
        **fields,
    )
    if not spec.out.exists():
        start = time.perf_counter()
        known = next(iter(sorted(spec.out.parent.glob(f"sst2-*-{seed}.truth/clean-model"))), None)
        attack(replace(spec, clean_model=known is None))
        if known is not None:
            shutil.copytree(known, spec.truth / "clean-model")
        log.info("victim %s: %.0f s", spec.out.name, time.perf_counter() - start)
    return spec


def defender(runs: Path, sst2: Path, spec: AttackRequest, *, clean: int, unlabelled: int, triggered: int) -> list[Path]:
    """Return the files of the clean rows and, where there are any, of the unlabelled texts."""
    truth = read_truth(spec.truth, label_names=("0", "1"))
    pool = load_data(str(sst2 / "clean" / "dev.tsv"), label_names=("0", "1"))
    rows, rest = pool.stratified(clean + HELD_OUT, rng=np.random.default_rng(1000 + spec.run.seed))
    folder = runs / "rows" / f"{spec.out.name}-{clean}-{unlabelled}-{triggered}"
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "clean.csv"]
    write_rows(rows, files[0])
    if unlabelled:
        texts = [*rest.texts[: unlabelled - triggered], *(truth.triggered.texts[-triggered:] if triggered else ())]
        files.append(folder / "unlabelled.txt")
        files[1].write_text("\n".join(text.replace("\n", " ") for text in texts) + "\n", encoding="utf-8")
    return files


def cell(args: argparse.Namespace, spec: AttackRequest, *, clean: int, unlabelled: int, triggered: int) -> None:
    """Purify one victim with one grant, unless its report exists."""
    name = f"{spec.out.name}-n{clean}-u{unlabelled}" + (f"-t{triggered}" if triggered else "")
    out = args.runs / (args.called or "ours") / name
    if out.exists():
        return
    files = defender(args.runs, args.sst2, spec, clean=clean, unlabelled=unlabelled, triggered=triggered)
    start = time.perf_counter()
    report = purify(
        PurifyRequest(
            model=ModelInput(str(spec.out)),
            clean=DataSource(str(files[0])),
            unlabelled=DataSource(str(files[1])) if unlabelled else None,
            out=out,
            truth=spec.truth,
            held_out=0.0,
            control=args.control,
            options=settings(W2SDefense, args.set, what="method w2sdefense"),
            clean_rows=0,
            run=RunOptions(seed=spec.run.seed, offline=True),
        )
    )
    log.info("%s: %.0f s: %s", name, time.perf_counter() - start, report.verdict.sentence)


def table(runs: Path) -> Iterator[str]:
    """Markdown: a row for each cell."""
    heads = [f"{subject} {metric}" for subject, metric in COLUMNS]
    yield "| settings | cell | " + " | ".join(heads) + " | weights | left out | n asr | n cacc |"
    yield "|" + "---|" * (len(COLUMNS) + 6)
    for file in sorted(runs.glob("*/*/report.json")):
        report = Report.read(file)
        values = [m.value if (m := report.find(*column)) else None for column in COLUMNS]
        counts = [str(m.n) if (m := report.find("victim", metric)) else "–" for metric in ("asr", "cacc")]
        options = report.method["options"]
        weights, screened = options.get("weights", {}), options.get("unlabelled", {})
        extra = ["/".join(str(one) for one in weights.values()), str(screened.get("left_out", "–"))]
        yield (
            f"| {file.parent.parent.name} | {file.parent.name} | "
            + " | ".join([*map(percent, values), *extra, *counts])
            + " |"
        )


def numbers(text: str) -> Sequence[int]:
    """Return the numbers of a list with commas."""
    return [int(one) for one in text.split(",")]


def main() -> None:
    """Run the requested cells that have no report yet."""
    parser = arguments(__doc__, runs="runs/strong")
    parser.add_argument("--clean", type=numbers, default=[100, 400])
    parser.add_argument("--unlabelled", type=numbers, default=[0, 400])
    parser.add_argument("--triggered", type=numbers, default=[0])
    parser.add_argument("--set", action="append", default=[], help="a further option, as of `untrigger purify`")
    parser.add_argument("--called", default="", help="folder of --runs for what --set makes")
    args = parser.parse_args()
    if args.set and not args.called:
        parser.error("--set needs --called NAME, so that its runs are not taken for those of the defaults")
    if not args.table:
        for seed, name in product(numbers(args.seeds), (args.attacks or "badnets,insent").split(",")):
            spec = victim(args.runs, args.sst2, name=name, seed=seed)
            for clean, unlabelled, triggered in product(args.clean, args.unlabelled, args.triggered):
                if triggered <= unlabelled // 4:
                    cell(args, spec, clean=clean, unlabelled=unlabelled, triggered=triggered)
    sys.stdout.write("\n".join(table(args.runs)) + "\n")


if __name__ == "__main__":
    main()
