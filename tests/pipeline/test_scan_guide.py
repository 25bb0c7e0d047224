"""A scan without clean rows says what it needs and what can be done, from the model's files alone."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.models.kit import edit
from tests.requests import request
from tests.tiny import write_model
from untrigger.core.errors import ModelError
from untrigger.models.adapters import AdapterOptions, attach
from untrigger.models.loading import load_model
from untrigger.models.saving import save_classifier
from untrigger.pipeline.requests import ScanRequest
from untrigger.pipeline.scan import scan
from untrigger.pipeline.scan_guide import MissingRowsError


@pytest.fixture
def victim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny BERT with the classes of the film reviews, and no asset on the machine."""
    monkeypatch.setenv("UNTRIGGER_HOME", str(tmp_path / "home"))
    return write_model("bert", tmp_path / "a victim")


def refused(**changes: Any) -> MissingRowsError:
    with pytest.raises(MissingRowsError) as caught:
        scan(request(ScanRequest, **{"offline": True, **changes}))
    return caught.value


def commands(error: MissingRowsError) -> list[str]:
    return [one["command"] for one in error.details["commands"]]


def test_it_names_columns_classes_rows_and_commands(victim: Path) -> None:
    error = refused(model=str(victim))
    assert error.exit_code == 2
    assert "full weights (bert) with 2 classes" in error.what
    for text in (
        "column text",
        "column label",
        "negative, positive",
        "at least 8 rows",
        "140 rows for the verdict clean",
    ):
        assert text in (error.expected or "")
    name = shlex.quote(str(victim))
    assert commands(error) == [
        f"untrigger scan {name} --clean rows.csv",
        f"untrigger scan {name} --clean mr",
        f"untrigger scan {name} --clean cr",
        f"untrigger scan {name} --clean imdb",
        f"untrigger scan {name} --clean rows.csv --reference MODEL",
        "untrigger assets fetch minilm-l6",
        f"untrigger scan {name} --static-only",
    ]
    assert all(one in (error.remedy or "") for one in commands(error))


def test_other_classes_have_no_embedded_data_and_nameless_ones_need_their_names(victim: Path) -> None:
    edit(victim / "config.json", id2label={"0": "left", "1": "right"}, label2id={"left": 0, "right": 1})
    assert refused(model=str(victim)).details["embedded_data"] == []
    edit(victim / "config.json", id2label={"0": "LABEL_0", "1": "LABEL_1"}, label2id={"LABEL_0": 0, "LABEL_1": 1})
    error = refused(model=str(victim))
    assert any(one.endswith("--clean spam --labels ham,spam") for one in commands(error))
    error = refused(model=str(victim), labels=("ham", "spam"))
    assert error.details["embedded_data"] == ["spam"]
    assert commands(error)[0].endswith("--labels ham,spam --clean rows.csv")


def test_an_adapter_without_its_base_still_gets_a_guide(victim: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    model = load_model(victim, device="cpu")
    save_classifier(attach(model, AdapterOptions(rank=2, targets=("query",))), alone, card="")
    assert refused(model=str(alone)).details["model"]["kind"] == "adapter"
    edit(alone / "adapter_config.json", base_model_name_or_path="someone/nothing")
    error = refused(model=str(alone))
    assert "known with its base only" in error.what
    assert error.details["model"]["labels"] == []


def test_a_model_that_cannot_be_opened_is_its_own_message(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no model folder"):
        scan(request(ScanRequest, model=str(tmp_path / "nothing"), offline=True))
