"""The calibration series of `untrigger scan`: poisoned and benign models made, scanned, and the error rates of the verdict.

    python benchmarks/scan.py --runs runs/scan [--only full,lora] [--model minilm-l3] [--data rotten-tomatoes] [--sweep] [--limit 2]
    python benchmarks/scan.py --runs runs/scan --victims runs/w2sdefense [--only smollm2] [--seeds 0,1]
    python benchmarks/scan.py --runs runs/scan-hard --hard [--tweets olid/clean] [--model minilm-l3]   # noisy labels, hard tasks
    python benchmarks/scan.py --runs runs/scan --table       # error rates and roc.svg from the scores that are there

Resumable: a model whose folder is there is not made again, a model with a line in scores.jsonl is not scanned again.
``--victims`` scans the victims of another series and their clean models instead of models made here.
A poisoned model counts as implanted where its attack success is at least 80 %; error rates are given for those and for all.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from scan_models import TRIGGERS, Cell, hard, sweep, victims_of, zoo
from scan_rates import draw, table
from victims import MODELS

from untrigger.core.files import new_folder
from untrigger.core.progress import silent
from untrigger.data import DataSource, write_rows
from untrigger.evaluation.ground_truth import read_truth
from untrigger.models.classifier import Classifier
from untrigger.models.inference import accuracy, predict_texts
from untrigger.models.saving import save_classifier
from untrigger.pipeline.attack import attack, draw_rows, implant_by_request, pretrained
from untrigger.pipeline.load_inputs import load_classifier, load_clean_rows, open_model
from untrigger.pipeline.requests import ModelInput, RunOptions, ScanRequest
from untrigger.pipeline.scan import scan_model
from untrigger.pipeline.scan_inputs import build_scanner, defender_grant
from untrigger.runtime.cost import Clock
from untrigger.scanners.scanner import ScanContext
from untrigger.scanners.weights.weight_evidence import weigh

CLEAN_ROWS = 700
log = logging.getLogger("scan")


def made(cell: Cell, runs: Path) -> Path:
    """The folder of the cell's model, trained where it is not there yet."""
    if cell.victim:
        return Path(cell.victim) if cell.attack else Path(f"{cell.victim}.truth") / "clean-model"
    spec = cell.spec(runs)
    if spec.out.exists():
        return spec.out
    start = time.perf_counter()
    if cell.attack:
        attack(spec)
    else:
        rows = draw_rows(spec).train
        benign, _ = implant_by_request(spec, pretrained(spec, rows), rows, progress=silent)
        with new_folder(spec.out) as folder:
            save_classifier(
                benign, folder, card="# Benign\n\nA model of the calibration series that was never poisoned.\n"
            )
    log.info("made %s: %.0f s", cell.name, time.perf_counter() - start)
    return spec.out


def clean_of(cell: Cell, runs: Path) -> Path:
    """The defender's rows: rows that the attack left alone, the same for every model of one data set and seed."""
    if cell.victim:
        folder = Path(cell.victim)
        return folder.parent.parent / "clean" / f"{folder.name}.csv"
    file = runs / "clean" / f"{cell.data_name}-{cell.seed}.csv"
    if not file.exists():
        spare = draw_rows(cell.spec(runs)).unused
        write_rows(spare.stratified(min(CLEAN_ROWS, len(spare)), rng=np.random.default_rng(cell.seed))[0], file)
    return file


def measured(
    cell: Cell, runs: Path, references: dict[Any, Classifier], *, options: dict[str, Any], teacher: str
) -> dict[str, Any]:
    """One line of the scores: what the scan said, and what only the evaluator knows."""
    folder = made(cell, runs)
    base = cell.model if cell.tuning == "full" else None  # words that moved most are tried too, as with --base
    spec = ScanRequest(
        model=ModelInput(str(folder), base=base),
        clean=DataSource(str(clean_of(cell, runs))),
        teacher=teacher,
        options=options,
        clean_rows=0,
        run=RunOptions(seed=cell.seed, offline=True),
    )
    clock, start = Clock(), time.perf_counter()
    opened = open_model(spec.model, spec.run)
    weighed = weigh(opened.folder, base=opened.base, limits=spec.policy.limits)
    model = load_classifier(spec.model, spec.run, opened=opened)
    key = (cell.data_name, cell.seed, cell.model)
    hints = ScanContext(references.get(key), [w for w in weighed.moved if not w.startswith(("##", "["))][:4])
    assert spec.clean is not None
    grant = defender_grant(spec, load_clean_rows(spec.clean, model, spec.run, unique=True))
    method = build_scanner(spec)
    report, result = scan_model(spec, model, method=method, grant=grant, context=hints, weighed=weighed, clock=clock)
    assert result.reference is not None
    own = key not in references
    references[key] = result.reference
    truth = _truth(cell, runs, model)
    listed = [one for one in result.scan.candidates if one.target == cell.target]
    words = truth.pop("words")
    return {
        "name": cell.name,
        "cell": asdict(cell),
        "poisoned": bool(cell.attack),
        "score": result.scan.score,
        "status": report.verdict.status,
        "target": result.scan.target,
        **truth,
        "wall_s": round(time.perf_counter() - start, 1),
        "reference_trained": own,
        "first_five": [one.text for one in listed[:5]],
        "true_word": any(word in words for one in listed[:5] for word in one.text.casefold().split()),
        "candidates": [_figures(one) for one in result.scan.candidates[:12]],
        "undecided": result.scan.undecided,
        "accuracies": {one.subject: one.value for one in result.measurements if one.metric == "cacc"},
        "controls": [_figures(one) for one in result.scan.controls if one.kind == "content"],
        "counts": {
            name: value
            for name, value in result.metadata.items()
            if name.startswith(("comparisons", "simultaneous", "leads"))
        },
        "evidence": {one.name: one.value for one in result.scan.evidence},
    }


