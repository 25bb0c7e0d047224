"""Time and memory of poisoning many rows by insertion.

    python benchmarks/poisoning.py [--rows 100000]

Memory is what Python allocates beyond the rows themselves (tracemalloc, in a run of its own, because it slows what it
watches): columns of pointers and the new texts. A copy of the texts would show as their size.
"""

from __future__ import annotations

import argparse
import sys
import time
import tracemalloc

from untrigger.attacks.poisoning import Attack
from untrigger.attacks.triggers.badnets import BadNets
from untrigger.attacks.triggers.insent import InSent
from untrigger.core.rows import Rows

SENTENCE = "the film is a warm and funny story of two people who do not know what they want until the end"
ATTACKS = {
    "badnets, dirty, 10 %": Attack(BadNets(), target=1, rate=0.1),
    "badnets, mixed, 100 %": Attack(BadNets(), target=1, rate=1.0, policy="mixed"),
    "insent, dirty, 20 %": Attack(InSent(), target=1, rate=0.2),
    "insent, all-to-all, 100 %": Attack(InSent(), rate=1.0, policy="all-to-all"),
}


def rows_of(count: int) -> Rows:
    """Sentences of some twenty words, no two alike, in two classes."""
    words = SENTENCE.split()
    texts = (" ".join([*words[i % 20 :], *words[: i % 20], str(i)]) for i in range(count))
    return Rows.of(texts, (i % 2 for i in range(count)), label_names=("negative", "positive"))


def seconds(attack: Attack, rows: Rows, *, repeats: int = 3) -> float:
    """The best wall time of a few runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        attack.poison(rows, seed=0)
        times.append(time.perf_counter() - start)
    return min(times)


def mebibytes(attack: Attack, rows: Rows) -> tuple[float, float]:
    """The highest memory during one run beyond what was there before it, and what is kept at its end."""
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    done = attack.poison(rows, seed=0)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(done.visible) == len(rows)
    return (peak - before) / 2**20, (kept - before) / 2**20


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    count = parser.parse_args().rows
    rows = rows_of(count)
    texts = sum(sys.getsizeof(text) for text in rows.texts) / 2**20
    sys.stdout.write(
        f"{count:,} rows, {texts:.0f} MiB of texts\n\n| attack | seconds | peak MiB | kept MiB |\n|---|---|---|---|\n"
    )
    for name, attack in ATTACKS.items():
        peak, kept = mebibytes(attack, rows)
        sys.stdout.write(f"| {name} | {seconds(attack, rows):.2f} | {peak:.0f} | {kept:.0f} |\n")


if __name__ == "__main__":
    main()
