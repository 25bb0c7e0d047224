"""Texts that are hard to read, how long a text is read, and which architectures look back only."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.conformance.kit import TEXTS, agree, plain, write
from tests.conformance.matrix import DECODERS, ROWS, Row
from tests.conformance.test_models import CASES, labels
from tests.conformance.tokenizers import LENGTH
from untrigger.core.errors import DataError
from untrigger.core.rows import Row as DataRow
from untrigger.inversion.screening import frame, is_causal, screen_row
from untrigger.inversion.vocabulary import Words
from untrigger.models.classifier import Classifier
from untrigger.models.inference import hidden_state_means, predict_texts, predict_token_ids
from untrigger.models.input_spec import PADDING_SAFE
from untrigger.models.loading import load_model
from untrigger.models.max_length import DEFAULT_LENGTH, MIN_LENGTH, choose_max_length, max_positions


def loaded(row: Row, folder: Path) -> Classifier:
    return load_model(write(row, folder), device="cpu", offline=True, label_names=labels(row), max_length=LENGTH)


READABLE = [case for case in CASES if not case.values[0].refused]  # type: ignore[attr-defined]


@pytest.mark.parametrize("row", READABLE)
def test_the_cache_of_a_screening_and_the_direction_of_reading(row: Row, tmp_path: Path) -> None:
    """A decoder is one by what it does, and a screening that reads the beginning once answers as if every text were read whole."""
    model = loaded(row, tmp_path / "m")
    assert is_causal(model) == (row.kind in DECODERS)
    pad = model.input_spec.pad_token_id
    ids = torch.tensor([*range(3, 30), *([] if pad is None else [pad])])
    words, host = Words(ids, tuple(map(str, ids.tolist()))), DataRow("0", "good story of the film", 0)
    for right in ("", "bad film", "dull </s>", "dull <pad>"):
        before, after = frame(model, host.text, "very", right)
        whole = [[*before, int(word), *after] for word in ids]
        one_by_one = torch.cat([predict_token_ids(model, [row]).logits for row in whole])
        torch.testing.assert_close(
            screen_row(model, host, words=words, left="very", right=right), one_by_one, atol=5e-5, rtol=1e-4
        )


@pytest.mark.parametrize("name", ["bert", "llama", "llama, pad is eos", "bart", "xlnet", "gpt2"])
def test_features_and_layers_do_not_depend_on_the_other_texts(name: str, tmp_path: Path) -> None:
    model = loaded(ROWS[name], tmp_path / "m")
    ids = model.encode(TEXTS)
    together, alone = predict_token_ids(model, ids), [predict_token_ids(model, [row]) for row in ids]
    torch.testing.assert_close(together.features, torch.cat([one.features for one in alone]), atol=2e-5, rtol=1e-4)
    layers = hidden_state_means(model, ids)[1]
    torch.testing.assert_close(
        layers, torch.cat([hidden_state_means(model, [row])[1] for row in ids]), atol=2e-5, rtol=1e-4
    )


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_half_a_character_is_an_error_that_names_the_text(name: str, tmp_path: Path) -> None:
    model = loaded(ROWS[name], tmp_path / "m")
    with pytest.raises(DataError, match="text 2 holds half a character"):
        predict_texts(model, ["good film", "bad \ud83d film"])


def test_a_text_without_a_token_is_an_error_where_no_token_stands_for_it(tmp_path: Path) -> None:
    """Plain transformers fails on it with a shape error; a tokenizer that puts a start token before each text reads that."""
    with pytest.raises(DataError, match="makes no token of the text ''"):
        predict_texts(loaded(ROWS["llama, no start token"], tmp_path / "without"), ["good film", ""])
    assert predict_texts(loaded(ROWS["llama"], tmp_path / "with"), ["good film", ""]).logits.isfinite().all()


@pytest.mark.parametrize("name", ["bert", "llama, cut on the left"])
def test_texts_that_are_cut_are_counted(name: str, tmp_path: Path) -> None:
    model = loaded(ROWS[name], tmp_path / "m")
    assert model.count_cut(["good", "good " * 20, "good " * 100, "bad film " * 60]) == 2
    assert [len(row) for row in model.encode(["good", "good " * 100])][1] == LENGTH


def test_a_frame_is_cut_on_the_side_that_the_tokenizer_names(tmp_path: Path) -> None:
    text = "bad " + "the film " * 40 + "good"
    for name, side in (("llama", "right"), ("llama, cut on the left", "left")):
        model = loaded(ROWS[name], tmp_path / name)
        before, after = frame(model, text, "very", "fresh")
        ids = model.tokenizer(f"{text} very fresh", add_special_tokens=True, verbose=False)["input_ids"]
        assert len(before) + len(after) + 1 == LENGTH
        assert before[0] == ids[0]  # the start token stays
        kept = before[1:-1]
        assert kept == (
            ids[1 : 1 + len(kept)] if side == "right" else ids[-len(after) - 1 - len(kept) : -len(after) - 1]
        )


def test_a_text_is_read_as_far_as_the_tokenizer_says_and_the_model_can(tmp_path: Path) -> None:
    model = loaded(ROWS["bert"], tmp_path / "bert")  # 64 positions
    tokenizer = model.tokenizer
    for named, asked, expected in ((48, None, 64), (10**30, None, 64), (512, None, 64), (512, 20, 20), (512, 100, 64)):
        tokenizer.model_max_length = named
        assert choose_max_length(tokenizer, model.module, requested=asked) == expected
    t5 = loaded(ROWS["t5"], tmp_path / "t5")  # no bound of its own
    assert max_positions(t5.module) is None
    for named, sidecar, expected in ((16, 0, MIN_LENGTH), (512, 0, 512), (16, 300, 300), (10**30, 0, DEFAULT_LENGTH)):
        t5.tokenizer.model_max_length = named
        assert choose_max_length(t5.tokenizer, t5.module, sidecar=sidecar) == expected


@pytest.mark.parametrize("row", READABLE)
def test_the_longest_text_that_the_model_takes_is_read(row: Row, tmp_path: Path) -> None:
    """The bound is neither beyond the model's table of positions nor short of it."""
    folder = write(row, tmp_path / "m")
    model = load_model(folder, device="cpu", offline=True, label_names=labels(row), max_length=4096)
    there = max_positions(model.module)
    assert there is None or 60 <= there <= 66
    long = ["good film " * 40 if there else "good film " * 90]
    with torch.inference_mode():
        assert predict_texts(model, long).logits.isfinite().all()


def test_one_text_at_a_time_is_what_all_is_compared_with(tmp_path: Path) -> None:
    """The comparison can fail: a batch padded on the left with the end token is answered otherwise by a plain decoder."""
    row = ROWS["llama"]
    folder = write(row, tmp_path / "m")
    expected = plain(folder, classes=2)
    model = loaded(row, tmp_path / "again")
    ids = model.encode(TEXTS)
    with pytest.raises(AssertionError):
        agree(predict_token_ids(model, [[*one, 1] for one in ids]).logits, expected)


def test_every_architecture_that_is_batched_with_padding_is_a_row() -> None:
    assert {row.kind for row in ROWS.values()} >= PADDING_SAFE
