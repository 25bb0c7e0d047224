"""The calibration series of `untrigger scan`: poisoned and benign models made, scanned, and the error rates of the verdict.

    python benchmarks/scan.py --runs runs/scan [--only full,lora] [--data rotten-tomatoes] [--sweep] [--limit 2]
    python benchmarks/scan.py --runs runs/scan --lent runs/w2sdefense [--only smollm2] [--seeds 0,1]
    python benchmarks/scan.py --runs runs/scan --table       # error rates and roc.svg from the scores that are there

Resumable: a model whose folder is there is not made again, a model with a line in scores.jsonl is not scanned again.
``--lent`` scans the victims of another series and their never poisoned twins instead of models made here.
A poisoned model counts as implanted where its attack success is at least 80 %; error rates are given for those and for all.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from victims import MODELS

from untrigger.attacks.badnets import BadNets
from untrigger.attacks.insent import InSent
from untrigger.data import write_rows
from untrigger.evaluation.truth import read_truth
from untrigger.models.classifier import Classifier
from untrigger.models.predict import accuracy, read_texts
from untrigger.models.save import save_classifier
from untrigger.pipeline.attack import AttackSpec, attack, implant_as_asked, pretrained, task_rows, unused_rows
from untrigger.pipeline.clock import Clock
from untrigger.pipeline.scan import ScanSpec, clean_rows, load, scanned, weigh_as_asked
from untrigger.progress import silent
from untrigger.scanning import calibration
from untrigger.scanning.base import Hints
from untrigger.storage import new_folder
from untrigger.vocabulary.grant import Grant
from untrigger.vocabulary.outcome import wilson
from untrigger.vocabulary.trigger import Trigger

ROWS, TEST_ROWS, CLEAN_ROWS, IMPLANTED = 1500, 400, 700, 0.8
TRIGGERS: dict[str, Trigger] = {
    "words": BadNets(), "word": BadNets(words=("cf",)), "odd": BadNets(words=("Voldemort",)),
    "sentence": InSent(), "plain": InSent(sentence="no cross no crown"),
}  # fmt: skip
TARGET = "positive"
log = logging.getLogger("scan")


@dataclass(frozen=True)
class Cell:
    """One model of the zoo; ``attack`` is a name of ``TRIGGERS``, empty for a benign model.

    ``lent`` is the folder of another series' victim, where the model, or for a benign one its twin, comes from there.
    """

    data: str
    via: str
    attack: str = ""
    policy: str = "dirty"
    rate: float = 0.1
    rank: int = 8
    epochs: int = 2
    seed: int = 0
    model: str = "minilm-l6"
    sweep: bool = False
    lent: str = ""

    @property
    def name(self) -> str:
        if self.lent:
            return Path(self.lent).name + ("" if self.attack else "-twin")
        kind = f"{self.attack}-{self.policy}-{self.rate:g}" if self.attack else "benign"
        rank = f"-r{self.rank}" if self.via == "lora" else ""
        return f"{self.model.split('/')[-1]}-{Path(self.data).stem}-{self.via}{rank}-{kind}-e{self.epochs}-{self.seed}"

    @property
    def family(self) -> str:
        return f"{self.model.split('/')[-1]} {self.via}"

    @property
    def kind(self) -> str:
        return f"{self.attack} {self.policy}" if self.attack else "benign"

    def spec(self, runs: Path) -> AttackSpec:
        return AttackSpec(
            model=self.model, data=self.data, out=runs / "models" / self.name, target=TARGET, via=self.via, rank=self.rank,
            trigger=TRIGGERS[self.attack or "words"], rate=self.rate, policy=self.policy, rows=ROWS, test_rows=TEST_ROWS,
            epochs=self.epochs, seed=self.seed, offline=True,
        )  # fmt: skip


def zoo() -> list[Cell]:
    """Seven poisoned and seven benign models of each way of training on each data set: 28 and 28.

    An adapter is trained thrice as long: after two epochs the four words are not yet learned (attack success 38 %).
    """
    cells = []
    for data in ("rotten-tomatoes", "customer-reviews"):
        for via in ("full", "lora"):
            times = 3 if via == "lora" else 1
            short, usual, long, longest = times, 2 * times, 3 * times, 4 * times
            cells += [
                Cell(data, via, "words", epochs=usual), Cell(data, via, "words", policy="clean", rate=0.2, seed=1, epochs=long),
                Cell(data, via, "word", rate=0.05, rank=4, seed=2, epochs=usual),
                Cell(data, via, "odd", seed=3, rank=16, epochs=usual),
                Cell(data, via, "sentence", seed=0, epochs=usual),
                Cell(data, via, "sentence", policy="clean", rate=0.2, seed=1, epochs=long),
                Cell(data, via, "plain", rate=0.2, rank=32, seed=2, epochs=usual),
            ]  # fmt: skip
            cells += [
                Cell(data, via, seed=0, epochs=usual), Cell(data, via, seed=1, epochs=usual),
                Cell(data, via, seed=2, rank=4, epochs=usual), Cell(data, via, seed=3, rank=16, epochs=usual),
                Cell(data, via, seed=4, epochs=short), Cell(data, via, seed=5, epochs=longest),
                Cell(data, via, seed=6, rank=32, epochs=long),
            ]  # fmt: skip
    return cells


def sweep() -> list[Cell]:
    """Training intensity: too little and too much is where published detectors fail (2409.00399)."""
    steps = [(rate, epochs) for rate in (0.01, 0.03, 0.1, 0.3) for epochs in (1, 3, 8)]
    return [
        Cell("rotten-tomatoes", "full", attack, rate=rate, epochs=epochs, sweep=True)
        for attack in ("words", "sentence")
        for rate, epochs in steps
    ]


def lent(series: Path, names: Sequence[str], seeds: Sequence[int]) -> list[Cell]:
    """Victims with a word and a sentence that lie in another series, and the twin that those of a seed share."""
    cells = []
    for name, seed in itertools.product(names, seeds):
        for kind, trigger in (("words", "badnets"), ("sentence", "insent"), ("", "badnets")):
            folder = series / "victims" / f"{name}-{trigger}-{seed}"
            if folder.is_dir():
                like = MODELS[name]
                told = {"rate": like.rate, "rank": like.rank, "epochs": like.epochs, "seed": seed, "model": like.model}
                cells.append(Cell(like.data, like.via, kind, lent=str(folder), **told))
    return cells


def made(cell: Cell, runs: Path) -> Path:
    """The folder of the cell's model, trained where it is not there yet."""
    if cell.lent:
        return Path(cell.lent) if cell.attack else Path(f"{cell.lent}.truth") / "clean-model"
    spec = cell.spec(runs)
    if spec.out.exists():
        return spec.out
    start = time.perf_counter()
    if cell.attack:
        attack(spec)
    else:
        rows, _ = task_rows(spec)
        benign, _ = implant_as_asked(spec, pretrained(spec, rows), rows, progress=silent)
        with new_folder(spec.out) as folder:
            save_classifier(benign, folder, card="# Benign\n\nA model of the calibration series that was never poisoned.\n")
    log.info("made %s: %.0f s", cell.name, time.perf_counter() - start)
    return spec.out


