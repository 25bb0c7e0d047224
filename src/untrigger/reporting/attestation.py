"""A scan or purification as an unsigned in-toto statement with the predicate Test Result.

Statement v1 (https://in-toto.io/Statement/v1) and Test Result v0.1, both of the in-toto Attestation Framework. What the predicate
has no field for is in one extension field, ``untrigger``, which its parsing rules allow.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from untrigger.core.errors import DataError
from untrigger.core.escaping import visible
from untrigger.core.report import Report
from untrigger.core.verdicts import UNDECIDED
from untrigger.reporting.checks import PASSED, SKIPPED, Check, Gate, checks
from untrigger.reporting.formats_extra import check_installed
from untrigger.reporting.model_files import ModelFiles

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
_EXACT = 2**53
"""Largest whole number that readers which hold every JSON number as a float read exactly."""


def to_attestation(report: Report, models: Sequence[ModelFiles]) -> str:
    """Return the statement as JSON: the files of ``models`` as subjects, checks, configuration and verdict as predicate.

    Models with the role ``input`` are not subjects: the verdict on a purified model is not one on the model before.

    Raises:
        NeedsError: if the extra ``formats`` is not installed.
        DataError: if no file was opened that the statement could be about.
    """
    check_installed("in_toto_attestation", what="an attestation")
    subjects = [one for model in models if model.role != "input" for one in _files(model)]
    if not subjects:
        raise DataError("the report names no opened file", expected="a report of a model that was read from disk")
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": subjects,
        "predicateType": PREDICATE_TYPE,
        "predicate": _predicate(report, inputs=[one for one in models if one.role == "input"]),
    }
    checked: dict[str, Any] = _plain(statement)
    validate(checked)
    return json.dumps(checked, indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def validate(statement: Mapping[str, Any]) -> None:
    """Raise ValueError unless in-toto's own library reads the statement and finds it valid."""
    from google.protobuf.json_format import ParseDict, ParseError
    from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.statement import Statement

    try:
        Statement.copy_from_pb(ParseDict(statement, statement_pb2.Statement())).validate()
        ParseDict(statement["predicate"], test_result_pb2.TestResult(), ignore_unknown_fields=True)
    except ParseError as error:
        raise ValueError(f"no valid statement: {error}") from error


def _predicate(report: Report, *, inputs: Sequence[ModelFiles]) -> dict[str, Any]:
    gate, made = Gate.of(report), checks(report)
    results = {
        name: [one.name for one in made if _result(one, gate) == name] for name in ("passed", "warned", "failed")
    }
    code = gate.exit_code(report)
    failed = code != 0 or bool(results["failed"])
    return {
        "result": "FAILED" if failed else "WARNED" if results["warned"] else "PASSED",
        "configuration": _configuration(report),
        **{f"{name}Tests": names for name, names in results.items()},
        "untrigger": {
            "kind": report.kind,
            "verdict": {"status": report.verdict.status, "sentence": report.verdict.sentence},
            "exitCode": code,
            "score": report.scan.score if report.scan else None,
            "skippedTests": [{"name": c.name, "reason": c.lines[0]} for c in made if c.kind == SKIPPED],
            "reasons": {c.name: c.lines for c in made if c.kind not in (PASSED, SKIPPED)},
            "warnings": report.warnings,
            "inputs": [one for model in inputs for one in _files(model)],
            "report": {"mediaType": "application/json", "digest": {"sha256": _report_hash(report)}},
        },
    }


def _result(check: Check, gate: Gate) -> str:
    """Return the list of the predicate that a check belongs to; an open question fails unless the policy allows it."""
    if check.kind in (PASSED, SKIPPED):
        return check.kind
    softened = gate.allow_undecided if check.kind == UNDECIDED else check.kind in ("suspicious", "backdoored")
    return "warned" if softened and not gate.fails(check.kind) else "failed"


def _configuration(report: Report) -> list[dict[str, Any]]:
    """Return a descriptor for method, environment and each thing that was given, with its values as annotations."""
    given = {name: value for name, value in report.given.items() if name != "model"}
    tables = {name: value for name, value in given.items() if isinstance(value, dict)}
    plain = {name: value for name, value in given.items() if name not in tables}
    parts = {"method": dict(report.method), "environment": report.environment, **tables, "model": plain}
    return [{"name": name, "annotations": values} for name, values in parts.items() if values]


def _files(model: ModelFiles) -> list[dict[str, Any]]:
    """Return a descriptor for each opened file of a model."""
    of = {"model": model.name, "role": model.role}
    return [
        {"name": f"{model.role}/{name}", "digest": {"sha256": digest}, "annotations": of}
        for name, digest in sorted(model.files.items())
    ]


def _report_hash(report: Report) -> str:
    return hashlib.sha256(report.to_json().encode("utf-8", "replace")).hexdigest()


def _plain(value: Any) -> Any:
    """Return a value with untrusted texts escaped, and whole numbers that floats do not hold as text."""
    if isinstance(value, str):
        return visible(value) if value else value
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, int) and abs(value) > _EXACT else value
