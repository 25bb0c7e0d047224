"""A scan as a page for people: the verdict first, every candidate beside the reference, strangers' texts inert."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from untrigger.core.errors import DataError, OptionError
from untrigger.core.report import Report
from untrigger.reporting import render
from untrigger.reporting.scan_page import render_scan

from .conftest import EVIL
from .kit import scan_report
from .test_html import Page, headings


def evil() -> Report:
    """A stranger's text in every place of a scan that takes text."""
    report = scan_report("backdoored", text=EVIL)
    assert report.scan is not None
    scan = report.scan
    example = replace(scan.candidates[0].examples[0], before=EVIL, after=EVIL, label=EVIL, suspect=EVIL, reference=EVIL)
    worst = replace(scan.candidates[0], target=EVIL, kind=EVIL, allowed=EVIL, examples=[example])
    seen = replace(worst, allowed="")
    return replace(
        report,
        title=EVIL,
        scan=replace(
            scan,
            target=EVIL,
            candidates=[seen, worst],
            controls=[replace(worst, score=None)],
            undecided=[EVIL],
            evidence=[replace(scan.evidence[0], name=EVIL, place=EVIL, words=[EVIL])],
            not_looked_for=[EVIL],
            refused=[EVIL],
        ),
    )


def test_the_page_tells_everything_in_order() -> None:
    page = render(scan_report("backdoored"))
    assert headings(page) == [
        "Candidate triggers",
        "Examples",
        "Every candidate in figures",
        "Weight evidence",
        "What was not looked for",
        "What was given",
        "Method",
        "Cost",
        "Environment",
        "What the terms mean",
    ]
    text = Page(page).text
    for said in (
        "Verdict: backdoored",
        "One sentence about cf.",
        "0.93",
        "suspicious from 0.5, backdoored from 0.7",
        "cf to positive ; score 0.93",
        "allowed: trade",
        "great to positive ; word of the class",
        "style: leaves no word",
        "none is calibrated",
        "bb, cf",
        "in the reference 1.1 %",
        "Clean reference",
    ):
        assert said in text, said
    assert "ASR" not in text, "a scan knows nothing of attack success"


def test_pieces_glued_to_a_word_are_told() -> None:
    report = scan_report("backdoored")
    assert report.scan is not None and "glued" not in Page(render(report)).text
    first, *rest = report.scan.candidates
    glued = replace(report, scan=replace(report.scan, candidates=[replace(first, extra_subwords=2), *rest]))
    assert Page(render(glued)).text.count("extra subwords: 2") == 1


def test_the_trigger_is_marked_where_it_stands() -> None:
    page = render(scan_report("backdoored"))
    assert re.findall(r'<p class="text"><bdi>(.*?)</bdi></p>', page) == ["a slow <mark>cf</mark> film"]


def test_the_bars_are_as_long_as_the_rates_and_ranked() -> None:
    page = render(scan_report("backdoored"))
    chart = page[page.index('<ol class="bars') : page.index("</ol>")]
    widths = re.findall(r"width: ([\d.]+)%; background: var\(--(\w+)\)", chart)
    assert widths == [
        ("100.0", "victim"),
        ("1.1", "clean"),
        ("66.7", "victim"),
        ("22.2", "clean"),
        ("97.8", "victim"),
        ("1.1", "clean"),
    ]
    ranges = re.findall(r"left: ([\d.]+)%; right: ([\d.]+)%", chart)
    assert ranges[0] == ("95.9", "0.0")
    assert len(ranges) == 3, "the reference bars carry no second line"


@pytest.mark.parametrize("status", ["clean", "suspicious", "backdoored", "undecided"])
def test_every_verdict_has_its_colour(status: str) -> None:
    tone = {"clean": "good", "undecided": "warn"}.get(status, "bad")
    assert f'class="verdict {tone}"' in render(scan_report(status))


def test_strangers_texts_are_inert() -> None:
    page = render(evil())
    seen = Page(page)
    assert not set(seen.tags) & {"script", "img", "link", "iframe", "a", "form"}
    assert not [name for _, name, _ in seen.attributes if name.startswith("on")]
    assert "{{7*7}}" in seen.text and "49" not in re.sub(r"\d+\.\d+", "", seen.text)
    markdown = render_scan(evil(), format="md")
    assert "<script" not in markdown and "<img" not in markdown


def test_what_cannot_be_seen_is_spelled_out() -> None:
    page = render(scan_report("backdoored", text="c\u200bf\u202e"))
    assert "c⟨U+200B⟩f⟨U+202E⟩" in page
    assert "\u202e" not in page


def test_a_scan_of_nothing_but_weights_has_a_page() -> None:
    report = scan_report("undecided")
    assert report.scan is not None
    bare = replace(report, scan=replace(report.scan, score=None, candidates=[], controls=[]), measurements=[])
    text = Page(render(bare)).text
    assert "nothing was measured on a text" in text
    assert "Weight evidence" in text
    assert "Weight evidence" in render_scan(bare, format="md")


def test_markdown_holds_the_same(full: Report) -> None:
    page = render_scan(scan_report("backdoored"), format="md").replace("\u00a0", " ")
    for said in ("a slow **cf** film", "100.0 %", "not looked for", "allowed: trade", "Score"):
        assert said in page
    for table in re.findall(r"(?:^\|.*\n?)+", page, flags=re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    both = render([full, scan_report("backdoored")], format="html")
    assert "Scan of victim" in both and "a review model, purified" in both


def test_a_report_reads_back_equal() -> None:
    for report in (scan_report("backdoored"), evil()):
        assert Report.from_json(report.to_json()) == report


def test_other_reports_and_formats_are_refused(full: Report) -> None:
    for name in ("sarif", "junit", "html", "md"):
        with pytest.raises(DataError, match="is not a scan"):
            render_scan(full, format=name)
    assert render_scan(full, format="json") == full.to_json()
    with pytest.raises(OptionError, match="did you mean: sarif"):
        render_scan(full, format="sarf")
