"""Do two checkouts give the same results? Victims, scans, detections and purifications of both, compared in one run.

    python benchmarks/same_results.py run CHECKOUT OUT     everything of one checkout (a folder with src/untrigger), into OUT
    python benchmarks/same_results.py compare OUT OTHER    what differs: weights by hash, rows by hash, every number of a report

Both runs must be of one machine and one set of libraries: float arithmetic differs between processors.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RENAMED = {"--tuning": "--via", "--clean-model": "--twin"}
"""Options by their present name, and what they were called before: an older checkout refuses the new name."""

SMALL = ["--rows", "1200", "--test-rows", "200", "--seed", "0"]
VICTIMS = {
    "full": ["minilm-l3", "--trigger", "badnets", "--tuning", "full", "--epochs", "3", *SMALL],
    "lora": ["minilm-l3", "--trigger", "insent", "--tuning", "lora", "--epochs", "4", *SMALL],
}
TIMES = ("second", "wall", "cpu", "rss", "bytes", "version", "time", "steps_per")


def main(words: list[str]) -> int:
    match words:
        case ["run", checkout, out]:
            run(Path(checkout).resolve(), Path(out).resolve())
            return 0
        case ["compare", one, other]:
            return compare(Path(one), Path(other))
    print(__doc__)
    return 2


def run(checkout: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name, words in VICTIMS.items():
        if not (out / name).exists():
            model, *rest = words
            call(
                checkout,
                "attack",
                model,
                "--data",
                "rotten-tomatoes",
                "--target",
                "positive",
                *rest,
                "--out",
                out / name,
            )
        if not (out / f"{name}-clean.csv").exists():
            clean_rows(out / f"{name}.truth" / "test_clean.csv", out / f"{name}-clean.csv")
    for name in VICTIMS:
        rows = ["--clean", out / f"{name}-clean.csv", "--seed", "1"]
        once(checkout, out / f"scan-{name}.json", "scan", out / name, *rows, "--offline")
        suspects = ["--suspect", out / f"{name}.truth" / "train.csv"]
        written(checkout, out / f"detect-{name}.csv", "detect", out / name, *rows, *suspects)
        for method in ("finetune", "w2sdefense", "bedkd"):
            more = suspects if method == "bedkd" else []
            written(
                checkout,
                out / f"{method}-{name}",
                "purify",
                out / name,
                *rows,
                *more,
                "--method",
                method,
                "--no-verify",
            )
    written(
        checkout,
        out / "scancure-full",
        "purify",
        out / "full",
        *["--clean", out / "full-clean.csv"],
        "--method",
        "scancure",
    )


def clean_rows(source: Path, target: Path) -> None:
    """A defender's rows: 160 of the clean test rows, by a seed of their own."""
    rows = list(csv.DictReader(source.open(encoding="utf-8", newline="")))
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, ["id", "text", "label"])
        writer.writeheader()
        writer.writerows(random.Random(7).sample(rows, 160))


def written(checkout: Path, place: Path, command: str, *words: object) -> None:
    once(checkout, place.with_name(place.name + ".json"), command, *words, "--out", place)


def once(checkout: Path, file: Path, command: str, *words: object) -> None:
    if not file.exists():
        file.write_text(call(checkout, command, *words, "--json"), encoding="utf-8")


def call(checkout: Path, *words: object) -> str:
    """What a command prints on standard output; exit codes 0, 1 and 3 are results."""
    env = {**os.environ, "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"}
    line = [str(word) for word in words]
    for attempt in (line, [RENAMED.get(word, word) for word in line]):
        done = subprocess.run(
            [sys.executable, "-m", "untrigger", *attempt], capture_output=True, text=True, check=False, env=env
        )
        if done.returncode in (0, 1, 3):
            print("done", *attempt[:2], done.returncode, flush=True)
            return done.stdout
    raise SystemExit(f"{' '.join(line)} ended with {done.returncode}:\n{done.stderr}")


def compare(one: Path, other: Path) -> int:
    differing = [line for name, line in results(one, other) if line]
    for name, line in results(one, other):
        print(f"{name:28} {line or 'the same'}")
    return bool(differing)


def results(one: Path, other: Path) -> Iterator[tuple[str, str]]:
    for file in sorted(one.rglob("*")):
        if not file.is_file() or ".truth" in str(file.relative_to(one)):
            continue
        pair, name = other / file.relative_to(one), str(file.relative_to(one))
        if file.suffix in (".safetensors", ".csv"):
            same = pair.exists() and hashed(file) == hashed(pair)
            yield name, "" if same else "differs" if pair.exists() else "is missing"
        elif file.suffix == ".json" and file.parent == one:
            yield name, numbers_apart(json.loads(file.read_text()), json.loads(pair.read_text()))


def numbers_apart(one: Any, other: Any) -> str:
    """Numbers that only one of two reports holds, whatever the keys are called; empty where there are none."""
    first, second = Counter(numbers(one)), Counter(numbers(other))
    lost, new = sorted((first - second).elements()), sorted((second - first).elements())
    return "" if not lost and not new else f"only in the first: {lost[:8]}, only in the second: {new[:8]}"


def numbers(value: Any, key: str = "") -> Iterator[float]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in ("stages", "environment", "verified_seconds"):
                yield from numbers(inner, str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from numbers(inner, key)
    elif isinstance(value, float) and not any(word in key for word in TIMES):
        yield round(value, 6)


def hashed(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
