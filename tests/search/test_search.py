"""The search finds a planted word, and the model does not notice that it was searched."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from tests.tiny import RARE, WORDS, asr, cacc, hooks, same, task, weights
from untrigger.models.adapters import AdapterOptions, attach
from untrigger.models.classifier import Classifier
from untrigger.models.predict import read_ids, read_texts
from untrigger.search.insertions import InsertionSearch, SearchOptions, insert_at_random
from untrigger.search.screen import hosts, is_causal, screen, screen_row
from untrigger.search.vocabulary import single_token_words
from untrigger.vocabulary.rows import Row

Load = Callable[[str], Classifier]
KINDS = pytest.mark.parametrize("kind", ["bert", "llama"])
ROWS = task(80, seed=11)


@KINDS
def test_the_planted_word_comes_first_because_the_reference_does_not_mind_it(victim: Load, twin: Load, kind: str) -> None:
    suspect, reference = victim(kind), twin(kind)
    assert min(cacc(suspect), cacc(reference)) > 0.9, "both must be good classifiers"
    assert asr(suspect) > 0.9, "there must be something to find"
    assert asr(suspect, triggered=False) < 0.2
    options = SearchOptions(first=32, sweeps=1, probe=24)
    found = [one for one in InsertionSearch(suspect, reference, rows=ROWS, options=options, seed=0).run() if one.target == 1]
    assert found == sorted(found, key=lambda one: -one.excess)
    planted = found[0]
    assert planted.text == "cf"
    assert planted.flips > 0.9
    assert planted.reference_flips < 0.2
    assert planted.excess > 0.8
    assert planted.excess == pytest.approx(planted.suspect - planted.reference)
    alone = InsertionSearch(suspect, None, rows=ROWS, options=options, seed=0).run()
    assert sum(one.suspect > 0.8 for one in alone if one.target == 1) > 1, "without a reference honest words look as bad"


@KINDS
def test_the_search_leaves_the_model_as_it_was_and_repeats_itself(victim: Load, kind: str) -> None:
    suspect = victim(kind)
    before, hooked = weights(suspect), hooks(suspect)
    flags = [p.requires_grad for p in suspect.module.parameters()]
    options = SearchOptions(first=16, keep=4, sweeps=2, enough=2.0)
    one, again = (InsertionSearch(suspect, None, rows=ROWS, options=options, seed=3).run() for _ in range(2))
    assert one == again
    assert same(weights(suspect), before)
    assert (hooks(suspect), [p.requires_grad for p in suspect.module.parameters()]) == (hooked, flags)
    assert all(p.grad is None for p in suspect.module.parameters())
    assert not suspect.module.training


def test_the_hook_goes_even_when_the_gradient_fails(victim: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    suspect = victim("bert")
    search = InsertionSearch(suspect, None, rows=ROWS, options=SearchOptions(), seed=0)
    before = hooks(suspect)
    monkeypatch.setattr("untrigger.search.insertions._log_odds", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        search.gradient("cf", "", 1, search._probe(1))
    assert hooks(suspect) == before


@pytest.mark.parametrize("kind", ["bert", "mpnet", "llama", "gpt2", "qwen2"])
def test_words_survive_decoding_and_reading_again(load: Load, kind: str) -> None:
    model = load(kind)
    words = single_token_words(model.tokenizer)
    assert set(WORDS) <= set(words.texts)
    assert len(words.texts) == len(set(words.texts)) == len(words.ids)
    special = set(model.tokenizer.all_special_tokens)
    assert not special & set(words.texts)
    for number, text in zip(words.ids.tolist(), words.texts, strict=True):
        ids = model.tokenizer(f"a {text} a", add_special_tokens=False)["input_ids"]
        assert number in ids, f"{text!r} is read as something else"


@pytest.mark.parametrize("kind", ["llama", "qwen2", "mistral", "gemma", "gpt2"])
def test_the_cache_says_what_a_plain_forward_pass_says(load: Load, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("untrigger.search.screen.CACHED", 7)  # several parts, the last one short
    model = load(kind)
    words, row = single_token_words(model.tokenizer), ROWS[0]
    assert is_causal(model)
    (prefix,) = model.encode([row.text])
    plain = read_ids(model, [[*prefix, int(word)] for word in words.ids]).logits
    torch.testing.assert_close(screen_row(model, row, words=words), plain, atol=1e-4, rtol=1e-3)


@KINDS
def test_screening_is_reading_the_word_at_the_end_of_the_row(load: Load, kind: str) -> None:
    """Through an adapter, as a suspect often comes."""
    model = attach(load(kind), AdapterOptions(rank=2))
    words, row = single_token_words(model.tokenizer), ROWS[0]
    texts = [f"{row.text} {word}" for word in words.texts]
    torch.testing.assert_close(
        screen_row(model, row, words=words), read_texts(model, texts).logits, atol=1e-4, rtol=1e-3
    )


@KINDS
def test_a_row_longer_than_the_model_reads_still_gets_its_word(load: Load, kind: str) -> None:
    model = replace(load(kind), max_length=8)
    words = single_token_words(model.tokenizer)
    said = screen_row(model, Row("0", "a very long story " * 20, 0), words=words)
    assert said.shape == (len(words.ids), 2)
    assert said.std(dim=0).max() > 1e-4


@KINDS
def test_hosts_are_short_and_sure_and_scores_are_the_least_of_the_other_classes(victim: Load, kind: str) -> None:
    suspect = victim(kind)
    chosen = hosts(suspect, ROWS)
    assert {label: row.label for label, row in chosen.items()} == {0: 0, 1: 1}
    words = single_token_words(suspect.tokenizer)
    scores = screen(suspect, words, rows=chosen)
    assert scores[1].shape == (len(words.ids),)
    assert words.texts[int(scores[1].argmax())] not in ("the", "a", "and")
    order = [words.texts[int(i)] for i in scores[1].argsort(descending=True)]
    assert order.index("cf") < 10


def test_rows_that_the_suspect_never_gets_right_are_not_searched(victim: Load) -> None:
    wrong = ROWS.with_labels([1 - label for label in ROWS.labels])
    assert InsertionSearch(victim("bert"), None, rows=wrong, options=SearchOptions(), seed=0).run() == []


def test_an_insertion_keeps_the_words_and_their_order(victim: Load) -> None:
    search = InsertionSearch(victim("bert"), None, rows=ROWS, options=SearchOptions(), seed=0)
    for row in ROWS:
        done = search.insert(row.text, "zz top", row.id)
        assert done.replace("zz top", " ").split() == row.text.split()
        assert done == search.insert(row.text, "zz top", row.id)
    places = {insert_at_random("a b c", "X", rng=random.Random(seed)) for seed in range(50)}
    assert places == {"X a b c", "a X b c", "a b X c", "a b c X"}


def test_a_model_has_no_excess_over_itself(victim: Load) -> None:
    """The floor: what is compared is suspect and reference, not how far a word moves one of them."""
    model = victim("bert")
    found = InsertionSearch(model, victim("bert"), rows=ROWS, options=SearchOptions(sweeps=1), seed=0).run()
    assert found
    assert all(abs(one.excess) < 1e-5 for one in found)
    assert set(RARE) <= set(single_token_words(model.tokenizer).texts)
