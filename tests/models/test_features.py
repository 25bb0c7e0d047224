"""Features are what the head multiplies, whatever the architecture and the padding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.tiny import DECODERS, ENCODERS, hooks, task
from untrigger.core.errors import ModelError
from untrigger.models.classifier import Classifier, HeadInputHook, classification_head
from untrigger.models.inference import accuracy, predict_texts, predict_token_ids
from untrigger.models.loading import load_model

ALL = (*ENCODERS, *DECODERS)
Load = Callable[[str], Classifier]
TEXTS = [
    "good film",
    "the story of a very dull scene with some music",
    "bad",
    "a lovely camera and the light of this ending",
]


@pytest.mark.parametrize("kind", ALL)
def test_logits_are_the_head_applied_to_the_features(load: Load, kind: str) -> None:
    model = load(kind)
    head = classification_head(model.module, classes=2)
    with torch.no_grad():
        said = model.forward(model.collate(model.encode(TEXTS)))
        again = torch.nn.functional.linear(said.features, head.weight, head.bias)
    assert said.features.shape == (len(TEXTS), 32)
    torch.testing.assert_close(said.logits, again, atol=1e-5, rtol=1e-5)
    assert said.logits.std() > 1e-4, "a model that says the same to everything would pass any such test"


@pytest.mark.parametrize("kind", ALL)
def test_padding_changes_neither_logits_nor_features(load: Load, kind: str) -> None:
    model = load(kind)
    ids = model.encode(TEXTS)
    with torch.no_grad():
        together = model.forward(model.collate(ids))
        alone = [model.forward(model.collate([one])) for one in ids]
    torch.testing.assert_close(together.logits, torch.cat([one.logits for one in alone]), atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(together.features, torch.cat([one.features for one in alone]), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ALL)
def test_transformers_says_the_same_through_its_own_tokenizer(load: Load, kind: str) -> None:
    model = load(kind)
    encoded = [model.tokenizer(text, return_tensors="pt") for text in TEXTS]
    with torch.no_grad():
        plain = torch.cat(
            [model.module(input_ids=one["input_ids"], attention_mask=one["attention_mask"]).logits for one in encoded]
        )
    torch.testing.assert_close(predict_texts(model, TEXTS).logits, plain, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_a_text_that_ends_in_the_pad_token_is_read_to_its_end(load: Load, kind: str) -> None:
    """A LLaMA without a pad token is read to its last token, whatever the batch is padded with."""
    model = load(kind)
    pad = 0 if kind == "bert" else model.tokenizer.eos_token_id
    ids = [[*model.encode(["good film"])[0], pad, pad], model.encode([TEXTS[1]])[0]]
    alone = predict_token_ids(model, ids[:1])
    together = predict_token_ids(model, ids)
    torch.testing.assert_close(together.features[0], alone.features[0], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(together.logits[0], alone.logits[0], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_many_texts_are_read_in_order_as_one_by_one(load: Load, kind: str) -> None:
    model, rows = load(kind), task(40, seed=3)
    texts = [*rows.texts, "", "   ", "ünïcode 🙂 text", "good " * 200]
    together = predict_texts(model, texts)
    alone = torch.cat([predict_texts(model, [text]).logits for text in texts])
    torch.testing.assert_close(together.logits, alone, atol=2e-5, rtol=1e-4)
    backwards = predict_texts(model, texts[::-1])
    torch.testing.assert_close(together.logits, backwards.logits.flip(0), atol=2e-5, rtol=1e-4)
    assert together.predictions == [int(i) for i in together.logits.argmax(dim=1)]
    assert all(0.5 <= p <= 1 for p in together.confidences)


def test_nothing_read_is_nothing_said(load: Load) -> None:
    assert predict_texts(load("bert"), []).logits.shape == (0, 2)
    assert accuracy([], []) != accuracy([], [])  # not a number


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_the_tap_leaves_no_hook_even_after_an_error(load: Load, kind: str) -> None:
    model = load(kind)
    before = hooks(model)
    model.forward(model.collate(model.encode(TEXTS)))
    with pytest.raises(RuntimeError, match="on purpose"), HeadInputHook(model.module, classes=2):
        raise RuntimeError("on purpose")
    assert hooks(model) == before


def test_a_tap_that_heard_nothing_and_a_head_that_is_not_there_are_errors(load: Load) -> None:
    model = load("bert")
    with HeadInputHook(model.module, classes=2) as tap, pytest.raises(ModelError, match="never called"):
        tap.features(torch.ones(1, 1))
    with pytest.raises(ModelError, match="no classification layer"):
        classification_head(model.module, classes=7)


@pytest.mark.parametrize("kind", ALL)
def test_texts_longer_than_the_model_takes_are_cut(folder_of: Callable[[str], Path], kind: str) -> None:
    model = load_model(folder_of(kind), device="cpu", offline=True, max_length=4096)
    assert model.max_length <= (65 if kind in (*ENCODERS, "gpt2") else 128), "positions of a table, or computed ones"
    assert predict_texts(model, ["good film " * 300]).logits.isfinite().all()
