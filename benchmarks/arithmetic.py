"""Float32 matrix products through the default library and through oneDNN, in one run.

    python benchmarks/arithmetic.py
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median

import torch

from untrigger.training.arithmetic import fast_products

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
    sys.stdout.write("| rows × in × out | default GFLOP/s | fast_products GFLOP/s | error default | error fast |\n|---|---|---|---|---|\n")
    for rows, wide, out in SHAPES:
        generator = torch.Generator().manual_seed(0)
        x, w = torch.randn(rows, wide, generator=generator), torch.randn(out, wide, generator=generator)
        exact = x.double() @ w.double().T
        scale = exact.abs().max()
        plain = gflops(lambda x=x, w=w: x @ w.T, size=(rows, wide, out))
        error = float((x @ w.T - exact).abs().max() / scale)
        with fast_products():
            fast = gflops(lambda x=x, w=w: x @ w.T, size=(rows, wide, out))
            fast_error = float((x @ w.T - exact).abs().max() / scale)
        sys.stdout.write(f"| {rows} × {wide} × {out} | {plain:.0f} | {fast:.0f} | {error:.1e} | {fast_error:.1e} |\n")


if __name__ == "__main__":
    main()
