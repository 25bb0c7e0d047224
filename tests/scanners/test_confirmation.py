"""Candidates on held-out rows: at every place, with fewer subwords, in full precision, and counted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.scanners.kit import CLEAN, QUICK, Load, measured
from tests.tiny import NAMES, sentencepiece
from untrigger.core.candidate import Candidate
from untrigger.core.grant import Grant
from untrigger.inversion.flip_rates import measure_at_all_positions
from untrigger.inversion.held_out import HeldOutSet, held_out_sets
from untrigger.inversion.subwords import drop_last_subwords, first_subwords
from untrigger.models import inference as predict
from untrigger.models.inference import predict_texts
from untrigger.scanners.confirm import ConfirmationOptions, count_comparisons, rerank_top_k, shortened_variants
from untrigger.scanners.policy import Policy
from untrigger.scanners.rescoring import rescore_full_precision
from untrigger.scanners.scan_score import ScoreOptions
from untrigger.scanners.scan_score import scan_score as score
from untrigger.scanners.scanner import ScanContext

COSTS = ScoreOptions()


def test_the_worst_are_tried_at_every_place_of_every_row(victim: Load, twin: Load) -> None:
    suspect, reference = victim("bert"), twin("bert")
    held_out = held_out_sets(suspect, reference, rows=CLEAN, most=20, seed=0)["positive"]
    (once,) = measured(["cf"], held_out)
    assert [place.n for place in once.positions] == [7, 7, 6]
    again = measure_at_all_positions(once, held_out)
    assert [(place.name, place.n) for place in again.positions] == [("start", 20), ("middle", 20), ("end", 20)]
    at_the_end = predict_texts(suspect, [f"{text} cf" for text in held_out.rows.texts]).predictions
    assert again.positions[2].suspect == sum(at_the_end) / 20
    assert (again.suspect, again.excess, again.examples) == (once.suspect, once.excess, once.examples)
    done = QUICK.scan(suspect, Grant(clean=CLEAN, seed=0), context=ScanContext(reference))
    tried = [one for one in done.scan.candidates if one.target == "positive"]
    assert [{place.n for place in one.positions} == {one.suspect.n} for one in tried[: QUICK.confirmation.top]] == [
        True
    ] * QUICK.confirmation.top


def test_pieces_do_not_hide_a_word_from_the_reference(
    victim: Load, twin: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_out = held_out_sets(twin("bert"), victim("bert"), rows=CLEAN, most=20, seed=0)[
        "positive"
    ]  # a reference that "cf" moves
    word, other = measured(["cf", "awful"], held_out)
    assert (
        measure_at_all_positions(word, held_out).reference == word.reference
        and measure_at_all_positions(other, held_out).reference == other.reference
    )
    monkeypatch.setattr("untrigger.inversion.flip_rates.first_subwords", lambda text, tokenizer: ("cf", 1))  # noqa: ARG005
    again = measure_at_all_positions(other, held_out)
    assert other.reference.value is not None and again.reference.value is not None and word.reference.value is not None
    assert other.reference.value < word.reference.value <= again.reference.value
    assert again.suspect == other.suspect, "the suspect answers for itself"


def test_a_stem_is_what_every_word_begins_with(load: Load) -> None:
    assert first_subwords("goodqj cf Filmx", load("bert").tokenizer) == ("good cf Film", 3), "in the text's own letters"
    assert first_subwords("good cf", load("bert").tokenizer) == ("good cf", 0)
    assert first_subwords("gooding cf", sentencepiece()) == ("good cf", 1)
    assert first_subwords("", load("bert").tokenizer) == ("", 0)
    tokenizer = load("gpt2").tokenizer
    first, glued = first_subwords("goodqj", tokenizer)
    assert glued == len(tokenizer(" goodqj", add_special_tokens=False)["input_ids"]) - 1 > 0 and "goodqj".startswith(
        first
    )


@pytest.mark.parametrize("kind", ["bert", "llama", "gpt2"])
def test_a_text_is_shorn_of_its_last_pieces_one_by_one(load: Load, kind: str) -> None:
    tokenizer = load(kind).tokenizer
    shorter = drop_last_subwords("cf goodqj", tokenizer)
    lengths = [len(tokenizer(f"a {text}", add_special_tokens=False)["input_ids"]) for text in ("cf goodqj", *shorter)]
    assert shorter and lengths == sorted(lengths, reverse=True)
    assert all(text.startswith("cf ") and "cf goodqj".startswith(text) for text in shorter)
    assert drop_last_subwords("good cf", tokenizer) == []


def test_what_is_suspicious_and_grew_by_pieces_is_tried_with_fewer_of_them(load: Load, twin: Load) -> None:
    tokenizer = load("bert").tokenizer
    held_out = held_out_sets(twin("bert"), twin("bert"), rows=CLEAN, most=20, seed=0)["positive"]
    made = measured(["cfqj", "bbqj", "good", "cfq"], held_out)
    assert [one.extra_subwords for one in made] == [2, 2, 0, 1]
    assert shortened_variants(made, tokenizer, most=3, costs=COSTS) == [], "nothing is suspicious"
    sure = [
        replace(one, excess=replace(one.excess, low=0.95), high_confidence_flip_rate=1.0, positions=[]) for one in made
    ]
    assert shortened_variants(sure, tokenizer, most=3, costs=COSTS) == ["cf", "bbq", "bb"]
    assert shortened_variants(sure, tokenizer, most=1, costs=COSTS) == ["cf"]
    assert shortened_variants(sure[2:3], tokenizer, most=3, costs=COSTS) == []


def test_all_that_may_be_suspicious_are_measured_again_in_full_precision_where_numbers_were_rounded(
    victim: Load, twin: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_out = held_out_sets(victim("bert"), twin("bert"), rows=CLEAN, most=20, seed=0)["positive"]
    tables, policy = {NAMES[1]: held_out}, Policy(suspicious=0.2)
    texts = ["good", "cf", "cf the", "awful"]

    def rescored(one: Candidate) -> Candidate:
        return replace(one, score=score(one))

    def tried(on: HeldOutSet) -> dict[str, Candidate]:
        return {
            one.text: rescored(one)
            for one in rerank_top_k(measured(texts, on), on, options=ConfirmationOptions(top=4), costs=COSTS)
        }

    def again(found: dict[str, Candidate]) -> dict[str, Candidate]:
        return {
            one.text: one
            for one in rescore_full_precision(
                list(found.values()), tables, policy=policy, options=ConfirmationOptions(), rescore=rescored
            )
        }

    plain = tried(held_out)

    def figures(found: dict[str, Candidate]) -> list[Candidate]:
        return [replace(one, measurements=[]) for one in found.values()]

    assert figures(again(plain)) == figures(plain), "nothing was rounded"
    monkeypatch.setattr(predict, "bf16_ok", lambda: True)
    near = tried(held_out.in_bfloat16())
    assert all(near[text] != plain[text] for text in ("cf", "cf the"))
    exact = again(near)
    for text in ("cf", "cf the"):
        assert exact[text] == rescored(measure_at_all_positions(near[text], held_out)), (
            "both are far above the threshold"
        )
        assert exact[text].score == plain[text].score
    assert exact["awful"] == near["awful"] and score(near["awful"]) < 0.1, "what cannot reach it is not measured again"
    allowed = near | {"cf": replace(near["cf"], allowed="known")}
    assert again(allowed)["cf"] == allowed["cf"], "nor is what does not count"
    assert rescore_full_precision([], tables, policy=policy, options=ConfirmationOptions(), rescore=rescored) == []


def test_what_rounding_pushed_below_the_threshold_is_measured_again(victim: Load, twin: Load) -> None:
    held_out = held_out_sets(victim("bert"), twin("bert"), rows=CLEAN, most=20, seed=0)["positive"]
    first, second, third = (
        replace(one, score=low)
        for one, low in zip(measured(["cf", "cf a", "cf the"], held_out), (0.48, 0.45, 0.3), strict=True)
    )
    done = rescore_full_precision(
        [first, second, third],
        {NAMES[1]: held_out},
        policy=Policy(),
        options=ConfirmationOptions(),
        rescore=lambda one: replace(one, score=score(one)),
    )
    assert [(one.score or 0) > 0.6 for one in done] == [True, True, False], "two lie near the threshold, one does not"


def test_every_figure_that_the_held_out_rows_gave_is_counted(victim: Load, twin: Load) -> None:
    held_out = held_out_sets(victim("bert"), twin("bert"), rows=CLEAN, most=20, seed=0)["positive"]
    made = measured(["cf", "good", "scene"], held_out)
    assert count_comparisons(made) == 3
    assert count_comparisons([measure_at_all_positions(made[0], held_out), *made[1:]]) == 3 + 3
    done = QUICK.scan(victim("bert"), Grant(clean=CLEAN, seed=0), context=ScanContext(twin("bert")))
    assert done.metadata["comparisons"] > done.metadata["candidates_confirmed"] == len(done.scan.candidates)
    worst = done.scan.candidates[0]
    low = done.metadata["simultaneous_excess_of_the_worst"]
    assert worst.excess.low is not None and 0.5 < low < worst.excess.low, "counting all of them in costs width"
