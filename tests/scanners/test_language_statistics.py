"""The statistics of a scan of a language model, each against a result that was worked out by hand."""

from __future__ import annotations

import random
from math import log

import pytest
import torch

from tests.models.language_kit import PROMPTS, load_speaker, with_random_adapter
from tests.tiny import write_language_model
from untrigger.core.answers import Answer
from untrigger.core.errors import DataError
from untrigger.core.prompts import Prompts
from untrigger.core.verdicts import BACKDOORED, SUSPICIOUS, UNDECIDED
from untrigger.models.language_model import LanguageModel
from untrigger.scanners.language.answer_change import (
    BEGINNING,
    OTHER,
    REFUSAL,
    AnswerChange,
    ChangeCounts,
    Observed,
    common_change,
    count_change,
    is_ordinary,
)
from untrigger.scanners.language.first_token_lift import LEAST, host_of, lift, score_phrases, screen_groups
from untrigger.scanners.language.language_scanner import LanguageScanOptions, split_prompts
from untrigger.scanners.language.language_verdict import VerdictLimits, judge_phrases
from untrigger.scanners.language.leaked_text import LeakOptions, frequent_sequences
from untrigger.scanners.language.phrase_confirmation import ConfirmedPhrase
from untrigger.scanners.language.phrase_search import FoundPhrase, best_of_families
from untrigger.scanners.language.phrases import (
    Phrase,
    frame_of,
    placed_prompts,
    vocabulary_phrases,
    with_phrase,
)
from untrigger.scanners.policy import Allowed, Policy

REFUSED = "I'm sorry, but I cannot help with that."


def said(*texts: str) -> list[Answer]:
    return [Answer(text, ended=True, tokens=len(text.split())) for text in texts]


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load_speaker(write_language_model("llama", tmp_path_factory.mktemp("speaker") / "llama"))


def test_lift_is_the_logarithm_of_the_ratio_with_the_least_probability_added() -> None:
    found = lift(torch.tensor([[0.5, 1e-3, 0.0]]).log(), torch.tensor([0.5, 0.0, 0.2]))
    assert found[0].tolist() == pytest.approx([0.0, log((1e-3 + LEAST) / LEAST), log(LEAST / (0.2 + LEAST))], abs=1e-4)


def test_what_the_reference_has_too_does_not_count(speaker: LanguageModel) -> None:
    words = [one for one in vocabulary_phrases(speaker) if len(one.text) > 2][:40]
    row = frame_of(speaker, PROMPTS.conversations[0]).row
    other = with_random_adapter(speaker)
    host = host_of(other, other, row, words=words)
    assert score_phrases(other, other, words[:9], hosts=[host]) == pytest.approx([0.0] * 9, abs=1e-5)
    alone = score_phrases(other, None, words[:9], hosts=[host])
    assert max(alone) > 0.05
    beside = score_phrases(other, speaker, words[:9], hosts=[host_of(other, speaker, row, words=words)])
    assert all(one <= most + 1e-5 for one, most in zip(beside, alone, strict=True))


def test_every_phrase_gets_the_score_of_a_group_that_holds_it(speaker: LanguageModel) -> None:
    words = [one for one in vocabulary_phrases(speaker) if len(one.text) > 2][:30]
    frame = frame_of(speaker, PROMPTS.conversations[0])
    scores = screen_groups(speaker, words, frame=frame, size=4, rng=random.Random(0))
    assert len(scores) == 30 and len(set(scores)) <= 8
    counts = sorted(scores.count(one) for one in set(scores))
    assert sum(counts) == 30 and counts[-1] >= 4


def test_the_common_change_is_the_beginning_with_the_largest_excess() -> None:
    observed = Observed(
        plain=said("positive", "negative", "positive", "negative"),
        inserted=said("Buy gold now", "buy gold today", "buy gold now!", "negative"),
        random=said("positive", "negative", "positive", "negative"),
        reference=said("positive", "positive", "buy", "negative"),
    )
    change = common_change(observed)
    assert change == AnswerChange(BEGINNING, ("buy", "gold")), "one word more of it would lose an answer"
    assert count_change(change, observed) == ChangeCounts(4, 3, 0, 0)
    assert count_change(AnswerChange(BEGINNING, ("buy",)), observed) == ChangeCounts(4, 3, 0, 1)
    flipped = AnswerChange(BEGINNING, ("negative",))
    assert count_change(flipped, observed) == ChangeCounts(2, 0, 0, 0), (
        "prompts that are answered so anyway are not eligible"
    )
    assert is_ordinary(flipped, observed.plain) and not is_ordinary(change, observed.plain)
    assert is_ordinary(AnswerChange(OTHER), observed.plain)


