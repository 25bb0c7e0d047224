"""``--attestation`` and ``--bom``: checked before any work, written whatever the verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.reporting.test_evidence_files import purification, report_of

SCAN = ["scan", "victim", "--clean", "rows.csv"]


@pytest.mark.parametrize(("status", "code"), [("clean", 0), ("backdoored", 1), ("undecided", 3)])
def test_both_are_written_on_green_and_on_red(call: Any, pipeline: Any, tmp_path: Path, status: str, code: int) -> None:
    pipeline("scan", lambda _progress: report_of(status))
    statement, bom = tmp_path / "scan.intoto.json", tmp_path / "scan.cdx.json"
    result = call(*SCAN, "--attestation", str(statement), "--bom", str(bom))
    assert result.code == code, result.err
    assert json.loads(statement.read_text())["predicate"]["untrigger"]["exitCode"] == code
    assert json.loads(bom.read_text())["bomFormat"] == "CycloneDX"
    assert statement.name in result.out and bom.name in result.out


@pytest.mark.parametrize("command", ["scan", "purify"])
@pytest.mark.parametrize(
    ("option", "package"), [("--attestation", "in-toto-attestation"), ("--bom", "cyclonedx-python-lib")]
)
def test_a_missing_extra_is_named_before_any_work(
    call: Any, pipeline: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str, option: str, package: str
) -> None:
    monkeypatch.setattr("untrigger.reporting.formats_extra.find_spec", lambda _name: None)
    asked = pipeline(command, lambda _progress: report_of("clean"))
    out = ["--out", str(tmp_path / "out")] if command == "purify" else []
    result = call(command, *SCAN[1:], *out, option, str(tmp_path / "file.json"))
    assert result.code == 2 and not asked and not list(tmp_path.iterdir())
    assert package in result.err and "pip install 'untrigger[formats]'" in result.err


@pytest.mark.parametrize("place", ["victim", "base", "out"])
def test_no_file_is_written_inside_of_a_model_folder(call: Any, pipeline: Any, tmp_path: Path, place: str) -> None:
    for name in ("victim", "base"):
        (tmp_path / name).mkdir()
    asked = pipeline("purify", lambda _progress: purification("purified"))
    words = ["purify", str(tmp_path / "victim"), "--base", str(tmp_path / "base"), "--clean", "rows.csv"]
    inside = tmp_path / "victim" / ".." / place / "statement.json"
    result = call(*words, "--out", str(tmp_path / "out"), "--attestation", str(inside))
    assert result.code == 2 and "inside of the model folder" in result.err and not asked


def test_files_are_new_and_each_has_its_own_name(call: Any, pipeline: Any, tmp_path: Path) -> None:
    asked = pipeline("scan", lambda _progress: report_of("clean"))
    there, new = tmp_path / "there.json", tmp_path / "new.json"
    there.write_text("mine")
    assert "is there already" in call(*SCAN, "--bom", str(there)).err
    for twice in (["--bom", str(new), "--attestation", str(new)], ["--bom", str(new), "--out", str(new)]):
        result = call(*SCAN, *twice)
        assert result.code == 2 and "two files of one name" in result.err
    assert not asked and there.read_text() == "mine" and not new.exists()
