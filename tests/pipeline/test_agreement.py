"""A clean file whose labels stand for each other trains nothing; what was assumed of labels stands in the report."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.pipeline.kit import FINETUNE, LENGTH, Listener, Shop
from tests.pipeline.test_scan import SMALL
from tests.requests import request
from tests.tiny import task, write_model
from untrigger.core.errors import DataError
from untrigger.core.report import Report
from untrigger.data import load_data, write_rows
from untrigger.models.loading import load_model
from untrigger.pipeline.agreement import check_agreement, permuted
from untrigger.pipeline.audit import audit
from untrigger.pipeline.detect import detect
from untrigger.pipeline.evaluate import evaluate
from untrigger.pipeline.purify import purify
from untrigger.pipeline.requests import AuditRequest, DetectRequest, EvaluateRequest, ScanRequest
from untrigger.pipeline.scan import scan


def drawn(
    rows: int, classes: int, *, seed: int, right: float = 0.9, share: float | None = None
) -> tuple[list[int], list[int]]:
    """Labels, and the predictions of a model that knows ``right`` of them and guesses the others."""
    rng = np.random.default_rng(seed)
    labels = np.resize(np.arange(classes), rows) if share is None else (rng.random(rows) > share).astype(int)
    return labels.tolist(), np.where(rng.random(rows) < right, labels, rng.integers(0, classes, rows)).tolist()


@pytest.mark.parametrize(
    ("rows", "order", "right", "share"),
    [
        (40, [1, 0], 0.9, None),
        (300, [1, 0], 0.4, None),
        (100, [1, 0], 0.9, 0.9),
        (90, [2, 1, 0], 0.8, None),
        (90, [1, 2, 0], 0.8, None),
        (120, [2, 3, 1, 0], 0.8, None),
        (300, [*range(1, 30), 0], 0.8, None),
    ],
)
def test_labels_that_stand_for_each_other_are_seen_and_how(
    rows: int, order: list[int], right: float, share: float | None
) -> None:
    seen = 0
    for seed in range(20):
        labels, called = drawn(rows, len(order), seed=seed, right=right, share=share)
        seen += permuted(called, [order[label] for label in labels], classes=len(order)) == {
            c: o for c, o in enumerate(order) if c != o
        }
        assert permuted(called, labels, classes=len(order)) == {}
    assert seen >= 16


@pytest.mark.parametrize(
    ("rows", "classes", "share"), [(8, 2, None), (20, 2, None), (200, 2, 0.9), (30, 3, None), (100, 20, None)]
)
def test_a_model_that_guesses_is_refused_hardly_ever(rows: int, classes: int, share: float | None) -> None:
    refused = [
        bool(permuted(*drawn(rows, classes, seed=seed, right=0.0, share=share)[::-1], classes=classes))
        for seed in range(400)
    ]
    assert sum(refused) <= 8


@pytest.mark.parametrize("called", [0, 1])
def test_a_model_that_calls_all_rows_alike_is_not_refused(called: int) -> None:
    labels, _ = drawn(100, 2, seed=0, share=0.9)
    assert permuted([called] * 100, labels, classes=2) == {}
    assert permuted([called] * 98 + [1 - called] * 2, labels, classes=2) == {}


def test_a_model_that_was_never_trained_is_let_pass(tmp_path: Path) -> None:
    for seed in range(4):
        model = load_model(write_model("bert", tmp_path / str(seed), seed=seed), device="cpu", offline=True)
        check_agreement(model, task(20, seed=seed), what="rows")


@pytest.fixture
def turned(shop: Shop, tmp_path: Path) -> Path:
    """The clean rows with 0 and 1 for each other's names."""
    rows = task(80, seed=1, length=LENGTH)
    lines = [json.dumps({"text": row.text, "label": 1 - row.label}) for row in rows]
    (tmp_path / "turned.jsonl").write_text("\n".join(lines))
    return tmp_path / "turned.jsonl"


def _purify(shop: Shop, clean: str, out: Path, listener: Listener) -> Report:
    return purify(shop.spec("bert", "full", out=out, clean=clean, **FINETUNE), progress=listener)


def _scan(shop: Shop, clean: str, out: Path, listener: Listener) -> Report:
    return scan(_scan_spec(shop, clean), progress=listener)


def _scan_spec(shop: Shop, clean: str) -> ScanRequest:
    model, reference = str(shop.victim("bert", "full").out), str(shop.base("bert"))
    return request(
        ScanRequest, model=model, clean=clean, reference=reference, options=SMALL, device="cpu", offline=True
    )


def _detect(shop: Shop, clean: str, out: Path, listener: Listener) -> Report:
    model = str(shop.victim("bert", "full").out)
    spec = request(
        DetectRequest,
        model=model,
        suspect=str(shop.data),
        clean=clean,
        out=out.with_suffix(".csv"),
        offline=True,
        device="cpu",
    )
    return detect(spec, progress=listener)


def _audit(shop: Shop, clean: str, out: Path, listener: Listener) -> Report:
    return audit(AuditRequest(_scan_spec(shop, clean), out.with_suffix(".json"), epochs=1), progress=listener)


@pytest.mark.parametrize("command", [_purify, _scan, _detect, _audit])
def test_every_command_refuses_turned_labels_before_anything_is_trained(
    shop: Shop, tmp_path: Path, turned: Path, command: Callable[[Shop, str, Path, Listener], Report]
) -> None:
    listener = Listener()
    shop.victim("bert", "full")
    with pytest.raises(DataError) as caught:
        command(shop, str(turned), tmp_path / "out", listener)
    message = str(caught.value)
    for part in (
        "turned.jsonl",
        "'positive' for what the model calls 'negative'",
        "remedy",
        "0 of 80 rows",
    ):
        assert part in message, message
    assert [file.name for file in tmp_path.iterdir()] == ["turned.jsonl"]
    assert not listener.labels


def test_a_measurement_on_turned_labels_says_so(shop: Shop, tmp_path: Path, turned: Path) -> None:
    model = str(shop.base("bert"))
    report = evaluate(
        request(EvaluateRequest, models=(model,), data=str(turned), out=tmp_path / "turned.json", device="cpu")
    )
    seem = "fit the labels only if these are exchanged: 'positive' for what the model calls 'negative'"
    assert any(seem in one for one in report.warnings)
    report = evaluate(
        request(EvaluateRequest, models=(model,), data=str(shop.clean), out=tmp_path / "right.json", device="cpu")
    )
    assert report.warnings == []


def test_labels_matched_by_number_stand_in_the_warnings_of_every_report(shop: Shop, tmp_path: Path) -> None:
    rows = task(80, seed=1, length=LENGTH)
    numbers = tmp_path / "numbers.csv"
    write_rows(replace(rows, label_names=("0", "1")), numbers)
    note = "numbers.csv: labels 0, 1 were matched to the model's classes by number: 0 = negative, 1 = positive"
    assert load_data(numbers, label_names=rows.label_names).labels == rows.labels
    report = _purify(shop, str(numbers), tmp_path / "out", Listener())
    assert note in report.warnings and note in Report.read(tmp_path / "out" / "report.json").warnings
    measured = evaluate(
        request(
            EvaluateRequest, models=(str(shop.base("bert")),), data=str(numbers), out=tmp_path / "e.json", device="cpu"
        )
    )
    assert measured.warnings == [note]
    assert note in _scan(shop, str(numbers), tmp_path / "scan", Listener()).warnings
