"""How the process gets its memory from the system.

The C library hands large blocks back as soon as they are free, and the next forward pass asks for them again, a page fault for
every four kilobytes: seven million in a scan of a MiniLM, a seventh of its time.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3)
_LARGEST = 32 * 2**20  # the most that glibc takes for the second


def keep_freed_memory() -> bool:
    """Whether blocks of up to 32 MiB stay with the process from now on when they are freed; only glibc can be told to.

    Meant for a process of one's own, as the command line is; a larger process may have other plans with its memory.
    """
    if not sys.platform.startswith("linux"):
        return False
    tell = getattr(ctypes.CDLL(None), "mallopt", None)
    return tell is not None and bool(tell(_MMAP_THRESHOLD, _LARGEST)) and bool(tell(_TRIM_THRESHOLD, 2**31 - 1))
