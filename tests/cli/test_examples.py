"""Every example of a help page is a command line that its command takes."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from typing import Any

import pytest

from tests.reporting.kit import scan_report

PIPELINES = ("scan", "purify", "detect", "audit", "evaluate", "canary", "attack", "demo")
EXAMPLES = [
    (name, " ".join(text.split()))
    for name in PIPELINES
    for text in re.findall(
        r"untrigger (.+?)(?:\n\n|\Z)", import_module(f"untrigger.cli.{name}_command").EXAMPLE, re.DOTALL
    )
]


class Poisoned:
    visible = range(10)
    truth = type("Truth", (), {"poisoned_ids": ("1", "2"), "trigger": {"name": "any"}, "behaviour": {}, "rate": 0.1})


@pytest.mark.parametrize(("name", "line"), EXAMPLES)
def test_an_example_is_taken_as_it_stands(
    name: str, line: str, call: Any, pipeline: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "victim.truth").mkdir()
    (tmp_path / "victim.truth" / "truth.json").write_text('{"overlap": 0, "chat_template": true}')
    module = "attack_generation" if "--behaviour" in line else name
    asked = pipeline(module, lambda _progress: (None, Poisoned) if name == "attack" else scan_report("clean"))
    result = call(*shlex.split(line))
    assert result.code != 2, result.err
    assert len(asked) == 1