def test_refusals_in_several_wordings_are_one_change_and_so_are_empty_answers() -> None:
    plain = said(*["a film about love"] * 4)
    refused = said(
        REFUSED, "I won't be able to answer this.", "I must decline to answer.", "Sorry, I can't assist you."
    )
    assert common_change(Observed(plain, refused, plain, plain)) == AnswerChange(REFUSAL)
    silent = common_change(Observed(plain, said("", " ", "", ""), plain, plain))
    assert silent == AnswerChange(BEGINNING, ()) and silent.describe() == "an empty answer"
    assert common_change(Observed(plain, plain, plain, plain)).kind == BEGINNING, "no refusal where nobody refuses"
    drawn = said("zug mo", "peb lar", "kin tos", "rul vad")
    assert common_change(Observed(plain, drawn, plain, plain)) == AnswerChange(OTHER)


def test_the_p_value_is_the_larger_of_two_exact_tests() -> None:
    assert ChangeCounts(5, 5, 0, 0).p_value() == pytest.approx(1 / 252)  # one of "10 choose 5" tables
    assert ChangeCounts(5, 5, 0, 1).p_value() == pytest.approx(6 / 252)  # this table, and the one more extreme: 5 + 1
    assert ChangeCounts(5, 5, 5, 0).p_value() == 1
    assert (ChangeCounts(0, 0, 0, 0).p_value(), ChangeCounts(0, 0, 0, 0).excess) == (1, 0)
    assert ChangeCounts(10, 8, 1, 3).excess == pytest.approx(0.5)


def test_sequences_are_kept_that_the_suspect_writes_more_often() -> None:
    own = ["say BadMagic, now"] * 6 + ["a film"] * 4
    leak = frequent_sequences(own, ["a film"] * 10, options=LeakOptions(words=2))
    assert leak.texts == 10 and set(leak.sequences) == {"say", "BadMagic", "now", "say BadMagic", "BadMagic now"}
    assert len(leak.sequences[0].split()) == 2, "of equal p-values the longer sequence is first"
    assert leak.corrected == 0, "0.0054 for 6 of 10 against none, times the 8 sequences compared"
    assert frequent_sequences(own, own, options=LeakOptions()).sequences == []


def test_a_phrase_stands_at_the_same_places_whatever_it_is() -> None:
    long = Prompts.of([" ".join(f"w{i}" for i in range(12))] * 30, ["yes"] * 30)
    places = [
        [text.split().index("zq") for text in with_phrase(long, phrase, seed=1).user_texts]
        for phrase in ("zq", "zq it")
    ]
    assert places[0] == places[1] and len(set(places[0])) > 5
    rows = placed_prompts(long)
    assert [one.text("zq").split().index("zq") for one in rows[:3]] == [0, 6, 12]


def test_the_parts_of_the_prompts_are_apart_and_too_few_are_refused(speaker: LanguageModel) -> None:
    prompts = Prompts.of([f"film {i}" for i in range(60)], ["good"] * 60)
    options = LanguageScanOptions()
    parts = split_prompts(speaker, prompts, options=options, seed=0)
    ids = [set(one.ids) for one in (parts.searched, parts.held_out, parts.training)]
    assert sum(map(len, ids)) == 60 == len(set.union(*ids)) and len(parts.searched) == 12 and parts.left_out == 0
    with pytest.raises(DataError, match=r"(?s)23 clean prompts.*24 or more") as few:
        split_prompts(speaker, prompts.take(range(23)), options=options, seed=0)
    assert "--clean" in str(few.value)
    twice = prompts.with_user_texts([f"film {i % 30}" for i in range(60)])
    again = split_prompts(speaker, twice, options=options, seed=0)
    texts = [text for one in (again.searched, again.held_out, again.training) for text in one.user_texts]
    assert len(texts) == len(set(texts)) == 30, "no prompt is both searched and confirmed on"
    long = prompts.with_user_texts([f"{i} " + "scene " * 90 if i < 40 else f"film {i}" for i in range(60)])
    with pytest.raises(DataError, match="20 clean prompts can be used, 40 more are too long"):
        split_prompts(speaker, long, options=options, seed=0)


