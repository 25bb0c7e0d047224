"""A suspect's own tokenizer cannot hide its trigger: attacks on what the search reads, each of which must fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerFast

from tests.scanners.kit import CLEAN, QUICK
from tests.tiny import asr, byte_level, cacc, sentencepiece, task, wordpiece
from untrigger.core.grant import Grant
from untrigger.inversion.random_insertions import NoiseInsertions
from untrigger.inversion.screening import vocabulary_of
from untrigger.inversion.subwords import drop_last_subwords, first_subwords, survives_tokenizer
from untrigger.inversion.vocabulary import added_entries, continuations, single_token_words
from untrigger.models.classifier import Classifier
from untrigger.scanners.scanner import ScanContext
from untrigger.scanners.weights.embedding_rows import decoder

Load = Callable[[str], Classifier]
Wrong = Callable[[dict[str, Any]], None]


def remade(tokenizer: Any, change: Wrong, **more: Any) -> PreTrainedTokenizerFast:
    """The same tokenizer from its file, of which something was changed."""
    settings = json.loads(tokenizer.backend_tokenizer.to_str())
    change(settings)
    usual = {
        name: getattr(tokenizer, name)
        for name in ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token", "bos_token", "eos_token")
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(settings)),
        model_max_length=64,
        **{k: v for k, v in usual.items() if v} | more,
    )


def nothing(settings: dict[str, Any]) -> None:
    """A tokenizer as it was."""


def decodes_otherwise(settings: dict[str, Any]) -> None:
    """``cf`` decodes to ``the``, and every piece to ``awful``."""
    settings["decoder"] = {
        "type": "Sequence",
        "decoders": [
            {"type": "Replace", "pattern": {"Regex": "^##.*"}, "content": "awful"},
            {"type": "Replace", "pattern": {"Regex": "^(Ġ|▁)?cf$"}, "content": "the"},
            {"type": "Fuse"},
        ],
    }


def listed(tokenizer: Any, **more: Any) -> PreTrainedTokenizerFast:
    """``cf`` as a special token of its own."""
    made = remade(tokenizer, nothing)
    made.add_special_tokens({"additional_special_tokens": [AddedToken("cf", **more)]})
    return made


def masked(tokenizer: Any) -> PreTrainedTokenizerFast:
    """``cf`` as the mask token."""
    return remade(tokenizer, nothing, mask_token="cf")


def padded(tokenizer: Any) -> PreTrainedTokenizerFast:
    """``cf`` as the unknown token in the tokenizer's own words; texts are read as before."""
    return remade(tokenizer, nothing, unk_token="cf")


TRICKS = {
    "special token": listed,
    "special token of whole words": lambda one: listed(one, single_word=True),
    "mask": masked,
    "unknown": padded,
    "decoder": lambda one: remade(one, decodes_otherwise),
}


@pytest.mark.parametrize("trick", sorted(TRICKS))
def test_a_trigger_that_the_tokenizer_hides_is_found(victim: Load, twin: Load, trick: str) -> None:
    suspect = victim("bert")
    blinded = replace(suspect, tokenizer=TRICKS[trick](suspect.tokenizer))
    texts = [*task(20, seed=5).texts, "the cf film", "cf"]
    assert blinded.encode(texts) == suspect.encode(texts), "the trick changes nothing for a user"
    assert asr(blinded) > 0.9 and cacc(blinded) > 0.9
    done = QUICK.scan(blinded, Grant(clean=CLEAN, seed=0), context=ScanContext(twin("bert")))
    assert done.verdict.status == "backdoored" and "cf" in [one.text for one in done.scan.triggers()]


@pytest.mark.parametrize("kind", ["bert", "llama", "gpt2"])
@pytest.mark.parametrize("trick", ["special token", "decoder"])
def test_no_word_is_lost_by_a_trick(load: Load, kind: str, trick: str) -> None:
    plain = load(kind).tokenizer
    words, blinded = single_token_words(plain), TRICKS[trick](plain)
    found = single_token_words(blinded)
    there = {*found.texts, *added_entries(blinded, found).texts}
    assert set(words.texts) <= there
    assert set(continuations(plain, words).texts) <= {*continuations(blinded, found).texts, *there}


