"""Float32 matrix products through the default library, and as readings and trainings compute them, in one run.

python benchmarks/arithmetic.py
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from statistics import median

import torch

from untrigger.runtime.device import matmul_precision

SHAPES = ((1024, 576, 1536), (1024, 1536, 576), (1024, 384, 384), (256, 576, 1536))


def gflops(work: Callable[[], object], *, size: tuple[int, int, int], repeats: int = 30) -> float:
    """Billions of operations a second, median over the repeats."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 2 * size[0] * size[1] * size[2] / median(times) / 1e9


def main() -> None:
    """Print a Markdown table."""
    ways = {"default": nullcontext, "reading": lambda: matmul_precision(exact=True), "training": matmul_precision}
    heads = [f"{way} GFLOP/s" for way in ways] + [f"error {way}" for way in ways]
    sys.stdout.write("| rows × in × out | " + " | ".join(heads) + " |\n" + "|---" * (1 + len(heads)) + "|\n")
    for rows, wide, out in SHAPES:
        generator = torch.Generator().manual_seed(0)
        x, w = torch.randn(rows, wide, generator=generator), torch.randn(out, wide, generator=generator)
        exact = x.double() @ w.double().T
        speeds, errors = [], []
        for way in ways.values():
            with way():
                speeds.append(f"{gflops(lambda x=x, w=w: x @ w.T, size=(rows, wide, out)):.0f}")
                errors.append(f"{float((x @ w.T - exact).abs().max() / exact.abs().max()):.1e}")
        sys.stdout.write(f"| {rows} × {wide} × {out} | " + " | ".join([*speeds, *errors]) + " |\n")


if __name__ == "__main__":
    main()
