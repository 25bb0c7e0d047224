"""A quick scanner, its clean rows, and candidates measured on held-out rows: shared by the tests of scans."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.tiny import task
from untrigger.core.candidate import Candidate
from untrigger.inversion.flip_rates import measure_in_turn
from untrigger.inversion.held_out import HeldOutSet
from untrigger.inversion.search import SearchOptions
from untrigger.models.classifier import Classifier
from untrigger.scanners.confirm import ConfirmationOptions
from untrigger.scanners.insertion_scanner import InsertionScanner
from untrigger.training.teacher_training import TeacherOptions

Load = Callable[[str], Classifier]
KINDS = pytest.mark.parametrize("kind", ["bert", "llama"])
CLEAN = task(240, seed=41)
QUICK = InsertionScanner(
    rows=48,
    confirmation=ConfirmationOptions(candidates=4, content_words=2),
    search=SearchOptions(first=32, sweeps=1, probe=16),
    teacher=TeacherOptions(lr=5e-3, epochs=8, warmup=0.1),
)


def measured(texts: list[str], held_out: HeldOutSet) -> list[Candidate]:
    return measure_in_turn([Candidate(text, held_out.label) for text in texts], held_out)