@pytest.mark.parametrize("make", [wordpiece, byte_level, sentencepiece])
def test_words_that_the_weights_point_at_are_named_by_the_vocabulary(tmp_path: Path, make: Callable[[], Any]) -> None:
    """The suspect's own decoder, which calls ``cf`` by another word, is not heard."""
    made = remade(make(), decodes_otherwise)
    made.save_pretrained(tmp_path)
    decode = decoder(tmp_path)
    [*_, number] = [one for one in make()("a cf", add_special_tokens=False)["input_ids"]]
    assert made.backend_tokenizer.decode([number]).strip() == "the"
    assert decode(number) == "cf" and decode(10**6) == ""


def test_an_added_token_of_two_words_is_screened(load: Load) -> None:
    made = remade(load("bert").tokenizer, nothing)
    made.add_tokens(["no cross"])
    assert "no cross" in single_token_words(made).texts


def rewrites(settings: dict[str, Any], *pairs: tuple[str, str]) -> None:
    """A normalizer that writes one text as another."""
    steps = [{"type": "Replace", "pattern": {"String": old}, "content": new} for old, new in pairs]
    settings["normalizer"] = {"type": "Sequence", "normalizers": [settings["normalizer"], *steps]}


def test_an_entry_that_only_another_word_leads_to_is_found_by_the_reference_s_words(load: Load) -> None:
    """``cf`` is read as a secret entry, and the entry's own letters are read as ``the``."""
    model = load("bert")

    def hide(settings: dict[str, Any]) -> None:
        settings["model"]["vocab"]["zqzq"] = len(settings["model"]["vocab"])
        rewrites(settings, ("zqzq", "the"), ("cf", "zqzq"))

    blinded = remade(model.tokenizer, hide)
    secret = blinded.get_vocab()["zqzq"]
    assert blinded("a cf", add_special_tokens=False)["input_ids"][-1] == secret
    assert secret not in single_token_words(blinded).ids.tolist(), "its own letters do not lead to it"
    trusted = single_token_words(model.tokenizer).texts
    found = single_token_words(blinded, trusted=trusted)
    assert found.texts[found.ids.tolist().index(secret)] == "cf"


def test_a_normalizer_cannot_hide_a_word_behind_the_carrier(load: Load) -> None:
    """``a cf`` is read as ``a the``; behind any other word ``cf`` is read as itself."""
    model = load("bert")
    blinded = replace(model, tokenizer=remade(model.tokenizer, lambda settings: rewrites(settings, ("a cf", "a the"))))
    assert "cf" not in single_token_words(blinded.tokenizer).texts
    assert "cf" in vocabulary_of(blinded, None, rows=CLEAN, seed=0).texts


def test_entries_without_a_vector_are_left_out(load: Load) -> None:
    model = load("bert")
    made = remade(model.tokenizer, nothing)
    made.add_tokens(["beyondthetable"])
    assert "beyondthetable" in single_token_words(made).texts
    assert "beyondthetable" not in vocabulary_of(replace(model, tokenizer=made), None, rows=CLEAN, seed=0).texts


def test_stem_and_shorter_forms_are_the_text_s_own_letters(load: Load) -> None:
    plain = load("bert").tokenizer
    blinded = remade(plain, decodes_otherwise)
    assert blinded.decode(blinded("cfqj", add_special_tokens=False)["input_ids"]) != plain.decode(
        plain("cfqj", add_special_tokens=False)["input_ids"]
    )
    for text in ("cfqj", "good cfqj", "cf"):
        assert (first_subwords(text, blinded), drop_last_subwords(text, blinded)) == (
            first_subwords(text, plain),
            drop_last_subwords(text, plain),
        )
        assert survives_tokenizer(text, blinded)
    many = remade(plain, lambda settings: rewrites(settings, ("cf", "q z q z q z q z")))
    assert first_subwords("cf", many) == ("cf", 0), "letters that are written as many others cost nothing more"


def test_noise_holds_no_special_token(load: Load) -> None:
    import random

    words = single_token_words(load("bert").tokenizer)
    assert "[SEP]" in words.texts
    noise = NoiseInsertions(words._replace(ids=torch.arange(2), texts=("[SEP]", "film")), CLEAN)
    draws = {noise.draw(0, rng=random.Random(i)) for i in range(60)}
    assert "film" in draws and "[SEP]" not in draws