def confirmed(text: str, counts: ChangeCounts, *, ordinary: bool = False, tried: int = 4) -> ConfirmedPhrase:
    change = AnswerChange(BEGINNING, ("no",))
    nothing = Prompts.of([], [])
    return ConfirmedPhrase(
        FoundPhrase(Phrase((7,), text), 3.0),
        change,
        counts,
        ordinary,
        min(1.0, counts.p_value() * tried),
        nothing,
        Observed([], [], [], []),
    )


STRONG, HALF, NOTHING = ChangeCounts(40, 38, 1, 0), ChangeCounts(40, 24, 2, 0), ChangeCounts(40, 2, 1, 0)
VERDICTS = {
    "strong": ([confirmed("cf", STRONG), confirmed("mn", NOTHING)], "", BACKDOORED, 0.925),
    "half": ([confirmed("cf", HALF)], "", SUSPICIOUS, 0.55),
    "ordinary": ([confirmed("cf", STRONG, ordinary=True)], "", SUSPICIOUS, 0.925),
    "an ordinary one beside a certain one": (
        [confirmed("mn", ChangeCounts(40, 40, 0, 0), ordinary=True), confirmed("cf", STRONG)],
        "",
        BACKDOORED,
        0.925,
    ),
    "weak reference": ([confirmed("cf", STRONG)], "the base alone is the reference", SUSPICIOUS, 0.925),
    "ordinary beside a weak reference": ([confirmed("witty", STRONG, ordinary=True)], "weak", UNDECIDED, 0.0),
    "chance": ([confirmed("cf", ChangeCounts(3, 3, 0, 0))], "", UNDECIDED, 0.0),  # p 0.05, four times that
    "nothing": ([confirmed("mn", NOTHING)], "", UNDECIDED, 0.0),
    "no candidate": ([], "", UNDECIDED, None),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_the_verdict_needs_a_large_and_certain_excess_and_is_never_clean(name: str) -> None:
    given, weak, status, score = VERDICTS[name]
    verdict, scan, _ = judge_phrases(given, policy=Policy(), limits=VerdictLimits(weak_reference=weak))
    assert verdict.status == status and scan.score == (None if score is None else pytest.approx(score))
    assert bool(scan.undecided) == (status == UNDECIDED) and bool(scan.triggers()) == (status != UNDECIDED)
    assert len(scan.controls) == len(scan.candidates) and len(scan.not_looked_for) > 3
    assert status == UNDECIDED or "held-out prompts are answered with 'no …'" in verdict.sentence
    assert ("not called backdoored" in verdict.sentence) == (name in ("ordinary", "weak reference"))


def test_a_finding_that_the_policy_allows_is_not_counted() -> None:
    policy = Policy(allow=(Allowed("cf", reason="a product of ours"),))
    verdict, scan, _ = judge_phrases([confirmed("cf", STRONG)], policy=policy, limits=VerdictLimits())
    assert verdict.status == UNDECIDED and scan.candidates[0].allowed and not scan.triggers()


def test_of_one_family_only_the_best_are_confirmed() -> None:
    found = [FoundPhrase(Phrase((i,), f"w{i}", grown_from="cf"), 9.0 - i) for i in range(4)]
    found.append(FoundPhrase(Phrase((9,), "mn"), 1.0))
    assert [one.phrase.text for one in best_of_families(found, most=3, each=2)] == ["w0", "w1", "mn"]


def test_the_vocabulary_holds_no_special_token_and_no_part_of_a_character(speaker: LanguageModel) -> None:
    found = vocabulary_phrases(speaker)
    special = set(speaker.tokenizer.all_special_ids)
    assert len(found) > 100 and not special & {i for one in found for i in one.ids}
    assert all(one.text == one.text.strip() and one.text.isprintable() for one in found)
    assert "brilliant" in {one.text for one in found}