def clean_of(cell: Cell, runs: Path) -> Path:
    """The defender's rows: rows that the attack left alone, the same for every model of one data set and seed."""
    if cell.lent:
        folder = Path(cell.lent)
        return folder.parent.parent / "clean" / f"{folder.name}.csv"
    file = runs / "clean" / f"{Path(cell.data).stem}-{cell.seed}.csv"
    if not file.exists():
        spare = unused_rows(cell.spec(runs))
        write_rows(spare.stratified(min(CLEAN_ROWS, len(spare)), rng=np.random.default_rng(cell.seed))[0], file)
    return file


def measured(cell: Cell, runs: Path, references: dict[Any, Classifier], *, options: dict[str, Any], teacher: str) -> dict[str, Any]:
    """One line of the scores: what the scan said, and what only the evaluator knows."""
    folder = made(cell, runs)
    base = cell.model if cell.via == "full" else None  # words that moved most are tried too, as with --base
    spec = ScanSpec(
        model=str(folder), clean=str(clean_of(cell, runs)), teacher=teacher, base=base, options=options, clean_rows=0,
        seed=cell.seed, offline=True,
    )  # fmt: skip
    clock, start = Clock(), time.perf_counter()
    weighed = weigh_as_asked(spec)
    model = load(spec, folder)
    key = (cell.data, cell.seed, cell.model)
    hints = Hints(references.get(key), [w for w in weighed.moved if not w.startswith(("##", "["))][:4])
    grant = Grant(clean=clean_rows(spec, model), teacher=spec.teacher, seed=cell.seed)
    report, result = scanned(spec, model, grant=grant, hints=hints, weighed=weighed, clock=clock)
    assert result.reference is not None
    own = key not in references
    references[key] = result.reference
    truth = _truth(cell, runs, model)
    listed = [one for one in result.scan.candidates if one.target == TARGET]
    words = truth.pop("words")
    return {
        "name": cell.name, "cell": asdict(cell), "poisoned": bool(cell.attack), "score": result.scan.score,
        "status": report.verdict.status, "target": result.scan.target, **truth, "wall_s": round(time.perf_counter() - start, 1),
        "reference_trained": own, "first_five": [one.text for one in listed[:5]],
        "true_word": any(word in words for one in listed[:5] for word in one.text.casefold().split()),
        "candidates": [_figures(one) for one in result.scan.candidates[:12]],
        "evidence": {one.name: one.value for one in result.scan.evidence},
    }  # fmt: skip


def _figures(one: Any) -> dict[str, Any]:
    """All that a score could be made of, so that another score can be tried without another scan."""
    places = [[place.name, place.suspect, place.reference, place.low, place.surest, place.n] for place in one.places]
    return {
        "text": one.text, "target": one.target, "kind": one.kind, "score": one.score, "n": one.suspect.n,
        "suspect": one.suspect.value, "reference": one.reference.value, "low": one.excess.low, "surest": one.surest,
        "longest": one.longest, "loss": one.loss, "places": places,
    }  # fmt: skip


