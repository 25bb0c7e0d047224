"""Markdown, LaTeX, several reports on one page, and how a format is chosen."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from untrigger.core.errors import DataError, OptionError, OutputError
from untrigger.core.report import Report
from untrigger.reporting import FORMATS, render, write_page
from untrigger.reporting.latex import escape as latex
from untrigger.reporting.markdown import escape as markdown

from .conftest import EVIL, HASH
from .test_html import Page


def test_every_markdown_table_is_square(full: Report, evil: Report) -> None:
    for page in (render(full, format="md"), render([full, evil], format="md")):
        tables = re.findall(r"(?:^\|.*\n?)+", page, flags=re.MULTILINE)
        assert len(tables) >= 6
        for table in tables:
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_markdown_holds_the_same_numbers(full: Report) -> None:
    page = render(full, format="md").replace("\u00a0", " ")
    for said in ("97.0 %", "6.0 %", "The trigger no longer works.", "true trigger word", HASH, "3 min 20 s"):
        assert said in page
    assert "![" not in page


def test_markdown_makes_strangers_texts_inert(evil: Report) -> None:
    page = render(evil, format="md")
    assert "<script" not in page
    assert "<img" not in page
    assert markdown("a|b`c`[d](e)*f* <g> & \\|") == r"a\|b\`c\`\[d\]\(e\)\*f\* &lt;g&gt; &amp; \\\|"


def test_latex_is_a_booktabs_table_with_one_line_a_measurement(full: Report) -> None:
    page = render(full, format="latex")
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{tabular}{llrrr}"):
        assert rule in page
    body = page[page.index(r"\midrule") : page.index(r"\bottomrule")]
    lines = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(lines) == len(full.measurements)
    assert all(len(re.findall(r"(?<!\\)&", line)) == 4 for line in lines)
    assert r"97.0~\%" in page


def test_latex_makes_strangers_texts_inert(evil: Report) -> None:
    page = render(evil, format="latex")
    assert r"\frac" not in page
    assert latex("a_b & 5 % $x$ #1 {y} \\z ~ ^") == (
        r"a\_b \& 5 \% \$x\$ \#1 \{y\} \textbackslash{}z \textasciitilde{} \textasciicircum{}"
    )
    comments = [line for line in page.splitlines()[1:] if re.search(r"(?<!\\)%", line)]
    assert comments == []


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_the_control_that_counts_is_in_every_format(full: Report, format: str) -> None:  # noqa: A002
    for page in (render(full, format=format), render([full, full], format=format)):
        text = re.sub(r"[\\~]", " ", page.replace("\u00a0", " "))
        assert "Gain kept" in text and "93.3" in text and "75.0" in text
    text = render(full, format=format)
    assert "Base, fine-tuned on the clean rows" in text and "not measured: no gain to keep" in text
    without = [m for m in full.measurements if m.metric not in ("accuracy_gain", "gain_kept")]
    bare = render(replace(full, measurements=[m for m in without if m.subject != "base_finetuned"]), format=format)
    assert "Gain kept over" not in bare and "no gain to keep" not in bare


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_not_measured_is_said_in_every_format(poor: Report, format: str) -> None:  # noqa: A002
    page = render(poor, format=format)
    assert "not measured: no truth file was given" in page
    assert "not measured" in render([poor, poor], format=format)


def test_several_reports_have_one_row_each(full: Report, poor: Report) -> None:
    page = render([full, poor, replace(full, title="third")])
    head = page[: page.index("Each report in full")]
    assert head.count('<tr>\n<th scope="row"') == 3
    assert page.count("<details") == 3
    text = Page(head[head.index("<table") : head.index("</table>") + 8]).text
    assert "purified 97.0 % 6.0 % 75.0 % 5.0 % 90.0 % 89.0 % 75.0 % 93.3 % 3 min 20 s" in text
    assert "not proven not measured not measured – not measured 90.0 % 89.0 % – –" in text
    for target in re.findall(r'href="#(r\d+-top)"', head):
        assert f'id="{target}"' in page


def test_several_reports_in_latex_are_one_table(full: Report, poor: Report) -> None:
    page = render([full, poor], format="latex")
    body = page[page.index(r"\midrule") : page.index(r"\bottomrule")]
    assert body.count(r"\\") == 2


def test_the_ending_chooses_the_format(full: Report, tmp_path: Path) -> None:
    assert write_page(full, tmp_path / "a.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert write_page([full], tmp_path / "new" / "a.md").read_text(encoding="utf-8").startswith("# a review model")
    assert r"\toprule" in write_page(full, tmp_path / "a.tex").read_text(encoding="utf-8")
    assert r"\toprule" in write_page(full, tmp_path / "a.txt", format="latex").read_text(encoding="utf-8")


def test_a_page_with_half_a_character_can_be_written(full: Report, tmp_path: Path) -> None:
    page = write_page(replace(full, title="half \ud800 of one"), tmp_path / "a.html")
    assert "half ⟨U+D800⟩ of one" in page.read_text(encoding="utf-8")


def test_what_cannot_be_drawn_is_refused(full: Report, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="did you mean: html"):
        render(full, format="htm")
    with pytest.raises(OptionError, match="names no format"):
        write_page(full, tmp_path / "a.pdf")
    with pytest.raises(DataError, match="no report"):
        render([])
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_page(full, tmp_path / "file" / "a.html")


def test_the_hostile_text_has_something_to_escape() -> None:
    assert {"<", "|", "$", "\\", "%", "&", "#", "~", "{", '"', "'"} <= set(EVIL)
