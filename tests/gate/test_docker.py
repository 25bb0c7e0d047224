"""The Dockerfile, read as text: no image is built here."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib

import pytest

from .kit import ROOT

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
LINES = re.sub(r"\\\n", " ", TEXT).splitlines()


def instructions(name: str) -> list[str]:
    return [line.split(maxsplit=1)[1] for line in LINES if line.startswith(f"{name} ")]


def test_two_stages_and_only_the_wheel_goes_over() -> None:
    assert instructions("FROM") == ["python:3.11-slim AS build", "python:3.11-slim"]
    last = TEXT.split("FROM python:3.11-slim\n")[1]
    assert re.findall(r"^COPY .*", last, re.MULTILINE) == ["COPY --from=build /wheels /wheels"]


def test_it_runs_untrigger_and_not_as_root() -> None:
    assert instructions("ENTRYPOINT") == ['["untrigger"]']
    assert instructions("USER") == ["1000"] and "--uid 1000 scanner" in TEXT
    assert TEXT.index("\nUSER ") < TEXT.index("\nENTRYPOINT ")


def test_torch_is_the_one_of_the_makefile() -> None:
    [torch] = instructions("ARG")
    assert f"TORCH  ?= {torch.removeprefix('TORCH=')}\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert TEXT.index('"$TORCH"') < TEXT.index("/wheels/*.whl"), "torch comes first"


def test_the_context_holds_what_the_wheel_is_built_from() -> None:
    kept = {
        line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")
    }
    copied = {name for line in instructions("COPY") if "--from" not in line for name in line.split()[:-1]}
    assert copied == kept and all((ROOT / name).exists() for name in kept)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {project["readme"], *project["license-files"], "pyproject.toml", "src"} == kept


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed")
def test_hadolint_finds_nothing() -> None:
    done = subprocess.run(
        ["hadolint", str(ROOT / "Dockerfile")], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout
