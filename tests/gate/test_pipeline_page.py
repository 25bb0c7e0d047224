"""docs/pipeline.md: every block parses, every option and key exists, and none is left out."""

from __future__ import annotations

import re
import shlex
import tomllib
from dataclasses import fields
from datetime import date
from pathlib import Path

import pytest
import typer.main
import yaml

from untrigger.cli.main import app
from untrigger.core.thresholds import SCAN_SCORE
from untrigger.scanners.policy import Allowed, Policy, read_policy

from .kit import ROOT

PAGE = (ROOT / "docs" / "pipeline.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


def test_every_block_has_a_language_that_is_checked_here() -> None:
    assert PAGE.count("```") == 2 * len(BLOCKS) and {name for name, _ in BLOCKS} == {"sh", "toml", "yaml"}


def test_the_policy_is_a_policy_and_holds_every_key(tmp_path: Path) -> None:
    [text] = blocks("toml")
    (tmp_path / "policy.toml").write_text(text, encoding="utf-8")
    policy = read_policy(tmp_path / "policy.toml")
    assert (policy.suspicious, policy.backdoored) == (SCAN_SCORE.suspicious, SCAN_SCORE.certain), "as the page says"
    assert (policy.fail_on, policy.allow_undecided) == (Policy().fail_on, Policy().allow_undecided)
    [entry] = policy.allow
    assert all(getattr(entry, one.name) for one in fields(Allowed)) and entry.expires == date(2027, 6, 30)
    content = tomllib.loads(text)
    assert {*content, *content["thresholds"]} == {one.name for one in fields(Policy)} | {"thresholds"}


def test_the_workflow_uses_inputs_and_outputs_of_the_action() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    workflow = next(found for found in map(yaml.safe_load, blocks("yaml")) if "jobs" in found)
    steps = workflow["jobs"]["scan"]["steps"]
    [ours] = [one for one in steps if one.get("id") == "untrigger"]
    assert set(ours["with"]) <= set(action["inputs"]) and "model" in ours["with"]
    used = set(re.findall(r"steps\.untrigger\.outputs\.([\w-]+)", PAGE))
    assert used and used <= set(action["outputs"])
    for name, one in action["inputs"].items():
        assert f"| `{name}` |" in PAGE and str(one.get("default", "")) in PAGE
    assert all(f"`{name}`" in PAGE for name in action["outputs"])


def test_the_hooks_are_the_one_of_the_repository() -> None:
    [hook] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    found = [
        one for text in blocks("yaml") for repo in (yaml.safe_load(text).get("repos") or []) for one in repo["hooks"]
    ]
    assert [one["id"] for one in found] == [hook["id"]] * 2
    assert found[1]["entry"] == hook["entry"] and re.compile(found[1]["files"])


def test_every_yaml_block_parses() -> None:
    assert len([yaml.safe_load(text) for text in blocks("yaml")]) == 4


def commands() -> list[list[str]]:
    lines = re.sub(r"\\\n", " ", "\n".join([*blocks("sh"), *blocks("yaml")])).splitlines()
    return [
        shlex.split(line.split("|")[0])[1:]
        for line in (one.strip().removeprefix("- ") for one in lines)
        if line.startswith("untrigger ")
    ]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_has_options_that_exist(words: list[str]) -> None:
    known = typer.main.get_command(app).commands[words[0]]  # type: ignore[attr-defined]
    known.make_context(words[0], list(words[1:]), resilient_parsing=False)


def test_every_option_in_the_text_exists() -> None:
    known = {name for one in typer.main.get_command(app).commands["scan"].params for name in one.opts}  # type: ignore[attr-defined]
    assert set(re.findall(r"`(--[a-z-]+)", PAGE)) - known == {"--user"}, "an option of docker"


def test_every_exit_code_is_named() -> None:
    from untrigger.core.verdicts import ExitCode

    table = PAGE.split("## Exit codes")[1].split("\n## ")[0]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == sorted(
        int(one) for one in ExitCode
    )
