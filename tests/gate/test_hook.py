"""The pre-commit hook: its entry is run on changed files, and scans the folders of models among them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from untrigger.cli.hook import model_folders

from .kit import ROOT, commands

[HOOK] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The entry of the hook as pre-commit runs it: in the repository, with changed files after the arguments."""
    path = f"{commands(folder / '.bin')}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [*HOOK["entry"].split(), *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("models/a/adapter_config.json", True),
        ("models/a/adapter_model.safetensors", True),
        ("models/a/adapter_model.bin", True),
        ("tokenizer.json", True),
        ("README.md", False),
        ("package.json", False),
        ("myconfig.json", False),
    ],
)
def test_files_of_models_start_it(name: str, taken: bool) -> None:
    assert bool(re.search(HOOK["files"], name)) is taken


def test_the_entry_is_a_program_of_the_package() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert scripts[HOOK["entry"]] == "untrigger.cli.hook:run"


def test_pre_commit_accepts_the_manifest() -> None:
    checker = Path(sys.executable).with_name("pre-commit")
    command = [checker, "validate-manifest", ROOT / ".pre-commit-hooks.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


def test_changed_files_become_folders_of_models(tmp_path: Path) -> None:
    for name in (
        "a/adapter_config.json",
        "b/config.json",
        "b/model.safetensors",
        "web/config.json",
        "d/tokenizer.json",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    changed = [
        tmp_path / one for one in ("a/adapter_config.json", "a/x.safetensors", "b/config.json", "web/config.json")
    ]
    assert model_folders([*changed, tmp_path / "d/tokenizer.json", tmp_path / "gone/config.json"]) == [
        tmp_path / "a",
        tmp_path / "b",
    ]


def test_it_scans_what_changed_and_refuses_what_is_unsafe(tmp_path: Path, folder_of: Callable[[str], Path]) -> None:
    shutil.copytree(folder_of("bert"), tmp_path / "good")
    done = run(tmp_path, "good/config.json", "good/model.safetensors")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("good:") and "undecided" in done.stdout and done.stdout.count("good:") == 1
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/adapter_config.json").write_text('{"peft_type": "LORA", "auto_map": {"AutoModel": "x.Y"}}')
    (tmp_path / "bad/adapter_model.bin").write_bytes(b"\x80\x04.")
    both = run(tmp_path, "bad/adapter_model.bin", "good/config.json")
    assert both.returncode == 2 and "good:" in both.stdout, both.stdout
    assert run(tmp_path, "--policy", "absent.toml", "good/config.json").returncode == 2
    assert run(tmp_path, "README.md").returncode == 0
