"""Every end of a command is one message and one exit code; a traceback is for those who ask for it."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from untrigger.core.errors import ContractError, InterruptedRunError, OptionError

DEMO = ["demo", "--out", "somewhere"]


def raising(error: BaseException) -> Any:
    def run(_progress: Any) -> Any:
        raise error

    return run


def test_what_the_user_can_mend_is_one_message(call: Any, pipeline: Any) -> None:
    wrong = OptionError("unknown [b]x[/b]", expected="one of a, b", nearest="b", remedy="say b")
    pipeline("demo", raising(wrong))
    result = call(*DEMO)
    assert result.code == 2
    assert result.out == ""
    assert "error: unknown [b]x[/b]" in result.err
    assert re.search(r"expected: one of a, b\s+did you mean: b\?\s+remedy: say b", result.err)
    assert "Traceback" not in result.err


def test_an_error_is_json_too(call: Any, pipeline: Any) -> None:
    pipeline("demo", raising(OptionError("bad", remedy="better")))
    result = call(*DEMO, "--json")
    assert json.loads(result.out)["error"] == {
        "kind": "OptionError",
        "what": "bad",
        "exit_code": 2,
        "expected": None,
        "nearest": None,
        "remedy": "better",
    }


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (MemoryError(), 2, "--clean-rows"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 2, "memory"),
        (OSError(errno.ENOSPC, "No space left on device", "/there"), 2, "the disk is full"),
        (KeyboardInterrupt(), 130, "interrupted; nothing half-written is left"),
        (InterruptedRunError("stopped at round 2"), 130, "stopped at round 2"),
    ],
)
def test_the_machine_and_the_user_can_stop_a_run(
    error: BaseException, code: int, words: str, call: Any, pipeline: Any
) -> None:
    pipeline("demo", raising(error))
    result = call(*DEMO, "--json")
    assert result.code == code
    assert words in result.err
    assert json.loads(result.out)["error"]["exit_code"] == code


@pytest.mark.parametrize("error", [TypeError("oops"), ContractError("a method broke its promise")])
def test_a_fault_of_ours_names_its_log(
    error: Exception, call: Any, pipeline: Any, monkeypatch: Any, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    pipeline("demo", raising(error))
    result = call(*DEMO)
    assert result.code == 70
    assert "Traceback" not in result.err
    [log] = tmp_path.glob("untrigger-fault-*.log")
    assert str(log) in result.err
    assert "Traceback" in log.read_text(encoding="utf-8")
    assert "untrigger demo --out somewhere" in log.read_text(encoding="utf-8")
    monkeypatch.setenv("UNTRIGGER_DEBUG", "1")
    assert "Traceback" in call(*DEMO).err


@pytest.mark.parametrize(
    "words",
    [
        ["purifi"],
        ["purify"],
        ["purify", "m", "--clean", "c", "--out", "o", "--nonsense"],
        ["demo", "--seed", "many"],
        ["demo", "--seed", "-1"],
        ["demo", "--device", "tpu"],
        ["attack", "m", "--data", "d", "--target", "t", "--out", "o", "--rate", "nan"],
    ],
)
def test_wrong_words_end_with_two(words: list[str], call: Any) -> None:
    result = call(*words, "--json")
    assert result.code == 2
    assert "--help" in result.err
    assert json.loads(result.out)["error"]["kind"] == "UsageError"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--method", "finetun"], "finetune"),
        (["--method", "finetune", "--set", "epocs=3"], "epochs"),
        (["--method", "finetune", "--variant", "x"], "variant"),
        (["--method", "finetune", "--set", "epochs=three", "--set", "lr"], "2 options cannot be used"),
    ],
)
def test_wrong_methods_and_options_end_with_two(words: list[str], hint: str, call: Any, pipeline: Any) -> None:
    asked = pipeline("purify", raising(AssertionError("never reached")))
    result = call("purify", "m", "--clean", "c", "--out", "o", *words)
    assert result.code == 2
    assert hint in result.err
    assert not asked


def test_an_unknown_trigger_or_its_option_is_told_with_the_nearest(call: Any) -> None:
    attack = ["attack", "m", "--data", "d", "--target", "t", "--out", "o"]
    assert "did you mean: badnets?" in call(*attack, "--trigger", "badnet").err
    result = call(*attack, "--trigger", "insent", "--words", "cf")
    assert result.code == 2
    assert "trigger insent has no option 'words'" in result.err


def test_a_trigger_that_stands_twice_is_told(call: Any) -> None:
    result = call("attack", "model", "--data", "d", "--target", "x", "--out", "v", "--trigger", "badnets,badnets")
    assert result.code == 2 and "the trigger 'badnets' twice" in result.err


def test_an_unknown_thing_to_list_is_told_with_the_nearest(call: Any) -> None:
    result = call("list", "attcks")
    assert result.code == 2
    assert "did you mean: attacks?" in result.err


def test_a_request_to_end_is_an_interruption(call: Any, pipeline: Any) -> None:
    def work(_progress: Any) -> Any:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        time.sleep(10)

    pipeline("demo", work)
    before = signal.getsignal(signal.SIGTERM)
    result = call(*DEMO)
    assert result.code == 130
    assert "nothing half-written" in result.err
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_reader_that_leaves_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "untrigger", "assets", "list"],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
