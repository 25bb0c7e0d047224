"""Texts of public corpora: the closest ones, a part for every clean row, and never a clean or held-out row."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny import NAMES, RARE, task
from untrigger.core.errors import DataError
from untrigger.core.rows import Rows, texts_among
from untrigger.models.classifier import Classifier
from untrigger.models.text_features import load_text_encoder, mean_pooled_features
from untrigger.pipeline.close_texts import close_texts, in_turn

CLEAN, HELD = task(30, seed=1), task(30, seed=2)
FAR = tuple(" ".join(words) for words in permutations(RARE, 3))
CORPORA = {"near": (*task(60, seed=3).texts, *CLEAN.texts, *HELD.texts), "far": FAR}


@pytest.fixture(scope="module")
def encoder(folder_of: Callable[[str], Path]) -> Classifier:
    return load_text_encoder(folder_of("bert"), offline=True, device="cpu")


def test_features_are_the_mean_over_the_tokens_whatever_the_batch(encoder: Classifier) -> None:
    texts = ["a film", CLEAN.texts[0], "story"]
    found = mean_pooled_features(encoder, texts)
    one = encoder.collate(encoder.encode([texts[1]]))
    with torch.inference_mode():
        states = encoder.module.encoder(one.input_ids, attention_mask=one.attention_mask).last_hidden_state  # type: ignore[union-attr,operator]
    assert torch.allclose(found[1], states[0].mean(dim=0), atol=1e-5)
    assert mean_pooled_features(encoder, []).shape == (0, 0)


def test_the_closest_texts_are_chosen_and_no_clean_or_held_out_row(encoder: Classifier) -> None:
    choice = close_texts(CLEAN, CORPORA, encoder=encoder, excluded=HELD.texts, wanted=40, most=200)
    assert len(set(choice.texts)) == 40 == sum(choice.counts().values())
    assert not any(texts_among(choice.texts, [*CLEAN.texts, *HELD.texts]))
    assert choice.counts()["near"] > choice.counts()["far"] and not choice.far
    assert choice.compared == {"near": len(set(task(60, seed=3).texts)), "far": len(FAR)}
    again = close_texts(CLEAN, CORPORA, encoder=encoder, excluded=HELD.texts, wanted=40, most=200)
    assert again == choice
    other = close_texts(CLEAN, CORPORA, encoder=encoder, excluded=HELD.texts, wanted=20, most=30, seed=1)
    assert set(other.texts) - set(choice.texts)


def test_texts_of_another_domain_are_called_far(encoder: Classifier) -> None:
    choice = close_texts(CLEAN, {"far": FAR}, encoder=encoder, wanted=8)
    assert choice.far and choice.similarity < choice.clean_similarity


def test_a_held_out_sentence_of_a_document_is_not_chosen_either(encoder: Classifier) -> None:
    document = " ".join(f"{text}." for text in (*HELD.texts, *task(40, seed=4).texts))
    choice = close_texts(CLEAN, {"reviews": (document,)}, encoder=encoder, excluded=HELD.texts, wanted=20)
    assert choice.texts and not any(held in text for text in choice.texts for held in HELD.texts)


def test_most_bounds_what_is_compared_and_close_corpora_get_most_of_it(encoder: Classifier) -> None:
    corpora = {
        "near": task(400, seed=5, length=6).texts,
        "far": tuple(f"{one} {two}" for one in FAR for two in FAR[:9]),
    }
    choice = close_texts(CLEAN, corpora, encoder=encoder, wanted=30, most=120)
    assert sum(choice.compared.values()) <= 120
    assert choice.compared["near"] > choice.compared["far"] >= 15


def test_without_a_text_that_is_left_there_is_a_message(encoder: Classifier) -> None:
    with pytest.raises(DataError, match="hold no text"):
        close_texts(CLEAN, {"same": CLEAN.texts}, encoder=encoder)


def test_every_row_in_turn_takes_the_best_that_is_left() -> None:
    rng = np.random.default_rng(0)
    similarity = torch.tensor(rng.random((5, 23)))
    pairs = in_turn(similarity, wanted=17, order=[3, 0, 4, 1, 2])
    assert [row for row, _ in pairs] == [3, 0, 4, 1, 2] * 3 + [3, 0]
    taken: set[int] = set()
    for row, column in pairs:
        assert column == max(set(range(23)) - taken, key=lambda one: float(similarity[row, one]))
        taken.add(column)
    assert len(in_turn(similarity, wanted=99, order=range(5))) == 23


def test_one_clean_class_has_no_larger_part(encoder: Classifier) -> None:
    rows = Rows.of(["good film", "bad film"], [1, 0], label_names=NAMES)
    choice = close_texts(rows, {"near": task(50, seed=6).texts}, encoder=encoder, wanted=10)
    assert len(choice.texts) == 10
