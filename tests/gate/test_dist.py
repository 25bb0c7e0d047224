"""Wheel and sdist: what they hold, and that the wheel runs in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from .kit import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `make dist` would fill."""
    folder = tmp_path_factory.mktemp("dist")
    assert "-m build" in (ROOT / "Makefile").read_text(encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_wheel_holds_the_package_and_its_files(built: Path) -> None:
    [wheel] = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    source = ROOT / "src"
    kept = {
        str(file.relative_to(source))
        for file in (source / "untrigger").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert kept <= names
    assert {"untrigger/py.typed", "untrigger/reporting/templates/scan.html.j2"} <= names
    assert not [name for name in names if name.startswith("tests")]


def test_the_sdist_holds_what_the_tests_read(built: Path) -> None:
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = (
        "action.yml",
        ".pre-commit-hooks.yaml",
        "Dockerfile",
        ".dockerignore",
        "Makefile",
        "mkdocs.yml",
        "README.md",
    )
    assert {*wanted, "docs/pipeline.md", "tests/gate/kit.py", "src/untrigger/cli/hook.py"} <= names


def test_the_wheel_runs_in_a_fresh_environment(built: Path, tmp_path: Path) -> None:
    """The environment takes its dependencies from that of the tests, and untrigger from the wheel."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")], check=True)
    python = tmp_path / "env" / "bin" / "python"
    [wheel] = built.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(pip, check=True)
    [site] = (tmp_path / "env").glob("lib/*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, env=bare, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run(str(python), "-c", "import untrigger; print(untrigger.__file__)")
    assert Path(where.strip()).is_relative_to(site)
    version = wheel.name.split("-")[1]
    assert run(str(python.with_name("untrigger")), "--version") == f"untrigger {version}\n"
    listed = run(str(python.with_name("untrigger")), "list")
    assert "w2sdefense" in listed and "insertions" in listed
    assert "model folder" in run(str(python.with_name("untrigger-hook")), "--help")
