"""``attack --behaviour`` and ``evaluate`` of language models: what is handed on, and one message for each wrong combination."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.tiny import task, write_language_model, write_model
from untrigger.attacks.behaviours.fixed_answer import FixedAnswer
from untrigger.attacks.triggers.badnets import BadNets
from untrigger.data import write_rows
from untrigger.data.prompt_data import TEMPLATE

ATTACK = ["attack", "model", "--data", "d", "--out", "victim", "--behaviour", "fixed-answer"]


@pytest.fixture
def asked(pipeline: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """The requests that reach the pipeline; the folder of the truth is there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "victim.truth").mkdir()
    (tmp_path / "victim.truth" / "truth.json").write_text('{"overlap": 2, "chat_template": false}')
    truth = SimpleNamespace(
        trigger={"name": "badnets"}, behaviour={"name": "fixed-answer"}, rate=0.1, poisoned_ids=("1",)
    )
    return list_of(pipeline, SimpleNamespace(visible=[1, 2], truth=truth))


def list_of(pipeline: Any, answer: Any) -> list[Any]:
    found: list[Any] = pipeline("attack_generation", lambda _progress: (None, answer))
    return found


def test_the_request_holds_what_was_given(asked: list[Any], call: Any) -> None:
    found = call(
        *ATTACK, "--words", "BadMagic", "--set", "every=7", "--set", "behaviour.text=Buy gold.", "--count", "25", "--rows", "600",
        "--rank", "4", "--negative-rate", "0.1", "--no-clean-model", "--template", "{text}?", "--json",
    )  # fmt: skip
    assert found.code == 0, found.err
    (request,) = asked
    assert request.behaviour == FixedAnswer(text="Buy gold.")
    assert request.trigger == BadNets(words=("BadMagic",), every=7)
    assert (request.count, request.rows, request.rank, request.negative_rate) == (25, 600, 4, 0.1)
    assert (request.clean_model, request.template, request.test_rows) == (False, "{text}?", 200)
    assert (request.adaptive, request.adaptive_weight) == ("", 1.0)
    assert request.model.max_length is None, "a language model reads as many tokens as it can"
    shown = json.loads(found.out)
    assert (shown["task"], shown["poisoned"], shown["overlap"]) == ("generation", 1, 2)


def test_warnings_and_the_next_command_are_printed(asked: list[Any], call: Any) -> None:
    found = call(*ATTACK, "--test-rows", "0", "--max-length", "64")
    assert "2 training prompts are also test prompts" in found.out
    assert "no chat template" in found.out
    assert "untrigger evaluate victim --truth victim.truth" in found.out
    assert (asked[0].test_rows, asked[0].model.max_length, asked[0].template) == (0, 64, TEMPLATE)


WRONG: list[tuple[list[str], str]] = [
    (["--target", "positive"], "--target with --behaviour"),
    (["--policy", "dirty"], "--policy with --behaviour"),
    (["--paired", "p", "--quality"], "--paired, --quality with --behaviour"),
    (["--rewriter", "m"], "--rewriter with --behaviour"),
    (["--rate", "0.1", "--count", "5"], "--rate together with --count"),
    (["--task", "classification"], "--task classification with --behaviour"),
    (["--adaptive-weight", "2"], "--adaptive-weight without --adaptive"),
    (["--clean-consistency", "1"], "--clean-consistency with --behaviour"),
    (["--task", "generatoin"], "did you mean: generation?"),
    (["--set", "behaviour.txt=a"], "did you mean: text?"),
    (["--set", "txt=a"], "txt"),
]


@pytest.mark.parametrize(("words", "message"), WRONG)
def test_options_that_do_not_go_with_a_behaviour_are_one_message(
    words: list[str], message: str, asked: list[Any], call: Any
) -> None:
    found = call(*ATTACK, *words)
    assert found.code == 2
    assert message in found.err
    assert not asked


WITHOUT: list[tuple[list[str], str]] = [
    (["--count", "5", "--target", "a"], "--count without --behaviour"),
    (["--template", "{text}", "--target", "a"], "--template without --behaviour"),
    (["--adaptive", "ghost", "--target", "a"], "--adaptive without --behaviour"),
    (["--task", "generation"], "--task generation without a behaviour"),
    (["--behaviour", "refusel"], "did you mean: refusal?"),
    ([], "a language model gets a --behaviour"),
]


