"""Make the figures of README and docs: scan a model of the zoo, keep what the terminal shows, and take a picture of the page.

    python benchmarks/figures.py [--work FOLDER]      about ten minutes on two cores; needs Chromium for the picture

Writes ``docs/images/scan.txt`` (the scan as the terminal shows it at 80 columns) and ``docs/images/scan-page.png``. The other two
figures, ``scan-ranking.svg`` and ``purification.svg``, are drawn here from the reports of the notebook's run (``make notebook``).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from untrigger.core.candidate import Candidate
from untrigger.core.report import Report

IMAGES = Path(__file__).parent.parent / "docs" / "images"
MEMBER = "badnets-dirty"
WIDTH, HEIGHT = 1100, 900
GREY, SUSPECT, REFERENCE, AMBER = "#7b8088", "#d4622f", "#3d87c8", "#b98a1a"
"""Colours that read on white and on the dark page: the figures have no background."""
SUBJECTS = {
    "victim": "victim",
    "finetuned": "fine-tuned",
    "base_finetuned": "base, fine-tuned",
    "purified": "purified",
    "clean": "clean model",
}
MOST = {"candidates": 12, "content": 3, "random": 3}


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


@contextmanager
def figure_style() -> Iterator[None]:
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        keys = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "legend.labelcolor")
        spines = {"axes.spines.top": False, "axes.spines.right": False}
        fixed = {"svg.hashsalt": "untrigger", "text.parse_math": False, "font.size": 10}
        mpl.rcParams.update({**dict.fromkeys(keys, GREY), **spines, **fixed})
        yield


def save(figure: Any, target: Path) -> None:
    """Write an SVG without background and date."""
    target.parent.mkdir(exist_ok=True)
    figure.savefig(target, transparent=True, bbox_inches="tight", metadata={"Date": None, "Creator": None})


def draw_ranking(scan: Path, target: Path) -> None:
    """Draw how a scan ranks candidates: flip rates in the suspect and in the clean reference, with the score."""
    from matplotlib.figure import Figure

    found = Report.read(scan).scan
    assert found is not None
    tried = [one for one in found.candidates if one.score is not None and one.suspect.value is not None]
    rows = sorted(tried, key=lambda one: -(one.score or 0))[: MOST["candidates"]]
    for kind in ("content", "random"):
        rows += [one for one in found.controls if one.kind == kind and one.suspect.value is not None][: MOST[kind]]
    with figure_style():
        figure = Figure(figsize=(7.2, 0.9 + 0.31 * len(rows)))
        axes = figure.subplots()
        for at, one in enumerate(rows):
            _draw_candidate(axes, one, at=at, found=one.score is not None and one.score >= found.suspicious)
        axes.scatter([], [], color=SUSPECT, label="suspect")
        axes.scatter([], [], facecolors="none", edgecolors=REFERENCE, linewidths=1.6, label="clean reference")
        axes.set(xlim=(-3, 103), ylim=(len(rows) - 0.4, -0.9), xlabel="held-out rows flipped, %")
        axes.set_yticks(range(len(rows)), [_name(one) for one in rows])
        axes.text(108, -0.85, "score", ha="center", va="center", fontweight="bold")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
        save(figure, target)


def _draw_candidate(axes: Any, one: Candidate, *, at: int, found: bool) -> None:
    suspect, reference = (100 * (rate.value or 0) for rate in (one.suspect, one.reference))
    axes.plot((reference, suspect), (at, at), color=GREY, linewidth=1, alpha=0.6, zorder=1)
    axes.scatter(suspect, at, color=SUSPECT, zorder=3)
    axes.scatter(reference, at, facecolors="none", edgecolors=REFERENCE, linewidths=1.6, zorder=4)
    score = "control" if one.score is None else f"{one.score:.2f}"
    axes.text(108, at, score, ha="center", va="center", fontweight="bold" if found else "normal")


def _name(one: Candidate) -> str:
    text = one.text if len(one.text) <= 24 else f"{one.text[:23]}…"
    kind = {"content": ", a word of the class", "random": ", a random word"}.get(one.kind, "")
    return f"{text} → {one.target}{kind}"


def draw_purification(report: Path, target: Path) -> None:
    """Draw what a purification changes: rates beside the controls, and the feature space before and after."""
    from matplotlib.figure import Figure

    read = Report.read(report)
    with figure_style():
        figure = Figure(figsize=(8.4, 6.6))
        upper, lower = figure.subfigures(2, 1, height_ratios=(1, 1.25))
        rates = upper.subplots(1, 2, sharey=True)
        for axes, metric, name in zip(
            rates, ("asr", "cacc"), ("attack success, % (lower is better)", "clean accuracy, %"), strict=True
        ):
            _draw_rates(axes, read, metric=metric)
            axes.set_xlabel(name)
        for axes, subject in zip(lower.subplots(1, 2), ("victim", "purified"), strict=True):
            _draw_features(axes, read, subject=subject)
        handles, labels = lower.axes[0].get_legend_handles_labels()
        lower.legend(handles, labels, loc="lower center", ncols=3, frameon=False)
        upper.subplots_adjust(bottom=0.2, wspace=0.08)
        lower.subplots_adjust(bottom=0.12, wspace=0.08)
        save(figure, target)


def _draw_rates(axes: Any, report: Report, *, metric: str) -> None:
    shown = [(name, report.find(subject, metric)) for subject, name in SUBJECTS.items() if report.find(subject, metric)]
    for at, (name, rate) in enumerate(shown):
        if rate is None or rate.value is None or rate.low is None or rate.high is None:
            continue
        colour = {"purified": REFERENCE, "victim": SUSPECT}.get(name, GREY)
        axes.barh(at, 100 * rate.value, color=colour, alpha=0.55, height=0.6)
        axes.plot((100 * rate.low, 100 * rate.high), (at, at), color=colour, linewidth=2.5)
        axes.text(100 * rate.high + 2, at, f"{100 * rate.value:.1f}", va="center", fontweight="bold")
    axes.set(xlim=(0, 118), ylim=(len(shown) - 0.4, -0.6), xticks=range(0, 101, 25))
    axes.set_yticks(range(len(shown)), [name for name, _ in shown])


def _draw_features(axes: Any, report: Report, *, subject: str) -> None:
    points = [p for p in report.features["points"] if p["subject"] == subject] if report.features else []
    for label, colour in zip(sorted({p["label"] for p in points}), (AMBER, REFERENCE), strict=False):
        for triggered in (False, True):
            some = [p for p in points if p["label"] == label and p["triggered"] is triggered]
            if some:
                style = (
                    {"marker": "x", "color": SUSPECT, "s": 26}
                    if triggered
                    else {"color": colour, "s": 14, "alpha": 0.6}
                )
                name = f"{label}, with the trigger" if triggered else label
                axes.scatter([p["x"] for p in some], [p["y"] for p in some], label=name, **style)
    axes.set(
        xticks=[],
        yticks=[],
        title=f"features of the {subject} model" if subject != "victim" else "features of the victim",
    )
    axes.spines[["top", "right"]].set_visible(True)


if __name__ == "__main__":
    main()
