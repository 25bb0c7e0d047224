"""From scan to cure: what a scan names is unlearned until it names nothing; a model without a backdoor is left as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny import asr, cacc, same, task, weights
from untrigger.core.errors import OptionError
from untrigger.core.grant import Grant
from untrigger.defences.fine_tuning import FineTune
from untrigger.defences.scan_and_unlearn import ScanCure
from untrigger.inversion.search import SearchOptions
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts
from untrigger.scanners.confirm import ConfirmationOptions
from untrigger.scanners.insertion_scanner import InsertionScanner
from untrigger.scanners.policy import Allowed, Policy
from untrigger.training.teacher_training import TeacherOptions

Load = Callable[[str], Classifier]
CLEAN = task(400, seed=41)
QUICK = InsertionScanner(
    rows=48,
    confirmation=ConfirmationOptions(candidates=8, content_words=1),
    search=SearchOptions(first=64, sweeps=1, probe=16),
    teacher=TeacherOptions(lr=1e-3, epochs=4, batch_size=16),
)
SMALL = replace(
    QUICK,
    confirmation=ConfirmationOptions(candidates=3, content_words=1),
    search=SearchOptions(first=24, keep=4, sweeps=1, probe=12),
)
LR = 5e-3  # models 32 wide want larger steps than real ones


def method(**changes: Any) -> ScanCure:
    usual: dict[str, Any] = {"lr": LR, "round_steps": 96, "more_steps": 48, "noise": 0.1, "scanner": QUICK}
    return ScanCure(**usual | changes)


@pytest.fixture
def grant(trained_folder: Callable[[str, bool], Path]) -> Grant:
    """Clean rows, and a small encoder that has read clean texts before."""
    return Grant(clean=CLEAN, teacher=trained_folder("bert", False), seed=0)


@pytest.mark.parametrize(("kind", "lost"), [("bert", 0.03), pytest.param("llama", 0.15, marks=pytest.mark.slow)])
def test_a_planted_word_is_found_and_unlearned_until_a_scan_finds_nothing(
    victim: Load, grant: Grant, kind: str, lost: float
) -> None:
    """A random LLaMA of two layers calls most of its honest words suspicious, and loses accuracy when they are unlearned too."""
    model = victim(kind)
    before = weights(model)
    assert asr(model) > 0.9, "there must be something to remove"
    done = method().purify(model, grant)
    assert same(weights(model), before)
    assert done.changed and done.metadata["rounds"] >= 1
    least = {"bert": "clean", "llama": "undecided"}  # of a decoder clean is never said
    assert done.metadata["scan_verdict"] == least[kind], done.metadata["scan_sentence"]
    assert "cf" in [one.text for one in done.findings if one.round == 1]
    scores = done.metadata["scan_score_by_round"]
    assert len(scores) == done.metadata["rounds"] + 1 and scores[0] > 0.7 and scores[-1] < 0.5
    cured = done.metadata["unlearned"]["cf → positive"]
    assert cured["before"] > 0.9 > 0.5 > cured["after"]
    assert list(done.metadata["scans"]) == [
        "round 0, as it came",
        *(f"round {i + 1}" for i in range(done.metadata["rounds"])),
    ]
    assert [one.y for one in done.curves if one.name == "scan score"] == [scores]
    assert asr(done.model) < 0.2
    assert cacc(done.model) > cacc(model) - lost
    tuned = FineTune(lr=LR, steps=done.history.steps).purify(model, grant).model
    assert asr(tuned) > 0.8, "the floor: as many steps of plain fine-tuning leave it there"


def test_a_model_without_a_backdoor_comes_back_as_it_was(twin: Load, grant: Grant) -> None:
    model = twin("bert")
    done = method().purify(model, grant)
    assert done.model is model and not done.changed
    assert (done.metadata["rounds"], done.metadata["scan_verdict"], done.history.steps) == (0, "clean", 0)
    assert not done.findings and not done.metadata["unlearned"]
    assert "style" in " ".join(done.metadata["not_looked_for"]), "what was not looked for is said"


def test_when_the_rounds_are_used_up_it_says_what_is_left(victim: Load, grant: Grant) -> None:
    """One step unlearns nothing."""
    done = method(rounds=2, round_steps=1, more_steps=1, lr=1e-6, scanner=SMALL).purify(victim("bert"), grant)
    assert done.changed and done.metadata["rounds"] == 2 and done.history.steps == 2
    assert done.metadata["scan_verdict"] == "backdoored"
    assert any("a scan still finds 'cf'" in line for line in done.warnings)
    assert {one.round for one in done.findings if one.text == "cf"} == {1, 2, 3}, "every scan tried it again"


def test_the_seed_decides_and_the_clean_reference_is_trained_once(
    victim: Load, grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    from untrigger.scanners import insertion_scanner as scanning

    taught, whole = [], scanning.train_teacher
    monkeypatch.setattr(scanning, "train_teacher", lambda *a, **k: taught.append(1) or whole(*a, **k))
    quick = method(rounds=1, round_steps=12, scanner=SMALL)
    torch.manual_seed(1)
    stream = torch.get_rng_state()
    one = quick.purify(victim("bert"), grant)
    assert torch.equal(torch.get_rng_state(), stream)
    assert len(taught) == 1 and len(one.metadata["scan_score_by_round"]) == 2
    again, other = quick.purify(victim("bert"), grant), quick.purify(victim("bert"), replace(grant, seed=1))
    said = [predict_texts(done.model, CLEAN.texts[:40]).logits for done in (one, again, other)]
    assert one.metadata == again.metadata and torch.equal(said[0], said[1]) and not torch.equal(said[0], said[2])


def test_no_row_that_a_scan_confirms_on_is_ever_taught(
    victim: Load, grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    from untrigger.defences import scan_and_unlearn as scancure

    taught: list[str] = []
    whole = scancure.TriggerUnlearning.train

    def train(self: Any, *args: Any, **more: Any) -> Any:
        taught.extend(self.rows.texts)
        return whole(self, *args, **more)

    monkeypatch.setattr(scancure.TriggerUnlearning, "train", train)
    method(rounds=1, round_steps=2, scanner=SMALL).purify(victim("bert"), grant)
    held, _ = SMALL.split(CLEAN, seed=grant.seed)
    assert taught and not set(taught) & set(held.texts)


def test_a_reference_that_knows_nothing_trains_nothing(
    victim: Load, grant: Grant, folder_of: Callable[[str], Path]
) -> None:
    poor = replace(QUICK, teacher=TeacherOptions(lr=1e-9, epochs=1))
    model = victim("bert")
    done = method(scanner=poor).purify(model, replace(grant, teacher=folder_of("mpnet")))
    assert done.model is model and not done.changed and not done.findings
    assert done.metadata["scan_verdict"] == "undecided"
    assert any("held-out accuracy of the reference" in line for line in done.warnings)


def test_what_the_policy_allows_is_not_unlearned(victim: Load, grant: Grant) -> None:
    found = method(rounds=1, round_steps=1, scanner=SMALL).purify(victim("bert"), grant)
    names = dict.fromkeys(one.text for one in found.findings)
    allowed = Policy(allow=tuple(Allowed(name, "house words") for name in names))
    model = victim("bert")
    done = method(policy=allowed, scanner=SMALL).purify(model, grant)
    assert done.model is model
    assert "that the policy allows and that are not counted" in done.metadata["scan_sentence"]


@pytest.mark.parametrize(
    "options",
    [{"rounds": 0}, {"round_steps": 0}, {"more_steps": 0}, {"least_weight": 0.0}, {"noise": 1.5}, {"noise": -0.1}],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="rounds and steps of 1 or more"):
        ScanCure(**options)


def test_a_batch_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(OptionError, match="batch_size 1"):
        ScanCure(batch_size=1)
