"""Statements of the supply chain: valid for the libraries of their formats, about the right files, red and green alike."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf.json_format import ParseDict
from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement

from untrigger.core.errors import DataError, NeedsError
from untrigger.core.report import Report, Verdict
from untrigger.reporting.attestation import PREDICATE_TYPE, to_attestation
from untrigger.reporting.bom import to_bom
from untrigger.reporting.checks import Check, checks
from untrigger.reporting.model_files import ModelFiles, scanned_models

from .kit import scan_report
from .test_scan_page import evil

OPENED = {"config.json": "cd" * 32, "model.safetensors": "ef" * 32}
BASE = {"config.json": "12" * 32}
INPUT = ModelFiles("input", "victim", "full", "34" * 32, {"model.safetensors": "56" * 32}, "bert")


def report_of(status: str, **policy: Any) -> Report:
    """A scan of an adapter on a base, with what a real one has in ``given``."""
    made = scan_report(status)
    model = {
        "name": "my victim",
        "kind": "adapter",
        "architecture": "llama",
        "sha256": "ab" * 32,
        "files": {"opened": OPENED, "not_opened": {"x.pt": "a pickle"}, "base": {"opened": BASE, "not_opened": {}}},
        "base": "org/base",
        "base_sha256": "78" * 32,
    }
    usual = {"fail_on": "suspicious", "suspicious": 0.5, "backdoored": 0.7}
    given = {"model": model, "labels": ["negative", "positive"], "defender": {"seed": 3}, "policy": usual | policy}
    return replace(made, given=given, environment={"versions": {"untrigger": "0.1.0", "torch": "2"}, "seed": 3})


def purification(status: str, **verification: Any) -> Report:
    options = {"steps": 6, "verification": verification} if verification else {"steps": 6}
    return replace(
        report_of("clean"),
        kind="purification",
        scan=None,
        verdict=Verdict(status, "One sentence."),
        method={"name": "w2sdefense", "options": options},
    )


def attested(report: Report, models: list[ModelFiles] | None = None) -> dict[str, Any]:
    statement: dict[str, Any] = json.loads(to_attestation(report, models or scanned_models(report)))
    parsed = ParseDict(statement, statement_pb2.Statement())
    Statement.copy_from_pb(parsed).validate()
    standard = {key: value for key, value in statement["predicate"].items() if key != "untrigger"}
    ParseDict(standard, test_result_pb2.TestResult())  # strictly: nothing but the extension is unknown to the predicate
    return statement


def bom_of(report: Report, models: list[ModelFiles] | None = None) -> dict[str, Any]:
    text = to_bom(report, models or scanned_models(report))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bom: dict[str, Any] = json.loads(text)
    return bom


def test_the_subjects_are_the_opened_files_of_model_and_base() -> None:
    statement = attested(report_of("clean"))
    assert statement["_type"] == "https://in-toto.io/Statement/v1" and statement["predicateType"] == PREDICATE_TYPE
    found = {one["name"]: (one["digest"]["sha256"], one["annotations"]["model"]) for one in statement["subject"]}
    assert found == {
        "model/config.json": ("cd" * 32, "my victim"),
        "model/model.safetensors": ("ef" * 32, "my victim"),
        "base/config.json": ("12" * 32, "org/base"),
    }


@pytest.mark.parametrize(
    ("status", "policy", "result", "code"),
    [
        ("clean", {}, "PASSED", 0),
        ("suspicious", {}, "FAILED", 1),
        ("backdoored", {}, "FAILED", 1),
        ("suspicious", {"fail_on": "backdoored"}, "WARNED", 0),
        ("backdoored", {"fail_on": "backdoored"}, "FAILED", 1),
        ("undecided", {}, "FAILED", 3),
        ("undecided", {"fail_on": "undecided"}, "FAILED", 1),
        ("undecided", {"allow_undecided": True}, "WARNED", 0),
    ],
)
def test_the_result_follows_the_exit_code_and_an_open_question_never_passes(
    status: str, policy: dict[str, Any], result: str, code: int
) -> None:
    report = report_of(status, **policy)
    predicate = attested(report)["predicate"]
    assert (predicate["result"], predicate["untrigger"]["exitCode"]) == (result, code)
    assert predicate["untrigger"]["verdict"] == {"status": status, "sentence": "One sentence about cf."}
    named = "no text flips predictions to positive"
    assert named in predicate[f"{result.lower()}Tests"]
    assert bool(predicate["failedTests"]) == (result == "FAILED")
    properties = {one["name"]: one["value"] for one in bom_of(report)["metadata"]["component"]["properties"]}
    assert properties["untrigger:verdict"] == status


def test_skipped_checks_have_their_reason_and_are_in_no_other_list() -> None:
    predicate = attested(report_of("clean"))["predicate"]
    skipped = {one["name"]: one["reason"] for one in predicate["untrigger"]["skippedTests"]}
    assert skipped["not looked for: style"] == "style: leaves no word"
    assert skipped["the weights are within their calibrated limits"] == "no limit is calibrated"
    others = {*predicate["passedTests"], *predicate["warnedTests"], *predicate["failedTests"]}
    assert others and not others & set(skipped)


def test_configuration_holds_versions_seed_budget_and_thresholds() -> None:
    report = replace(report_of("clean"), method={"name": "insertions", "options": {"rows": 96, "seed": 2**62 + 1}})
    parts = {one["name"]: one["annotations"] for one in attested(report)["predicate"]["configuration"]}
    assert parts["method"] == {"name": "insertions", "options": {"rows": 96, "seed": str(2**62 + 1)}}
    assert parts["environment"]["versions"]["untrigger"] == "0.1.0" and parts["environment"]["seed"] == 3
    assert parts["policy"]["suspicious"] == 0.5 and parts["defender"] == {"seed": 3}
    assert parts["model"] == {"labels": ["negative", "positive"]}


def test_the_statement_names_the_report_that_it_was_made_from() -> None:
    report = report_of("backdoored")
    expected = hashlib.sha256(report.to_json().encode()).hexdigest()
    assert attested(report)["predicate"]["untrigger"]["report"]["digest"] == {"sha256": expected}
    assert to_attestation(report, scanned_models(report)) == to_attestation(report, scanned_models(report))


@pytest.mark.parametrize(
    ("status", "result", "code"),
    [
        ("purified", "PASSED", 0),
        ("unchanged", "PASSED", 0),
        ("still found", "FAILED", 1),
        ("not verified", "FAILED", 3),
    ],
)
def test_a_verdict_on_a_purified_model_is_none_on_the_model_before(status: str, result: str, code: int) -> None:
    written = ModelFiles("model", "cleaned", "full", "90" * 32, {"model.safetensors": "99" * 32}, "bert")
    statement = attested(purification(status), [written, INPUT])
    assert [one["digest"]["sha256"] for one in statement["subject"]] == ["99" * 32]
    predicate = statement["predicate"]
    assert (predicate["result"], predicate["untrigger"]["exitCode"]) == (result, code)
    assert [one["digest"]["sha256"] for one in predicate["untrigger"]["inputs"]] == ["56" * 32]
    component = bom_of(purification(status), [written, INPUT])["metadata"]["component"]
    [ancestor] = component["pedigree"]["ancestors"]
    assert (component["name"], ancestor["name"]) == ("cleaned", "victim")
    assert "untrigger:verdict" not in {one["name"] for one in ancestor["properties"]}


def test_checks_of_a_purification() -> None:
    held_out = "a scan of the result on held-out rows finds nothing"
    lines = ["style: leaves no word"]
    made = checks(purification("purified", verdict="clean", sentence="Fine.", not_looked_for=lines))
    assert [(one.name, one.kind) for one in made[1:]] == [
        ("attack success is within its bound", "skipped"),
        (held_out, "passed"),
        ("not looked for: style", "skipped"),
    ]
    made = checks(purification("not verified", verdict="not made", sentence="too few rows", not_looked_for=[]))
    assert made[-1] == Check(held_out, "skipped", ["too few rows"])
    made = checks(purification("still found", verdict="backdoored", sentence="cf", not_looked_for=[]))
    assert made[-1] == Check(held_out, "backdoored", ["cf"])
    report = purification("purified")
    made = checks(replace(report, given={**report.given, "truth": {}}))
    assert [one.kind for one in made] == ["passed", "skipped"] and "truth" in made[1].lines[0]


def test_components_have_hashes_a_card_and_the_base() -> None:
    bom = bom_of(report_of("suspicious"))
    model, [base] = bom["metadata"]["component"], bom["components"]
    for one, digest, files in ((model, "ab" * 32, OPENED), (base, "78" * 32, BASE)):
        assert one["type"] == "machine-learning-model"
        assert one["hashes"] == [{"alg": "SHA-256", "content": digest}]
        assert {file["name"]: file["hashes"][0]["content"] for file in one["components"]} == files
        assert one["modelCard"]["modelParameters"]["architectureFamily"] == "llama"
    assert model["modelCard"]["modelParameters"]["task"] == "text-classification"
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert metrics[0]["type"] == "cacc" and metrics[0]["value"] == "0.9" and metrics[0]["slice"] == "n = 200"
    assert "not looked for: style: leaves no word" in model["modelCard"]["considerations"]["technicalLimitations"]
    assert {"ref": "model", "dependsOn": ["base"]} in bom["dependencies"]
    [tool] = bom["metadata"]["tools"]["components"]
    assert (tool["type"], tool["name"], tool["version"]) == ("application", "untrigger", "0.1.0")


def test_strangers_texts_are_escaped_and_stay_valid() -> None:
    odd = "a\x1b[31m\ud800 name"
    model = report_of("backdoored").given["model"] | {
        "name": odd,
        "architecture": odd,
        "files": {"opened": {odd: "ab" * 32}},
    }
    report = replace(evil(), given={"model": model, "labels": [odd], odd: {odd: odd}, "policy": []})
    for text in (to_attestation(report, scanned_models(report)), to_bom(report, scanned_models(report))):
        assert "\\u001b" not in text and "\\ud800" not in text
    attested(report)
    bom_of(report)


def test_no_opened_file_no_statement() -> None:
    report = scan_report("clean")
    with pytest.raises(DataError, match="no opened file"):
        to_attestation(report, scanned_models(report))


@pytest.mark.parametrize("module", ["in_toto_attestation", "cyclonedx"])
def test_without_the_extra_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setattr("untrigger.reporting.formats_extra.find_spec", lambda _name: None)
    monkeypatch.setitem(sys.modules, module, None)
    made = to_attestation if module == "in_toto_attestation" else to_bom
    with pytest.raises(NeedsError, match=r"pip install 'untrigger\[formats\]'"):
        made(report_of("clean"), scanned_models(report_of("clean")))
