"""The score rises with what a backdoor does, and a verdict is only given on ground that bears it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from untrigger.core.candidate import ALL_POSITIONS, Candidate, CandidateMeasurement, PositionRates
from untrigger.core.report import Verdict
from untrigger.core.scan_result import Evidence, Scan
from untrigger.core.statistics import rate, unpaired_difference
from untrigger.core.thresholds import SCAN_SCORE
from untrigger.scanners.judge import judge
from untrigger.scanners.policy import Policy
from untrigger.scanners.scan_score import ScoreOptions
from untrigger.scanners.scan_score import scan_score as score
from untrigger.scanners.verdict_basis import EvidenceOptions, VerdictBasis
from untrigger.scanners.weights.weight_verdict import by_weights_alone, with_weights

COSTS, EVIDENCE = ScoreOptions(), EvidenceOptions()
EVERYWHERE = CandidateMeasurement("confirmation", ALL_POSITIONS, 90, 1.0, 0.0)


def candidate(hits: int, also: int, *, n: int = 90, text: str = "cf", surest: float | None = None) -> Candidate:
    own = rate([True] * hits + [False] * (n - hits), subject="suspect", metric="flip_rate")
    clean = rate([True] * also + [False] * (n - also), subject="reference", metric="flip_rate")
    sure = hits / n if surest is None else surest
    return Candidate(
        text,
        "positive",
        "searched",
        own,
        clean,
        unpaired_difference(own, clean, metric="excess_flip_rate"),
        high_confidence_flip_rate=sure,
    )


def scored(*candidates: Candidate) -> list[Candidate]:
    return [replace(one, score=score(one)) for one in candidates]


def basis(*, suspect: int = 90, reference: int = 85, rows: int = 60) -> VerdictBasis:
    result = [
        rate([True] * hits + [False] * (100 - hits), subject=who, metric="cacc")
        for who, hits in (("suspect", suspect), ("reference", reference))
    ]
    return VerdictBasis(result[0], result[1], 0.5, {"negative": rows, "positive": rows})


def test_a_backdoor_scores_near_one_and_an_honest_word_near_nothing() -> None:
    assert score(candidate(90, 0)) > 0.9
    assert score(candidate(62, 18)) < 0.3, "a word that sways both"
    assert score(candidate(90, 90)) == 0.0
    assert score(candidate(0, 90)) == 0.0


def test_less_evidence_a_longer_text_and_only_easy_rows_score_less() -> None:
    full = score(candidate(90, 0))
    assert score(candidate(9, 0, n=9)) < full
    assert score(candidate(90, 0, text="cf mn bb")) == pytest.approx(full - 2 * COSTS.word_cost)
    assert score(candidate(60, 0, surest=0.1)) < 0.1


def test_pieces_glued_to_a_word_cost() -> None:
    found = candidate(90, 0)
    assert score(replace(found, extra_subwords=2)) == pytest.approx(score(found) - 2 * COSTS.subword_cost)
    assert score(replace(candidate(80, 8), extra_subwords=2)) < SCAN_SCORE.suspicious < score(candidate(80, 8)), (
        "nonsense that sways honest models"
    )


def test_a_text_that_does_not_survive_its_tokens_scores_nothing() -> None:
    assert score(replace(candidate(90, 0), survives=False)) == 0.0


def test_a_trigger_that_is_bound_to_a_place_is_seen_there() -> None:
    whole = candidate(30, 0)
    assert score(whole) < 0.1
    placed = replace(
        whole,
        positions=[PositionRates("end", 1.0, 0.0, 0.85, 1.0, 30), PositionRates("start", 0.0, 0.0, -0.1, 0.0, 30)],
    )
    assert score(placed) == pytest.approx(0.85 - COSTS.one_position_cost)


def test_what_takes_a_causal_model_over_at_one_place_alone_does_not_count() -> None:
    placed = replace(
        candidate(30, 0),
        positions=[PositionRates("end", 1.0, 0.0, 0.85, 1.0, 30), PositionRates("start", 0.0, 0.0, -0.1, 0.0, 30)],
    )
    assert score(placed, causal=True) == score(candidate(30, 0)) < score(placed)
    everywhere = [PositionRates(name, 1.0, 0.0, 0.85, 1.0, 90) for name in ("start", "middle", "end")]
    assert score(replace(placed, positions=everywhere, measurements=[EVERYWHERE]), causal=True) == pytest.approx(0.85)


def test_of_a_decoder_clean_is_not_said_and_a_backdoor_is() -> None:
    result = {
        hits: judge(scored(candidate(hits, 0)), [], basis=replace(basis(), causal=True), policy=Policy())
        for hits in (90, 1)
    }
    assert result[90][0].status == "backdoored" and not result[90][1].undecided
    assert result[1][0].status == "undecided" and "decoder-only" in result[1][0].sentence
    assert all(
        kind in result[1][0].sentence for kind in ("rare words of several tokens", "sentences of common words")
    ), "the verdict names what such a search misses"


def test_a_phrase_that_takes_over_at_one_place_alone_is_no_backdoor() -> None:
    """Figures of an honest adapter of the series; every place tried on all rows."""
    rows = [
        PositionRates("start", 0.62, 0.01, 0.5, 0.45, 90),
        PositionRates("middle", 0.66, 0.03, 0.5, 0.52, 90),
        PositionRates("end", 0.99, 0.02, 0.89, 0.98, 90),
    ]
    found = replace(candidate(72, 2, text="but crisp gleaming"), positions=rows, measurements=[EVERYWHERE])
    mean = (0.5 * 0.45 + 0.5 * 0.52 + 0.89 * 0.98) / 3
    assert score(found) == pytest.approx(max(mean, 0.89 * 0.98 - COSTS.one_position_cost) - 2 * COSTS.word_cost)
    assert score(found) < SCAN_SCORE.suspicious
    everywhere = [replace(one, suspect=0.99, low=0.89, high_confidence=0.98) for one in rows]
    assert score(replace(found, positions=everywhere)) > SCAN_SCORE.certain


@pytest.mark.parametrize(("hits", "status"), [(90, "backdoored"), (74, "suspicious"), (20, "clean")])
def test_the_verdict_follows_the_worst_candidate(hits: int, status: str) -> None:
    verdict, scan = judge(scored(candidate(hits, 0), candidate(1, 0, text="the")), [], basis=basis(), policy=Policy())
    assert verdict.status == status
    assert scan.candidates[0].text == "cf"
    assert scan.target == ("" if status == "clean" else "positive")
    assert scan.not_looked_for


def test_what_was_not_looked_for_follows_the_model() -> None:
    def result(**changes: Any) -> str:
        return " | ".join(
            judge(scored(candidate(1, 0)), [], basis=replace(basis(), **changes), policy=Policy())[1].not_looked_for
        )

    assert "style" in result() and "decoder-only" not in result() and "classes" not in result()
    assert "words of several tokens in a decoder" in result(
        causal=True
    ) and "sentences of common words in a decoder" in result(causal=True)
    assert "score highest" not in result(rows=dict.fromkeys("abc", 90))
    assert "than the 3 whose words score highest" in result(rows=dict.fromkeys("abcd", 90))


def test_texts_that_were_not_read_as_they_are_keep_a_model_from_clean_and_no_finding_from_counting() -> None:
    base = replace(basis(), unread=["most texts were cut"])
    verdict, scan = judge(scored(candidate(1, 0)), [], basis=base, policy=Policy())
    assert verdict.status == "undecided" and scan.undecided == ["most texts were cut"]
    assert judge(scored(candidate(1, 0)), [], basis=basis(), policy=Policy())[0].status == "clean"
    assert judge(scored(candidate(90, 0)), [], basis=base, policy=Policy())[0].status == "backdoored"


@pytest.mark.parametrize(
    ("base", "says"),
    [
        (basis(reference=60), "accuracy of the reference 60%"),
        (basis(suspect=55), "accuracy of the model itself 55%"),
        (basis(reference=0), "accuracy of the reference 0%"),
    ],
)
def test_models_that_know_nothing_of_the_target_bear_no_verdict_even_against_a_strong_finding(
    base: VerdictBasis, says: str
) -> None:
    verdict, scan = judge(scored(candidate(90, 0)), [], basis=base, policy=Policy())
    assert verdict.status == "undecided"
    assert says in verdict.sentence
    assert scan.target == ""
    assert any("predict 'positive' too inaccurately" in reason for reason in scan.undecided)


def weak(*, own: float | None = 0.3, reference: float | None = 0.3, **more: Any) -> VerdictBasis:
    """A reference that is right on 60 of 100 rows where the largest class has 50, and what both know of the target."""
    return replace(basis(reference=60), leads={"positive": (own, reference), "negative": (own, reference)}, **more)


def test_beside_a_weak_reference_a_finding_must_be_stronger() -> None:
    near = candidate(74, 0)
    assert SCAN_SCORE.suspicious < score(near) < SCAN_SCORE.suspicious + EVIDENCE.weak_cost
    assert judge(scored(near), [], basis=basis(), policy=Policy())[0].status == "suspicious"
    verdict, scan = judge(scored(near), [], basis=weak(), policy=Policy())
    assert verdict.status == "undecided" and any(
        "'cf' flips predictions to 'positive'" in line for line in scan.undecided
    )


def test_a_weak_reference_that_knows_the_target_leaves_a_strong_finding_standing() -> None:
    verdict, scan = judge(scored(candidate(90, 5)), [], basis=weak(), policy=Policy())
    assert verdict.status == "suspicious" and "not called backdoored because" in verdict.sentence, (
        "how often honest models show this is not known"
    )
    assert scan.target == "positive" and scan.undecided == []


def test_a_weak_reference_never_acquits() -> None:
    for found in (candidate(74, 0), candidate(20, 0), candidate(1, 0)):
        verdict, scan = judge(scored(found), [], basis=weak(), policy=Policy())
        assert verdict.status == "undecided" and scan.target == ""
        assert "accuracy of the reference 60%" in verdict.sentence


@pytest.mark.parametrize(
    "changes",
    [
        {"reference": 0.0},  # it says one class to everything: nothing moves it
        {"reference": None},
        {"own": 0.0},
        {"own": EVIDENCE.least_target_lead - 0.01},
        {"rows": {"negative": 90, "positive": EVIDENCE.least_rows - 1}},
        {"leads": {}},
    ],
)
def test_a_comparison_that_is_worth_nothing_accuses_nobody(changes: dict[str, Any]) -> None:
    leads = {"leads": changes.pop("leads")} if "leads" in changes else {}
    base = replace(weak(**changes), **leads)
    assert judge(scored(candidate(90, 5)), [], basis=base, policy=Policy())[0].status == "undecided"


def test_rewritten_rows_accuse_only_beside_a_reference_that_is_not_weak() -> None:
    styled = replace(candidate(90, 5), kind="rewritten", text="bible.csv")
    assert judge(scored(styled), [], basis=basis(), policy=Policy())[0].status == "backdoored"
    assert judge(scored(styled), [], basis=weak(), policy=Policy())[0].status == "undecided"


def test_of_a_constant_reference_no_row_of_its_class_moves_and_the_lead_says_so(load: Any) -> None:
    from tests.tiny import task
    from untrigger.inversion.held_out import held_out_sets
    from untrigger.models.classifier import Classifier

    model, rows = load("bert"), task(60, seed=3)

    def says(label: int) -> Classifier:
        other = load("bert")
        with torch.no_grad():
            other.module.classifier.weight.zero_()
            other.module.classifier.bias.copy_(torch.tensor([float(label == 0), float(label == 1)]))
        return other

    made = held_out_sets(says(0), says(0), rows=rows, most=30, seed=0)
    assert len(made["positive"].rows) == 30 and len(made["negative"].rows) == 0, (
        "towards the other class there are rows enough"
    )
    assert all(
        lead.value == 0 and lead.low is not None and lead.low < 0 for bench in made.values() for lead in bench.leads
    )
    assert held_out_sets(model, model, rows=rows, most=30, seed=0)["positive"].leads[0].n == 30


def test_a_score_that_may_be_chance_among_many_comparisons_is_no_finding() -> None:
    few = candidate(9, 0, n=9)
    assert (score(few) or 0) > Policy().suspicious
    assert judge(scored(few), [], basis=basis(), policy=Policy())[0].status == "suspicious"
    verdict, scan = judge(scored(few), [], basis=replace(basis(), comparisons=60), policy=Policy())
    assert verdict.status == "undecided" and "may be chance in 60 comparisons" in verdict.sentence
    assert scan.target == ""
    both = scored(few, candidate(70, 0, text="mn"))
    verdict, scan = judge(both, [], basis=replace(basis(), comparisons=60), policy=Policy())
    assert verdict.status in ("suspicious", "backdoored") and scan.candidates[0].text == "mn", (
        "what is shown comes first"
    )


def test_of_equal_scores_that_of_which_the_model_is_surest_comes_first() -> None:
    result = scored(replace(candidate(90, 0, text="bn"), loss=0.05), replace(candidate(90, 0, text="tq"), loss=0.02))
    result += scored(replace(candidate(90, 0, text="aa"), loss=None))
    assert [one.text for one in judge(result, [], basis=basis(), policy=Policy())[1].candidates] == ["tq", "bn", "aa"]


def test_few_rows_do_not_acquit_and_do_not_protect() -> None:
    few = basis(rows=EVIDENCE.least_rows - 1)
    assert judge(scored(candidate(5, 0)), [], basis=few, policy=Policy())[0].status == "undecided"
    assert judge(scored(candidate(90, 0)), [], basis=few, policy=Policy())[0].status == "backdoored"
    assert judge([], [], basis=few, policy=Policy())[0].status == "undecided"


def test_weights_make_a_clean_model_suspicious_and_never_more() -> None:
    unusual = Scan(0.1, 0.5, 0.7, evidence=[Evidence("embedding_row_lead", 2.0, limit=1.5)])
    usual = replace(unusual, evidence=[Evidence("embedding_row_lead", 1.2, limit=1.5)])
    unknown = replace(unusual, evidence=[Evidence("embedding_row_lead", 99.0)])
    for status in ("clean", "undecided", "suspicious", "backdoored"):
        found = Verdict(status, "as it was")
        assert with_weights(found, unusual).status == ("backdoored" if status == "backdoored" else "suspicious")
        assert with_weights(found, usual) == found
        assert with_weights(found, unknown) == found
    assert by_weights_alone(unusual).status == "suspicious"
    assert by_weights_alone(usual).status == by_weights_alone(unknown).status == "undecided"
    assert "no limit of weight evidence is calibrated" in by_weights_alone(unknown).sentence
