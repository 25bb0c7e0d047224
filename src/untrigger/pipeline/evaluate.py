"""``evaluate``: models and test rows in, a report of their rates out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from untrigger.core.errors import OptionError
from untrigger.core.files import check_new_paths, new_files
from untrigger.core.progress import Progress, silent
from untrigger.core.report import Report, Verdict
from untrigger.core.rows import Rows
from untrigger.data import DataSource, check_rows, load_data, load_splits
from untrigger.evaluation.evaluator import BENIGN, Judge
from untrigger.evaluation.ground_truth import read_truth, trained_length
from untrigger.evaluation.observation import write_outcomes
from untrigger.models.class_names import named_alike
from untrigger.models.loading import load_model
from untrigger.pipeline.agreement import doubts, notes_of
from untrigger.pipeline.model_facts import model_facts
from untrigger.pipeline.spec import EvaluateSpec
from untrigger.runtime.cost import Clock, environment


def evaluate(spec: EvaluateSpec, *, progress: Progress = silent) -> Report:
    """The report of every model's rates, written to ``spec.out`` with the outcomes beside it.

    Each model is a subject under its folder's name; with a truth folder the clean twin is the floor of all.

    Raises:
        UserError: for any input that cannot be used; then nothing is written.
    """
    beside = spec.out.with_suffix(".outcomes.csv")
    check_new_paths(spec.out, beside)
    if spec.data is None and spec.truth is None:
        raise OptionError("nothing to evaluate on", expected="--data with test rows, or --truth with a truth folder")
    clock, judge, kinds, device, notes = Clock(), None, {}, spec.device, list[str]()
    most = spec.max_length or (trained_length(spec.truth) if spec.truth else None)
    for name, subject in zip(spec.models, subjects(spec.models), strict=True):
        with clock.stage(subject):
            model = load_model(
                name,
                base=spec.base,
                label_names=spec.labels,
                allow_pickle=spec.allow_pickle,
                offline=spec.offline,
                device=spec.device,
                max_length=most,
            )
            judge = judge or _judge(spec, model.label_names, progress)
            judge.ask(named_alike(model, judge.test.label_names), subject)
            notes += notes_of(judge.test, model=model)
            device = str(model.device)
            kinds[subject] = model_facts(model) | {"max_length": model.max_length}
    assert judge is not None
    if judge.bed and judge.bed.twin:
        twin = load_model(judge.bed.twin, base=spec.base, device=spec.device, max_length=most)
        judge.ask(named_alike(twin, judge.test.label_names), "clean")
    report = Report(
        kind="evaluation",
        title="Evaluation of " + ", ".join(kinds),
        verdict=Verdict("measured", _sentence(judge)),
        given={"models": kinds, "test": {"rows": len(judge.test), "sha256": judge.test.content_hash()}}
        | ({"truth": judge.bed.facts()} if judge.bed else {}),
        environment=environment(seed=spec.seed, device=device),
        stages=clock.stages,
        measurements=judge.measurements(),
        outcomes=beside.name,
        warnings=[
            *_one_class(judge.test),
            *dict.fromkeys(notes),
            *doubts(judge.outcomes, label_names=judge.test.label_names),
        ],
    )
    with new_files(beside, spec.out) as (rows, written):
        write_outcomes(judge.outcomes, rows)
        report.write(written)
    return report


def subjects(models: tuple[str, ...]) -> list[str]:
    """A short name for each model, all different.

    Raises:
        OptionError: if there is no model.
    """
    if not models:
        raise OptionError("no model was named", expected="one or more folders or hub names")
    short = [Path(name).name or name for name in models]
    taken = ("clean", *BENIGN)
    return [
        name if short.count(name) == 1 and name not in taken else f"{name} ({i + 1})" for i, name in enumerate(short)
    ]


def _one_class(rows: Rows) -> list[str]:
    """A sentence on test rows that are all of one class."""
    present = [name for name, count in rows.class_counts().items() if count]
    if len(present) != 1:
        return []
    return [
        f"all {len(rows)} test rows have the label {present[0]!r}: a model that always answers it is right on every one, so "
        "accuracy says nothing of the other classes"
    ]


def _judge(spec: EvaluateSpec, label_names: tuple[str, ...], progress: Progress) -> Judge:
    bed = read_truth(spec.truth, label_names=label_names) if spec.truth else None
    if spec.data is None and bed is not None:
        return Judge(test=bed.clean, bed=bed, progress=progress)
    source = DataSource(str(spec.data), text_column=spec.text_column, label_column=spec.label_column, split=spec.split)
    if not source.split:
        source = replace(source, split=_test_split(source, label_names, offline=spec.offline))
    rows = load_data(source, label_names=label_names, offline=spec.offline)
    check_rows(rows, require_classes=1, what=str(spec.data))
    return Judge(test=_apart(rows, bed.clean) if bed else rows, bed=bed, progress=progress)


def _apart(rows: Rows, others: Rows) -> Rows:
    """``rows``, with ids of their own where an id stands for another text among ``others``."""
    texts = dict(zip(others.ids, others.texts, strict=True))
    if all(texts.get(row.id, row.text) == row.text for row in rows):
        return rows
    return replace(rows, ids=tuple(f"data:{name}" for name in rows.ids))


def _test_split(source: DataSource, label_names: tuple[str, ...], *, offline: bool) -> str | None:
    splits = load_splits(source, label_names=label_names, offline=offline)
    return next((name for name in ("test", "dev") if name in splits), None)


def _sentence(judge: Judge) -> str:
    parts = [f"{m.subject}: {m.metric} {m.percent()}" for m in judge.measurements() if m.metric in ("cacc", "asr")]
    return "; ".join(parts) + "."
