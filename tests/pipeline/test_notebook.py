"""The notebook of the documentation: its code runs as it stands on tiny models, and its outputs are of one run of that code in order."""

from __future__ import annotations

import json
import re
import tempfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.kit import LENGTH, SMALL, VERIFIER, Shop
from tests.tiny import task
from untrigger.data import write_rows

ROOT = Path(__file__).parents[2]
NOTEBOOK: dict[str, Any] = json.loads((ROOT / "docs" / "notebooks" / "walkthrough.ipynb").read_text(encoding="utf-8"))
CODE = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
SUBJECTS = {"victim", "finetuned", "purified", "clean"}


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def printed() -> str:
    """What the committed run printed."""
    return "".join("".join(one["text"]) for cell in CODE for one in cell["outputs"] if one["output_type"] == "stream")


def attack_success(text: str, subject: str) -> float:
    return [float(found) for found in re.findall(rf"attack success +{subject} +([\d.]+) %", text)][-1]


executed = pytest.mark.skipif(
    all(cell["execution_count"] is None for cell in CODE), reason="the notebook has no outputs yet: run `make notebook`"
)


@pytest.fixture
def small(shop: Shop, tmp_path: Path) -> dict[str, Any]:
    """Tiny models and rows in the place of the parameters of the notebook."""
    data = tmp_path / "reviews"
    data.mkdir()
    for seed, (split, count) in enumerate({"train": 300, "test": 80}.items()):
        write_rows(task(count, seed=10 + seed, length=LENGTH), data / f"{split}.csv")
    return {
        "encoder": str(shop.base("bert")),
        "teacher": str(shop.teacher),
        "dataset": str(data),
        "train_rows": 200,
        "test_rows": 60,
        "clean_rows": 80,
        "scan_options": VERIFIER,
        "purify_options": SMALL["w2sdefense"],
    }


def test_the_code_runs_as_it_stands(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every cell in order, with other values of the one cell that is tagged ``parameters``."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    room: dict[str, Any] = {}
    for cell in CODE:
        exec(compile(source(cell), f"cell {cell['id']}", "exec"), room)
        if "parameters" in cell["metadata"].get("tags", ()):
            assert set(small) <= set(room), "a parameter of this test is none of the notebook"
            room.update(small)
    assert {one.subject for one in room["report"].measurements} >= SUBJECTS
    assert room["scanned"].scan.candidates
    assert (room["work"] / "purified" / "adapter_config.json").is_file()
    text = capsys.readouterr().out
    assert all(f"attack success  {subject}" in text for subject in SUBJECTS)
    rates = re.findall(r"^(?:attack success|clean accuracy) .*$", text, re.MULTILINE)
    assert len(rates) >= 2 * len(SUBJECTS) and not any("not measured" in line for line in rates)


def test_one_cell_holds_the_parameters() -> None:
    assert [cell["metadata"].get("tags") for cell in CODE].count(["parameters"]) == 1


@executed
def test_the_outputs_are_of_this_code_in_this_order() -> None:
    spec = spec_from_file_location("notebook", ROOT / "benchmarks" / "notebook.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    assert [cell["execution_count"] for cell in CODE] == list(range(1, len(CODE) + 1))
    assert NOTEBOOK["metadata"]["untrigger"]["code_sha256"] == module.code_sha256(NOTEBOOK), "run `make notebook`"


@executed
def test_the_outputs_are_small_and_name_no_machine() -> None:
    outputs = json.dumps([cell["outputs"] for cell in CODE])
    assert not re.search(r"(?<![\w.])/(?:tmp|home|root|work|var|opt|usr|Users)\b|site-packages|\.venv", outputs)
    assert "error" not in {one["output_type"] for cell in CODE for one in cell["outputs"]}
    assert "stderr" not in {one.get("name") for cell in CODE for one in cell["outputs"]}
    assert len(outputs) < 200_000
    assert outputs.count('"image/png"') == 2


@executed
def test_what_the_text_says_is_true_of_the_run() -> None:
    """There was a backdoor, the scan found it, and purification beats plain fine-tuning by far."""
    text = printed()
    assert attack_success(text, "victim") > 95
    assert re.search(r"^(backdoored|suspicious): ", text, re.MULTILINE)
    assert attack_success(text, "purified") < attack_success(text, "finetuned") - 30
    assert re.search(r"attack success +victim +[\d.]+ % \([\d.]+ to [\d.]+, n = \d{3}\)", text)
