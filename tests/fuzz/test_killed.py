"""``kill -9`` at random moments: nothing or a whole result lies at ``--out``, and the next run of the same command succeeds.

Half of the moments are points in time, half are the run's own file operations (a file opened, renamed or removed, a folder made),
where what is half-written would show. Both are drawn with a seed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from tests.assets.conftest import FakeIndex, server, tiny
from tests.fuzz.judging import _fork
from tests.pipeline.kit import table
from tests.tiny import task
from untrigger import assets
from untrigger.cli.main import main
from untrigger.core.errors import UserError
from untrigger.data import load_data, write_rows
from untrigger.models.loading import load_model

SEED = 9
EVENTS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "shutil.rmtree")
__all__ = ["server", "tiny"]


@dataclass(frozen=True)
class Command:
    """A command line, where its result lies, whether that is whole, and what half of it is known to be left."""

    words: tuple[str, ...]
    out: Path
    whole: Callable[[Path], bool]
    answers: tuple[int, ...] = (0, 1, 3)
    known: str = ""


def child(words: tuple[str, ...], *, log: Path, last_event: int | None = None) -> int:
    """The process of a command: forked, so that nothing has to be imported; with ``last_event`` it kills itself there."""
    process = _fork()
    if process:
        return process
    code = 99
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1), os.dup2(handle, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        _count_events(log.with_suffix(".events"), last_event)
        code = main(words)
        sys.stdout.flush(), sys.stderr.flush()
    finally:
        os._exit(code)


def _count_events(place: Path, last: int | None) -> None:
    """Count file operations from here on into a file, and end with SIGKILL at the last one that is allowed."""
    counted, handle = 0, os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def count(event: str, _: object) -> None:
        nonlocal counted
        if event in EVENTS:
            counted += 1
            os.pwrite(handle, str(counted).encode(), 0)
            if counted == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def finished(command: Command, log: Path) -> tuple[int, float, int]:
    """Exit code, seconds and file operations of a whole run."""
    start = time.monotonic()
    _, status = os.waitpid(child(command.words, log=log), 0)
    return os.waitstatus_to_exitcode(status), time.monotonic() - start, int(log.with_suffix(".events").read_text() or 0)


def killed(command: Command, *, log: Path, seconds: float | None, event: int | None) -> bool:
    """Whether a run was really killed at that moment, and did not end before it."""
    process = child(command.words, log=log, last_event=event)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    return os.WIFSIGNALED(status)


def beside(out: Path) -> list[str]:
    """The hidden files and folders of killed runs beside a result."""
    return sorted(one.name for one in out.parent.iterdir() if one.name.startswith(".")) if out.parent.is_dir() else []


def try_moments(command: Command, *, count: int, place: Path, clear: Callable[[], None]) -> Counter[str]:
    """Kill so many runs, and look at what each leaves and at the run after it."""
    rng, log, found = Random(SEED), place / "log.txt", Counter[str]()
    assert main(command.words) in command.answers  # what is imported here need not be imported in every child
    clear()
    code, seconds, events = finished(command, log)
    assert code in command.answers and command.whole(command.out), log.read_text()
    for number in range(count):
        clear()
        moment = (
            {"seconds": rng.uniform(0, seconds), "event": None}
            if number % 2
            else {"seconds": None, "event": rng.randint(1, events)}
        )
        where = f"{command.words[0]} killed at {moment}"
        hit = killed(command, log=log, **moment)  # type: ignore[arg-type]
        left = os.path.lexists(command.out)
        found["killed" if hit else "had ended"] += 1
        found["whole result" if left else "nothing"] += 1
        if left and not command.whole(command.out):
            assert command.known, f"{where}: half a result"
            found[command.known] += 1
        if left:
            continue
        code, _, _ = finished(command, log)
        assert code in command.answers, f"{where}: the next run ends with {code}: {log.read_text()[-1500:]}"
        assert command.whole(command.out), f"{where}: the next run gives no whole result"
        assert not beside(command.out), f"{where}: the next run leaves {beside(command.out)}"
    if name := os.environ.get("UNTRIGGER_FUZZ_COUNTS"):
        with Path(name).open("a", encoding="utf-8") as stream:
            stream.write(f"kill -9 of {command.words[0]}: {count} moments {dict(found)}\n")
    return found


def clear_of(*paths: Path) -> Callable[[], None]:
    def clear() -> None:
        for path in paths:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    return clear


def loads(folder: Path, *reports: str) -> bool:
    """Whether a model's folder can be loaded and its reports can be read."""
    try:
        load_model(folder, device="cpu", offline=True)
        return all(json.loads((folder / name).read_text()) for name in reports)
    except (UserError, OSError, ValueError):
        return False


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(task(60, seed=1), tmp_path / "rows.csv")


