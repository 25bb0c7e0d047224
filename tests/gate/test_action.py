"""The steps of action.yml, run by bash on tiny models: reports are there before the job fails, and undecided is no pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.tiny import task
from untrigger.data import write_rows

from .kit import ROOT, Runner

SMALL = " ".join(
    f"--set {one}"
    for one in (
        "rows=24",
        "confirmation.candidates=2",
        "confirmation.content_words=1",
        "search.probe=12",
        "search.first=16",
        "search.keep=4",
        "search.sweeps=1",
    )
)
Trained = Callable[[str, bool], Path]


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


def digest_of(report: Path) -> str:
    return str(json.loads(report.read_text(encoding="utf-8"))["given"]["model"]["sha256"])


def test_a_backdoored_model_fails_with_its_reports_written(
    runner: Runner, trained_folder: Trained, tmp_path: Path
) -> None:
    clean = str(write_rows(task(240, seed=21), tmp_path / "clean rows.csv"))
    reference = str(trained_folder("bert", False))
    usual = {
        "model": str(trained_folder("bert", True)),
        "clean": clean,
        "args": f"--reference {reference} --device cpu\n--offline {SMALL}",
    }
    assert runner.run(**usual) == 1
    assert runner.codes == {"Install untrigger": 0, "Scan": 0, "Summary": 0, "Gate": 1}, runner.log
    assert runner.outputs == {
        "exit-code": "1",
        "verdict": "backdoored",
        "sarif": "untrigger.sarif",
        "json": "untrigger.json",
        "html": "untrigger.html",
    }
    log = json.loads((tmp_path / "untrigger.sarif").read_text(encoding="utf-8"))
    assert log["runs"][0]["results"][0]["level"] == "error"
    assert (tmp_path / "untrigger.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "Verdict: backdoored" in runner.summary and "cf" in runner.summary
    pip = (tmp_path / ".bin" / "pip.txt").read_text(encoding="utf-8").splitlines()
    assert pip == ["-m pip install --quiet torch==2.13.0", f"-m pip install --quiet {ROOT}"]

    policy = tmp_path / "policy.toml"
    found = {one["text"] for one in json.loads((tmp_path / "untrigger.json").read_text(encoding="utf-8"))["findings"]}
    digest = digest_of(tmp_path / "untrigger.json")
    entries = (
        f"[[allow]]\ntext = {json.dumps(text)}\nreason = 'reviewed'\ndigest = '{digest}'\nexpires = 2999-12-31\n"
        for text in sorted(found)
    )
    policy.write_text("".join(entries), encoding="utf-8")
    again = Runner(tmp_path)
    more = {"policy": str(policy), "baseline": "untrigger.json"}
    assert again.run(**usual, **more, sarif="again.sarif") == 0, again.log
    assert again.outputs["verdict"] == "clean"
    results = json.loads((tmp_path / "again.sarif").read_text(encoding="utf-8"))["runs"][0]["results"]
    assert results and all(one["suppressions"] and one["baselineState"] == "unchanged" for one in results)


def test_undecided_is_no_pass(runner: Runner, folder_of: Callable[[str], Path]) -> None:
    model = str(folder_of("bert"))
    assert runner.run(model=model, baseline="never-written.json") == 3
    assert (runner.outputs["exit-code"], runner.outputs["verdict"]) == ("3", "undecided")
    assert (runner.workspace / "untrigger.sarif").exists() and "Verdict: undecided" in runner.summary


def test_bad_input_fails_with_a_message_and_never_takes_an_old_report(runner: Runner) -> None:
    (runner.workspace / "untrigger.json").write_text('{"verdict": {"status": "clean"}}', encoding="utf-8")
    assert runner.run(model="nowhere; exit 0") == 2
    assert runner.codes["Gate"] == 2 and runner.outputs["verdict"] == "error"
    assert "exit code 2" in runner.summary


def test_a_step_that_never_ran_is_no_pass() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    gate = action["runs"]["steps"][-1]
    assert gate["if"] == "always()" and 'exit "${CODE:-70}"' in gate["run"]


def test_the_action_pins_the_torch_of_the_makefile() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    assert f"TORCH  ?= {action['inputs']['torch']['default']}\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
