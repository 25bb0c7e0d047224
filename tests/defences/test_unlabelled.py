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
from untrigger.defences.w2s import w2sdefense
from untrigger.defences.w2s.retrain_from_base import RetrainOptions
from untrigger.defences.w2s.unlabelled_texts import ScreenedTexts, ScreeningOptions, screen_texts
from untrigger.defences.w2s.w2sdefense import W2SDefense
from untrigger.models.adapter_merging import merge_adapter
from untrigger.models.adapters import AdapterOptions
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts
from untrigger.models.loading import load_model
from untrigger.training.loop import Plan
from untrigger.training.stacking import fit_stacking
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


def screened(model: Classifier, texts: tuple[str, ...], *, left_out: float = 0.1) -> ScreenedTexts:
    options = ScreeningOptions(left_out=left_out)
    return screen_texts(model, texts, rows=CLEAN, options=options, seed=0, progress=silent)


def test_triggered_texts_are_left_out_and_few_others(strong: Classifier) -> None:
    rows = task(200, seed=52)
    triggered = tuple(f"cf {row.text}" for row in rows if row.label)[:40]
    assert predict_texts(strong, triggered).predictions.count(0) > 36
    found = screened(strong, (*rows.texts, *triggered))
    assert set(found.kept) | set(found.left_out) == {*rows.texts, *triggered}
    assert sum(text in set(found.kept) for text in triggered) <= 4
    assert sum(text in set(found.left_out) for text in rows.texts) <= 60


def test_a_benign_model_loses_the_promised_share(twin: Load) -> None:
    harmless = task(300, seed=53).texts
    counts = [len(screened(twin("bert"), harmless, left_out=share).left_out) for share in (0.05, 0.2)]
    assert counts[0] < counts[1] < 0.4 * len(harmless)


def test_the_seed_decides_and_no_text_gives_none(strong: Classifier) -> None:
    texts = task(60, seed=54).texts
    assert screened(strong, texts) == screened(strong, texts)
    assert screened(strong, ()) == ScreenedTexts((), ())


@pytest.mark.parametrize("wrong", [{"joined": 0}, {"left_out": 0.0}, {"left_out": 1.0}, {"least_rows": 0}])
def test_screening_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="a share above 0 and below 1"):
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


def test_a_purification_uses_unlabelled_texts_and_reports_it(
    strong: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, ...]] = []
    whole = w2sdefense.retrain_from_base

    def recorded(*args: object, unlabelled: tuple[str, ...], **more: object) -> object:
        seen.append(unlabelled)
        return whole(*args, unlabelled=unlabelled, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(w2sdefense, "retrain_from_base", recorded)
    method = W2SDefense(rank=4, retrain=RetrainOptions(full_steps=4), teacher=TeacherOptions(lr=5e-3, epochs=1))
    texts = (*task(60, seed=55).texts, *(f"cf {text}" for text in task(12, seed=56).texts[1::2]))
    base = strong.source.name
    grant = Grant(clean=CLEAN, teacher=base, base=base, unlabelled=texts, seed=0)
    done = method.purify(strong, grant)
    report = done.metadata["unlabelled"]
    assert report["used"] == len(seen[0]) and report["used"] + report["left_out"] == len(texts)
    assert report["most_suspicious"] and sum(text.startswith("cf ") for text in seen[0]) <= 1
    assert set(done.metadata["weights"]) == {"suspect", "teachers"}
    without = method.purify(strong, replace(grant, unlabelled=None))
    assert seen[1] == () and "unlabelled" not in without.metadata
    assert cacc(done.model) >= 0.5