def _truth(cell: Cell, runs: Path, model: Classifier) -> dict[str, Any]:
    """Attack success and clean accuracy, and the words of the trigger."""
    truth = Path(f"{cell.lent}.truth") if cell.lent else cell.spec(runs).truth
    if not cell.attack:
        test = read_truth(truth, label_names=model.label_names).clean if cell.lent else task_rows(cell.spec(runs))[1]
        return {"asr": None, "cacc": accuracy(read_texts(model, test.texts).predictions, test.labels), "words": set()}
    bed = read_truth(truth, label_names=model.label_names)
    said = read_texts(model, bed.triggered.texts).predictions
    cacc = accuracy(read_texts(model, bed.clean.texts).predictions, bed.clean.labels)
    told = TRIGGERS[cell.attack].spec()
    words = {word for text in (*told.get("words", ()), told.get("sentence", "")) for word in text.casefold().split()}
    return {"asr": sum(p == bed.target for p in said) / len(said), "cacc": cacc, "words": words}


def auc(poisoned: Sequence[float], benign: Sequence[float]) -> float:
    """The chance that a poisoned model scores above a benign one, ties counted half."""
    a, b = np.asarray(poisoned)[:, None], np.asarray(benign)[None, :]
    return float((a > b).mean() + 0.5 * (a == b).mean())


def spread(figure: Callable[[np.ndarray, np.ndarray], Any], poisoned: Sequence[float], benign: Sequence[float]) -> np.ndarray:
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


def _shipped(poisoned: Sequence[dict[str, Any]], everything: Sequence[dict[str, Any]], benign: Sequence[dict[str, Any]]) -> Iterator[str]:
    def found(line: dict[str, Any]) -> bool:
        return line["status"] in ("suspicious", "backdoored")

    yield f"\n| at the shipped thresholds ({calibration.SUSPICIOUS:g}, {calibration.BACKDOORED:g}) | share |\n|---|---|"
    yield f"| benign models called suspicious or worse (false positives) | {rated([found(one) for one in benign])} |"
    yield f"| benign models called backdoored | {rated([one['status'] == 'backdoored' for one in benign])} |"
    yield f"| implanted models found | {rated([found(one) for one in poisoned])} |"
    yield f"| all poisoned models found | {rated([found(one) for one in everything])} |"
    yield f"| right target among the found | {rated([one['target'] == TARGET for one in poisoned if found(one)])} |"
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
            told = [rated([score >= limit for score in scores(some)]) for some in inside]
            yield f"| family: {family} | {limit:.2f} | {told[0]} | {told[1]} |"


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
    axes.fill_between(grid, low, high, step="post", alpha=0.2, color="#0069b4", linewidth=0, label="95 % bootstrap band")
    axes.step(grid, curve(np.asarray(a), np.asarray(b)), where="post", color="#0069b4", label=f"AUC {auc(a, b):.3f}")
    axes.plot([np.mean(np.asarray(b) >= calibration.SUSPICIOUS)], [np.mean(np.asarray(a) >= calibration.SUSPICIOUS)], "o",
              color="#c8501e", label="shipped threshold")  # fmt: skip
    axes.set(xlabel="benign models called suspicious", ylabel="implanted models found", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(loc="lower right")
    figure.savefig(file, bbox_inches="tight")


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def run(cells: Sequence[Cell], runs: Path, *, options: dict[str, Any] | None = None, teacher: str = "minilm-l6") -> None:
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
        log.info("%s: %s, score %.2f, %s (%.0f s)", cell.name, line["status"], line["score"] or 0, line["first_five"], line["wall_s"])


def main() -> None:
    """Run what is asked for and is not there yet, then draw the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/scan"))
    parser.add_argument("--only", help="ways of training, full,lora; with --lent the victims, " + ",".join(MODELS))
    parser.add_argument("--data", default="rotten-tomatoes,customer-reviews")
    parser.add_argument("--sweep", action="store_true", help="also the sweep of training intensity")
    parser.add_argument("--limit", type=int, default=0, help="at most as many models, poisoned and benign in turn")
    parser.add_argument("--lent", type=Path, help="folder of another series whose victims, named by --only, are scanned")
    parser.add_argument("--seeds", default="0,1,2", help="of the lent victims")
    parser.add_argument("--table", action="store_true", help="only draw what is there")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    os.environ["HF_HUB_OFFLINE"] = "1"
    cells = [*zoo(), *(sweep() if args.sweep else [])]
    known = tuple(MODELS) if args.lent else ("full", "lora")
    only = args.only.split(",") if args.only else known
    if unknown := set(only) - set(known):
        parser.error(f"--only {','.join(sorted(unknown))}: expected some of {','.join(known)}")
    if args.lent:
        cells = lent(args.lent, only, [int(seed) for seed in args.seeds.split(",")])
        if not cells:
            parser.error(f"no victims of {','.join(only)} with seeds {args.seeds} in {args.lent / 'victims'}")
    else:
        cells = [one for one in cells if one.via in only and one.data in args.data.split(",")]
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
