"""A runner of composite actions in small: inputs, outputs, and steps that are really run by bash."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
_EXPRESSION = re.compile(r"\$\{\{\s*([\w.-]+)\s*\}\}")


def commands(folder: Path) -> Path:
    """A folder with the programs of this source tree."""
    folder.mkdir(parents=True, exist_ok=True)
    modules = {"untrigger": "untrigger.cli.main", "untrigger-hook": "untrigger.cli.hook"}
    for name, module in modules.items():
        file = folder / name
        file.write_text(
            f'#!/bin/sh\nexec "{sys.executable}" -W ignore -c "from {module} import run; run()" "$@"\n',
            encoding="utf-8",
        )
        file.chmod(0o755)
    python = folder / "python"
    python.write_text(
        f'#!/bin/sh\n[ "$2" = pip ] && {{ echo "$@" >> "{folder}/pip.txt"; exit 0; }}\nexec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)
    return folder


@dataclass
class Runner:
    """Runs the steps of action.yml in a workspace of their own.

    Attributes:
        workspace: the folder that the steps run in.
        codes: exit code of every step that ran, by name.
        outputs: of the action.
        summary: of the job.
        log: what the steps printed.
    """

    workspace: Path
    codes: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    log: str = ""

    def run(self, **inputs: str) -> int:
        """Run the action; return the exit code of the first step that failed, 0 where none did."""
        action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
        values = {f"inputs.{name}": str(one.get("default", "")) for name, one in action["inputs"].items()}
        values |= {f"inputs.{name}": value for name, value in inputs.items()}
        assert values.keys() == {f"inputs.{name}" for name in action["inputs"]}, "no input but those of the action"
        failed = 0
        for step in action["runs"]["steps"]:
            if failed and step.get("if") != "always()":
                continue
            code = self._step(step, values)
            failed = failed or code
        self.outputs = {name: _filled(one["value"], values) for name, one in action["outputs"].items()}
        return failed

    def _step(self, step: dict[str, Any], values: dict[str, str]) -> int:
        assert step["shell"] == "bash" and "${{" not in step["run"], "inputs reach a script as variables only"
        output, summary = self.workspace / ".output", self.workspace / ".summary"
        output.write_text("")
        environment = {
            **os.environ,
            **{name: _filled(value, values) for name, value in step.get("env", {}).items()},
            "PATH": f"{commands(self.workspace / '.bin')}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "src"),
            "OMP_NUM_THREADS": "1",
            "GITHUB_OUTPUT": str(output),
            "GITHUB_STEP_SUMMARY": str(summary),
            "GITHUB_ACTION_PATH": str(ROOT),
        }
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.workspace,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        self.codes[step["name"]] = done.returncode
        self.log += done.stdout + done.stderr
        self.summary = summary.read_text(encoding="utf-8") if summary.exists() else ""
        for line in output.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition("=")
            values[f"steps.{step['id']}.outputs.{name}"] = value
        return done.returncode


def _filled(text: str, values: dict[str, str]) -> str:
    """The text with its expressions replaced; an output that no step wrote is empty, as on the real runner."""
    return _EXPRESSION.sub(lambda found: values.get(found[1], ""), text)
