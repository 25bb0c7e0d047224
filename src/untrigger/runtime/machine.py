"""What this machine has: cores, memory, disk, and how fast it multiplies matrices."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

MATRIX = (1024, 384, 384)
"""Rows, inputs and outputs of the product that is timed: a layer of MiniLM (``benchmarks/arithmetic.py``)."""
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def load() -> float:
    """Return the mean number of running programs in the last minute, 0 where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def free_memory() -> int | None:
    """Return the bytes of memory that are free for this process, None where the system does not say."""
    found = []
    with suppress(OSError, ValueError, StopIteration):
        line = next(line for line in _MEMINFO.read_text().splitlines() if line.startswith("MemAvailable:"))
        found.append(int(line.split()[1]) * 1024)
    with suppress(OSError, ValueError):  # of a container; "max" where there is no limit
        found.append(int((_CGROUP / "memory.max").read_text()) - int((_CGROUP / "memory.current").read_text()))
    return max(0, min(found)) if found else None


def free_disk(folder: Path) -> int:
    """Return the bytes that are free on the disk of a folder, which need not exist yet."""
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    return shutil.disk_usage(there).free


def product_rate(*, seconds: float) -> float:
    """Return the billions of operations a second of float32 matrix products, as a scan computes them on the CPU.

    Args:
        seconds: how long to measure.
    """
    import torch

    from untrigger.runtime.device import matmul_precision

    rows, wide, out = MATRIX
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn(rows, wide, generator=generator), torch.randn(wide, out, generator=generator)
    with matmul_precision():
        for _ in range(5):  # the first ones choose kernels and start threads
            x @ w
        done, start = 0, time.perf_counter()
        while done == 0 or time.perf_counter() - start < seconds:
            x @ w
            done += 1
        return 2 * rows * wide * out * done / (time.perf_counter() - start) / 1e9
