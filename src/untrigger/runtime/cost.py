"""Time and memory of each stage of a run, and the environment it ran in."""

from __future__ import annotations

import logging
import os
import platform
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from untrigger.core.report import Stage

logger = logging.getLogger(__name__)


@dataclass
class Clock:
    """The stages of a run, in order."""

    stages: list[Stage] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure time and memory as stage ``name``; peak memory is known only where it exceeds that of all earlier stages."""
        wall, cpu, before = time.perf_counter(), time.process_time(), peak_memory()
        logger.info("stage %s begins", name)
        yield
        peak = peak_memory()
        self.stages.append(
            Stage(
                name,
                round(time.perf_counter() - wall, 3),
                round(time.process_time() - cpu, 3),
                peak if peak > before else None,
            )
        )
        logger.info("stage %s ended after %.1f s", name, self.stages[-1].wall_s)

    def steps(self, count: int) -> None:
        """Record the optimiser steps of the last stage."""
        self.stages[-1] = replace(self.stages[-1], steps=count)


def peak_memory() -> int:
    """Return the process's peak resident set so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def environment(*, seed: int, device: str) -> dict[str, Any]:
    """Return versions, machine, device and seed."""
    packages = ("untrigger", "torch", "transformers", "peft", "datasets", "safetensors", "numpy")
    return {
        "versions": {name: _version(name) for name in packages},
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "device": device,
        "seed": seed,
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
