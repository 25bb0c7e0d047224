"""What rewritten rows show about a model (`untrigger scan --rewritten`): victims of rewrites and their clean models.

    python benchmarks/rewritten.py --runs runs/w2sdefense --sst2 SST2 [--seeds 0,1,2] [--rows 50,100,500]

Every model is asked about test rows in the style of its own trigger and in that of the others, labels as they are in truth. One
reference a victim, trained on clean rows that it was not trained on; the other clean rows say where a model keeps its classes.
"""

from __future__ import annotations

import sys

from victims import REWRITES, arguments, clean_rows, victims

from untrigger.core.candidate import Candidate
from untrigger.core.grant import Grant
from untrigger.data import load_data
from untrigger.evaluation.ground_truth import read_truth
from untrigger.models.loading import load_model
from untrigger.scanners.insertion_scanner import InsertionScanner
from untrigger.scanners.rewritten_rows import measure_rewritten
from untrigger.scanners.scan_score import scan_score
from untrigger.training.teacher_training import TeacherOptions, train_teacher

HEAD = ("model", "rows in", "n", "answers", "reference", "score", "drift", "reference", "score")


def cells(candidates: list[Candidate], target: str) -> list[str]:
    """Both tests towards the class that the attacker wants."""
    columns = []
    for kind in ("rewritten", "drift"):
        one = next(one for one in candidates if (one.kind, one.target) == (kind, target))
        columns += [f"{one.suspect.value:.2f}", f"{one.reference.value:.2f}", f"{scan_score(one):.2f}"]
    return columns


def main() -> None:
    """Print a line for each model, style and number of rows."""
    parser = arguments(__doc__, runs="runs/w2sdefense")
    parser.add_argument("--rows", default="50,100,500", help="rewritten rows that the defender brings")
    parser.set_defaults(attacks=",".join(sorted(REWRITES)))
    args = parser.parse_args()
    sys.stdout.write(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}\n")
    specs = list(victims(args))
    for spec in specs:
        model = load_model(str(spec.out), offline=True)
        clean_model = load_model(str(spec.truth / "clean-model"), offline=True)
        clean = load_data(str(clean_rows(args.runs, spec)), label_names=model.label_names)
        held, rows = InsertionScanner().split(clean, seed=spec.run.seed)
        grant = Grant(clean=clean, teacher="minilm-l6", seed=spec.run.seed)
        reference, _ = train_teacher(model, grant, rows=rows, dev=held, options=TeacherOptions())
        kind = spec.out.name.split("-")[0]
        for other in (one for one in specs if one.out.name.startswith(f"{kind}-") and one.run.seed == spec.run.seed):
            style, bed = other.out.name.split("-")[1], read_truth(other.truth, label_names=model.label_names)
            assert bed.target is not None
            for count in (int(one) for one in args.rows.split(",")):
                some = bed.triggered.take(range(min(count, len(bed.triggered))))
                for name, one in ((spec.out.name, model), (f"clean model of {spec.out.name}", clean_model)):
                    found = measure_rewritten(one, reference, some, clean=held, name=style)
                    line = [name, style, str(len(some)), *cells(found, model.label_names[bed.target])]
                    sys.stdout.write(f"| {' | '.join(line)} |\n")
                    sys.stdout.flush()


if __name__ == "__main__":
    main()