USUAL = ("--offline", "--device", "cpu", "--quiet")


def purification(model: Path, rows: Path, place: Path) -> Command:
    words = (
        "purify",
        str(model),
        "--clean",
        str(rows),
        "--out",
        str(place / "out"),
        "--method",
        "finetune",
        "--set",
        "epochs=1",
    )
    return Command((*words, "--set", "rank=2", *USUAL), place / "out", lambda out: loads(out, "report.json"))


def poisoning(model: Path, rows: Path, place: Path) -> Command:
    def whole(out: Path) -> bool:
        truth = out.with_name("out.truth")
        return (
            loads(out)
            and truth.is_dir()
            and bool(json.loads((truth / "truth.json").read_text()))
            and len(load_data(truth / "train.csv")) > 0
        )

    words = (
        "attack",
        str(model),
        "--data",
        str(rows),
        "--trigger",
        "badnets",
        "--words",
        "cf",
        "--target",
        "positive",
        "--rate",
        "0.2",
    )
    more = ("--tuning", "full", "--epochs", "1", "--no-clean-model", "--out", str(place / "out"))
    return Command((*words, *more, *USUAL), place / "out", whole)


def detection(model: Path, rows: Path, place: Path) -> Command:
    def whole(out: Path) -> bool:
        report = out.with_suffix(".report.json")
        return len(table(out)) == 60 and report.exists() and bool(json.loads(report.read_text()))

    words = ("detect", str(model), "--suspect", str(rows), "--clean", str(rows), "--out", str(place / "out.csv"))
    more = ("--set", "mapping_rows=40", "--set", "mapping.epochs=1")
    known = "the scores without their report"  # two files, one after the other: pipeline/detect.py
    return Command((*words, *more, *USUAL), place / "out.csv", whole, known=known)


COMMANDS = {"purify": purification, "attack": poisoning, "detect": detection}


def run_killed(name: str, *, count: int, model: Path, rows: Path, tmp_path: Path) -> None:
    place = tmp_path / "work"
    place.mkdir()
    command = COMMANDS[name](model, rows, place)
    clear = clear_of(command.out, place / "out.truth", place / "out.report.json")
    try_moments(command, count=count, place=tmp_path, clear=clear)


def run_fetch(*, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("UNTRIGGER_HOME", str(home))

    def whole(_: Path) -> bool:
        return assets.verify("tiny", home=home).is_dir()

    command = Command(("assets", "fetch", "tiny", "--quiet"), home / "data" / "tiny", whole, answers=(0,))
    try_moments(command, count=count, place=tmp_path, clear=clear_of(home))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_killed_run_leaves_nothing_or_a_whole_result(
    name: str, folder_of: Callable[[str], Path], rows: Path, tmp_path: Path
) -> None:
    run_killed(name, count=2, model=folder_of("bert"), rows=rows, tmp_path=tmp_path)


@pytest.mark.usefixtures("tiny", "server")
def test_a_killed_fetch_leaves_nothing_or_a_whole_asset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_fetch(count=2, tmp_path=tmp_path, monkeypatch=monkeypatch)


@pytest.mark.fuzz
@pytest.mark.parametrize("name", COMMANDS)
def test_runs_killed_at_many_moments(name: str, folder_of: Callable[[str], Path], rows: Path, tmp_path: Path) -> None:
    run_killed(name, count=30, model=folder_of("bert"), rows=rows, tmp_path=tmp_path)


@pytest.mark.fuzz
@pytest.mark.usefixtures("tiny")
def test_fetches_killed_at_many_moments(server: FakeIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_fetch(count=30, tmp_path=tmp_path, monkeypatch=monkeypatch)
    assert server.asked, "the index was asked"


def test_the_working_folder_of_a_killed_run_is_removed_and_that_of_a_running_one_is_not(tmp_path: Path) -> None:
    from untrigger.core.files import _working_prefix, new_folder

    out = tmp_path / "out"
    dead, alive = (tmp_path / f"{_working_prefix(out)}{number}-abc" for number in (2**22 + 1, os.getppid()))
    other = tmp_path / ".out-someone-elses"
    for one in (dead, alive, other):
        one.mkdir()
    with new_folder(out):
        assert not dead.exists() and alive.exists() and other.exists()
    assert out.is_dir()
