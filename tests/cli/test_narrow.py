"""At 80 columns every help page and every list is whole: no name is cut or broken, no line is longer."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from typer.main import get_command

from tests.cli.test_commands import COMMANDS
from untrigger.cli.main import app

WIDTH = 80
METHODS = ["list attacks", "list defences", "list language-defences", "list guards", "list scanners"]
LISTS = ["list", *METHODS, "list data", "list presets", "list assets"]


@pytest.fixture
def narrow(call: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    """``narrow("list data")``: what is printed on a terminal of 80 columns, with no asset on the machine."""
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.setenv("UNTRIGGER_HOME", str(tmp_path))

    def run(words: str) -> str:
        result = call(*words.split())
        assert result.code == 0, result.err
        assert "…" not in result.out
        assert all(len(line) <= WIDTH for line in result.out.splitlines())
        return str(result.out)

    return run


def command_of(words: str) -> Any:
    command = get_command(app)
    for word in words.split():
        command = command.commands[word]  # type: ignore[attr-defined]
    return command


@pytest.mark.parametrize("words", ["", *COMMANDS, "zoo path"])
def test_help_has_every_name_in_one_piece(words: str, narrow: Any) -> None:
    page = narrow(f"{words} --help")
    command = command_of(words)
    names = [
        name for one in command.params for name in [*getattr(one, "opts", []), *getattr(one, "secondary_opts", [])]
    ]
    options = [name for name in names if name.startswith("--")]
    metavars = [one.metavar for one in command.params if one.metavar]
    commands = list(getattr(command, "commands", {}))
    missing = [
        name
        for name in [*options, *metavars, *commands]
        if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", page)
    ]
    assert not missing


@pytest.mark.parametrize("words", ["", *COMMANDS, "zoo path"])
def test_help_begins_with_a_sentence(words: str) -> None:
    first = str(command_of(words).help).strip().split("\n\n")[0]
    assert re.fullmatch(r"[A-Z].*\.", first, flags=re.DOTALL), first


@pytest.mark.parametrize("words", LISTS)
def test_lists_have_every_name_at_the_start_of_a_line(words: str, narrow: Any, call: Any) -> None:
    page = narrow(words)
    facts = json.loads(call(*words.split(), "--json").out)
    names = {one["name"] for entries in facts.values() for one in entries}
    assert names and names <= {line.split()[0] for line in page.splitlines() if line.strip()}


@pytest.mark.parametrize("words", METHODS)
def test_lists_have_every_option_at_the_start_of_a_line(words: str, narrow: Any, call: Any) -> None:
    page = narrow(words)
    [entries] = json.loads(call(*words.split(), "--json").out).values()
    options = {option["name"] for one in entries for option in one["options"]}
    assert options and options <= {line.split()[0] for line in page.splitlines() if line.strip()}


@pytest.mark.parametrize("words", ["assets list", "zoo list"])
def test_assets_and_members_have_one_row_each(words: str, narrow: Any, call: Any) -> None:
    page = narrow(words)
    [entries] = json.loads(call(*words.split(), "--json").out).values()
    assert entries
    for one in entries:
        assert len([line for line in page.splitlines() if line.split()[:1] == [one["name"]]]) == 1


def test_names_of_the_hub_and_of_models_are_whole(narrow: Any) -> None:
    assert "hf:cornell-movie-review-data/rotten_tomatoes" in narrow("list data")
    assert "paraphrase-MiniLM-L3-v2" in narrow("assets list")


@pytest.mark.parametrize("name", ["w2sdefense", "openbackdoor", "bedkd"])
def test_a_preset_has_its_whole_hash(name: str, narrow: Any, call: Any) -> None:
    digest = call("list", "presets", name, "--quiet").out.strip()
    assert digest in re.sub(r"\s", "", narrow(f"list presets {name}"))
