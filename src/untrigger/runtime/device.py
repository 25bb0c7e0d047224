"""The precision of float32 matrix products on a CPU, and the choice of device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

from untrigger.core.errors import OptionError, nearest

DEVICES = ("auto", "cpu", "cuda", "mps")
ALLOW_BF16 = True  # whether training may use bfloat16 products where that is faster


@contextmanager
def matmul_precision(*, exact: bool = False) -> Iterator[None]:
    """Compute float32 products on a CPU with oneDNN, and restore the former setting at the end.

    On processors with AVX-512 but without AMX, oneDNN computes them in full float32, about twice as fast as the default
    library; with AMX it rounds the factors to bfloat16 and is three times as fast (``benchmarks/arithmetic.py``). That is precise
    enough for training, and for a ranking whose best are computed again. GPUs keep their setting.

    Args:
        exact: keep full float32, as for predictions that must be reproduced elsewhere from the same weights.

    ``ALLOW_BF16 = False`` keeps full float32 everywhere.
    """
    if torch.cuda.is_available():
        yield
        return
    with _precision("highest" if (exact or not ALLOW_BF16) and matmul_uses_bf16() else "medium"):
        yield


@contextmanager
def _precision(name: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@cache
def matmul_uses_bf16() -> bool:
    """Return whether this processor rounds to bfloat16 within ``matmul_precision``: measured once, on two small matrices."""
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn(256, 384, generator=generator), torch.randn(384, 384, generator=generator)
    with _precision("medium"):
        error = (x @ w - x.double() @ w.double()).abs().max()
    return bool(error > 1e-2)  # full float32 is wrong by 1e-4, bfloat16 by 3e-1


def bf16_ok() -> bool:
    """Return whether a model in bfloat16 is allowed and faster on this CPU: with AMX, or with the bfloat16 products of AVX-512.

    Measured on a processor with AVX-512 alone: words are screened twice as fast (``docs/results/log.md#arithmetic``).
    """
    return ALLOW_BF16 and (matmul_uses_bf16() or torch.cpu._is_avx512_bf16_supported())


def pick_device(name: str) -> torch.device:
    """Return the device called ``name``; ``auto`` takes CUDA, then MPS, then the CPU.

    Raises:
        OptionError: for an unknown name or a device that this machine lacks.
    """
    kind = name.partition(":")[0]
    if kind not in DEVICES:
        raise OptionError(
            f"unknown device {name!r}", expected="one of " + ", ".join(DEVICES), nearest=nearest(kind, DEVICES)
        )
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind == "auto":
        return torch.device(next(k for k in ("cuda", "mps", "cpu") if available[k]))
    if not available[kind]:
        raise OptionError(f"device {name!r} is not available here", remedy="use --device auto")
    return torch.device(name)
