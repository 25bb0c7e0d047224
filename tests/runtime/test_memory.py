"""Memory that was freed once is not asked for again, page by page."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from untrigger.runtime.memory import collect_rarely

PROBE = """
import ctypes, resource, sys
from untrigger.runtime.memory import keep_freed_memory
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
kept = sys.argv[1] == "keep" and keep_freed_memory()
size, turns, blocks = 24 * 2**20, 10, 6
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(turns):
    held = [libc.malloc(size) for _ in range(blocks)]
    for block in held:
        libc.memset(block, 1, size)
    for block in reversed(held):
        libc.free(block)
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc has a setting that keeps memory")
def test_blocks_that_were_freed_are_not_faulted_in_again() -> None:
    def faults(word: str) -> tuple[int, int]:
        said = subprocess.run(
            [sys.executable, "-c", PROBE, word], capture_output=True, text=True, check=True
        ).stdout.split()
        return int(said[0]), int(said[1])

    (_, plain), (result, kept) = faults("leave"), faults("keep")
    if not result:
        pytest.skip("this C library has no such setting")
    assert kept < plain / 3


def test_cycles_are_looked_for_rarely_and_still_found() -> None:
    before = gc.get_threshold()

    def looks(count: int) -> int:
        gc.collect()
        start = gc.get_stats()[0]["collections"]
        for _ in range(count):
            cycle: list[object] = []
            cycle.append(cycle)
        return int(gc.get_stats()[0]["collections"] - start)

    try:
        gc.set_threshold(700, 10, 10)
        often = looks(70_000)
        collect_rarely()
        rarely = looks(70_000)
    finally:
        gc.set_threshold(*before)
    assert 0 < rarely < often / 10
