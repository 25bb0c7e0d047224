"""``untrigger scan`` without clean rows, or without a model, shows the way in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import write_model


@pytest.fixture
def victim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNTRIGGER_HOME", str(tmp_path / "home"))
    return write_model("bert", tmp_path / "a victim")


def test_the_command_line_gives_the_guide_as_text_and_as_json(call: Any, victim: Path) -> None:
    done = call("scan", str(victim), "--offline")
    assert (done.code, done.out) == (2, "")
    assert "error: a scan of" in done.err and "--static-only" in done.err and "Traceback" not in done.err
    done = call("scan", str(victim), "--offline", "--json")
    error = json.loads(done.out)["error"]
    assert done.code == error["exit_code"] == 2
    assert error["details"]["rows"] == {
        "columns": ["text", "label"],
        "least": 8,
        "least_per_class": 2,
        "for_verdict_clean": 140,
    }


def test_a_scan_without_a_model_is_shown_the_way_in(call: Any) -> None:
    done = call("scan")
    assert (done.code, done.out) == (2, "")
    for text in (
        "no model was named",
        "models:/NAME/VERSION",
        "untrigger scan MODEL --clean rows.csv",
        "untrigger doctor",
    ):
        assert text in done.err
    assert json.loads(call("scan", "--json").out)["error"]["kind"] == "OptionError"
