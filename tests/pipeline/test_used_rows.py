"""Rows that a purifier was given are known again, and nothing else of them is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tiny import task
from untrigger.core.grant import Grant
from untrigger.core.rows import Rows
from untrigger.pipeline import used_rows as module
from untrigger.pipeline.used_rows import FILE, MOST, read_used_rows, unseen, write_used_rows

ROWS, OTHERS = task(60, seed=1), task(60, seed=2)


def test_every_row_is_known_again_whatever_its_case_and_spaces(tmp_path: Path) -> None:
    unlabelled = task(15, seed=4).texts
    write_used_rows(Grant(clean=ROWS, suspect=task(20, seed=3), unlabelled=unlabelled), tmp_path)
    known = read_used_rows(tmp_path)
    assert known is not None and known.complete and known.rows == 95
    assert all(known.contain(ROWS.texts)) and all(known.contain(task(20, seed=3).texts))
    assert all(known.contain(unlabelled))
    assert all(known.contain([f"  {text.upper()} " for text in ROWS.texts]))
    assert not any(known.contain(OTHERS.texts))


def test_no_text_stands_in_the_file_and_another_grant_has_other_hashes(tmp_path: Path) -> None:
    hashes = []
    for name, rows in (("a", ROWS), ("b", replace(ROWS, ids=tuple(f"x{i}" for i in ROWS.ids)))):
        (tmp_path / name).mkdir()
        write_used_rows(Grant(clean=rows), tmp_path / name)
        text = (tmp_path / name / FILE).read_text(encoding="utf-8")
        assert not any(word in text for word in ("film", "great", "story"))
        hashes.append(json.loads(text)["hashes"])
    assert hashes[0] != hashes[1], "the salt is the rows' own"


def test_held_out_rows_that_the_method_was_given_are_no_evidence() -> None:
    """A text that stands twice in a file, or among the suspect rows too, is no evidence."""
    grant = Grant(clean=ROWS, suspect=task(20, seed=3))
    twice = Rows.of(
        [*OTHERS.texts, ROWS.texts[0].upper(), task(20, seed=3).texts[4]],
        [*OTHERS.labels, 0, 1],
        label_names=OTHERS.label_names,
    )
    assert unseen(twice, grant).texts == OTHERS.texts
    assert unseen(OTHERS, grant) == OTHERS
    assert unseen(OTHERS, replace(grant, unlabelled=OTHERS.texts[:7])).texts == OTHERS.texts[7:]


def test_many_rows_are_bounded_and_that_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 10)
    write_used_rows(Grant(clean=ROWS), tmp_path)
    known = read_used_rows(tmp_path)
    assert known is not None and not known.complete
    assert sum(known.contain(ROWS.texts)) >= 10 and len(known.hashes) == 10
    assert MOST * module.DIGITS < module.MAX_BYTES


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"schema": "other"}',
        '{"schema": "untrigger.used-rows/1", "digits": 12, "salt": 3, "rows": 1, "hashes": ""}',
        "[" * 100_000,
    ],
)
def test_a_strangers_file_that_says_nothing_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    assert read_used_rows(tmp_path) is None
    assert read_used_rows(tmp_path / "nowhere") is None
