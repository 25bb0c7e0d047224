"""``canary``: a bound holds only at the worse end of its interval; too few rows decide nothing; pins are checked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.kit import LENGTH, Shop
from tests.tiny import task
from untrigger.cli.main import main
from untrigger.core.errors import DataError, OptionError
from untrigger.core.report import Report
from untrigger.core.rows import Rows
from untrigger.core.statistics import Measurement, rate
from untrigger.data import DataSource, write_rows
from untrigger.pipeline.canary import canary, canary_verdict, pinned_hash
from untrigger.pipeline.requests import CanaryRequest, ModelInput, RunOptions

REQUEST = CanaryRequest(ModelInput("model"), DataSource("clean.csv"), DataSource("triggered.csv"), "positive")


def share(hits: int, n: int, metric: str) -> Measurement:
    return rate([True] * hits + [False] * (n - hits), subject="suspect", metric=metric)


@pytest.mark.parametrize(
    ("right", "rows", "flipped", "triggered", "status"),
    [
        (100, 100, 0, 100, "held"),
        (
            80,
            100,
            0,
            100,
            "bound not met",
        ),  # the accuracy itself meets its bound, the lower end of the interval does not
        (100, 100, 10, 100, "bound not met"),
        (100, 100, 4, 100, "held"),
        (100, 100, 5, 100, "bound not met"),
        (16, 16, 0, 35, "held"),  # the fewest rows that can show the two bounds
        (15, 15, 0, 35, "undecided"),
        (16, 16, 0, 34, "undecided"),
        (16, 16, 0, 0, "undecided"),
        (16, 16, 10, 10, "bound not met"),  # few rows, and the trigger works on all of them
        (0, 10, 0, 10, "bound not met"),  # one bound is broken, the other cannot be decided
    ],
)
def test_the_worse_end_decides(right: int, rows: int, flipped: int, triggered: int, status: str) -> None:
    verdict = canary_verdict(share(right, rows, "cacc"), share(flipped, triggered, "asr"), request=REQUEST)
    assert verdict.status == status, verdict.sentence
    assert verdict.sentence.count(":") == 2


def test_looser_bounds_need_fewer_rows() -> None:
    loose = replace(REQUEST, min_accuracy=0.5, max_asr=0.5)
    assert canary_verdict(share(4, 4, "cacc"), share(0, 4, "asr"), request=loose).status == "held"
    assert canary_verdict(share(3, 3, "cacc"), share(0, 4, "asr"), request=loose).status == "undecided"


def request_of(shop: Shop, model: Path, **changes: Any) -> CanaryRequest:
    truth = shop.victim("bert", "full").truth
    usual = {
        "model": ModelInput(str(model)),
        "clean": DataSource(str(truth / "test_clean.csv")),
        "triggered": DataSource(str(truth / "test_triggered.csv")),
        "target": "positive",
        "max_asr": 0.6,
        "run": RunOptions(device="cpu", offline=True),
    }
    return CanaryRequest(**usual | changes)


def test_the_victim_fails_and_the_clean_model_holds(shop: Shop) -> None:
    victim = shop.victim("bert", "full")
    report = canary(request_of(shop, victim.out))
    assert report.verdict.status == "bound not met"
    asr = report.find("suspect", "asr")
    assert asr is not None and asr.value is not None and asr.value > 0.7 and asr.n == 50
    clean = canary(request_of(shop, victim.truth / "clean-model"))
    assert clean.verdict.status == "held", clean.verdict.sentence
    assert clean.given["clean"] == report.given["clean"], "the hash does not depend on the model"
    assert Report.from_json(report.to_json()) == report


def test_other_rows_than_the_pinned_ones_are_refused(shop: Shop, tmp_path: Path) -> None:
    victim = shop.victim("bert", "full")
    given = canary(request_of(shop, victim.out)).given
    pins = (given["clean"]["sha256"], given["triggered"]["sha256"].upper())
    assert canary(request_of(shop, victim.out, pins=pins)).given["pinned"] is True
    with pytest.raises(DataError, match="the triggered set has the hash"):
        canary(request_of(shop, victim.out, pins=(pins[0], pins[0])))
    other = write_rows(task(40, seed=8, length=LENGTH), tmp_path / "other.csv")
    with pytest.raises(DataError, match="the clean set has the hash"):
        canary(request_of(shop, victim.out, pins=pins, clean=DataSource(str(other))))


def test_the_hash_of_a_set_does_not_depend_on_the_order_of_the_classes() -> None:
    rows = Rows.of(["good", "bad"], [1, 0], label_names=("negative", "positive"))
    turned = Rows.of(["good", "bad"], [0, 1], label_names=("positive", "negative"))
    assert pinned_hash(rows) == pinned_hash(turned) == rows.content_hash()
    assert pinned_hash(rows) != pinned_hash(rows.with_labels([0, 0])) != pinned_hash(rows.with_texts(["good", "sad"]))


@pytest.mark.parametrize(
    "changes",
    [{"pins": ("ab",)}, {"pins": ("ab" * 32,)}, {"pins": ("x" * 64,) * 2}, {"max_asr": 0.0}, {"min_accuracy": 1.0}],
)
def test_bounds_and_pins_are_checked_before_any_work(changes: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        replace(REQUEST, **changes)


def test_an_unknown_target_is_refused(shop: Shop) -> None:
    with pytest.raises(OptionError, match="did you mean: positive"):
        canary(request_of(shop, shop.victim("bert", "full").out, target="positiv"))


@pytest.mark.parametrize("suffix", ["json", "md"])
def test_the_command_ends_by_its_verdict(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    victim, out = shop.victim("bert", "full"), tmp_path / f"canary.{suffix}"
    sets = ["--clean", str(victim.truth / "test_clean.csv"), "--triggered", str(victim.truth / "test_triggered.csv")]
    words = [*sets, "--target", "positive", "--max-asr", "0.6", "--device", "cpu", "--offline"]
    assert main(["canary", str(victim.out), *words, "--out", str(out)]) == 1
    assert "--pin " in capsys.readouterr().out
    text = out.read_text(encoding="utf-8")
    assert (
        text.startswith("# Canary of") if suffix == "md" else json.loads(text)["verdict"]["status"] == "bound not met"
    )
    assert main(["canary", str(victim.truth / "clean-model"), *words, "--quiet"]) == 0
    assert main(["canary", str(victim.out), *words, "--out", str(out)]) == 2, "the report is a new file"
    assert main(["canary", str(victim.out), *words, "--out", str(tmp_path / "canary.pdf")]) == 2
