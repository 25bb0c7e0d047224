"""Faster float32 matrix products on a CPU, and the choice of device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from untrigger.errors import OptionError, nearest

DEVICES = ("auto", "cpu", "cuda", "mps")


@contextmanager
def fast_products() -> Iterator[None]:
    """Inside, float32 products on a CPU go through oneDNN; the former setting comes back behind it.

    On processors with AVX-512 but without AMX, oneDNN computes them in full float32, about twice as fast as
    the default library (``benchmarks/arithmetic.py``). With AMX it may round inputs to bfloat16. GPUs keep what
    they were set to.
    """
    if torch.cuda.is_available():
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def pick_device(name: str) -> torch.device:
    """The device that ``name`` stands for; ``auto`` takes CUDA, then Apple's, then the CPU.

    Raises:
        OptionError: for an unknown name or a device that this machine lacks.
    """
    kind = name.partition(":")[0]
    if kind not in DEVICES:
        raise OptionError(f"unknown device {name!r}", expected="one of " + ", ".join(DEVICES), nearest=nearest(kind, DEVICES))
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind == "auto":
        return torch.device(next(k for k in ("cuda", "mps", "cpu") if there[k]))
    if not there[kind]:
        raise OptionError(f"device {name!r} is not available here", remedy="use --device auto")
    return torch.device(name)
