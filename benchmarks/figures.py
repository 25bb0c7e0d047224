"""Make the figures of README and docs: scan a model of the zoo, keep what the terminal shows, and take a picture of the page.

    python benchmarks/figures.py [--work FOLDER]      about ten minutes on two cores; needs Chromium for the picture

Writes ``docs/images/scan.txt`` (the scan as the terminal shows it at 80 columns) and ``docs/images/scan-page.png``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

IMAGES = Path(__file__).parent.parent / "docs" / "images"
MEMBER = "badnets-dirty"
WIDTH, HEIGHT = 1100, 900


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="folder for the page; by default a temporary one")
    work = parser.parse_args().work or Path(tempfile.mkdtemp(prefix="untrigger-figures-"))
    work.mkdir(parents=True, exist_ok=True)
    page = work / "scan.html"
    if not page.exists():
        run("zoo", "make", MEMBER, "--offline")
        model = Path(run("zoo", "path", MEMBER).strip())
        clean = model.parent / "clean.csv"
        shown = run("scan", model, "--base", "minilm-l6", "--clean", clean, "--offline", "--out", page)
        IMAGES.mkdir(exist_ok=True)
        lines = [line.rstrip() for line in shown.replace(str(model), "./suspicious-model").splitlines()]
        (IMAGES / "scan.txt").write_text("\n".join(lines).strip() + "\n", encoding="utf-8")
    picture(page, IMAGES / "scan-page.png")


def run(*words: object) -> str:
    """What a command prints on standard output; 0, 1 and 3 are results."""
    env = {**os.environ, "COLUMNS": "80"}
    line = [sys.executable, "-m", "untrigger", *map(str, words)]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=False, env=env)
    if done.returncode not in (0, 1, 3):
        raise SystemExit(f"{' '.join(line)} ended with {done.returncode}")
    return done.stdout


def picture(page: Path, target: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("no Chromium: the picture was not made")
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                browser,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                "--hide-scrollbars",
                f"--user-data-dir={profile}",
                f"--window-size={WIDTH},{HEIGHT}",
                f"--screenshot={target}",
                page.resolve().as_uri(),
            ],
            check=True,
            capture_output=True,
        )


if __name__ == "__main__":
    main()
