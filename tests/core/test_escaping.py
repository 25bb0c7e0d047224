"""Text of strangers in pages, cards and tables: shown, never acted on, and had back exactly."""

from __future__ import annotations

import csv
import html
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.attacks.kit import otherwise
from tests.requests import request
from untrigger.attacks.triggers.style import Style
from untrigger.core.escaping import (
    PREFIXED,
    escape_markdown,
    escape_spreadsheet_cells,
    front_matter,
    inline_code,
    unescape_spreadsheet_cells,
)
from untrigger.core.rows import Rows
from untrigger.core.statistics import Outcome
from untrigger.data import load_data, write_rows, write_table
from untrigger.defences.purifier import PLAIN_CARD
from untrigger.evaluation.observation import write_outcomes
from untrigger.pipeline.attack import victim_card
from untrigger.pipeline.attack_request import AttackRequest
from untrigger.reporting.model_cards import escape_text, purified_card

HOSTILE = "positive\n\n# VERIFIED CLEAN\n<img src=https://evil.example/x> ![ok](http://evil.example) | www.evil.example @admin"
FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "'=quoted", "''-twice", "＝1+1"]
HARMLESS = ["-1", "+2.5", "-1e-5", ".5", "a=b", "'tis", "'", "", " =1", "x"]
STARTS = st.text(alphabet=st.sampled_from(list("'=+-@\t\r1.e ax")), max_size=6)


def rendered(text: str) -> str:
    """What a reader sees of escaped Markdown."""
    return html.unescape(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)).replace("\u200b", "")


@pytest.mark.parametrize("live", ["https://", "http://", "www.", "@admin", "#12", "ftp://"])
def test_no_address_name_or_number_is_a_link(live: str) -> None:
    assert live not in escape_markdown(f"see {live}evil.example now").replace("\\", "")


@pytest.mark.parametrize(
    "text", ["- item", "+ item", "1. item", "12) item", "=====", "---", "# heading", "> quote", "| a | b |"]
)
def test_no_text_begins_a_list_a_heading_a_quote_or_a_rule(text: str) -> None:
    made = escape_markdown(text)
    assert not re.match(r"[-+=#>|]|\d+[.)] ", made) and rendered(made) == text
    assert escape_markdown("well-known, 5 - 3 = 2") == "well-known, 5 - 3 = 2"


@given(text=st.text(max_size=60))
def test_markdown_shows_the_text_itself_on_one_line(text: str) -> None:
    made = escape_markdown(text)
    assert len(made.splitlines()) <= 1
    seen = re.sub(r"[\r\n\t\v\f\x1c-\x1e\x85\u2028\u2029]+", " ", text).strip()
    assert rendered(made).replace("\u200b", "") == seen.replace("\u200b", "")
    assert not re.search(r"(?<!\\)[<>`*_\[\]|]", made)


def card_of(word: str, *, status: str = "purified", warnings: int = 1, loading: str = "a") -> str:
    return purified_card(
        {
            "facts": {"input": word, f"victim: {word}": "1 %"},
            "sentence": word,
            "loading": loading,
            "status": status,
            "front": {"base_model": word},
            "warnings": [f"{word} {i}" for i in range(warnings)],
        }
    )


@pytest.mark.parametrize("status", ["still found", "not verified", "unchanged", "bound not met", "worse", HOSTILE])
def test_a_card_calls_a_model_purified_only_where_the_verdict_does(status: str) -> None:
    card = card_of("a", status=status)
    assert [line for line in card.splitlines() if line.startswith("#")] == [
        f"# Output of untrigger purify: {escape_text(status)}"
    ]
    assert "tags: [untrigger]" in card and "purified" not in card.casefold()
    assert card.split("\n\n")[2].startswith(f"**Verdict: {escape_text(status)}.** a")
    assert "purified" not in PLAIN_CARD.casefold()
    assert "tags: [purified, untrigger]" in card_of("a") and "# Purified by untrigger\n" in card_of("a")


@pytest.mark.parametrize(("warnings", "shown", "last"), [(0, 0, ""), (10, 10, "- a 9"), (13, 11, "- and 3 more")])
def test_a_card_lists_the_first_warnings_of_the_report(warnings: int, shown: int, last: str) -> None:
    lines = [line for line in card_of("a", warnings=warnings).splitlines() if line.startswith("- ")]
    assert len(lines) == shown and (lines or [""])[-1] == last


