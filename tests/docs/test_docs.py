"""The pages of the documentation: every command, option, module and file that they name is there, and the menu lists every page."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from untrigger.cli.main import app
from untrigger.core.registry import FAMILIES, flat_options, get_method, methods_of

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
NAMES = [page.relative_to(DOCS).as_posix() for page in PAGES]
FENCE = re.compile(r"^( *)```([\w-]*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return [body for _, found, body in FENCE.findall(text) if found == language]


def command_lines(page: Path) -> list[str]:
    """The calls of ``untrigger`` in blocks and in the running text, without what a shell does with them."""
    text = page.read_text(encoding="utf-8")
    shell = [body for _, language, body in FENCE.findall(text) if language in ("", "bash", "sh", "console", "shell")]
    lines = [line.strip() for body in shell for line in body.replace("\\\n", " ").splitlines()]
    inline = re.findall(r"`(untrigger [^`\n]+)`", FENCE.sub("", text))
    return [re.split(r" [|>#&;]", line)[0] for line in [*lines, *inline] if line.startswith("untrigger ")]


def menu(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    else:
        for one in entry.values() if isinstance(entry, dict) else entry:
            yield from menu(one)


def test_the_menu_lists_every_page_once() -> None:
    listed = list(menu(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))
    assert len(listed) > 20
    notebooks = [file.relative_to(DOCS).with_suffix(".md").as_posix() for file in DOCS.rglob("*.ipynb")]
    assert sorted(listed) == sorted([*NAMES, *notebooks])


def test_the_site_fetches_nothing_from_elsewhere() -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert config["theme"]["font"] is False
    assert config["strict"] is True
    assert not {"extra_javascript", "extra_css"} & set(config)
    for page in PAGES:
        text = FENCE.sub("", page.read_text(encoding="utf-8"))
        assert not re.search(r"!\[[^\]]*\]\(https?:|<(?:script|link|img|iframe)\b", text), page.name
        assert "$\\" not in text, "formulas would need a script"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_is_there_with_its_options(page: Path) -> None:
    for line in command_lines(page):
        command, words = get_command(app), line.split()[1:]
        path: list[str] = []
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words[0]]  # type: ignore[attr-defined]
            path.append(words.pop(0))
        known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)} | {"--help"}
        assert path or set(words) <= known, line
        assert {word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)} <= known, line


def test_commands_are_looked_at() -> None:
    assert sum(len(command_lines(page)) for page in PAGES) > 20


@cache
def method_options() -> frozenset[str]:
    return frozenset(
        one.name for family in FAMILIES for name in methods_of(family) for one in flat_options(get_method(family, name))
    )


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_option_of_a_method_is_there(page: Path) -> None:
    named = re.findall(r"--set ([a-z_.]+)=", page.read_text(encoding="utf-8"))
    assert {name.removeprefix("behaviour.") for name in named} <= method_options()


@pytest.mark.parametrize(("page", "method"), [("w2sdefense.md", "w2sdefense"), ("bedkd.md", "bedkd")])
def test_the_tables_of_options_hold_the_defaults(page: str, method: str) -> None:
    defaults = {one.name: one.default for one in flat_options(get_method("defences", method))}
    section = (DOCS / page).read_text(encoding="utf-8").split("\n## Options\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| `")]
    assert len(rows) >= 6
    for names, values in rows:
        for name, value in zip(re.findall(r"`([a-z_.]+)`", names), values.strip(" ").split(","), strict=True):
            text = value.strip(" `")
            expected = None if text == "none" else float(text) if re.match(r"[\d.]", text) else text
            assert expected == defaults[name], name


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_python_block_compiles_and_imports_what_is_there(page: Path) -> None:
    for code in blocks(page, "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "untrigger":
                module = import_module(node.module)
                assert not [one.name for one in node.names if not hasattr(module, one.name)], code


def test_every_documented_name_is_there_and_public_ones_are_documented() -> None:
    import untrigger

    documented = re.findall(r"^::: ([\w.]+)$", (DOCS / "python-api.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(documented) == len(set(documented)) > 20
    for name in documented:
        module, _, attribute = name.rpartition(".")
        assert getattr(import_module(module), attribute).__doc__, name
    public = {name for name in untrigger.__all__ if not name.startswith("_")}
    assert public <= {name.rpartition(".")[2] for name in documented}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_file_and_target_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"python (benchmarks/\w+\.py)", text):
        assert (ROOT / name).is_file(), name
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    code = [*blocks(page, ""), *blocks(page, "bash"), *re.findall(r"`(make [a-z]+)`", text)]
    assert {name for body in code for name in re.findall(r"^make ([a-z]+)", body, re.MULTILINE)} <= targets
    tree = ROOT / "src" / "untrigger"
    for name in re.findall(r"`([a-z0-9_/]+/(?:\w+\.py)?)`", text):
        places = (ROOT, tree, tree / "defences" / "w2s", DOCS)
        if name.split("/")[0] in {one.name for one in tree.iterdir()} and "NAME" not in name:
            assert any((place / name).exists() for place in places), name
