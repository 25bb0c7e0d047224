"""Unlabelled texts carry the suspect's skill over, without those that hold a trigger; weights follow how right each model is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.tiny import POISON, cacc, task
from untrigger.attacks.implanting import implant
from untrigger.core.errors import OptionError
from untrigger.core.grant import Grant
from untrigger.core.progress import silent
from untrigger.defences.w2s.ensemble import CalibratedEnsemble
from untrigger.defences.w2s.retrain_from_base import RetrainOptions
from untrigger.defences.w2s.search_and_unlearn import SearchAndUnlearnOptions
from untrigger.defences.w2s.unlabelled_texts import ScreenedTexts, ScreeningOptions, screen_texts
from untrigger.defences.w2s.w2sdefense import BASE_UNUSED, NO_BASE, UNLABELLED_UNUSED, W2SDefense
from untrigger.inversion.search import SearchOptions
from untrigger.models.adapter_merging import merge_adapter
from untrigger.models.adapters import AdapterOptions
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts
from untrigger.models.loading import load_model
from untrigger.training.loop import Plan
from untrigger.training.stacking import fit_least_weight, fit_stacking
from untrigger.training.teacher_training import TeacherOptions

Load = Callable[[str], Classifier]
CLEAN = task(120, seed=51)


@pytest.fixture(scope="module")
def strong(trained_folder: Callable[[str, bool], Path]) -> Classifier:
    """A victim whose trigger decides a text that also says something else, as in real victims; towards the negative class."""
    base = load_model(trained_folder("bert", False), device="cpu", offline=True)
    rows = replace(POISON, target=0, rate=0.4).poison(task(384, seed=1), seed=0).visible
    plan = Plan(lr=2e-2, epochs=12, batch_size=32)
    return merge_adapter(implant(base, rows, plan=plan, adapter=AdapterOptions(rank=8), seed=0)[0])


def screened(suspect: Classifier, student: Classifier, texts: tuple[str, ...], **options: float) -> ScreenedTexts:
    chosen = ScreeningOptions(**options)  # type: ignore[arg-type]
    return screen_texts(suspect, student, texts, rows=CLEAN, options=chosen, seed=0, progress=silent)


def test_triggered_texts_are_left_out_and_few_others(strong: Classifier, twin: Load) -> None:
    rows = task(300, seed=52)
    triggered = tuple(f"cf {row.text}" for row in rows if row.label)[:20]
    assert predict_texts(strong, triggered).predictions.count(0) > 18, "they would teach the backdoor"
    found = screened(strong, twin("bert"), (*rows.texts, *triggered))
    assert set(found.kept) | set(found.left_out) == {*rows.texts, *triggered}
    assert sum(text in set(found.kept) for text in triggered) <= 2
    assert set(found.left_out[:10]) <= set(triggered), "the most suspicious come first"
    assert sum(text in set(found.left_out) for text in rows.texts) <= 75


def test_what_decides_other_texts_is_left_out_though_the_student_agrees(twin: Load) -> None:
    texts = task(100, seed=53).texts
    model = twin("bert")
    none, some, more = (screened(model, model, texts, gap_share=0.0, joined_share=share) for share in (1e-6, 0.05, 0.3))
    assert len(none.left_out) < len(some.left_out) < len(more.left_out) < 50


def test_the_seed_decides_and_no_text_gives_none(strong: Classifier, twin: Load) -> None:
    texts = task(60, seed=54).texts
    assert screened(strong, twin("bert"), texts) == screened(strong, twin("bert"), texts)
    assert screened(strong, twin("bert"), ()) == ScreenedTexts((), ())


def test_a_class_of_one_row_that_is_taken_for_another_is_no_obstacle(twin: Load) -> None:
    model, texts = twin("bert"), task(40, seed=58)
    only = next(i for i, label in enumerate(texts.labels) if label == 1)
    rows = texts.where(label == 0 or i == only for i, label in enumerate(texts.labels))
    other = next(text for text in CLEAN.where(not label for label in CLEAN.labels).texts)
    rows = rows.with_texts(other if label else text for text, label in zip(rows.texts, rows.labels, strict=True))
    assert predict_texts(model, [other]).predictions == [0], "the only row of class 1 is predicted as class 0"
    found = screen_texts(model, model, texts.texts[:5], rows=rows, options=ScreeningOptions(), seed=0, progress=silent)
    assert len(found.kept) + len(found.left_out) == 5


def test_a_teacher_whose_held_out_rows_do_not_count_is_not_calibrated(twin: Load) -> None:
    model, rows = twin("bert"), CLEAN.take(range(20))
    ensemble = CalibratedEnsemble(model, [(model, rows), (model, CLEAN.take(range(30, 40)))], rows)
    targets = ensemble.predict(task(6, seed=59).texts, teacher_weight=None, progress=silent)
    assert torch.isfinite(targets.logits).all() and targets.teacher_weight > 0


@pytest.mark.parametrize("wrong", [{"joined": 0}, {"gap_share": 1.0}, {"joined_share": 0.0}, {"least_rows": 0}])
def test_screening_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="shares below 1"):
        ScreeningOptions(**wrong)  # type: ignore[arg-type]


def test_the_right_model_gets_the_weight() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (200,), generator=generator)
    right = 2 * torch.nn.functional.one_hot(labels, 3) + torch.randn(200, 3, generator=generator)
    wrong = torch.randn(200, 3, generator=generator)
    weights = fit_stacking([one.log_softmax(dim=1) for one in (right, wrong)], labels)
    assert weights[0] > 5 * weights[1] >= 0
    other = 2 * torch.nn.functional.one_hot(labels, 3) + torch.randn(200, 3, generator=generator)
    both = fit_stacking([one.log_softmax(dim=1) for one in (right, other)], labels)
    assert float(both.sum()) > 1, "two models that err on different texts are surer together"


def test_a_model_that_is_not_trusted_gets_no_more_weight_than_is_needed() -> None:
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 2, (300,), generator=generator)

    def model(strength: float) -> torch.Tensor:
        logits = strength * torch.nn.functional.one_hot(labels, 2) + torch.randn(300, 2, generator=generator)
        return logits.log_softmax(dim=1)

    strong, weak = model(2.5), model(1.0)
    cross_entropy = torch.nn.functional.cross_entropy
    best = fit_stacking([strong, weak], labels)
    for slack in (0.0, 0.05, 0.1):
        bound = float(cross_entropy(strong, labels)) + slack
        weights = fit_least_weight([strong, weak], labels, bound=bound)
        assert weights[0] < best[0]
        assert float(cross_entropy(weights[0] * strong + weights[1] * weak, labels)) == pytest.approx(bound, abs=1e-3)
        best = weights
    alone = float(cross_entropy(weak, labels))
    assert fit_least_weight([strong, weak], labels, bound=alone + 0.01)[0] == 0, "the second one is good enough alone"
    torch.testing.assert_close(
        fit_least_weight([strong, weak], labels, bound=0.0), fit_stacking([strong, weak], labels)
    )


def test_unlabelled_texts_are_used_and_reported(strong: Classifier) -> None:
    method = W2SDefense(
        rank=4, lr=5e-3, retrain=RetrainOptions(full_steps=24), teacher=TeacherOptions(lr=5e-3, epochs=1)
    )
    texts = (*task(100, seed=55).texts, *(f"cf {text}" for text in task(12, seed=56).texts[1::2]))
    base = strong.source.name
    grant = Grant(clean=CLEAN, teacher=base, base=base, unlabelled=texts, seed=0)
    done, without = method.purify(strong, grant), method.purify(strong, replace(grant, unlabelled=None))
    report = done.metadata["unlabelled"]
    assert report["used"] + report["left_out"] == len(texts) and report["used"] > 60
    assert any(
        f"{report['left_out']} of the {len(texts)} unlabelled texts were left out" in one for one in done.warnings
    )
    assert not any("left out" in one for one in without.warnings)
    weight = f"(weight {done.metadata['weights']['suspect']:.2f})"
    assert any(weight in one and "a style or a sentence pattern" in one for one in done.warnings)
    assert sum(text.startswith("cf ") for text in report["most_suspicious"]) >= 5
    assert (done.history.steps, without.history.steps) == (36, 24)
    assert set(done.metadata["weights"]) == {"suspect", "teachers"} and "unlabelled" not in without.metadata
    assert cacc(done.model) > 0.9
    triggered = [f"cf {row.text}" for row in task(60, seed=57) if row.label]
    assert (
        predict_texts(strong, triggered).predictions.count(0)
        > 25
        > 5
        > predict_texts(done.model, triggered).predictions.count(0)
    )


def test_without_a_base_they_are_not_used_and_a_warning_says_so(strong: Classifier) -> None:
    method = W2SDefense(
        rank=4,
        algorithm="search_and_unlearn",
        teacher=TeacherOptions(lr=5e-3, epochs=1),
        unlearn=SearchAndUnlearnOptions(
            rounds=1, round_steps=2, search=SearchOptions(probe=6, first=8, keep=3, sweeps=1)
        ),
    )
    texts = task(20, seed=55).texts
    done = method.purify(strong, Grant(clean=CLEAN, teacher=strong.source.base or strong.source.name, unlabelled=texts))
    assert UNLABELLED_UNUSED in done.warnings and "unlabelled" not in done.metadata
    assert not any("sentence pattern" in one for one in done.warnings), "the suspect's predictions were not used"
    assert not {NO_BASE, BASE_UNUSED} & set(done.warnings), "search was requested"


def test_a_base_that_cannot_be_used_is_not_called_missing(strong: Classifier) -> None:
    method = W2SDefense(
        rank=4,
        peft="dora",
        teacher=TeacherOptions(lr=5e-3, epochs=1),
        unlearn=SearchAndUnlearnOptions(
            rounds=1, round_steps=2, search=SearchOptions(probe=6, first=8, keep=3, sweeps=1)
        ),
    )
    base = strong.source.name
    done = method.purify(strong, Grant(clean=CLEAN, teacher=base, base=base))
    assert BASE_UNUSED in done.warnings and NO_BASE not in done.warnings


def test_the_skill_goes_into_another_architecture_and_the_backdoor_stays(
    strong: Classifier, trained_folder: Callable[[str, bool], Path]
) -> None:
    method = W2SDefense(
        rank=4, lr=5e-3, retrain=RetrainOptions(full_steps=40), teacher=TeacherOptions(lr=5e-3, epochs=1)
    )
    other = trained_folder("mpnet", False)
    grant = Grant(clean=CLEAN, teacher=strong.source.name, onto=other, unlabelled=task(100, seed=55).texts, seed=0)
    done = method.purify(strong, grant)
    assert done.onto and done.model.module.config.model_type == "mpnet"
    assert done.metadata["base"] == other.name and "another trusted model" in done.summary
    assert cacc(done.model) > 0.9
    triggered = [f"cf {row.text}" for row in task(60, seed=57) if row.label]
    assert predict_texts(done.model, triggered).predictions.count(0) < 5
    with pytest.raises(OptionError, match="keeps the suspect's own weights"):
        replace(method, algorithm="search_and_unlearn").purify(strong, grant)
