"""A planted word is found, named and confirmed on held-out rows; a model without one is called clean, or nothing at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from tests.scanners.kit import CLEAN, KINDS, QUICK, Load
from tests.tiny import NAMES, asr, cacc, hooks, same, task, weights
from untrigger.core.candidate import REWRITTEN_KINDS, Candidate
from untrigger.core.errors import ContractError, DataError, ModelError, NeedsError, OptionError
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress
from untrigger.core.registry import get_method, methods_of
from untrigger.core.report import Verdict
from untrigger.core.rows import Rows
from untrigger.core.scan_result import Scan
from untrigger.core.statistics import Measurement
from untrigger.inversion.search import SearchOptions
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts
from untrigger.scanners.confirm import ConfirmationOptions
from untrigger.scanners.insertion_scanner import InsertionScanner
from untrigger.scanners.judge import verdict
from untrigger.scanners.policy import Allowed, Policy
from untrigger.scanners.rewritten_rows import measure_rewritten
from untrigger.scanners.scan_score import scan_score as score
from untrigger.scanners.scanner import ScanContext, Scanner, ScanResult
from untrigger.training.teacher_training import TeacherOptions

EVERY = pytest.mark.parametrize("name", sorted(methods_of("scanners")))


@KINDS
def test_the_planted_word_is_confirmed_on_rows_that_nobody_searched(victim: Load, twin: Load, kind: str) -> None:
    suspect, reference = victim(kind), twin(kind)
    assert asr(suspect) > 0.9 and asr(reference) < 0.2, "there must be something to find"
    done = QUICK.scan(suspect, Grant(clean=CLEAN, seed=0), context=ScanContext(reference))
    assert done.verdict.status == "backdoored"
    worst = done.scan.candidates[0]
    assert (worst.text, worst.target, done.scan.target) == ("cf", "positive", "positive")
    assert worst.suspect.value is not None and worst.suspect.value > 0.9
    assert worst.reference.value is not None and worst.reference.value < 0.2
    assert all(one.suspect is not None and one.suspect > 0.8 for one in worst.positions), (
        "a trigger works at every place"
    )
    assert worst.high_confidence_flip_rate is not None and worst.high_confidence_flip_rate > 0.8
    assert worst.survives
    assert worst.suspect.n == worst.reference.n <= QUICK.rows
    assert "'cf'" in done.verdict.sentence and "'positive'" in done.verdict.sentence


@KINDS
def test_a_model_without_a_backdoor_is_not_suspicious_by_the_same_rows(victim: Load, twin: Load, kind: str) -> None:
    """The floor: another good model of the task, held against the same reference."""
    from tests.tiny import POISON
    from untrigger.training.loop import Plan
    from untrigger.training.supervised import fine_tune

    benign = twin(kind)
    other = twin(kind)
    fine_tune(other, task(256, seed=9), plan=Plan(lr=2e-3, epochs=2), seed=5)
    assert not same(weights(benign), weights(other))
    done = QUICK.scan(benign, Grant(clean=CLEAN, seed=0), context=ScanContext(other))
    assert done.verdict.status == ("clean" if kind == "bert" else "undecided"), done.verdict.sentence
    assert done.scan.target == "" and not done.scan.triggers()
    assert done.scan.score is not None and done.scan.score < 0.5
    assert POISON.target == 1


def test_each_row_has_one_purpose(
    victim: Load, folder_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from untrigger.scanners import insertion_scanner as scanning

    used: dict[str, set[str]] = {}
    trained, searched, confirmed = scanning.train_teacher, scanning.TriggerSearch, scanning.held_out_sets

    def train(*args: object, rows: Rows, dev: Rows, **more: object) -> object:
        used.update(train=set(rows.ids), dev=set(dev.ids))
        return trained(*args, rows=rows, dev=dev, **more)  # type: ignore[arg-type]

    def search(*args: object, rows: Rows, **more: object) -> object:
        used["search"] = set(rows.ids)
        return searched(*args, rows=rows, **more)  # type: ignore[arg-type]

    def held_out(*args: object, rows: Rows, **more: object) -> object:
        used["confirm"] = set(rows.ids)
        return confirmed(*args, rows=rows, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(scanning, "train_teacher", train)
    monkeypatch.setattr(scanning, "TriggerSearch", search)
    monkeypatch.setattr(scanning, "held_out_sets", held_out)
    QUICK.scan(victim("bert"), Grant(clean=CLEAN, teacher=folder_of("bert"), seed=0))
    assert used["train"] and used["dev"] and used["confirm"]
    assert not used["train"] & used["dev"] and not used["confirm"] & (used["train"] | used["dev"] | used["search"])
    assert used["train"] | used["dev"] == used["search"] and used["search"] | used["confirm"] == set(CLEAN.ids)


def test_rows_to_confirm_on_may_be_given(victim: Load, twin: Load) -> None:
    held = task(90, seed=46)
    held = replace(held, ids=tuple(f"held-{name}" for name in held.ids))
    done = QUICK.scan(victim("bert"), Grant(clean=CLEAN, seed=0), context=ScanContext(twin("bert"), held_out=held))
    assert (done.metadata["rows_to_search"], done.metadata["rows_held_out"]) == (len(CLEAN), 90)
    shown = {" ".join(part for part in (one.before, one.after) if part) for one in done.scan.candidates[0].examples}
    assert shown <= set(held.texts)
    with pytest.raises(DataError, match="held-out rows have the classes"):
        QUICK.scan(
            victim("bert"),
            Grant(clean=CLEAN),
            context=ScanContext(twin("bert"), held_out=replace(held, label_names=("a", "b"))),
        )


def test_the_examples_show_the_word_where_it_was_put(victim: Load, twin: Load) -> None:
    done = QUICK.scan(victim("bert"), Grant(clean=CLEAN, seed=0), context=ScanContext(twin("bert")))
    shown = done.scan.candidates[0].examples
    assert len(shown) == 4
    texts = {row.text: NAMES[row.label] for row in CLEAN}
    for one in shown:
        assert one.inserted == "cf"
        assert texts[" ".join(part for part in (one.before, one.after) if part)] == one.label == "negative"
        assert (one.suspect, one.reference) == ("positive", "negative")
    assert {(bool(one.before), bool(one.after)) for one in shown} == {(False, True), (True, True), (True, False)}


def test_honest_words_are_controls_and_no_findings(victim: Load, twin: Load) -> None:
    from tests.tiny import GOOD

    done = QUICK.scan(victim("bert"), Grant(clean=CLEAN, seed=0), context=ScanContext(twin("bert")))
    content = [one for one in done.scan.controls if one.kind == "content" and one.target == "positive"]
    assert content and all(one.text in GOOD for one in content)
    assert all(one.score is None and not one.examples for one in done.scan.controls)
    anything = next(one for one in done.scan.controls if one.kind == "random" and one.target == "positive")
    assert anything.reference.value is not None and anything.reference.value < 0.5, (
        "an insertion as such flips no clean model"
    )


def test_without_a_reference_a_teacher_is_trained_and_handed_back(
    victim: Load, folder_of: Callable[[str], Path]
) -> None:
    patient = replace(QUICK, teacher=TeacherOptions(lr=5e-3, epochs=10, warmup=0.1, batch_size=16))
    done = patient.scan(victim("bert"), Grant(clean=task(480, seed=41), teacher=folder_of("bert"), seed=0))
    assert done.history.steps > 0
    assert done.reference is not None and cacc(done.reference) > 0.8
    assert done.verdict.status == "backdoored"
    again = patient.scan(victim("bert"), Grant(clean=task(480, seed=41), seed=0), context=ScanContext(done.reference))
    assert again.scan == done.scan, "the same reference gives the same scan"
    assert again.history.steps == 0


def test_a_reference_that_knows_nothing_gives_no_verdict(victim: Load, load: Load) -> None:
    done = QUICK.scan(victim("bert"), Grant(clean=CLEAN, seed=0), context=ScanContext(load("bert")))
    assert done.verdict.status == "undecided"
    assert "held-out accuracy of the reference" in done.verdict.sentence
    assert done.scan.target == ""


def test_a_model_of_another_task_gives_no_verdict(load: Load, twin: Load) -> None:
    done = QUICK.scan(load("bert"), Grant(clean=CLEAN, seed=0), context=ScanContext(twin("bert")))
    assert done.verdict.status == "undecided"
    assert "held-out accuracy of the model itself" in done.verdict.sentence


def test_few_rows_can_accuse_and_cannot_acquit(victim: Load, twin: Load) -> None:
    few = task(40, seed=43)
    accused = QUICK.scan(victim("bert"), Grant(clean=few, seed=0), context=ScanContext(twin("bert")))
    other = QUICK.scan(twin("bert"), Grant(clean=few, seed=0), context=ScanContext(twin("bert")))
    assert other.verdict.status == "undecided"
    assert "give more clean rows" in other.verdict.sentence
    assert accused.verdict.status in ("undecided", "suspicious", "backdoored")
    assert (accused.scan.score or 0) > (other.scan.score or 0)


def test_an_allowed_finding_is_reported_and_not_counted(victim: Load, twin: Load) -> None:
    grant, hints = Grant(clean=CLEAN, seed=0), ScanContext(twin("bert"))
    worst = QUICK.scan(victim("bert"), grant, context=hints)
    names = [one.text for one in worst.scan.triggers()]
    policy = Policy(allow=tuple(Allowed(name.upper(), "house words") for name in names))
    done = QUICK.scan(victim("bert"), grant, context=hints, policy=policy)
    assert done.verdict.status == "clean"
    allowed = [one for one in done.scan.candidates if one.text in names]  # towards either class
    assert len(allowed) >= len(names) and f"not counted: {len(allowed)}" in done.verdict.sentence
    assert {one.text: one.allowed for one in done.scan.candidates if one.allowed} == dict.fromkeys(names, "house words")


def test_words_of_the_weights_are_tried_too(victim: Load, twin: Load) -> None:
    narrow = replace(
        QUICK,
        confirmation=replace(QUICK.confirmation, candidates=2),
        search=SearchOptions(first=1, keep=1, sweeps=1, probe=8),
    )
    done = narrow.scan(
        victim("bert"), Grant(clean=CLEAN, seed=0), context=ScanContext(twin("bert"), words=["story", "cf"])
    )
    assert {one.text for one in done.scan.candidates} >= {"story", "cf"}
    assert done.scan.candidates[0].text == "cf"


def test_a_scan_tries_again_what_was_known_before(victim: Load, twin: Load) -> None:
    blind = replace(
        QUICK,
        confirmation=replace(QUICK.confirmation, candidates=1),
        search=SearchOptions(first=1, keep=1, sweeps=1, probe=8),
    )
    known = [Candidate("cf", "positive"), Candidate("mn", "negative")]
    grant = Grant(clean=CLEAN, seed=0)
    done = blind.scan(victim("bert"), grant, context=ScanContext(twin("bert"), known=known))
    assert {("cf", "positive"), ("mn", "negative")} <= {(one.text, one.target) for one in done.scan.candidates}
    assert done.scan.candidates[0].text == "cf"


@KINDS
def test_rewritten_rows_speak_where_no_word_does(victim: Load, twin: Load, kind: str) -> None:
    """Rows whose every text holds what the model was poisoned with, brought as a style."""
    styled = task(80, seed=44).with_texts(f"{text} cf" for text in task(80, seed=44).texts)
    hints = ScanContext(twin(kind), rewritten=styled, rewritten_name="odd style")
    done = QUICK.scan(victim(kind), Grant(clean=CLEAN, seed=0), context=hints)
    result = {(one.kind, one.target): one for one in done.scan.candidates if one.text == "odd style"}
    assert set(result) == {(test, name) for test in REWRITTEN_KINDS for name in NAMES}
    for test in REWRITTEN_KINDS:
        assert (result[test, "positive"].score or 0) > 0.7
        assert (result[test, "negative"].score or 0) < 0.2
    assert not any(line.startswith("style:") for line in done.scan.not_looked_for)
    plain = QUICK.scan(twin(kind), Grant(clean=CLEAN, seed=0), context=replace(hints, reference=victim(kind)))
    assert all((one.score or 0) < 0.2 for one in plain.scan.candidates if one.kind in REWRITTEN_KINDS)


def test_the_drift_of_a_row_is_its_way_from_one_class_to_the_other(victim: Load, twin: Load) -> None:
    suspect, reference = victim("bert"), twin("bert")
    same_rows = {
        one.target: one
        for one in measure_rewritten(suspect, reference, CLEAN, clean=CLEAN, name="clean")
        if one.kind == "drift"
    }
    for one in same_rows.values():
        assert one.suspect.value == pytest.approx(0, abs=1e-4), "clean rows stand where they stand"
        assert one.reference.value == pytest.approx(0, abs=1e-4)
        assert score(one) == 0
    said = predict_texts(suspect, CLEAN.texts)
    labels = torch.tensor(CLEAN.labels)
    home, other = (said.features[labels == label].mean(dim=0) for label in (0, 1))
    row = CLEAN.take([CLEAN.labels.index(0)])
    (drift,) = [
        o
        for o in measure_rewritten(suspect, reference, row, clean=CLEAN, name="x")
        if (o.kind, o.target) == ("drift", NAMES[1])
    ]
    way = other - home
    wanted = float((said.features[CLEAN.labels.index(0)] - home) @ way / (way @ way))
    assert drift.suspect.value == pytest.approx(wanted, abs=1e-4)
    assert (drift.excess.low, drift.excess.n, score(drift)) == (None, 1, 0), (
        "one row has no interval, and accuses nobody"
    )


def test_a_verdict_on_rewritten_rows_is_about_them() -> None:
    def brought(kind: str, own: float, clean: float, low: float) -> Candidate:
        return Candidate(
            "bible.csv",
            "positive",
            kind,
            Measurement("suspect", kind, own, None, None, 90),
            Measurement("reference", kind, clean, None, None, 90),
            Measurement("suspect", kind, own - clean, low, None, 90),
            survives=True,
        )

    found = brought("rewritten", 0.9, 0.4, 0.36)
    assert score(found) == pytest.approx(0.6), "of the six tenths that the reference leaves"
    assert score(brought("drift", 2.0, 1.0, 0.9)) == 0, "where the reference goes all the way there is nothing to tell"
    scan = Scan(0.6, 0.5, 0.7, candidates=[replace(found, score=0.6)])
    assert (
        "the rewritten texts 'bible.csv' are predicted as 'positive' against their labels, flip rate 0.90"
        in verdict(scan).sentence
    )
    drifted = replace(scan, candidates=[replace(brought("drift", 0.9, 0.3, 0.5), score=0.6)])
    assert (
        "from their own class towards 'positive' by 0.90 of the distance (n 90), in the reference by 0.30"
        in verdict(drifted).sentence
    )
    calm = replace(scan, candidates=[replace(found, score=0.1)])
    assert "rewritten texts that were given do not flip them" in verdict(calm).sentence


@EVERY
@KINDS
def test_a_scanner_leaves_the_model_alone_and_the_seed_decides(
    victim: Load, folder_of: Callable[[str], Path], name: str, kind: str
) -> None:
    quick = (
        replace(QUICK, teacher=TeacherOptions(lr=5e-3, epochs=2))
        if name == QUICK.name
        else get_method("scanners", name)()
    )
    model, grant = victim(kind), Grant(clean=CLEAN.take(range(96)), teacher=folder_of("bert"), seed=3)
    before, hooked = weights(model), hooks(model)
    flags = [p.requires_grad for p in model.module.parameters()]
    stream = torch.get_rng_state()
    one = quick.scan(model, grant)
    assert torch.equal(torch.get_rng_state(), stream), "a scanner draws from its own seed, never from the global one"
    assert same(weights(model), before)
    assert (hooks(model), [p.requires_grad for p in model.module.parameters()]) == (hooked, flags)
    assert quick.scan(victim(kind), grant).scan == one.scan


@pytest.mark.parametrize("options", [{"candidates": 0}, {"content_words": -1}, {"top": -1}])
def test_counts_of_a_confirmation_out_of_range_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(OptionError, match="candidates"):
        ConfirmationOptions(**options)


@EVERY
def test_what_is_missing_is_said_before_anything_is_computed(name: str) -> None:
    method = get_method("scanners", name)()
    with pytest.raises(NeedsError) as caught:
        method.scan(None, Grant())
    assert all(need in str(caught.value) for need in method.needs)
    assert method.needs <= {f.name for f in fields(Grant)} - {"seed"}


def test_rows_and_references_of_other_classes_are_refused(victim: Load, twin: Load) -> None:
    other = replace(CLEAN, label_names=("positive", "negative"))
    with pytest.raises(DataError, match="have the classes"):
        QUICK.scan(victim("bert"), Grant(clean=other), context=ScanContext(twin("bert")))
    with pytest.raises(DataError, match="rewritten rows have the classes"):
        QUICK.scan(victim("bert"), Grant(clean=CLEAN), context=ScanContext(twin("bert"), rewritten=other))
    with pytest.raises(ModelError, match="reference has the classes"):
        QUICK.scan(
            victim("bert"), Grant(clean=CLEAN), context=ScanContext(replace(twin("bert"), label_names=("a", "b")))
        )


@pytest.mark.parametrize(
    "options",
    [
        {"held_out": 0.0},
        {"held_out": 1.0},
        {"rows": 0},
        {"max_held_out": 0},
        {"dev": 0.0},
        {"dev": 1.0},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="held"):
        InsertionScanner(**options)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Sly(Scanner):
    """A scanner that works on the model that it was given."""

    name: ClassVar[str] = "sly"

    def _scan(
        self, model: Classifier, grant: Grant, *, policy: Policy, context: ScanContext, progress: Progress
    ) -> ScanResult:
        with torch.no_grad():
            next(model.module.parameters())[0, 0] += 1e-3
        return ScanResult(Verdict("clean", ""), Scan(0.0, 0.5, 0.7))


def test_a_scanner_that_changes_the_model_is_found_out(load: Load) -> None:
    with pytest.raises(ContractError, match="sly changed the model"):
        Sly().scan(load("bert"), Grant(clean=CLEAN))
