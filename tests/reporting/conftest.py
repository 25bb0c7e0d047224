"""Reports to draw: a full one, a poor one, and one full of hostile text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.reporting.kit import finding
from untrigger.core.report import Curve, Report, Stage, Verdict
from untrigger.core.statistics import Measurement, rate, unpaired_difference

HASH = "9f2c1d0b7a6e5f4c3b2a19080716253443526170fedcba98f0e1d2c3b4a59687"
EVIL = (
    "</title><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>' \" {{7*7}} | $\\frac{ % & # ~"
)


def share(hits: int, n: int, *, subject: str, metric: str) -> Measurement:
    return rate([True] * hits + [False] * (n - hits), subject=subject, metric=metric)


def measurements() -> list[Measurement]:
    result = []
    for subject, asr, hit, cacc in (
        ("victim", 97, 7, 180),
        ("finetuned", 75, 7, 179),
        ("base_finetuned", 8, 7, 150),
        ("purified", 6, 6, 178),
        ("clean", 5, 6, 181),
    ):
        result.append(share(asr, 100, subject=subject, metric="asr"))
        result.append(share(hit, 100, subject=subject, metric="untriggered_hit_rate"))
        result.append(share(cacc, 200, subject=subject, metric="cacc"))
    by_name = {(m.subject, m.metric): m for m in result}
    result.append(unpaired_difference(by_name["purified", "asr"], by_name["clean", "asr"], metric="excess_asr"))
    result.append(Measurement("victim", "accuracy_gain", 0.15, 0.1, 0.2, 200))
    result.append(Measurement("purified", "gain_kept", 28 / 30, 0.8, 1.05, 200))
    result.append(Measurement("finetuned", "gain_kept", None, None, None, 200))
    return result


def points(label: str = "negative") -> dict[str, Any]:
    places = [(s, i, t) for s in ("victim", "purified") for i in range(6) for t in (False, True)]
    result = [{"subject": s, "x": i / 2, "y": i * i / 3, "label": label, "triggered": t} for s, i, t in places]
    return {"method": "PCA", "points": result}


@pytest.fixture
def full() -> Report:
    return Report(
        kind="purification",
        title="a review model, purified",
        verdict=Verdict("purified", "The trigger no longer works."),
        given={"seed": 0, "clean": {"rows": 400, "sha256": HASH}, "teacher": "gte-small"},
        method={"name": "w2sdefense", "options": {"lr": 2e-4, "epochs": 4}},
        environment={"torch": "2.9.0", "machine": "x86_64"},
        stages=[Stage("teach", 61.0, 118.0, 2**30, 400), Stage("unlearn", 139.0, 270.0, 2**31, 300)],
        measurements=measurements(),
        outcomes="outcomes.csv",
        warnings=["one seed only"],
        curves=[
            Curve("total loss", "Unlearning", list(range(100)), [1 / (i + 1) for i in range(100)]),
            Curve("dev accuracy", "Unlearning", [1, 2, 3], [0.7, None, 0.9], x_label="epoch", y_label="dev score"),
        ],
        features=points(),
        findings=[
            finding("tedious", "negative", 0.31, 0.28, round=2, truth=False),
            finding("cf", "negative", 0.95, 0.06, round=1, truth=True),
        ],
    )


@pytest.fixture
def poor() -> Report:
    """No truth file, no drawing material: only what any run knows."""
    cacc = [share(180, 200, subject="victim", metric="cacc"), share(178, 200, subject="purified", metric="cacc")]
    asr = Measurement("purified", "asr", None, None, None, 0)
    return Report("purification", "bare", Verdict("not proven", "Nobody has measured it."), measurements=[*cacc, asr])


@pytest.fixture
def evil(full: Report) -> Report:
    """A stranger's text in every place that takes text."""
    return replace(
        full,
        title=EVIL,
        verdict=Verdict(EVIL, EVIL),
        given={EVIL: EVIL, "path": {EVIL: EVIL}},
        method={"name": EVIL, "options": {EVIL: EVIL, "list": [EVIL]}},
        environment={EVIL: EVIL},
        stages=[Stage(EVIL, 1.0, 1.0, 1, 1)],
        measurements=[*full.measurements, share(1, 2, subject=EVIL, metric=EVIL)],
        outcomes=EVIL,
        warnings=[EVIL],
        curves=[Curve(EVIL, EVIL, [1, 2], [1, 2], x_label=EVIL, y_label=EVIL)],
        features={"method": EVIL, "points": [{**p, "label": EVIL, "subject": EVIL} for p in points()["points"]]},
        findings=[finding(EVIL, EVIL, 0.9, 0.1, round=1)],
    )
