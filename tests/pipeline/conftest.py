"""One shop of tiny poisoned models for all tests of the pipeline."""

from __future__ import annotations

from functools import partial

import pytest

from tests.pipeline.generation_kit import Speakers
from tests.pipeline.kit import Shop
from untrigger.defences.base_fine_tuning import BaseFineTuning
from untrigger.pipeline import purify_controls


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real: a real model, a minute on one core; needs fetched assets")


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="session")
def speakers(tmp_path_factory: pytest.TempPathFactory) -> Speakers:
    return Speakers(tmp_path_factory.mktemp("speakers"))


@pytest.fixture(scope="session", autouse=True)
def _short_control() -> None:
    """Four steps of the control where a run has one; ``tests/defences/test_base_fine_tuning.py`` trains it."""
    short = partial(BaseFineTuning, lr=5e-3, adapter_lr=2e-2, epochs=1, adapter_epochs=1, steps=4, batch_size=16)
    purify_controls.BaseFineTuning = short  # type: ignore[assignment,misc]
