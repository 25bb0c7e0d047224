"""Does it work? Always against a floor (plain fine-tuning) and after a look that there was a backdoor to remove."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import asr, cacc, task
from untrigger.core.grant import Grant
from untrigger.defences.fine_tuning import FineTune
from untrigger.defences.w2s.search_and_unlearn import SearchAndUnlearnOptions
from untrigger.defences.w2s.w2sdefense import W2SDefense
from untrigger.inversion.search import SearchOptions
from untrigger.models.classifier import Classifier
from untrigger.training.teacher_training import TeacherOptions

Load = Callable[[str], Classifier]
CLEAN = task(240, seed=41)
KINDS = pytest.mark.parametrize("kind", ["bert", "llama"])


LR = 5e-3  # models 32 wide want larger steps than real ones


def method(**changes: Any) -> W2SDefense:
    """The search and its lessons alone, with alarms as low as a task of forty words allows (see test_lineage for the rest)."""
    search = SearchOptions(first=32, sweeps=1, probe=24, keep=8)
    teacher = TeacherOptions(lr=LR, epochs=3)
    usual: dict[str, Any] = {"rounds": 2, "round_steps": 72, "more_steps": 36, "noise": 0.1}
    return W2SDefense(
        lr=LR,
        algorithm="search_and_unlearn",
        teacher=teacher,
        unlearn=SearchAndUnlearnOptions(alarm_score=0.2, stop_score=0.2, search=search, **usual | changes),
    )


@pytest.fixture
def grant(trained_folder: Callable[[str, bool], Path]) -> Grant:
    """Clean rows, and a small encoder that has read clean texts before."""
    return Grant(clean=CLEAN, teacher=trained_folder("bert", False), seed=0)


@KINDS
def test_the_backdoor_is_there_and_the_clean_twin_has_none(victim: Load, twin: Load, kind: str) -> None:
    assert cacc(victim(kind)) > 0.9
    assert asr(victim(kind)) > 0.9
    assert asr(victim(kind), triggered=False) < 0.15
    assert asr(twin(kind)) < 0.2


def test_w2sdefense_removes_a_planted_backdoor_that_fine_tuning_leaves(victim: Load, grant: Grant) -> None:
    model = victim("bert")
    done = method().purify(model, grant)
    tuned = FineTune(lr=LR, steps=done.history.steps).purify(model, grant).model
    assert asr(tuned) > 0.9, "the floor: as many steps of plain fine-tuning do nothing here"
    assert asr(done.model) < 0.2
    assert cacc(done.model) > cacc(model) - 0.08
    assert any("cf" in one.text for one in done.findings)


def test_a_search_in_a_causal_model_may_miss_the_backdoor_and_then_does_no_harm(victim: Load, grant: Grant) -> None:
    """Known as weak: of six seeds four left 7 to 9 triggers in ten, because other words crowd the planted one out."""
    model = victim("llama")
    done = method(rounds=1, round_steps=36).purify(model, grant)
    tuned = FineTune(lr=LR, steps=done.history.steps).purify(model, grant).model
    assert asr(done.model) <= asr(tuned) + 0.02
    assert cacc(done.model) > cacc(model) - 0.08


@pytest.mark.parametrize("kind", ["bert", pytest.param("llama", marks=pytest.mark.slow)])
def test_a_benign_model_is_not_harmed(twin: Load, grant: Grant, kind: str) -> None:
    model = twin(kind)
    done = method().purify(model, grant)
    assert cacc(done.model) > cacc(model) - 0.08
    assert asr(done.model) < asr(model) + 0.2
