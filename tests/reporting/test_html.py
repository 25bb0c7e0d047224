"""The HTML page: whole in itself, safe with strangers' texts, silent about what was not measured."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tests.reporting.kit import finding
from untrigger.core.report import Curve, Report, Stage, Verdict
from untrigger.core.statistics import Measurement
from untrigger.reporting import render

from .conftest import HASH

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; every element must be closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        """All words with spaces made plain."""
        return " ".join(" ".join(self.words).replace("\u00a0", " ").split())


def headings(page: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page)


def test_a_full_page_has_every_section_and_number(full: Report) -> None:
    page = render(full)
    assert headings(page) == [
        "Before and after",
        "All measurements",
        "Candidate triggers that the defence found",
        "Feature space",
        "Training",
        "What was given",
        "Method",
        "Cost",
        "Environment",
        "What the terms mean",
    ]
    text = Page(page).text
    for said in (
        "The trigger no longer works.",
        "97.0 % → 6.0 %",
        "clean model 5.0 %",
        "Gain kept over the fine-tuned base 93.3 % interval 80.0 to 105.0 %",
        "base fine-tuned on the same rows: clean accuracy 75.0 %",
        "one seed only",
        "true trigger word",
        "not the trigger",
        "outcomes.csv",
        "75.0 %",
        "3 min 20 s",
    ):
        assert said in text, said


def test_nothing_is_fetched_and_no_script_runs(full: Report, evil: Report) -> None:
    for page in (render(full), render([full, evil])):
        seen = Page(page)
        assert not set(seen.tags) & {"script", "img", "link", "iframe", "object", "embed", "base", "form", "image"}
        assert "default-src 'none'" in page
        for tag, name, value in seen.attributes:
            assert not name.startswith("on"), (tag, name)
            if name in {"href", "src", "xlink:href", "action", "srcset", "data"}:
                assert value.startswith("#"), (tag, name, value)
        style = re.search(r"<style>(.*?)</style>", page, flags=re.DOTALL)
        assert style is not None
        assert not re.search(r"url\(|@import", style[1])


def test_strangers_texts_are_shown_not_obeyed(evil: Report) -> None:
    page = render(evil)
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "{{7*7}}" in page


def test_what_cannot_be_seen_is_spelled_out(full: Report) -> None:
    hidden = replace(full, findings=[finding("\u200b", "neg\u202eative", 0.9, 0.1), finding("  ", "x", None)])
    page = render(hidden)
    assert "⟨U+200B⟩" in page
    assert "neg⟨U+202E⟩ative" in page
    assert "⟨2 blank⟩" in page
    assert "\u200b" not in page
    assert "\u202e" not in page


def test_without_truth_nothing_is_measured_and_nothing_is_zero(poor: Report) -> None:
    page = render(poor)
    assert headings(page) == ["Before and after", "All measurements", "Method", "What the terms mean"]
    text = Page(page).text
    assert text.count("not measured: no truth file was given") >= 3
    assert not re.search(r"(?<![\d.])0\.0 %", text)
    assert page.count("<figure") == 1


def test_a_report_of_nothing_can_be_drawn() -> None:
    page = render(Report("evaluation", "", Verdict("?", "")))
    assert headings(page) == ["All measurements", "Method", "What the terms mean"]
    assert Page(page).text.count("not measured") >= 2


def test_one_missing_value_says_so_beside_measured_ones(full: Report) -> None:
    kept = [m for m in full.measurements if (m.subject, m.metric) != ("purified", "asr")]
    page = render(replace(full, measurements=[*kept, Measurement("purified", "asr", None, None, None, 0)]))
    assert "97.0 % → not measured" in Page(page).text


@pytest.mark.parametrize(
    ("field", "heading"),
    [
        ("findings", "Candidate triggers that the defence found"),
        ("curves", "Training"),
        ("stages", "Cost"),
        ("features", "Feature space"),
        ("given", "What was given"),
        ("environment", "Environment"),
    ],
)
def test_a_missing_piece_leaves_its_section_out(full: Report, field: str, heading: str) -> None:
    empty: dict[str, object] = {"features": None, "given": {}, "environment": {}}
    assert heading in headings(render(full))
    assert heading not in headings(render(replace(full, **{field: empty.get(field, [])})))  # type: ignore[arg-type]


def test_truth_has_no_column_where_nobody_knows_it(full: Report) -> None:
    page = render(replace(full, findings=[replace(f, truth=None) for f in full.findings]))
    assert "True trigger" not in page
    assert "true trigger" not in page


def test_true_trigger_words_stand_first(full: Report) -> None:
    text = Page(render(full)).text
    assert text.index("cf negative 95.0 %") < text.index("tedious negative 31.0 %")


def test_the_verdict_is_told_by_word_and_icon_too(full: Report) -> None:
    page = render(replace(full, verdict=Verdict("worse", "It got worse.")))
    assert '<div class="verdict bad"' in page
    assert "Verdict: worse" in Page(page).text
    assert '<div class="verdict plain"' in render(replace(full, verdict=Verdict("unheard of", "x")))


def test_charts_are_sound_svg_with_names_and_no_shared_identifier(full: Report) -> None:
    page = render([full, full])
    drawings = re.findall(r'<svg role="img".*?</svg>', page, flags=re.DOTALL)
    assert len(drawings) == 2 * 6
    for drawing in drawings:
        root = ET.fromstring(drawing)  # noqa: S314
        assert len(root.attrib["aria-label"]) > 10
    identifiers = re.findall(r'\bid="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))
    used = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page)
    assert {a or b for a, b in used} <= set(identifiers)


def test_charts_follow_the_colours_of_the_page(full: Report) -> None:
    page = render(full)
    drawn = re.sub(r"<style>.*?</style>", "", page, count=1, flags=re.DOTALL)
    assert set(re.findall(r"#[0-9a-f]{6}\b", drawn)) <= {"#000000"}
    assert "prefers-color-scheme: dark" in page
    defined = set(re.findall(r"--([\w-]+):", page))
    assert set(re.findall(r"var\(--([\w-]+)\)", page)) <= defined


def test_a_chart_reads_the_same_values_as_the_table(full: Report) -> None:
    asr = re.search(r'aria-label="(Attack success rate[^"]*)"', render(full))
    assert asr is not None
    rest = "Base, fine-tuned on the clean rows 8.0\u00a0%; Purified 6.0\u00a0%"
    assert f"Victim 97.0\u00a0%; Matched-budget fine-tuning 75.0\u00a0%; {rest}" in asr[1]


def test_hashes_are_short_with_the_whole_at_hand(full: Report) -> None:
    assert f'<code title="{HASH}">{HASH[:12]}…</code>' in render(full)


def test_wild_numbers_can_be_drawn(full: Report) -> None:
    wild = [
        Curve("a", "p", [1, 2, 3], [1e308, -1e308, 1.0]),
        Curve("b", "p", [], []),
        Curve("d", "r", [1, 2], [9e99, -9e99]),
        Curve("c", "q", [1], [None]),
    ]
    points = [{"subject": "victim", "x": 1e200, "y": 1.0, "label": "a", "triggered": True}]
    page = render(replace(full, curves=wild, features={"method": "PCA", "points": points}))
    assert "Feature space" not in headings(page)


def test_wild_measurements_count_as_not_measured() -> None:
    wild = [Measurement(s, m, 1.7e308, -1e308, 1e308, 5) for s in ("victim", "purified") for m in ("asr", "cacc")]
    made = Report("evaluation", "t", Verdict("x", "y"), measurements=wild, stages=[Stage("a", 1.7e308, -1e308, 3)])
    page = Page(render([made, made])).text
    assert "not measured" in page
    assert "inf" not in page


def test_many_points_are_thinned_and_it_is_said(full: Report) -> None:
    points = [
        {"subject": "victim", "x": i % 71, "y": i % 53, "label": "a", "triggered": i % 2 == 0} for i in range(3000)
    ]
    assert "1,000 of 3,000 texts drawn" in render(replace(full, features={"method": "PCA", "points": points}))


def test_the_same_report_gives_the_same_page(full: Report) -> None:
    assert render(full) == render(full)