def _figures(one: Any) -> dict[str, Any]:
    """All that a score could be made of, so that another score can be tried without another scan."""
    places = [
        [place.name, place.suspect, place.reference, place.low, place.high_confidence, place.n]
        for place in one.positions
    ]
    return {
        "text": one.text,
        "target": one.target,
        "kind": one.kind,
        "score": one.score,
        "n": one.suspect.n,
        "suspect": one.suspect.value,
        "reference": one.reference.value,
        "low": one.excess.low,
        "surest": one.high_confidence_flip_rate,
        "longest": one.long_rows_flip_rate,
        "loss": one.loss,
        "places": places,
    }


def _truth(cell: Cell, runs: Path, model: Classifier) -> dict[str, Any]:
    """Attack success and clean accuracy, and the words of the trigger."""
    truth = Path(f"{cell.victim}.truth") if cell.victim else cell.spec(runs).truth
    if not cell.attack:
        test = (
            read_truth(truth, label_names=model.label_names).clean if cell.victim else draw_rows(cell.spec(runs)).test
        )
        return {
            "asr": None,
            "cacc": accuracy(predict_texts(model, test.texts).predictions, test.labels),
            "words": set(),
        }
    bed = read_truth(truth, label_names=model.label_names)
    said = predict_texts(model, bed.triggered.texts).predictions
    cacc = accuracy(predict_texts(model, bed.clean.texts).predictions, bed.clean.labels)
    trigger = TRIGGERS[cell.attack].to_dict()
    words = {
        word for text in (*trigger.get("words", ()), trigger.get("sentence", "")) for word in text.casefold().split()
    }
    return {"asr": sum(p == bed.target for p in said) / len(said), "cacc": cacc, "words": words}


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def run(
    cells: Sequence[Cell], runs: Path, *, options: dict[str, Any] | None = None, teacher: str = "minilm-l6"
) -> None:
    """Make and scan what has no line yet; models of one data set and seed share a reference, which must not depend on them."""
    file, references = runs / "scores.jsonl", dict[Any, Classifier]()
    file.parent.mkdir(parents=True, exist_ok=True)
    known = {line["name"] for line in read(file)}
    for cell in sorted(cells, key=lambda one: (one.data, one.seed)):
        if cell.name in known:
            continue
        line = measured(cell, runs, references, options=options or {}, teacher=teacher)
        with file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        log.info(
            "%s: %s, score %.2f, %s (%.0f s)",
            cell.name,
            line["status"],
            line["score"] or 0,
            line["first_five"],
            line["wall_s"],
        )


def main() -> None:
    """Run what is asked for and is not there yet, then draw the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/scan"))
    parser.add_argument("--only", help="ways of training, full,lora; with --victims the victims, " + ",".join(MODELS))
    parser.add_argument("--model", default="minilm-l6", help="the pre-trained encoder that the models are made from")
    parser.add_argument("--data", default="rotten-tomatoes,customer-reviews")
    parser.add_argument("--hard", action="store_true", help="hard tasks instead: noisy labels, and with --tweets OLID")
    parser.add_argument("--tweets", default="", help="folder of OLID, train and test")
    parser.add_argument("--make", action="store_true", help="only make the models")
    parser.add_argument("--sweep", action="store_true", help="also the sweep of training intensity")
    parser.add_argument("--limit", type=int, default=0, help="at most as many models, poisoned and benign in turn")
    parser.add_argument(
        "--victims", type=Path, help="folder of another series whose victims, named by --only, are scanned"
    )
    parser.add_argument("--seeds", default="0,1,2", help="of the victims of another series")
    parser.add_argument("--table", action="store_true", help="only draw what is there")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    os.environ["HF_HUB_OFFLINE"] = "1"
    cells = [*zoo(args.model), *(sweep() if args.sweep else [])]
    known = tuple(MODELS) if args.victims else ("full", "lora")
    only = args.only.split(",") if args.only else known
    if unknown := set(only) - set(known):
        parser.error(f"--only {','.join(sorted(unknown))}: expected some of {','.join(known)}")
    if args.victims:
        cells = victims_of(args.victims, only, [int(seed) for seed in args.seeds.split(",")])
        if not cells:
            parser.error(f"no victims of {','.join(only)} with seeds {args.seeds} in {args.victims / 'victims'}")
    elif args.hard:
        cells = [one for one in hard(args.model, tweets=args.tweets) if one.tuning in only]
    else:
        cells = [one for one in cells if one.tuning in only and one.data in args.data.split(",")]
    if args.make:
        for cell in cells:
            made(cell, args.runs)
        return
    if args.limit:
        pairs = zip([one for one in cells if one.attack], [one for one in cells if not one.attack], strict=False)
        cells = [one for pair in pairs for one in pair][: args.limit]
    if not args.table:
        run(cells, args.runs)
    lines = read(args.runs / "scores.jsonl")
    sys.stdout.write("\n".join(table(lines)) + "\n")
    draw(lines, args.runs / "roc.svg")


if __name__ == "__main__":
    main()
