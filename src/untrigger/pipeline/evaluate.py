"""``evaluate``: models and test rows in, a report of their rates out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from untrigger.core.errors import OptionError
from untrigger.core.files import check_new_paths, new_files
from untrigger.core.progress import Progress, silent
from untrigger.core.report import Report, Verdict
from untrigger.core.rows import Rows
from untrigger.data import DataSource, load_splits
from untrigger.evaluation.evaluator import Evaluator
from untrigger.evaluation.ground_truth import GENERATION, read_truth, trained_length
from untrigger.evaluation.observation import write_outcomes
from untrigger.models.class_names import with_matching_names
from untrigger.models.classifier import Classifier
from untrigger.pipeline.agreement import doubts, notes_of
from untrigger.pipeline.evaluate_generation import evaluate_generation
from untrigger.pipeline.load_inputs import load_classifier, load_rows
from untrigger.pipeline.model_facts import model_facts
from untrigger.pipeline.requests import EvaluateRequest, ModelInput, RunOptions
from untrigger.pipeline.subjects import subjects, task_of_evaluation
from untrigger.runtime.cost import Clock, environment


def evaluate(request: EvaluateRequest, *, progress: Progress = silent) -> Report:
    """Return the report of every model's rates; write it to ``request.out`` with the outcomes next to it.

    Each model is a subject under its folder's name; with a truth folder the clean model is one more. Language models are
    evaluated by ``evaluate_generation``.

    Raises:
        UserError: for any input that cannot be used; then nothing is written.
    """
    outcomes_file = request.out.with_suffix(".outcomes.csv")
    check_new_paths(request.out, outcomes_file)
    if task_of_evaluation(request) == GENERATION:
        return evaluate_generation(request, outcomes_file=outcomes_file, progress=progress)
    if request.guards:
        raise OptionError(
            f"the guard {request.guards[0]} with a classifier",
            expected="a language model: a guard is a rule of decoding",
        )
    clock, evaluator, entries, notes, device = Clock(), None, dict[str, Any](), list[str](), ""
    sources = _with_trained_length(request)
    for source, subject in zip(sources, subjects(request.models), strict=True):
        with clock.stage(subject):
            model = load_classifier(source, request.run)
            evaluator = evaluator or _judge(request, model, progress)
            evaluator.evaluate(with_matching_names(model, evaluator.test.label_names), subject)
        notes += notes_of(evaluator.test, model=model)
        entries[subject] = model_facts(model) | {"max_length": model.max_length}
        device = str(model.device)
    assert evaluator is not None
    if evaluator.truth and evaluator.truth.clean_model:
        clean_model = load_classifier(
            replace(sources[0], name=str(evaluator.truth.clean_model), labels=None), request.run
        )
        evaluator.evaluate(with_matching_names(clean_model, evaluator.test.label_names), "clean")
    report = Report(
        kind="evaluation",
        title="Evaluation of " + ", ".join(entries),
        verdict=Verdict("measured", _sentence(evaluator)),
        given={"models": entries, "test": {"rows": len(evaluator.test), "sha256": evaluator.test.content_hash()}}
        | ({"truth": evaluator.truth.to_dict()} if evaluator.truth else {}),
        environment=environment(seed=request.run.seed, device=device),
        stages=clock.stages,
        measurements=evaluator.measurements(),
        outcomes=outcomes_file.name,
        warnings=[
            *_one_class(evaluator.test),
            *dict.fromkeys(notes),
            *doubts(evaluator.outcomes, label_names=evaluator.test.label_names),
        ],
    )
    with new_files(outcomes_file, request.out) as (rows, written):
        write_outcomes(evaluator.outcomes, rows)
        report.write(written)
    return report


def _with_trained_length(request: EvaluateRequest) -> list[ModelInput]:
    """Return the sources, each without a length with the one that the victim of the truth folder was trained with."""
    trained = trained_length(request.truth) if request.truth else None
    return [replace(one, max_length=one.max_length or trained) for one in request.models]


def _one_class(rows: Rows) -> list[str]:
    """Return a warning if all test rows are of one class."""
    present = [name for name, count in rows.class_counts().items() if count]
    if len(present) != 1:
        return []
    return [
        f"all {len(rows)} test rows have the label {present[0]!r}: a model that always answers it is right on every one, so "
        "accuracy says nothing of the other classes"
    ]


def _judge(request: EvaluateRequest, model: Classifier, progress: Progress) -> Evaluator:
    """Return the evaluator, its test rows with the classes of the first model."""
    truth = read_truth(request.truth, label_names=model.label_names) if request.truth else None
    if request.data is None:
        assert truth is not None
        return Evaluator(test=truth.clean, truth=truth, progress=progress)
    data = replace(request.data, split=request.data.split or _test_split(request.data, model, request.run))
    rows = load_rows(data, model, request.run, classes=1)
    return Evaluator(test=_with_own_ids(rows, truth.clean) if truth else rows, truth=truth, progress=progress)


def _with_own_ids(rows: Rows, others: Rows) -> Rows:
    """Return ``rows``, with new ids if an id belongs to another text among ``others``."""
    texts = dict(zip(others.ids, others.texts, strict=True))
    if all(texts.get(row.id, row.text) == row.text for row in rows):
        return rows
    return replace(rows, ids=tuple(f"data:{name}" for name in rows.ids))


def _test_split(data: DataSource, model: Classifier, run: RunOptions) -> str | None:
    """Return the name of the split to test on, None where the data has none for it."""
    splits = load_splits(data, label_names=model.label_names, offline=run.offline)
    return next((name for name in ("test", "dev") if name in splits), None)


def _sentence(evaluator: Evaluator) -> str:
    parts = [f"{m.subject}: {m.metric} {m.percent()}" for m in evaluator.measurements() if m.metric in ("cacc", "asr")]
    return "; ".join(parts) + "."
