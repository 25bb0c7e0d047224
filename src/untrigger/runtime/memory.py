"""How the process gets its memory from the system, and how often it looks for what can be given back.

The C library hands large blocks back as soon as they are free, and the next forward pass asks for them again, a page fault for
every four kilobytes: seven million in a scan of a MiniLM, a seventh of its time. And Python looks for unreachable cycles after
every seven hundred new objects, which costs the imports alone, a third of a million objects that stay, about a second.
"""

from __future__ import annotations

import ctypes
import gc
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3)
_OBJECTS = 20_000  # new ones before the next look for cycles
_LARGEST = 32 * 2**20  # the most that glibc takes for the second


def keep_freed_memory() -> bool:
    """Whether blocks of up to 32 MiB stay with the process from now on when they are freed; only glibc can be told to.

    Meant for a process of one's own, as the command line is; a larger process may have other plans with its memory.
    """
    if not sys.platform.startswith("linux"):
        return False
    tell = getattr(ctypes.CDLL(None), "mallopt", None)
    return tell is not None and bool(tell(_MMAP_THRESHOLD, _LARGEST)) and bool(tell(_TRIM_THRESHOLD, 2**31 - 1))


def collect_rarely() -> None:
    """Look for unreachable cycles less often from now on; what no cycle holds is freed at once all the same."""
    gc.set_threshold(_OBJECTS, *gc.get_threshold()[1:])