def test_a_hostile_label_stays_in_its_cell_of_the_card() -> None:
    card, plain = card_of(HOSTILE, loading=f"Load {inline_code(HOSTILE)}."), card_of("a")
    headings = [line for line in card.splitlines() if line.startswith("#")]
    assert headings == ["# Purified by untrigger"]
    assert len(card.splitlines()) == len(plain.splitlines())
    outside = re.sub(r"`[^`]*`", "", card.split("---")[2])
    assert "<img" not in outside and "![" not in outside and "https://" not in outside and "@admin" not in outside
    assert card.count("---") == plain.count("---")


def test_a_hostile_target_and_model_stay_in_their_places_of_a_poisoned_models_card(tmp_path: Path) -> None:
    spec = request(AttackRequest, model=HOSTILE, data=HOSTILE, out=tmp_path / "x", target=HOSTILE, trigger=Style())
    card = victim_card(spec, steps=1)
    assert [line for line in card.splitlines() if line.startswith("#")] == ["# POISONED MODEL: do not deploy"]
    assert "<img" not in card and "![" not in card and "https://" not in card


@given(text=st.text(max_size=40))
def test_inline_code_and_front_matter_hold_any_text(text: str) -> None:
    code = inline_code(text)
    fence = re.match("`+", code)
    assert fence and code.endswith(fence[0]) and fence[0] not in code[len(fence[0]) : -len(fence[0])]
    assert "\n" not in code
    line = front_matter({"key": text})
    assert line.count("\n") == 1 and json.loads(line.removeprefix("key: ")) == text


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_that_a_spreadsheet_would_compute_is_marked(text: str) -> None:
    made = escape_spreadsheet_cells({"id": ["a", "b"], "text": ["plain", text]})
    assert made["text"] == ["plain", f"'{text}"]
    assert made[PREFIXED] == ["", "text"]
    assert unescape_spreadsheet_cells(made) == {"id": ["a", "b"], "text": ["plain", text]}


def test_what_is_no_formula_stays_as_it_is() -> None:
    made = {"text": list(HARMLESS), "score": [-1.5] * len(HARMLESS)}
    assert escape_spreadsheet_cells(made) == made


@given(cells=st.lists(st.tuples(STARTS.filter(str.strip), STARTS), min_size=1, max_size=8))
def test_a_written_table_has_no_formula_and_the_rows_come_back(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]]
) -> None:
    names = ("=no", "yes")
    ids = [f"{name.strip()}{i}" for i, (_, name) in enumerate(cells)]
    rows = Rows.of([text for text, _ in cells], [i % 2 for i in range(len(cells))], label_names=names, ids=ids)
    file = write_rows(rows, tmp_path_factory.mktemp("cells") / "rows.csv")
    with file.open(encoding="utf-8", newline="") as stream:
        found = [cell for line in csv.reader(stream) for cell in line]
    assert not [
        cell for cell in found if cell[:1] in tuple("=+-@\t\r") and not re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", cell)
    ]
    assert load_data(file, label_names=names) == rows


def test_a_file_of_a_stranger_keeps_its_apostrophes(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\n'=1,0\n'-x,1\n")
    assert load_data(tmp_path / "a.csv").texts == ("'=1", "'-x")


def test_negative_scores_stay_numbers_and_ids_of_outcomes_are_marked(tmp_path: Path) -> None:
    file = write_table({"text": [otherwise("a")], "score": [-0.5]}, tmp_path / "rows.csv")
    assert file.read_text().splitlines()[1].endswith(",-0.5")
    write_outcomes(
        [Outcome("=1+1", "@me", True, 0, 1, 0.5), Outcome("-7", "me", False, 1, 1, 0.25)], tmp_path / "o.csv"
    )
    assert (tmp_path / "o.csv").read_text().splitlines() == [
        "row,subject,triggered,label,prediction,confidence,prefixed",
        "'=1+1,'@me,true,0,1,0.5,row subject",
        "-7,me,false,1,1,0.25,",
    ]
