"""Commands on damaged folders: exit code 2 with one message, or a result; never 70, a traceback, or a fault that ends with 1."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest

from tests.fuzz.bases import KINDS, case_of
from tests.fuzz.damages import DAMAGES, WHERE, Damage
from tests.fuzz.edits import DoesNotApplyError
from tests.fuzz.judging import FAULT, Outcome, apart, state_of
from tests.fuzz.test_models import bases, fits, report
from tests.tiny import task
from untrigger.cli.main import main
from untrigger.data import write_rows

SEED = 7
SECONDS = 120.0
SLICE, ALL = 2, 20
__all__ = ["bases"]
QUIET = ("--offline", "--device", "cpu", "--quiet")
COMMANDS = {
    "scan --static-only": ("scan", "MODEL", "--static-only", *QUIET),
    "scan": ("scan", "MODEL", "--clean", "ROWS", "--offline", "--device", "cpu", "--quiet"),
    "purify": (
        "purify",
        "MODEL",
        "--clean",
        "ROWS",
        "--out",
        "OUT",
        "--method",
        "finetune",
        "--set",
        "epochs=1",
        "--set",
        "rank=2",
        *QUIET,
    ),
    "evaluate": ("evaluate", "MODEL", "--data", "ROWS", "--out", "OUT.json", *QUIET),
}
ANSWERS = (0, 1, 3)


def ended(words: tuple[str, ...], *, model: Path, out: Path) -> Outcome:
    """How a command ends in this process, which is a child; its words are caught, not printed."""
    before, log = state_of(model.parent), out.with_name("log.txt")
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    kept = os.dup(1), os.dup(2)
    os.dup2(handle, 1), os.dup2(handle, 2)
    try:
        code = main(words)
    finally:
        os.dup2(kept[0], 1), os.dup2(kept[1], 2)
    said = log.read_text(encoding="utf-8", errors="replace")
    written = sorted(
        one.name for one in out.parent.iterdir() if one.name.startswith(out.name) or one.name.startswith(".")
    )
    if code not in (*ANSWERS, 2) or "Traceback" in said or "fault in untrigger" in said or "untrigger-model-" in said:
        return Outcome(FAULT, f"exit code {code}: {said[-900:]}")
    if code == 2 and (said.count("error:") != 1 or written):
        return Outcome(FAULT, f"exit code 2 with {written or said[-900:]}")
    if state_of(model.parent) != before:
        return Outcome(FAULT, "wrote into the model's folder")
    return Outcome(f"exit code {code}")


def cases(count: int) -> list[tuple[Damage, str]]:
    """Damages and bases, drawn with the seed."""
    rng, found = Random(SEED), list[tuple[Damage, str]]()
    while len(found) < count:
        kind = rng.choice(KINDS)
        found.append((rng.choice([one for one in DAMAGES if fits(one, kind)]), kind))
    return found


def run_all(command: str, *, count: int, bases: Path, tmp_path: Path) -> None:
    rows, found, faults = write_rows(task(40, seed=1), tmp_path / "rows.csv"), dict[str, int](), list[str]()
    for number, (damage, kind) in enumerate(cases(count)):
        place = tmp_path / f"case-{number}"
        case = case_of(kind, place / "folders", bases=bases)
        try:
            damage.edit(case.place(WHERE[damage.part]), Random(f"{SEED} {damage}"))
        except (DoesNotApplyError, OSError, IndexError):
            continue
        filled = {
            "MODEL": str(case.model),
            "ROWS": str(rows),
            "OUT": str(place / "out"),
            "OUT.json": str(place / "out.json"),
        }
        words = tuple(filled.get(word, word) for word in COMMANDS[command])
        outcome = apart(lambda: ended(words, model=case.model, out=place / "out"), seconds=SECONDS)  # noqa: B023
        found[outcome.kind] = found.get(outcome.kind, 0) + 1
        if outcome.kind == FAULT:
            faults.append(f"{command}: {damage} on {kind}: {outcome.why}")
    report(found, faults)


@pytest.mark.parametrize("command", ["scan --static-only", "purify", "evaluate"])
def test_a_few_damaged_folders_through_the_command_line(command: str, bases: Path, tmp_path: Path) -> None:
    run_all(command, count=SLICE, bases=bases, tmp_path=tmp_path)


@pytest.mark.fuzz
@pytest.mark.parametrize("command", COMMANDS)
def test_damaged_folders_through_the_command_line(command: str, bases: Path, tmp_path: Path) -> None:
    run_all(command, count=ALL, bases=bases, tmp_path=tmp_path)