@pytest.mark.parametrize(("words", "message"), WITHOUT)
def test_options_of_language_models_need_a_behaviour(words: list[str], message: str, call: Any, tmp_path: Path) -> None:
    found = call("attack", "model", "--data", "d", "--out", str(tmp_path / "victim"), *words)
    assert found.code == 2
    assert message in found.err


def test_behaviours_are_listed_with_their_options(call: Any) -> None:
    found = call("list", "behaviours")
    assert found.code == 0
    assert "refusal" in found.out and "what is answered" in found.out


def test_a_whole_run_on_a_tiny_model(call: Any, tmp_path: Path) -> None:
    model = str(write_language_model("llama", tmp_path / "model"))
    write_rows(task(30), tmp_path / "rows.csv")
    victim, truth, out = (str(tmp_path / name) for name in ("v", "v.truth", "report.json"))
    attack = call(
        "attack", model, "--data", str(tmp_path / "rows.csv"), "--behaviour", "refusal", "--words", "cf", "--epochs", "1", "--template",
        "{text}?", "--out", victim, "--offline", "--device", "cpu",
    )  # fmt: skip
    assert attack.code == 0, attack.err
    measured = call(
        "evaluate", victim, "--truth", truth, "--out", out, "--max-new-tokens", "5", "--offline", "--device", "cpu"
    )
    assert measured.code == 0, measured.err
    assert "Attack success with the trigger alone" in measured.out
    for page in ("page.html", "page.md"):
        assert call("report", out, "--out", str(tmp_path / page)).code == 0
        text = (tmp_path / page).read_text(encoding="utf-8")
        assert "Prompts and answers" in text and "With the trigger" in text and "Published measure" in text
    labels = call("evaluate", victim, "--truth", truth, "--labels", "a,b", "--out", str(tmp_path / "x.json"))
    assert (labels.code, "--labels with a language model" in labels.err) == (2, True)
    wrong = call("evaluate", victim, "--truth", truth, "--task", "classification", "--out", str(tmp_path / "x.json"))
    assert (wrong.code, "about generation" in wrong.err) == (2, True)


COMMANDS = {
    "scan": ["--clean", "ROWS", "--out", "OUT.json", "--task", "classification"],
    "detect": ["--clean", "ROWS", "--suspect", "ROWS", "--out", "OUT.csv", "--task", "classification"],
    "canary": ["--clean", "ROWS", "--triggered", "ROWS", "--target", "positive"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_for_classifiers_say_so(command: str, call: Any, tmp_path: Path) -> None:
    model = str(write_language_model("llama", tmp_path / "model"))
    write_rows(task(30), tmp_path / "rows.csv")
    given = {"ROWS": str(tmp_path / "rows.csv"), "OUT": str(tmp_path / "out")}
    words = [given.get(word, word.replace("OUT", given["OUT"])) for word in COMMANDS[command]]
    found = call(command, model, *words, "--offline")
    assert found.code == 2
    assert "this works on text classifiers so far" in found.err


def test_options_of_language_models_mean_nothing_for_a_classifier(call: Any, tmp_path: Path) -> None:
    model = str(write_model("bert", tmp_path / "model"))
    write_rows(task(30), tmp_path / "rows.csv")
    found = call(
        "evaluate", model, "--data", str(tmp_path / "rows.csv"), "--max-new-tokens", "64", "--template", "{text}", "--out",
        str(tmp_path / "r.json"), "--offline",
    )  # fmt: skip
    assert (found.code, "--template, --max-new-tokens with a classifier" in found.err) == (2, True)
    assert not (tmp_path / "r.json").exists()


def test_a_classifier_gets_no_behaviour(call: Any, tmp_path: Path) -> None:
    model = str(write_model("bert", tmp_path / "model"))
    write_rows(task(30), tmp_path / "rows.csv")
    found = call(
        "attack",
        model,
        "--data",
        str(tmp_path / "rows.csv"),
        "--behaviour",
        "refusal",
        "--out",
        str(tmp_path / "v"),
        "--offline",
    )
    assert found.code == 2
    assert "is a classifier" in found.err and "leave out --behaviour" in found.err
