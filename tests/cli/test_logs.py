"""The log: on standard error as ``--log-level`` says, in a file with times, never on standard output."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

PURIFY = ["purify", "victim", "--clean", "rows.csv", "--out", "cleaned", "--method", "finetune"]
RECORD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING|ERROR) +untrigger[.\w]*: ")


@pytest.fixture
def chatty(pipeline: Any, make_report: Any) -> None:
    """A purification that logs at every level, beside a library that does too."""

    def work(progress: Any) -> Any:
        with progress.task("unlearning", total=1) as tick:
            tick(1)
        log = logging.getLogger("untrigger.pipeline.purify")
        log.debug("the detail %s", "\x1b[31m")
        log.info("the stage")
        log.warning("the warning")
        logging.getLogger("transformers").info("a library")
        return make_report()

    pipeline("purify", work)


@pytest.mark.parametrize(
    ("level", "seen"),
    [
        (None, {"the warning"}),
        ("warning", {"the warning"}),
        ("info", {"the warning", "the stage"}),
        ("debug", {"the warning", "the stage", "the detail"}),
    ],
)
def test_the_level_decides_what_standard_error_shows(
    level: str | None, seen: set[str], call: Any, chatty: None
) -> None:
    result = call(*PURIFY, "--json", *(["--log-level", level] if level else []))
    assert {text for text in ("the detail", "the stage", "the warning") if text in result.err} == seen
    assert "a library" not in result.err
    assert json.loads(result.out)["verdict"]["status"] == "purified"
    assert "\x1b[31m" not in result.err


def test_a_file_gets_the_log_with_times(call: Any, chatty: None, tmp_path: Path) -> None:
    file = tmp_path / "run.log"
    for _ in range(2):
        result = call(*PURIFY, "--log-file", str(file))
        assert "the stage" not in result.err and "the warning" in result.err
    lines = file.read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if "the stage" in line]) == 2, "appended"
    assert all(RECORD.match(line) for line in lines)
    assert not any("the detail" in line or "a library" in line for line in lines)


def test_a_file_gets_details_on_request(call: Any, chatty: None, tmp_path: Path) -> None:
    file = tmp_path / "run.log"
    call(*PURIFY, "--log-level", "debug", "--log-file", str(file))
    text = file.read_text(encoding="utf-8")
    assert "the detail" in text and "\x1b" not in text
    assert re.search(r"unlearning: \d+\.\d s", text)


def test_quiet_keeps_the_log_in_the_file(call: Any, chatty: None, tmp_path: Path) -> None:
    result = call(*PURIFY, "--quiet", "--log-file", str(tmp_path / "run.log"))
    assert (result.code, result.out, result.err) == (0, "", "")
    assert "the warning" in (tmp_path / "run.log").read_text(encoding="utf-8")


def test_the_log_has_the_end_of_a_run_that_failed(call: Any, pipeline: Any, tmp_path: Path) -> None:
    from untrigger.core.errors import OptionError

    def work(_progress: Any) -> Any:
        raise OptionError("it cannot be", remedy="another")

    pipeline("purify", work)
    assert call(*PURIFY, "--log-file", str(tmp_path / "run.log")).code == 2
    assert "OptionError: it cannot be" in (tmp_path / "run.log").read_text(encoding="utf-8")


def test_a_log_that_cannot_be_written_is_one_message(call: Any, chatty: None, tmp_path: Path) -> None:
    result = call(*PURIFY, "--log-file", str(tmp_path / "nowhere" / "run.log"))
    assert result.code == 2
    assert "cannot write the log file" in result.err and "--log-file" in result.err


def test_nothing_of_the_log_remains_after_the_command(call: Any, chatty: None) -> None:
    logger = logging.getLogger("untrigger")
    before = (logger.level, list(logger.handlers))
    call(*PURIFY, "--log-level", "debug")
    assert (logger.level, logger.handlers) == before


@pytest.fixture
def writing(pipeline: Any, make_report: Any) -> Any:
    """``writing("purify")``: a pipeline that logs two stages and writes its output."""

    def replace(name: str) -> None:
        from untrigger.runtime.cost import Clock

        def work(_progress: Any) -> Any:
            clock = Clock()
            for stage in ("load", "\x1b[31mwork"):
                with clock.stage(stage):
                    pass
            out = asked[0].out
            if name in ("purify", "demo"):
                out.mkdir()
            else:
                out.write_text("result")
            return make_report()

        asked = pipeline(name, work)

    return replace


COMMANDS_WITH_OUT = [
    (["purify", "victim", "--clean", "rows.csv"], "cleaned", "log.txt"),
    (["demo"], "show", "log.txt"),
    (["detect", "victim", "--suspect", "rows.csv", "--clean", "rows.csv"], "rows.csv", "rows.csv.log"),
    (["audit", "victim", "--clean", "rows.csv"], "audit.json", "audit.json.log"),
    (["evaluate", "victim", "--data", "rows.csv"], "report.json", "report.json.log"),
]


@pytest.mark.parametrize(("words", "out", "log"), COMMANDS_WITH_OUT)
def test_a_log_with_times_lies_beside_every_output(
    words: list[str], out: str, log: str, call: Any, writing: Any, tmp_path: Path
) -> None:
    writing(words[0])
    result = call(*words, "--out", str(tmp_path / out))
    file = (tmp_path / out / log) if (tmp_path / out).is_dir() else tmp_path / log
    text = file.read_text(encoding="utf-8")
    assert all(RECORD.match(line) for line in text.splitlines())
    for stage in ("untrigger begins", "stage load begins", "stage load ended after", "ended after"):
        assert stage in text
    assert "\x1b" not in text
    assert "stage load" not in result.out + result.err and log not in result.out


def test_no_log_is_written_on_request_and_the_result_stays_the_same(call: Any, writing: Any, tmp_path: Path) -> None:
    writing("purify")
    words = [*PURIFY[:3], "rows.csv", "--json", "--out"]
    with_log = call(*words, str(tmp_path / "one"))
    writing("purify")
    without = call(*words, str(tmp_path / "two"), "--no-log")
    assert (tmp_path / "one" / "log.txt").exists() and not list((tmp_path / "two").iterdir())
    assert with_log.out == without.out and json.loads(with_log.out)["verdict"]


def test_a_run_that_fails_leaves_no_log(call: Any, pipeline: Any, tmp_path: Path) -> None:
    from untrigger.core.errors import OptionError

    def work(_progress: Any) -> Any:
        (tmp_path / "report.json").write_text("an old one")
        raise OptionError("it cannot be")

    pipeline("evaluate", work)
    assert call("evaluate", "victim", "--data", "rows.csv", "--out", str(tmp_path / "report.json")).code == 2
    assert [one.name for one in tmp_path.iterdir()] == ["report.json"]


def test_a_log_that_cannot_be_written_does_not_lose_the_result(call: Any, writing: Any, tmp_path: Path) -> None:
    writing("evaluate")
    (tmp_path / "report.json.log").mkdir()
    result = call("evaluate", "victim", "--data", "rows.csv", "--out", str(tmp_path / "report.json"))
    assert result.code == 0 and "no log beside the output" in result.err


def test_a_scan_has_one_log_beside_its_first_file(call: Any, pipeline: Any, tmp_path: Path) -> None:
    from tests.reporting.kit import scan_report

    pipeline("scan", lambda _progress: scan_report("clean"))
    files = [str(tmp_path / name) for name in ("scan.json", "scan.html")]
    result = call("scan", "model", "--clean", "rows.csv", "--out", files[0], "--out", files[1])
    assert result.code == 0, result.err
    assert sorted(one.name for one in tmp_path.iterdir()) == ["scan.html", "scan.json", "scan.json.log"]
    result = call("scan", "model", "--clean", "rows.csv", "--json")
    assert result.code == 0 and json.loads(result.out)
