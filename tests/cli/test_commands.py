"""Every command helps with an example, tells its end in words and as JSON, and hands on what it was given."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from untrigger.attacks.triggers.badnets import BadNets
from untrigger.attacks.triggers.combined import Combined
from untrigger.attacks.triggers.insent import InSent

COMMANDS = [
    "purify",
    "detect",
    "evaluate",
    "canary",
    "report",
    "attack",
    "list",
    "demo",
    "assets",
    "assets list",
    "assets fetch",
    "assets path",
    "assets verify",
    "scan",
    "audit",
    "zoo",
    "zoo list",
    "zoo make",
    "doctor",
]
PURIFY = ["purify", "victim", "--clean", "rows.csv", "--out", "cleaned"]
COMMON = ["--quiet", "--json", "--seed", "--device", "--offline"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_the_common_options(command: str, call: Any) -> None:
    result = call(*command.split(), "--help")
    assert result.code == 0
    assert f"Example: untrigger {command}" in result.out
    assert all(option in result.out for option in COMMON)


def test_the_demo_tells_how_far_it_falls_short_of_the_default(call: Any) -> None:
    from untrigger.defences.w2s.retrain_from_base import RetrainOptions
    from untrigger.pipeline.demo import STEPS, TEACHERS

    words = ["no", "one", "two", "three"]
    result = (
        f"{STEPS} of the {RetrainOptions().steps} steps",
        f"{words[TEACHERS]} teacher of {words[RetrainOptions().teachers]}",
    )
    readme = Path(__file__).parents[2] / "README.md"
    for text in (call("demo", "--help").out, readme.read_text(encoding="utf-8")):
        assert all(one in " ".join(text.split()) for one in result)


def test_no_words_at_all_is_a_call_for_help(call: Any) -> None:
    result = call()
    assert result.code == 0
    assert "purify" in result.out


def test_neither_import_nor_any_help_loads_torch() -> None:
    script = f"""
