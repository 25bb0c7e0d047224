"""One shop of tiny poisoned models for all tests of the pipeline."""

from __future__ import annotations

import pytest

from tests.pipeline.kit import Shop


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real: a real model, a minute on one core; needs fetched assets")


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("shop"))
