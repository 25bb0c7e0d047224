"""The figures of the documentation: drawn from reports, without a background, and each is shown beside the command that makes it."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
REPORTS = ROOT / "tests" / "reporting" / "version1"


@pytest.fixture(scope="module")
def figures() -> Any:
    spec = spec_from_file_location("figures", ROOT / "benchmarks" / "figures.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("draw", "report"), [("draw_ranking", "scan"), ("draw_purification", "purification")])
def test_a_figure_is_the_same_every_time_and_has_no_background(
    figures: Any, draw: str, report: str, tmp_path: Path
) -> None:
    function: Callable[[Path, Path], None] = getattr(figures, draw)
    drawn = []
    for name in ("one.svg", "two.svg"):
        function(REPORTS / f"{report}.json", tmp_path / name)
        drawn.append((tmp_path / name).read_text(encoding="utf-8"))
    assert drawn[0] == drawn[1]
    assert "<dc:date>" not in drawn[0]
    assert not re.search(r"fill: #(?:ffffff|fff)\b", drawn[0].split("<defs>")[0])


def test_every_picture_is_shown_beside_its_command() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    shown = {
        name: page
        for page in pages
        for name in re.findall(r"!\[[^\]]+\]\((?:docs/|\.\./)?images/([\w.-]+)\)", page.read_text(encoding="utf-8"))
    }
    assert set(shown) == {one.name for one in (ROOT / "docs" / "images").iterdir() if one.suffix != ".txt"}
    for name, page in shown.items():
        assert (ROOT / "docs" / "images" / name).is_file(), name
        text = page.read_text(encoding="utf-8")
        assert page.name in ("README.md", "index.md") or "make docs-figures" in text, page
