"""What is searched and confirmed after unlearning lies on rows that the student was not trained on, and has seeds of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import task
from untrigger.core.errors import OptionError
from untrigger.core.grant import Grant
from untrigger.defences import scan_and_unlearn as scancure
from untrigger.defences.scan_and_unlearn import ScanCure
from untrigger.defences.w2s import search_and_unlearn
from untrigger.defences.w2s.search_and_unlearn import SearchAndUnlearnOptions
from untrigger.defences.w2s.w2sdefense import W2SDefense
from untrigger.inversion.search import SearchOptions
from untrigger.models.classifier import Classifier
from untrigger.scanners.confirm import ConfirmationOptions
from untrigger.scanners.insertion_scanner import InsertionScanner
from untrigger.training.teacher_training import TeacherOptions

Load = Callable[[str], Classifier]
CLEAN = task(300, seed=41)
SEARCH = SearchOptions(first=16, sweeps=1, probe=8, keep=4)
TEACHER = TeacherOptions(lr=1e-3, epochs=2, batch_size=16)


@pytest.fixture
def grant(trained_folder: Callable[[str, bool], Path]) -> Grant:
    return Grant(clean=CLEAN, teacher=trained_folder("bert", False), seed=0)


@pytest.fixture
def taught(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The ids of all rows of which a lesson was made."""
    ids: set[str] = set()
    for module in (scancure, search_and_unlearn):
        whole = module.TriggerUnlearning

        def lesson(*args: Any, rows: Any, whole: Any = whole, **more: Any) -> Any:
            ids.update(rows.ids)
            return whole(*args, rows=rows, **more)

        monkeypatch.setattr(module, "TriggerUnlearning", lesson)
    return ids


def test_a_scan_after_unlearning_reads_no_row_that_was_taught(
    victim: Load, grant: Grant, taught: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scans, whole = [], InsertionScanner.scan

    def scan(self: Any, model: Classifier, given: Grant, **more: Any) -> Any:
        scans.append((given, more.get("context")))
        return whole(self, model, given, **more)

    monkeypatch.setattr(InsertionScanner, "scan", scan)
    scanner = InsertionScanner(
        rows=32, confirmation=ConfirmationOptions(candidates=4, content_words=1, top=1), search=SEARCH, teacher=TEACHER
    )
    done = ScanCure(lr=1e-6, rounds=2, round_steps=1, more_steps=1, scanner=scanner).purify(victim("bert"), grant)
    assert len(scans) == 3 and taught
    for given, context in scans[1:]:
        assert given.clean is not None and context.held_out is not None
        searched, held = set(given.clean.ids), set(context.held_out.ids)
        assert searched and held and not taught & (searched | held) and not searched & held
    assert len({given.seed for given, _ in scans}) == 3, "no round draws as another"
    result = done.metadata
    sizes = (result["rows_trained"], result["rows_searched_after_it"], result["rows_confirmed_on_by_every_scan"])
    assert sum(sizes) == len(CLEAN) and min(sizes) > 40


def test_the_search_of_w2sdefense_reads_no_row_that_was_taught_and_is_last(
    victim: Load, grant: Grant, taught: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    searched: set[str] = set()
    search, lesson = search_and_unlearn.TriggerSearch, search_and_unlearn.TriggerUnlearning

    class Watched(search):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, rows: Any, **more: Any) -> None:
            searched.update(rows.ids)
            super().__init__(*args, rows=rows, **more)

        def run(self, **more: Any) -> Any:
            events.append("search")
            return super().run(**more)

    def taking(*args: Any, **more: Any) -> Any:
        made = lesson(*args, **more)
        train = made.train
        made.train = lambda *a, **k: events.append("lesson") or train(*a, **k)
        return made

    monkeypatch.setattr(search_and_unlearn, "TriggerSearch", Watched)
    monkeypatch.setattr(search_and_unlearn, "TriggerUnlearning", taking)
    method = W2SDefense(
        lr=1e-6,
        algorithm="search_and_unlearn",
        teacher=TEACHER,
        unlearn=SearchAndUnlearnOptions(
            rounds=2, round_steps=1, more_steps=1, alarm_score=0.2, stop_score=0.0, search=SEARCH
        ),
    )
    done = method.purify(victim("bert"), grant)
    assert events == ["search", "lesson", "search", "lesson", "search"]
    assert len(done.metadata["largest_score_by_search"]) == 3
    assert taught and searched and not taught & searched
    assert (done.metadata["rows_trained"], done.metadata["rows_searched"]) == (len(taught), len(searched))


def test_shares_out_of_range_are_refused() -> None:
    for make in (
        lambda: ScanCure(train_share=0.0),
        lambda: ScanCure(train_share=1.0),
        lambda: SearchAndUnlearnOptions(search_share=0.0),
        lambda: replace(SearchAndUnlearnOptions(), search_share=1.0),
    ):
        with pytest.raises(OptionError):
            make()