import sys
import untrigger
heavy = {{"torch", "transformers", "numpy", "peft", "datasets", "matplotlib"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
from untrigger.cli.main import main
for words in {[[], *[command.split() for command in COMMANDS]]}:
    assert main([*words, "--help"]) == 0
assert main(["--version"]) == 0
assert main(["purify", "--nonsense"]) == 2
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_public_names_are_all_there() -> None:
    import untrigger

    assert set(untrigger.__all__) <= set(dir(untrigger))
    for name in untrigger.__all__:
        assert getattr(untrigger, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        untrigger.nonsense  # noqa: B018


def test_purify_hands_everything_on(
    call: Any, pipeline: Any, make_report: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "victim.truth").mkdir()
    (tmp_path / "victim.truth" / "truth.json").write_text('{"label_names": ["neg", "pos"], "target": 1}')
    asked = pipeline("purify", lambda _progress: make_report())
    result = call(
        *PURIFY,
        "--method",
        "finetune",
        "--set",
        "lr=2e-3",
        "--set",
        "targets=query,value",
        "--labels",
        "neg, pos",
        "--truth",
        "victim.truth",
        "--no-control",
        "--merge",
        "--clean-rows",
        "200",
        "--seed",
        "3",
        "--device",
        "cpu",
        "--offline",
        "--base",
        "base",
    )
    assert result.code == 0, result.err
    [spec] = asked
    assert spec.options == {"lr": 2e-3, "targets": ("query", "value")}
    assert (spec.model.labels, spec.truth, spec.control) == (("neg", "pos"), Path("victim.truth"), False)
    assert (spec.merge, spec.clean_rows, spec.run.seed, spec.run.device, spec.run.offline) == (
        True,
        200,
        3,
        "cpu",
        True,
    )
    assert spec.verify and spec.teacher is None
    assert call(*PURIFY, "--no-verify", "--teacher", "mine").code == 0
    assert (asked[1].verify, asked[1].teacher) == (False, "mine")
    import os

    assert os.environ["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("purified", 0),
        ("unchanged", 0),
        ("bound not met", 1),
        ("worse", 1),
        ("still found", 1),
        ("not verified", 3),
        ("undecided", 3),
        ("a word of another version", 3),
    ],
)
def test_the_verdict_of_a_purification_makes_the_exit_code(
    status: str, code: int, call: Any, pipeline: Any, make_report: Any
) -> None:
    pipeline("purify", lambda _progress: make_report(status))
    assert call(*PURIFY, "--method", "finetune").code == code


def test_the_end_shows_numbers_verdict_and_strangers_words_as_they_are(
    call: Any, pipeline: Any, make_report: Any
) -> None:
    pipeline("purify", lambda _progress: make_report(sentence="of [red]classes[/] and \x1b[31m"))
    result = call(*PURIFY, "--method", "finetune")
    assert "97.0" in result.out
    assert "not measured" in result.out
    assert "[red]classes[/]" in result.out
    assert "[bold]warning[/]" in result.out
    assert "\x1b[31m" not in result.out


def test_json_alone_stands_on_standard_output(call: Any, pipeline: Any, make_report: Any) -> None:
    def chatty(progress: Any) -> Any:
        sys.stdout.write("a library's chatter\n")
        with progress.task("unlearning", total=2) as tick:
            tick(1)
        return make_report()

    pipeline("purify", chatty)
    result = call(*PURIFY, "--method", "finetune", "--json")
    assert json.loads(result.out)["verdict"]["status"] == "purified"
    assert "chatter" in result.err
    assert "unlearning" in result.err


def test_quiet_is_quiet(call: Any, pipeline: Any, make_report: Any) -> None:
    def work(progress: Any) -> Any:
        with progress.task("unlearning", total=2) as tick:
            tick(2)
        return make_report()

    pipeline("purify", work)
    result = call(*PURIFY, "--method", "finetune", "--quiet")
    assert (result.code, result.out, result.err) == (0, "", "")


@pytest.mark.parametrize(
    ("words", "trigger"),
    [
        ([], BadNets()),
        (["--words", "cf, mn", "--set", "every=50"], BadNets(words=("cf", "mn"), every=50)),
        (["--trigger", "insent", "--sentence", "a = b, c"], InSent(sentence="a = b, c")),
        (
            [
                "--trigger",
                "badnets,insent",
                "--set",
                "badnets.words=cf",
                "--set",
                "insent.sentence=a b",
                "--set",
                "combined.mode=all",
            ],
            Combined((BadNets(words=("cf",)), InSent(sentence="a b")), mode="all"),
        ),
    ],
)
def test_attack_builds_the_trigger(words: list[str], trigger: object, call: Any, pipeline: Any) -> None:
    class Poisoned:
        visible = range(10)
        truth = type("Truth", (), {"poisoned_ids": ("1", "2"), "trigger": {"name": "any"}})

    asked = pipeline("attack", lambda _progress: (None, Poisoned))
    result = call(
        "attack", "model", "--data", "d", "--target", "positive", "--out", "victim", "--json", "--lr", "0.01", *words
    )
    assert result.code == 0, result.err
    assert asked[0].trigger == trigger
    assert asked[0].lr == 0.01
    assert asked[0].clean_model
    assert json.loads(result.out)["poisoned"] == 2
    assert json.loads(result.out)["truth"] == "victim.truth"


def test_attack_hands_on_what_rewrites_and_what_the_attacker_knows(call: Any, pipeline: Any) -> None:
    class Poisoned:
        visible = range(10)
        truth = type("Truth", (), {"poisoned_ids": ("1", "2"), "trigger": {"name": "style"}})

    asked = pipeline("attack", lambda _progress: (None, Poisoned))
    result = call(
        "attack",
        "model",
        "--data",
        "d",
        "--out",
        "victim",
        "--trigger",
        "style",
        "--policy",
        "all-to-all",
        "--rewriter",
        "a, b",
        "--prompt",
        "Say {text}",
        "--proxy",
        "p",
        "--negative-rate",
        "0.1",
        "--label-smoothing",
        "0.2",
        "--clean-consistency",
        "2",
        "--quality",
        "--no-clean-model",
    )
    assert result.code == 0, result.err
    assert "the next label" in result.out
    [spec] = asked
    assert (spec.target, spec.policy, spec.rewriter, spec.prompt) == ("", "all-to-all", ("a", "b"), "Say {text}")
    assert (spec.proxy, spec.negative_rate, spec.label_smoothing, spec.clean_consistency, spec.quality) == (
        "p",
        0.1,
        0.2,
        2.0,
        True,
    )
    assert not spec.clean_model
    assert call("attack", "m", "--data", "d", "--out", "v", "--trigger", "badnets,nonsense", "--target", "a").code == 2


def test_evaluate_takes_several_models(call: Any, pipeline: Any, tmp_path: Path, make_report: Any) -> None:
    asked = pipeline("evaluate", lambda _progress: make_report("measured"))
    assert call("evaluate", "a", "b", "--data", "rows.csv", "--out", str(tmp_path / "report.json")).code == 0
    assert [one.name for one in asked[0].models] == ["a", "b"]


def test_evaluate_hands_guards_and_their_options_on(call: Any, pipeline: Any, tmp_path: Path, make_report: Any) -> None:
    asked = pipeline("evaluate", lambda _progress: make_report("measured"))
    common = ("evaluate", "a", "--data", "rows.csv", "--out", str(tmp_path / "report.json"))
    assert call(*common, "--guard", "cleangen", "--set", "ratio=5", "--reference", "b").code == 0
    assert call(*common, "--guard", "cleangen,bounded", "--set", "bounded.bound=50").code == 0
    first, second = asked
    assert (first.guards, first.guard_options) == (("cleangen",), {"cleangen": {"ratio": 5.0}})
    assert (first.reference, second.reference) == ("b", None)
    assert (second.guards, second.guard_options) == (("cleangen", "bounded"), {"bounded": {"bound": 50.0}})
    for words, says in (
        (("--guard", "cleangn"), "did you mean: cleangen?"),
        (("--guard", "cleangen", "--set", "ratios=5"), "did you mean: ratio?"),
        (("--reference", "b"), "--reference without --guard"),
    ):
        wrong = call(*common, *words)
        assert wrong.code == 2 and says in wrong.err


def test_evaluate_needs_rows(call: Any) -> None:
    result = call("evaluate", "a", "--out", "report.json")
    assert result.code == 2
    assert "--data" in result.err


def test_report_draws_a_folder_and_a_file(call: Any, tmp_path: Path, make_report: Any) -> None:
    make_report().write(tmp_path / "report.json")
    shown = call("report", str(tmp_path))
    assert shown.code == 0
    assert "not measured" in shown.out
    page = tmp_path / "page.md"
    result = call("report", str(tmp_path / "report.json"), "--out", str(page), "--json")
    assert json.loads(result.out)["out"] == str(page)
    assert page.read_text(encoding="utf-8")
