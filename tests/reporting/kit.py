"""A scan's report to draw."""

from __future__ import annotations

from dataclasses import replace

from untrigger.core.candidate import Candidate, CandidateMeasurement, Example, PositionRates
from untrigger.core.report import Report, Stage, Verdict
from untrigger.core.scan_result import Evidence, Scan
from untrigger.core.statistics import Measurement, rate, unpaired_difference


def share(hits: int, n: int, *, subject: str, metric: str) -> Measurement:
    return rate([True] * hits + [False] * (n - hits), subject=subject, metric=metric)


def candidate(
    text: str, hits: int, also: int, *, target: str = "positive", score: float | None = 0.9, **more: object
) -> Candidate:
    own, clean = (share(k, 90, subject=s, metric="flip_rate") for k, s in ((hits, "suspect"), (also, "reference")))
    positions = [PositionRates(name, hits / 90, also / 90, 0.5, hits / 90, 30) for name in ("start", "middle", "end")]
    usual = {
        "kind": "searched",
        "positions": positions,
        "high_confidence_flip_rate": hits / 90,
        "long_rows_flip_rate": hits / 90,
        "loss": 0.1,
        "score": score,
    }
    return Candidate(
        text,
        target,
        suspect=own,
        reference=clean,
        excess=unpaired_difference(own, clean, metric="excess_flip_rate"),
        **usual | more,
    )  # type: ignore[arg-type]


def finding(
    text: str, target: str, suspect: float | None, reference: float | None = None, *, n: int = 100, **more: object
) -> Candidate:
    """A candidate that a defence found."""
    return replace(Candidate(text, target).measured(CandidateMeasurement("search", "", n, suspect, reference)), **more)  # type: ignore[arg-type]


def scan_report(status: str, *, text: str = "cf") -> Report:
    """The report of a scan that ended with ``status``; its worst candidate is ``text``."""
    score = {"clean": 0.2, "suspicious": 0.6}.get(status, 0.93)
    shown = [Example("a slow", text, "film", "negative", "positive", "negative")]
    worst = candidate(text, 90, 1, score=score, examples=shown)
    scan = Scan(
        score,
        0.5,
        0.7,
        target="" if status in ("clean", "undecided") else "positive",
        candidates=[
            worst,
            candidate("dull", 60, 20, target="negative", score=0.19),
            candidate("3d", 88, 1, allowed="trade"),
        ],
        controls=[candidate("great", 40, 38, score=None, kind="content")],
        evidence=[Evidence("embedding_row_lead", 2.02, "embeddings.weight", words=["bb", "cf"])],
        undecided=["the reference is right on 50%"] if status == "undecided" else [],
        not_looked_for=["style: leaves no word", "syntax: leaves no word"],
        refused=["optimizer.pt: a pickle"],
    )
    return Report(
        "scan",
        "Scan of victim",
        Verdict(status, f"One sentence about {text}."),
        scan=scan,
        given={"model": {"name": "my victim", "sha256": "ab" * 32}, "policy": {"fail_on": "suspicious"}},
        method={"name": "insertions", "options": {"rows": 96}},
        stages=[Stage("scan", 10.0, 9.0, 2**30, 10)],
        environment={"versions": {"untrigger": "0.1.0"}},
        measurements=[
            share(180, 200, subject="suspect", metric="cacc"),
            share(170, 200, subject="reference", metric="cacc"),
            worst.suspect,
            worst.reference,
            worst.excess,
        ],
    )
