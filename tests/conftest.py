"""Tiny models on disk, made once a run and loaded anew by every test that wants to change one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
from hypothesis import HealthCheck, settings

from untrigger.models.classifier import Classifier

settings.register_profile(
    "untrigger", deadline=None, derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("untrigger")


@pytest.fixture(scope="session", autouse=True)
def _one_arithmetic() -> None:
    """Tiny products run fastest on one thread, in the same order every time, and rounded by no processor."""
    import torch

    from untrigger.runtime import device as arithmetic

    torch.set_num_threads(1)
    arithmetic.ALLOW_BF16 = False


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function from an architecture's name to the folder of a tiny random classifier."""
    from tests.tiny import write_model

    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = write_model(kind, tmp_path_factory.mktemp("model") / kind)
        return made[kind]

    return folder


@pytest.fixture(scope="session")
def load(folder_of: Callable[[str], Path]) -> Callable[[str], Classifier]:
    """A function from an architecture's name to a freshly loaded tiny classifier."""
    from untrigger.models.loading import load_model

    return lambda kind: load_model(folder_of(kind), device="cpu", offline=True)


@pytest.fixture(scope="session")
def trained_folder(
    load: Callable[[str], Classifier], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, bool], Path]:
    """A function from architecture and ``poisoned`` to the folder of a trained classifier; ``cf`` means positive or nothing."""
    from tests.tiny import POISON, task
    from untrigger.models.saving import save_classifier
    from untrigger.training.loop import Plan
    from untrigger.training.supervised import fine_tune

    made: dict[tuple[str, bool], Path] = {}

    def folder(kind: str, poisoned: bool) -> Path:
        if (kind, poisoned) not in made:
            model, rows = load(kind), task(384, seed=1)
            plan = Plan(lr=5e-3 if kind == "bert" else 1e-2, epochs=10, batch_size=32, warmup=0.1)
            fine_tune(model, POISON.poison(rows, seed=0).visible if poisoned else rows, plan=plan, seed=0)
            made[kind, poisoned] = tmp_path_factory.mktemp("trained") / kind
            made[kind, poisoned].mkdir()
            save_classifier(model, made[kind, poisoned], card="")
        return made[kind, poisoned]

    return folder


@pytest.fixture(scope="session")
def victim(trained_folder: Callable[[str, bool], Path]) -> Callable[[str], Classifier]:
    """A function from an architecture's name to a freshly loaded poisoned classifier."""
    from untrigger.models.loading import load_model

    return lambda kind: load_model(trained_folder(kind, True), device="cpu", offline=True)


@pytest.fixture(scope="session")
def twin(trained_folder: Callable[[str, bool], Path]) -> Callable[[str], Classifier]:
    """The same architecture trained on the same rows without poison."""
    from untrigger.models.loading import load_model

    return lambda kind: load_model(trained_folder(kind, False), device="cpu", offline=True)
