"""The pages of docs/results name commands that exist, and docstrings name headings that exist."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise
from pathlib import Path

import pytest
from typer.main import get_command

from untrigger.cli.main import app

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"
PAGES = sorted(RESULTS.glob("*.md"))
BLOCK = re.compile(r"^```\n(.*?)^```", re.DOTALL | re.MULTILINE)
POINTER = re.compile(r"docs/results/([\w-]+\.md)(?:#([\w-]+))?")
LINK = re.compile(r"\]\(((?:\.\./)*[\w/-]*(?:\.md)?)(?:#([\w-]+))?\)")


def slug(heading: str) -> str:
    """Return the anchor that the site gives a heading."""
    plain = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page."""
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)}


def commands(page: Path) -> list[str]:
    """Return the command lines of a page, without comments and with continued lines joined."""
    blocks = "\n".join(BLOCK.findall(page.read_text(encoding="utf-8"))).replace("\\\n", " ")
    return [line.split(" #")[0].strip() for line in blocks.splitlines() if line.strip()]


def options_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text))


def test_there_are_pages() -> None:
    assert {page.stem for page in PAGES} >= {"index", "scan", "w2sdefense", "bedkd", "reliability", "log"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_has_commands_that_exist(page: Path) -> None:
    lines = commands(page)
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    known = get_command(app).commands  # type: ignore[attr-defined]
    assert lines, f"{page.name} has no command block"
    for line in lines:
        words = [word for word in line.split() if "=" not in word or word.startswith("-")]
        words = [word for word in words if word not in ("time", "/usr/bin/time", "-v")]
        match words[:2]:
            case ["python", script]:
                source = ROOT / script
                assert source.parent.name == "benchmarks", line
                shared = (source.parent / "victims.py").read_text(encoding="utf-8")
                missing = options_in(line) - options_in(source.read_text(encoding="utf-8") + shared)
            case ["make", target]:
                missing = {target} - set(targets)
            case ["untrigger", name]:
                assert name in known, line
                missing = options_in(line) - {
                    option for one in known[name].params for option in (*one.opts, *one.secondary_opts)
                }
            case _:
                raise AssertionError(f"{page.name}: {line}")
        assert not missing, f"{page.name}: {line}: {missing}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_section_with_a_table_of_a_series_has_a_command(page: Path) -> None:
    """The log alone has one command for all of its tables."""
    if page.stem == "log":
        return
    text = page.read_text(encoding="utf-8")
    marks = [one.start() for one in re.finditer(r"^##+ ", text, re.MULTILINE)]
    for start, end in pairwise([*marks, len(text)]):
        section = text[start:end]
        assert "\n|" not in section or BLOCK.search(section) or section.startswith("## How to read"), section[:60]


def test_no_page_has_a_heading_twice() -> None:
    for page in PAGES:
        headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert len({slug(one) for one in headings}) == len(headings), page.name


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks"])
def test_pages_and_headings_that_docstrings_name_exist(folder: str) -> None:
    named = 0
    for file in sorted((ROOT / folder).rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"benchmarks/\w+\.md", text.replace("benchmarks/README.md", "")), file
        for page, anchor in POINTER.findall(text):
            named += 1
            assert (RESULTS / page).is_file(), f"{file}: {page}"
            assert not anchor or anchor in anchors(RESULTS / page), f"{file}: {page}#{anchor}"
    assert named >= (10 if folder == "src" else 1)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "benchmarks" / "README.md"], ids=lambda page: page.stem)
def test_links_between_the_pages_lead_to_a_heading(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        other = (page.parent / target).resolve() if target else page
        if other.parent != RESULTS:
            continue
        assert other.is_file(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(other), f"{page.name}: {target}#{anchor}"
