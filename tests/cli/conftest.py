"""A command line to call in the process, and pipelines that only remember what they were asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pytest

from untrigger.cli.main import main
from untrigger.core.report import Report, Verdict
from untrigger.core.statistics import Measurement


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


Call = Callable[..., Said]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """``call("purify", ...)``: exit code and what stood on both outputs."""
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "0")

    def run(*words: str) -> Said:
        capsys.readouterr()
        code = main(words)
        result = capsys.readouterr()
        return Said(code, result.out, result.err)

    return run


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[..., Any]], list[Any]]:
    """``pipeline("purify", answer)``: the pipeline's function replaced; its specs are gathered in the list."""

    def stand_in(name: str, answer: Callable[..., Any]) -> list[Any]:
        asked: list[Any] = []

        def run(spec: Any, *, progress: Any) -> Any:
            asked.append(spec)
            return answer(progress)

        monkeypatch.setattr(import_module(f"untrigger.pipeline.{name}"), name, run)
        return asked

    return stand_in


@pytest.fixture
def make_report() -> Callable[..., Report]:
    """``make_report(status, sentence)``: a report with one number, one gap and a stranger's warning."""

    def make(status: str = "purified", sentence: str = "The rate fell.") -> Report:
        return Report(
            kind="purification",
            title="w2sdefense on victim",
            verdict=Verdict(status, sentence),
            measurements=[
                Measurement("victim", "asr", 0.97, 0.92, 0.99, 100),
                Measurement("purified", "asr", None, None, None, 0),
            ],
            warnings=["a [bold]warning[/] of a stranger"],
        )

    return make
