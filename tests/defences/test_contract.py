"""What every purifier promises. A new file in ``untrigger.defences`` is tested without a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from tests.tiny import cacc, hooks, same, task, weights
from untrigger.core.errors import ContractError, DataError, NeedsError, OptionError
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress
from untrigger.core.registry import get_method, methods_of
from untrigger.core.verdicts import PurificationOutcome
from untrigger.defences.bedkd.row_detection.directional_mapping import CopyConfig
from untrigger.defences.chain import combined_outcome
from untrigger.defences.fine_tuning import FineTune
from untrigger.defences.purifier import Purified, Purifier
from untrigger.defences.w2s.retrain_from_base import RetrainOptions
from untrigger.defences.w2s.search_and_unlearn import SearchAndUnlearnOptions
from untrigger.inversion.search import SearchOptions
from untrigger.methods.defender_rows import check_clean_rows, split_clean
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts
from untrigger.models.saving import save_purified
from untrigger.scanners.confirm import ConfirmationOptions
from untrigger.scanners.insertion_scanner import InsertionScanner
from untrigger.training.loop import History
from untrigger.training.teacher_training import TeacherOptions

Load = Callable[[str], Classifier]
CLEAN = task(64, seed=31)
SEARCH = SearchOptions(probe=6, first=8, keep=3, sweeps=1)
SCANNER = InsertionScanner(
    search=SEARCH, confirmation=ConfirmationOptions(candidates=3, content_words=0)
)  # 64 rows are too few for its verdict: see test_scancure
QUICK = {
    "rounds": 1,
    "round_steps": 6,
    "retrain": RetrainOptions(steps=6),
    "unlearn": SearchAndUnlearnOptions(rounds=1, round_steps=6, search=SEARCH),
    "epochs": 2,
    "search": SEARCH,
    "scanner": SCANNER,
    "teacher": TeacherOptions(epochs=2),
}
EVERY = pytest.mark.parametrize("name", sorted(methods_of("defences")))
KINDS = pytest.mark.parametrize("kind", ["bert", "llama"])


@pytest.fixture(scope="module")
def grant(folder_of: Callable[[str], Path]) -> Grant:
    """All that any method may ask for."""
    return Grant(clean=CLEAN, unlabelled=CLEAN.texts, suspect=task(64, seed=32), teacher=folder_of("mpnet"), seed=3)


def quick(name: str) -> Purifier:
    """The method as it is, but short where it has one of the usual options for that."""
    kind = get_method("defences", name)
    usual = {f.name: getattr(kind(), f.name) for f in fields(kind)}
    copies = {key: replace(one, epochs=2) for key, one in usual.items() if isinstance(one, CopyConfig)}
    method: Purifier = kind(**{key: value for key, value in (QUICK | copies).items() if key in usual})
    return method


def said(model: Classifier) -> torch.Tensor:
    return predict_texts(model, CLEAN.texts).logits


@dataclass(frozen=True)
class Run:
    """A purification, and what the victim and the global stream were before and after it."""

    victim: Classifier
    done: Purified
    before: tuple[dict[str, torch.Tensor], object]
    after: tuple[dict[str, torch.Tensor], object]
    streams: tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module")
def first(victim: Load, grant: Grant) -> Callable[[str, str], Run]:
    """A function from architecture and method to a purification that the tests share."""

    def state(model: Classifier) -> tuple[dict[str, torch.Tensor], object]:
        return weights(model), (hooks(model), [p.requires_grad for p in model.module.parameters()])

    @cache
    def run(kind: str, name: str) -> Run:
        model = victim(kind)
        before = state(model)
        torch.manual_seed(1)
        stream = torch.get_rng_state()
        done = quick(name).purify(model, grant)
        return Run(model, done, before, state(model), (stream, torch.get_rng_state()))

    return run


def test_both_headline_methods_are_there() -> None:
    assert {"finetune", "w2sdefense", "w2sdefense-as-described", "w2sdefense-as-released"} <= set(
        methods_of("defences")
    )


@EVERY
@KINDS
def test_the_victim_stays_and_the_seed_decides(
    first: Callable[[str, str], Run], victim: Load, grant: Grant, kind: str, name: str
) -> None:
    run = first(kind, name)
    assert torch.equal(*run.streams), "a method draws from its own seed, never from the global one"
    assert same(run.after[0], run.before[0])
    assert run.after[1] == run.before[1]
    torch.manual_seed(2)
    again = quick(name).purify(victim(kind), grant)
    assert torch.equal(said(run.done.model), said(again.model))
    assert run.done.metadata == again.metadata
    if run.done.changed:
        other = quick(name).purify(run.victim, replace(grant, seed=4))
        assert not torch.equal(said(run.done.model), said(other.model))
        assert run.done.history.steps > 0


@EVERY
@KINDS
def test_the_result_is_a_classifier_of_the_same_classes_that_can_be_saved(
    first: Callable[[str, str], Run], tmp_path: Path, kind: str, name: str
) -> None:
    from untrigger.models.loading import load_model

    run = first(kind, name)
    model, pure = run.victim, run.done.model
    assert (pure.label_names, pure.max_length) == (model.label_names, model.max_length)
    assert not pure.module.training
    assert cacc(pure) > 0.7, "a purifier that ruins the classifier is none"
    for folder, merge in ((tmp_path / "adapter", False), (tmp_path / "whole", True)):
        folder.mkdir()
        save_purified(model, pure, folder, card="", merge=merge)
        again = load_model(folder, device="cpu", offline=True)
        torch.testing.assert_close(said(again), said(pure), atol=1e-4, rtol=1e-3)


@EVERY
def test_what_is_missing_is_said_before_anything_is_computed(name: str) -> None:
    method = get_method("defences", name)()
    with pytest.raises(NeedsError) as caught:
        method.purify(None, Grant())
    assert all(need in str(caught.value) for need in method.needs)


@EVERY
def test_it_needs_nothing_that_a_grant_cannot_hold(name: str) -> None:
    assert get_method("defences", name).needs <= {f.name for f in fields(Grant)} - {"seed"}


@EVERY
def test_rows_of_other_classes_are_refused_before_training(
    victim: Load, grant: Grant, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(get_method("defences", name), "_purify", lambda *_, **__: pytest.fail("it was run"))
    swapped = replace(CLEAN, label_names=("positive", "negative"))
    one_class = CLEAN.where(label == 0 for label in CLEAN.labels)
    few = CLEAN.take(range(6))
    for rows, says in (
        (swapped, "have the classes"),
        (one_class, "fewer than two rows of positive"),
        (few, "6 clean rows"),
    ):
        with pytest.raises(DataError, match=says):
            get_method("defences", name)().purify(victim("bert"), replace(grant, clean=rows))


@EVERY
def test_it_tells_every_option(name: str) -> None:
    method = get_method("defences", name)()
    assert set(method.options()) == {f.name for f in fields(method)}


@dataclass(frozen=True)
class Sly(Purifier):
    """A purifier that works on the model that it was given."""

    name: ClassVar[str] = "sly"

    def _purify(self, model: Classifier, grant: Grant, *, progress: Progress) -> Purified:
        with torch.no_grad():
            next(model.module.parameters())[0, 0] += 1e-3
        return Purified(model, changed=False, history=History(), outcome=PurificationOutcome.NOTHING_FOUND)


@dataclass(frozen=True)
class Stating(Purifier):
    """A purifier of somebody else, which does nothing and states what a test wants."""

    name: ClassVar[str] = "stating"
    changed: bool = False
    outcome: PurificationOutcome | None = None

    def _purify(self, model: Classifier, grant: Grant, *, progress: Progress) -> Purified:
        return Purified(model, changed=self.changed, history=History(), outcome=self.outcome)


def test_a_result_without_an_outcome_is_refused(load: Load) -> None:
    with pytest.raises(ContractError, match=r"the outcome None; expected one of PurificationOutcome\.NOTHING_FOUND"):
        Stating().purify(load("bert"), Grant(clean=CLEAN))
    with pytest.raises(ContractError, match="'purified'"):
        Stating(outcome="purified").purify(load("bert"), Grant(clean=CLEAN))  # type: ignore[arg-type]


@pytest.mark.parametrize("outcome", PurificationOutcome)
@pytest.mark.parametrize("changed", [False, True])
def test_an_outcome_must_fit_what_was_done(load: Load, outcome: PurificationOutcome, changed: bool) -> None:
    method, model = Stating(changed=changed, outcome=outcome), load("bert")
    either = outcome in (PurificationOutcome.GIVEN_UP, PurificationOutcome.NOT_DECIDED)
    if either or changed != (outcome is PurificationOutcome.NOTHING_FOUND):
        assert method.purify(model, Grant(clean=CLEAN)).outcome is outcome
    else:
        with pytest.raises(ContractError, match=outcome.value):
            method.purify(model, Grant(clean=CLEAN))


@pytest.mark.parametrize(
    ("first", "second", "last"),
    [
        ("NOTHING_FOUND", "NOTHING_FOUND", "NOTHING_FOUND"),
        ("SEARCH_FINDS_NOTHING", "NOT_CHECKED", "NOT_CHECKED"),
        ("NOT_CHECKED", "SEARCH_FINDS_NOTHING", "NOT_CHECKED"),
        ("NOTHING_FOUND", "SEARCH_FINDS_NOTHING", "SEARCH_FINDS_NOTHING"),
        ("ROWS_NO_LONGER_FOLLOWED", "NOTHING_FOUND", "ROWS_NO_LONGER_FOLLOWED"),
        ("GIVEN_UP", "NOT_CHECKED", "GIVEN_UP"),
        ("ROWS_STILL_FOLLOWED", "SEARCH_FINDS_NOTHING", "ROWS_STILL_FOLLOWED"),
        ("SEARCH_STILL_FINDS", "NOTHING_FOUND", "SEARCH_STILL_FINDS"),
        ("GIVEN_UP", "RETRAINED_FROM_BASE", "RETRAINED_FROM_BASE"),
        ("RETRAINED_FROM_BASE", "SEARCH_STILL_FINDS", "SEARCH_STILL_FINDS"),
    ],
)
def test_of_two_methods_in_turn_the_doubts_of_either_stand(load: Load, first: str, second: str, last: str) -> None:
    model = load("bert")

    def done(name: str) -> Purified:
        outcome = PurificationOutcome[name]
        unchanged = outcome in (PurificationOutcome.NOTHING_FOUND, PurificationOutcome.GIVEN_UP)
        return Purified(model, changed=not unchanged, history=History(), outcome=outcome)

    assert combined_outcome(done(first), done(second)) is PurificationOutcome[last]


def test_a_method_that_changes_the_victim_is_found_out(load: Load) -> None:
    with pytest.raises(ContractError, match="sly changed the model"):
        Sly().purify(load("bert"), Grant(clean=CLEAN))


@pytest.mark.parametrize(("steps", "epochs", "taken"), [(0, 2, 8), (3, 9, 3), (11, 1, 11)])
def test_fine_tuning_takes_the_steps_that_it_is_given(load: Load, steps: int, epochs: int, taken: int) -> None:
    method = FineTune(steps=steps, epochs=epochs, batch_size=16, dev=0.1)
    assert method.purify(load("bert"), Grant(clean=CLEAN)).history.steps == taken


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0])
def test_a_dev_share_that_leaves_nothing_is_refused(share: float) -> None:
    with pytest.raises(OptionError, match="dev share"):
        split_clean(CLEAN, dev=share, generator=None)


def test_check_clean_lets_good_rows_pass(load: Load) -> None:
    check_clean_rows(CLEAN, model=load("bert"))
