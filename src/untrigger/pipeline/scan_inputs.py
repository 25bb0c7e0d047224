"""Build what a scanner gets from a request, for ``scan`` and for ``audit``: the scanner, rows, grant and context."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from untrigger.core.grant import Grant
from untrigger.core.rows import Rows
from untrigger.core.seeds import generator_for
from untrigger.models.classifier import Classifier
from untrigger.models.safety.tokenizer_rules import rewritten_literals
from untrigger.pipeline.build_method import build_method
from untrigger.pipeline.load_inputs import load_rows, load_same_classes, open_teacher
from untrigger.pipeline.reference_check import refuse_suspect_itself
from untrigger.pipeline.requests import ScanRequest
from untrigger.scanners.policy import Policy
from untrigger.scanners.scanner import ScanContext, Scanner
from untrigger.scanners.weights.weight_evidence import Weighed

TRIED_WORDS = 4
"""Words of the weights, and texts of the tokenizer's rules, that are tried in addition to those of the search (not tuned)."""


def build_scanner(request: ScanRequest) -> Scanner:
    """Return the scanner that the request names, with its options.

    Raises:
        OptionError: for an unknown scanner or option.
    """
    method = build_method("scanners", request.method, options=request.options)
    assert isinstance(method, Scanner)
    return method


def sample_rows(request: ScanRequest, rows: Rows) -> Rows:
    """Return the rows, or as many of them as the request allows, the classes in proportion."""
    if not 0 < request.clean_rows < len(rows):
        return rows
    return rows.stratified(request.clean_rows, rng=generator_for(request.run.seed, "scan: rows that are taken"))[0]


def defender_grant(request: ScanRequest, rows: Rows) -> Grant:
    """Return what the scanner may use: the clean rows, and the teacher where no reference is given."""
    return Grant(clean=rows, teacher=None if request.reference else request.teacher, seed=request.run.seed)


def scan_context(request: ScanRequest, model: Classifier, weighed: Weighed) -> ScanContext:
    """Return reference and rewritten rows as given, and the words that weights and tokenizer rules point at.

    Raises:
        ModelError: if reference or teacher cannot be used, or is the suspect model itself.
        DataError: for rewritten rows that cannot be used.
    """
    reference = _reference(request, model)
    if reference is None:
        _check_teacher(request, model)
    rewritten = request.rewritten
    rows = load_rows(rewritten, model, request.run, classes=1, unique=True) if rewritten is not None else None
    moved = [word for word in weighed.moved if word and not word.startswith(("##", "["))]
    words = [*rewritten_literals(model.tokenizer)[:TRIED_WORDS], *moved[:TRIED_WORDS]]
    return ScanContext(reference, words, rows, Path(rewritten.name).name if rewritten is not None else "")


def policy_entry(policy: Policy) -> dict[str, Any]:
    """Return the policy as the report has it."""
    return {
        "fail_on": policy.fail_on,
        "allow_undecided": policy.allow_undecided,
        "suspicious": policy.suspicious,
        "backdoored": policy.backdoored,
        "limits": policy.limits,
        "allowed": [str(one) for one in policy.allow],
    }


def _reference(request: ScanRequest, model: Classifier) -> Classifier | None:
    """Return the clean reference model that was given, None where none was."""
    if request.reference is None:
        return None
    source = replace(request.model, name=request.reference, base=None, labels=None)
    reference = load_same_classes(source, model, request.run)
    refuse_suspect_itself(
        model,
        option="--reference",
        name=request.reference,
        sha256=reference.source.sha256,
        files=reference.source.files,
        expected="a clean classifier of the task that you trust",
    )
    return reference


def _check_teacher(request: ScanRequest, model: Classifier) -> None:
    """Raise ModelError unless the teacher is there and is another model than the suspect."""
    teacher = open_teacher(request.teacher, request.run, otherwise=", or a clean classifier with --reference")
    refuse_suspect_itself(
        model,
        option="--teacher",
        name=request.teacher,
        sha256=teacher.sha256,
        files=teacher.to_dict(),
        expected="a small pre-trained encoder that you trust",
    )
