"""What a stage is charged with is its own."""

from __future__ import annotations

import pytest

from untrigger.runtime import cost as module
from untrigger.runtime.cost import Clock


def test_a_stage_is_charged_with_memory_only_where_it_took_more_than_all_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peaks = iter([100, 300, 300, 300, 300, 500])
    monkeypatch.setattr(module, "peak_memory", lambda: next(peaks))
    clock = Clock()
    for name in ("load", "purify", "evaluate"):
        with clock.stage(name):
            pass
    assert [(one.name, one.peak_rss_bytes) for one in clock.stages] == [
        ("load", 300),
        ("purify", None),
        ("evaluate", 500),
    ]


def test_memory_that_was_really_taken_is_seen() -> None:
    clock = Clock()
    with clock.stage("before"):
        floor = module.peak_memory()
    with clock.stage("large"):
        block = bytearray(floor + 2**26)
        block[:: 2**12] = bytes(len(range(0, len(block), 2**12)))
    del block
    with clock.stage("small"):
        pass
    large, small = clock.stages[1].peak_rss_bytes, clock.stages[2].peak_rss_bytes
    assert large is not None and large > floor + 2**25
    assert small is None
