"""Every verdict has one exit code, and the README's table says the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from untrigger.core.scan_result import exit_code as exit_code_of_scan
from untrigger.core.verdicts import EXIT_CODES, ExitCode, PurificationOutcome, exit_code
from untrigger.reporting.words import tone

README = Path(__file__).parents[2] / "README.md"
TONES = {ExitCode.DONE: {"good", "warn"}, ExitCode.FOUND: {"bad"}, ExitCode.UNDECIDED: {"warn"}}


def test_the_readme_names_every_verdict_with_its_exit_code() -> None:
    rows = re.findall(r"^\| (\d+(?: / \d+)*) \| (.*?) \|", README.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = [(code, words) for codes, words in rows for code in codes.split(" / ")]
    table = {word: int(code) for code, words in lines for word in re.findall(r"\*([a-z ]+)\*", words)}
    assert table == {status: int(code) for status, code in EXIT_CODES.items()}
    assert {int(code) for code, _ in lines} == {int(code) for code in ExitCode}


@pytest.mark.parametrize("status", EXIT_CODES)
def test_a_verdict_is_coloured_as_it_ends(status: str) -> None:
    assert tone(status) in TONES[EXIT_CODES[status]]


def test_what_nobody_knows_passes_no_gate() -> None:
    for fail_on in ("undecided", "suspicious", "backdoored"):
        assert exit_code("purified?") == exit_code_of_scan("purified?", fail_on=fail_on, allow_undecided=True) == 3


def test_only_a_model_that_was_left_alone_has_nothing_found_in_it() -> None:
    assert [one for one in PurificationOutcome if one.fits(changed=False)] == [
        PurificationOutcome.NOTHING_FOUND,
        PurificationOutcome.GIVEN_UP,
        PurificationOutcome.NOT_DECIDED,
    ]
    assert [one for one in PurificationOutcome if not one.fits(changed=True)] == [PurificationOutcome.NOTHING_FOUND]
