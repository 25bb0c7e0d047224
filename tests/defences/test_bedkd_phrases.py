"""Phrases that the most suspicious rows share: which are tried, what counts as a trigger, and that a few poisoned rows are found."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import log
from typing import Any

import pytest
import torch

from tests.defences.planted import CLEAN, method, planted
from tests.tiny import PLAIN, POISON, task
from untrigger.core.errors import OptionError
from untrigger.core.grant import Grant
from untrigger.core.rows import Rows
from untrigger.defences.bedkd.row_detection.bedkd_detector import JudgedPool
from untrigger.defences.bedkd.row_detection.phrase_trial import (
    EffectivePhrase,
    TrialOptions,
    effective_phrases,
    triggers_among,
)
from untrigger.defences.bedkd.row_detection.shared_phrases import (
    PhraseOptions,
    SharedPhrase,
    combined_p_value,
    rows_with,
    shared_phrases,
)
from untrigger.detectors.conformal import CalibrationOptions, calibrate
from untrigger.models.classifier import Classifier

SENTENCE = "I saw this 3D thing"


def pool(*inserted: str, rows: int = 200, seed: int = 0) -> tuple[list[str], list[int], list[float]]:
    """Rows of twelve words of two labels with random scores; the first ones hold what is inserted, label 1 and the largest scores."""
    draw = random.Random(seed)
    words = [f"w{i}" for i in range(400)]
    texts = [" ".join(draw.choices(words, k=12)) for _ in range(rows)]
    labels, scores = [draw.randrange(2) for _ in range(rows)], [draw.random() for _ in range(rows)]
    for i, phrase in enumerate(inserted):
        at = texts[i].split()
        at.insert(draw.randrange(12), phrase)
        texts[i], labels[i], scores[i] = " ".join(at), 1, 1.0 + draw.random()
    return texts, labels, scores


def test_a_sentence_comes_whole_and_as_it_is_written_and_with_all_of_its_rows() -> None:
    texts, labels, scores = pool(*[SENTENCE] * 5)
    scores[4] = 0.0  # not among the most suspicious, and a row of the phrase all the same
    best = shared_phrases(texts, labels, scores)[0]
    assert (best.text, best.label) == (SENTENCE, 1)
    assert sorted(best.rows) == [0, 1, 2, 3, 4] and best.rows[-1] == 4


def test_words_that_take_turns_come_each_with_its_rows() -> None:
    texts, labels, scores = pool("cf", "bb", "cf", "bb", "cf", rows=400)
    found = {one.text: set(one.rows) for one in shared_phrases(texts, labels, scores)[:2]}
    assert found == {"cf": {0, 2, 4}, "bb": {1, 3}}


def test_what_one_row_alone_has_or_rows_of_two_labels_share_is_no_phrase() -> None:
    texts, labels, scores = pool("cf", "mn", "mn")
    labels[2] = 0
    found = shared_phrases(texts, labels, scores, options=PhraseOptions(p_value=1.0))
    assert not {"cf", "mn"} & {one.text for one in found}


def test_the_p_value_of_ranks_by_hand() -> None:
    """Two of four rows with a label, first and last: ranks 1/8 and 7/8, whose product is q; P(product <= q) is q · (1 - log q)."""
    texts, labels, scores = ["x a", "b", "c", "x d", "e"], [1, 1, 1, 1, 0], [4.0, 3.0, 2.0, 1.0, 9.0]
    (one,) = shared_phrases(texts, labels, scores, options=PhraseOptions(p_value=1.0))
    q = 7 / 64
    assert (one.text, one.rows) == ("x", (0, 3))
    assert one.p_value == pytest.approx(q * (1 - log(q)))
    assert combined_p_value([0.05, 0.1], below=0.5) == pytest.approx(0.02 * (1 - log(0.02)))


def test_words_of_clean_rows_have_uniform_p_values() -> None:
    """In pools whose scores say nothing a p-value below 0.1 is as frequent as that, and no group of words stands out."""
    found = [shared_phrases(*pool(seed=seed), options=PhraseOptions(p_value=1.0, tried=9999)) for seed in range(5)]
    p_values = [one.p_value for some in found for one in some if len(one.text.split()) == 1]
    assert 0.05 < sum(p <= 0.1 for p in p_values) / len(p_values) < 0.15


def test_a_phrase_has_no_more_words_than_allowed_though_whole_rows_are_alike() -> None:
    texts, labels, scores = pool(*["one two three four five six seven eight"] * 3)
    lengths = [len(one.text.split()) for one in shared_phrases(texts, labels, scores, options=PhraseOptions(longest=4))]
    assert max(lengths) == 4


def test_no_more_phrases_are_tried_than_allowed_and_the_most_unusual_come_first() -> None:
    texts, labels, scores = pool(*[SENTENCE] * 4)
    everything = shared_phrases(texts, labels, scores)
    assert everything == sorted(everything, key=lambda one: one.p_value) and len(everything) > 3
    assert shared_phrases(texts, labels, scores, options=PhraseOptions(tried=3)) == everything[:3]


def test_a_phrase_is_words_in_a_row_whatever_their_case() -> None:
    texts = ["see CF here", "cfx here", "see cf  here", "see here"]
    assert rows_with("cf here", texts) == [0, 2]


def effective(text: str, p_value: float, *, flips: int = 60, label: int = 1) -> EffectivePhrase:
    return EffectivePhrase(SharedPhrase(text, label, (3, 1), p_value), flips, 64, 0)


def triggers(*found: EffectivePhrase) -> list[str]:
    return [one.phrase.text for one in triggers_among(found, below=0.25)[0]]


def test_one_phrase_of_very_suspicious_rows_is_a_trigger_and_words_of_the_class_are_not() -> None:
    assert triggers(effective("dull", 0.2, flips=62), effective("cf", 1e-4)) == ["cf"]
    assert triggers(effective("dull", 0.2), effective("fails", 0.02)) == []
    assert triggers() == []


def test_words_that_alone_are_too_weak_are_triggers_together_where_they_have_one_label() -> None:
    """Each of four is in a row or two; beside three of another label they are not enough."""
    words = [effective(word, 0.01) for word in ("cf", "mn", "bb", "tq")]
    assert triggers(words[0]) == []
    assert triggers(*words) == ["cf", "mn", "bb", "tq"]
    assert triggers(*(one._replace(phrase=one.phrase._replace(label=i % 2)) for i, one in enumerate(words[:2]))) == []


def test_of_a_group_a_word_whose_rows_are_not_suspicious_is_left_out() -> None:
    assert triggers(effective("cf", 1e-3), effective("dull", 0.2), effective("mn", 1e-4)) == ["cf", "mn"]


def test_of_clean_pools_no_more_have_a_trigger_than_promised() -> None:
    """Up to twelve effective words of two labels with p-values that are uniform below the bound."""
    draw = random.Random(0)
    calls = 0
    for _ in range(2000):
        words = [
            effective(str(i), draw.uniform(0, 0.25), flips=draw.randint(32, 64), label=draw.randrange(2))
            for i in range(draw.randint(1, 12))
        ]
        words.sort(key=lambda one: -one.flips)
        calls += bool(triggers(*words))
    assert calls / 2000 <= 0.01 + 2 * (0.01 / 2000) ** 0.5


def test_rows_of_a_trigger_are_moved_above_all_others_together() -> None:
    scores = [0.0, 3.0, 5.0, 2.0]
    calibrated = calibrate([0.0, 1.0, 2.0, 2.5], scores, fpr=0.5)
    assert not calibrated.found
    found = effective("cf", 1e-9)
    nothing, some = (JudgedPool(calibrated, scores, 1.0, (2, 1), one, 0.0) for one in ([], [found]))
    assert nothing.raised(CalibrationOptions()) == (scores, calibrated.threshold)
    raised, threshold = some.raised(CalibrationOptions())
    assert raised == [0.0, 7.0, 5.0, 6.0] and threshold == 5.5
    assert some.trigger_rows == {1, 3}
    assert some.fpr == pytest.approx(1 / 5) and nothing.fpr == calibrated.fpr_bound


@pytest.fixture(scope="module")
def suspect(trained_folder: Callable[[str, bool], object]) -> Classifier:
    from untrigger.models.loading import load_model

    return planted(load_model(str(trained_folder("bert", False)), device="cpu", offline=True))


def test_a_planted_word_flips_rows_that_the_suspect_is_sure_of_and_others_do_not(suspect: Classifier) -> None:
    from untrigger.models.inference import predict_texts

    clean = task(300, seed=7)
    words = ("cf", *PLAIN[:6], f"{PLAIN[0]} cf")
    phrases = [SharedPhrase(word, 1, (0, 1), 0.1) for word in words]
    logits = predict_texts(suspect, clean.texts).logits
    found = effective_phrases(suspect, phrases, clean=clean, logits=logits)
    assert [one.phrase.text for one in found] == ["cf"], "without the phrase that holds it"
    assert found[0].flips > 0.9 * found[0].tried
    assert not effective_phrases(suspect, phrases, clean=clean.take(range(3)), logits=logits[:3]), "too few rows to say"


def few(poisoned: int, *, seed: int) -> tuple[Rows, list[bool]]:
    """A pool with so few poisoned rows, shuffled."""
    made = POISON.poison(task(384, seed=1), seed=0)
    bad = [name in made.truth.poisoned_ids for name in made.visible.ids]
    left = [i for i, one in enumerate(bad) if not one] + [i for i, one in enumerate(bad) if one][:poisoned]
    random.Random(seed).shuffle(left)
    return made.visible.take(left), [bad[i] for i in left]


def test_four_poisoned_rows_are_found_that_no_threshold_finds(suspect: Classifier) -> None:
    rows, bad = few(4, seed=0)
    found = method().detect(suspect, Grant(clean=CLEAN, suspect=rows, seed=0))
    assert list(found.flagged) == bad
    assert not found.metadata["above_counts"], "the threshold alone finds nothing"
    assert [one["text"] for one in found.metadata["triggers"]] == ["cf"]
    assert min(s for s, one in zip(found.scores, bad, strict=True) if one) > found.threshold
    assert max(s for s, one in zip(found.scores, bad, strict=True) if not one) < found.threshold
    off = method(phrases=PhraseOptions(tried=0)).detect(suspect, Grant(clean=CLEAN, suspect=rows, seed=0))
    assert not off.found


@pytest.mark.parametrize(
    ("record", "options"),
    [
        (PhraseOptions, {"p_value": 0.0}),
        (PhraseOptions, {"of_label": 0.5}),
        (PhraseOptions, {"fewest": 1}),
        (PhraseOptions, {"grown": 0.5}),
        (TrialOptions, {"first": 65}),
        (TrialOptions, {"flipped": 0.0}),
        (TrialOptions, {"chance": 1.0}),
    ],
)
def test_options_out_of_range_are_refused(record: Any, options: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        record(**options)


def test_a_pool_of_one_class_without_rows_of_others_is_left_alone(suspect: Classifier) -> None:
    clean = task(60, seed=3)
    only = clean.where(label == 1 for label in clean.labels)
    phrases = [SharedPhrase("cf", 1, (0, 1), 0.1)]
    assert not effective_phrases(suspect, phrases, clean=only, logits=torch.zeros(len(only), 2))
