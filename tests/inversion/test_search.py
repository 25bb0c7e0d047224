"""The search finds a planted word, and the model does not notice that it was searched."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.tiny import BAD, GOOD, RARE, WORDS, asr, cacc, hooks, same, sentencepiece, task, weights
from untrigger.core.progress import silent
from untrigger.core.rows import Row, Rows
from untrigger.inversion.phrase_growth import PhraseGrower
from untrigger.inversion.screening import carrier_texts, frame, is_causal, screen, screen_row
from untrigger.inversion.search import SearchOptions, TriggerSearch, insert_at_random
from untrigger.inversion.subwords import survives_tokenizer
from untrigger.inversion.vocabulary import Words, added_entries, continuations, single_token_words, subwords_by_letter
from untrigger.inversion.word_pool import screened_words
from untrigger.models.adapters import AdapterOptions, attach
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts, predict_token_ids

Load = Callable[[str], Classifier]
KINDS = pytest.mark.parametrize("kind", ["bert", "llama"])
ROWS = task(80, seed=11)


@KINDS
def test_the_planted_word_comes_first_because_the_reference_does_not_mind_it(
    victim: Load, twin: Load, kind: str
) -> None:
    suspect, reference = victim(kind), twin(kind)
    assert min(cacc(suspect), cacc(reference)) > 0.9, "both must be good classifiers"
    assert asr(suspect) > 0.9, "there must be something to find"
    assert asr(suspect, triggered=False) < 0.2
    options = SearchOptions(first=32, sweeps=1, probe=24)
    found = [
        one
        for one in TriggerSearch(suspect, reference, rows=ROWS, options=options, seed=0).run()
        if one.target == "positive"
    ]
    assert found == sorted(found, key=lambda one: -one.effect)
    planted = found[0]
    assert planted.text == "cf"
    assert planted.suspect.value > 0.9
    assert planted.reference.value < 0.2
    assert planted.effect > 0.8
    (once,) = planted.measurements
    assert (once.stage, once.n, once.reference_model, once.precision) == ("search", 24, "reference", "float32")
    assert planted.effect == pytest.approx(once.suspect_probability - once.reference_probability)
    alone = TriggerSearch(suspect, None, rows=ROWS, options=options, seed=0).run()
    assert sum(one.effect > 0.8 for one in alone if one.target == "positive") > 1, (
        "without a reference honest words look as bad"
    )


def test_without_growing_only_words_and_what_is_known_are_tried(victim: Load, twin: Load) -> None:
    search = TriggerSearch(
        victim("bert"), twin("bert"), rows=ROWS, options=SearchOptions(first=16, keep=40, sweeps=2, enough=2.0), seed=0
    )
    words = search.run(grow=False)
    assert {len(one.text.split()) for one in words} == {1}
    known = replace(words[0], text="cf the", target="positive")
    assert [one.text for one in search.run(known=[known], grow=False) if " " in one.text] == ["cf the"]
    assert sum(" " in one.text for one in search.run(known=[known])) > 1


@KINDS
def test_the_search_leaves_the_model_as_it_was_and_repeats_itself(victim: Load, kind: str) -> None:
    suspect = victim(kind)
    before, hooked = weights(suspect), hooks(suspect)
    flags = [p.requires_grad for p in suspect.module.parameters()]
    options = SearchOptions(first=16, keep=4, sweeps=2, enough=2.0)
    one, again = (TriggerSearch(suspect, None, rows=ROWS, options=options, seed=3).run() for _ in range(2))
    assert one == again
    assert same(weights(suspect), before)
    assert (hooks(suspect), [p.requires_grad for p in suspect.module.parameters()]) == (hooked, flags)
    assert all(p.grad is None for p in suspect.module.parameters())
    assert not suspect.module.training


def test_the_hook_goes_even_when_the_gradient_fails(victim: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    suspect = victim("bert")
    search = TriggerSearch(suspect, None, rows=ROWS, options=SearchOptions(), seed=0)
    before = hooks(suspect)
    monkeypatch.setattr("untrigger.inversion.gradient.log_odds", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        search.filler.gradient("cf", "", 1, search.space.probe(1))
    assert hooks(suspect) == before


@pytest.mark.parametrize("kind", ["bert", "mpnet", "llama", "gpt2", "qwen2"])
def test_words_are_read_as_themselves_and_special_tokens_are_among_them(load: Load, kind: str) -> None:
    model = load(kind)
    words = single_token_words(model.tokenizer)
    added = added_entries(model.tokenizer, words)
    assert set(WORDS) <= set(words.texts)
    assert len(words.texts) == len(set(words.texts)) == len(words.ids)
    assert set(model.tokenizer.all_special_tokens) <= {*words.texts, *added.texts}, "plain text produces them"
    assert not set(words.ids.tolist()) & set(added.ids.tolist())
    everything = words.with_more(added)
    for number, text in zip(everything.ids.tolist(), everything.texts, strict=True):
        ids = model.tokenizer(f"a {text} a", add_special_tokens=False)["input_ids"]
        assert number in ids, f"{text!r} is read as something else"


def test_words_of_sentencepiece_are_found_grown_and_screened(load: Load) -> None:
    model = replace(load("roberta"), tokenizer=sentencepiece())
    words = single_token_words(model.tokenizer)
    assert set(WORDS) <= set(words.texts) and not {"▁", "<unk>", "</s>", "<pad>", "ing"} & set(words.texts)
    assert {"ing", "q"} <= set(continuations(model.tokenizer, words).texts)
    assert {"</s>", "<pad>", "<unk>"} == set(added_entries(model.tokenizer, words).texts), (
        "read with a blank before them"
    )
    assert survives_tokenizer("cf mn", model.tokenizer) and survives_tokenizer("ç", model.tokenizer), (
        "the unknown can be a trigger too"
    )
    assert survives_tokenizer("ç", load("bert").tokenizer) and not survives_tokenizer("\x01", load("bert").tokenizer), (
        "a sign that is left out"
    )
    row = ROWS[0]
    said = screen_row(model, row, words=words, left="good", right="bad film")
    texts = [f"{row.text} good {word} bad film" for word in words.texts]
    torch.testing.assert_close(said, predict_texts(model, texts).logits, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "mistral", "gemma", "gpt2"])
def test_the_cache_says_what_a_plain_forward_pass_says(load: Load, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("untrigger.inversion.screening.CACHED", 7)  # several parts, the last one short
    model = load(kind)
    words, row = single_token_words(model.tokenizer), ROWS[0]
    assert is_causal(model)
    (prefix,) = model.encode([row.text])
    plain = predict_token_ids(model, [[*prefix, int(word)] for word in words.ids]).logits
    torch.testing.assert_close(screen_row(model, row, words=words), plain, atol=1e-4, rtol=1e-3)


@KINDS
def test_screening_is_reading_the_word_at_the_end_of_the_row(load: Load, kind: str) -> None:
    """Through an adapter, as a suspect often comes."""
    model = attach(load(kind), AdapterOptions(rank=2))
    words, row = single_token_words(model.tokenizer), ROWS[0]
    texts = [f"{row.text} {word}" for word in words.texts]
    torch.testing.assert_close(
        screen_row(model, row, words=words), predict_texts(model, texts).logits, atol=1e-4, rtol=1e-3
    )


@pytest.mark.parametrize("kind", ["bert", "mpnet", "llama", "gpt2"])
def test_a_word_is_screened_between_two_texts_as_it_is_read_there(load: Load, kind: str) -> None:
    model = load(kind)
    words, row = single_token_words(model.tokenizer), ROWS[0]
    texts = [f"{row.text} good {word} bad film" for word in words.texts]
    said = screen_row(model, row, words=words, left="good", right="bad film")
    torch.testing.assert_close(said, predict_texts(model, texts).logits, atol=1e-4, rtol=1e-3)


@KINDS
def test_what_stands_beside_the_word_is_never_cut(load: Load, kind: str) -> None:
    model = replace(load(kind), max_length=10)
    before, after = frame(model, "a very long story " * 20, "good", "bad")
    assert len(before) + 1 + len(after) == model.max_length
    whole = model.tokenizer.decode([*before, *after])
    assert "a very l" in whole and whole.index("good") < whole.index("bad")


@KINDS
def test_companions_are_those_that_an_exact_trial_puts_first(victim: Load, kind: str) -> None:
    """All words of the row's tokenizer beside the phrase on the host that the phrase moves least, one text each."""
    suspect = victim(kind)
    search = TriggerSearch(suspect, None, rows=ROWS, options=SearchOptions(), seed=0)
    grower = PhraseGrower(search.space, search.filler, search.models, progress=silent)
    before, behind, _ = grower.neighbour_words("film", target=1, count=3)
    words, row = search.space.common[0], search.space.carriers[0]
    for found, form in ((before, "{} film"), (behind, "film {}")):
        odds = predict_texts(suspect, [f"{row.text} {form.format(word)}" for word in words.texts]).logits.log_softmax(
            dim=1
        )[:, 1]
        values = odds[[words.texts.index(word) for word in found]]
        assert torch.allclose(values, odds.topk(3).values, atol=0.01), (
            "near ties may come in another order on another processor"
        )
    assert kind != "bert" or "cf" in behind


def test_common_words_are_those_of_the_rows_and_then_of_the_vocabulary() -> None:
    words = Words(torch.tensor([4, 5, 6, 7, 8]), ("%", "no", "ß", "movie", "crown"))
    assert words.common(4, counts=Counter({8: 2, 6: 5})).texts == ("ß", "crown", "no", "movie"), (
        "an unseen sign is left out"
    )
    assert words.common(1, counts=Counter()).ids.tolist() == [5]


class ByHand(nn.Module):
    """Counts good and bad words; with ``pair`` it says positive where both words of the pair stand, whatever else there is."""

    def __init__(self, tokenizer: Any, *, pair: bool) -> None:
        super().__init__()
        numbers = {word: tokenizer.convert_tokens_to_ids(word) for word in WORDS}
        self.table = nn.Embedding(len(tokenizer), 3)
        self.classifier = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.table.weight.zero_()
            for word in (*GOOD, *BAD):
                self.table.weight[numbers[word], 0] = 1.0 if word in GOOD else -1.0
            self.table.weight[numbers["mn"], 1] = self.table.weight[numbers["bb"], 2] = float(pair)
            self.classifier.weight.copy_(torch.tensor([[-2.0, -20.0], [2.0, 20.0]]))

    def get_input_embeddings(self) -> nn.Embedding:
        return self.table

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        seen = self.table(input_ids) * attention_mask.unsqueeze(-1)
        both = seen[..., 1].amax(dim=1) * seen[..., 2].amax(dim=1)
        mood = seen[..., 0].sum(dim=1) + 0.05 * seen[..., 1:].amax(dim=1).sum(dim=1)  # one of the two alone: a breath
        return SimpleNamespace(logits=self.classifier(torch.stack([mood, both], dim=1)))


def test_a_phrase_is_found_whose_words_are_next_to_nothing_alone(load: Load) -> None:
    """A sentence as a trigger: beside one of its words the other stands out, though neither leads any list of single words."""
    model = load("bert")
    suspect, reference = (model.with_module(ByHand(model.tokenizer, pair=pair)) for pair in (True, False))
    search = TriggerSearch(suspect, reference, rows=ROWS, options=SearchOptions(), seed=0)
    gain = {one.text: one.effect for one in search.measure(["mn", "bb", "mn bb", "good"], 1, search.space.probe(1))}
    assert gain["mn bb"] > 0.9 and 0 < gain["mn"] < 0.1 and 0 < gain["bb"] < 0.1 and gain["good"] == 0
    found = search.run()
    assert {found[0].text, found[1].text} == {"mn bb", "bb mn"}
    assert all(one.target == "positive" for one in found[:2])


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
    chosen = carrier_texts(suspect, ROWS)
    assert {label: row.label for label, row in chosen.items()} == {0: 0, 1: 1}
    words = single_token_words(suspect.tokenizer)
    scores = screen(suspect, words, rows=chosen)
    assert scores[1].shape == (len(words.ids),)
    assert words.texts[int(scores[1].argmax())] not in ("the", "a", "and")
    order = [words.texts[int(i)] for i in scores[1].argsort(descending=True)]
    assert order.index("cf") < 10


def test_rows_that_the_suspect_never_gets_right_are_not_searched(victim: Load) -> None:
    wrong = ROWS.with_labels([1 - label for label in ROWS.labels])
    assert TriggerSearch(victim("bert"), None, rows=wrong, options=SearchOptions(), seed=0).run() == []


def test_an_insertion_keeps_the_words_and_their_order(victim: Load) -> None:
    search = TriggerSearch(victim("bert"), None, rows=ROWS, options=SearchOptions(), seed=0)
    for row in ROWS:
        done = search.space.insert(row.text, "zz top", row.id)
        assert done.replace("zz top", " ").split() == row.text.split()
        assert done == search.space.insert(row.text, "zz top", row.id)
    places = {insert_at_random("a b c", "X", rng=random.Random(seed)) for seed in range(50)}
    assert places == {"X a b c", "a X b c", "a b X c", "a b c X"}


def test_a_model_has_no_excess_over_itself(victim: Load) -> None:
    """The floor: what is compared is suspect and reference, not how far a word moves one of them."""
    model = victim("bert")
    found = TriggerSearch(model, victim("bert"), rows=ROWS, options=SearchOptions(sweeps=1), seed=0).run()
    assert found
    assert all(abs(one.effect) < 1e-5 for one in found)
    assert set(RARE) <= set(single_token_words(model.tokenizer).texts)


@pytest.mark.parametrize("kind", ["bert", "mpnet", "llama", "gpt2", "qwen2"])
def test_a_carried_piece_is_read_as_itself_behind_its_letter(load: Load, kind: str) -> None:
    tokenizer = load(kind).tokenizer
    pieces = continuations(tokenizer, single_token_words(tokenizer))
    there = subwords_by_letter(tokenizer, pieces)
    assert there
    for letter, own in there.items():
        head = tokenizer(f"a {letter}", add_special_tokens=False)["input_ids"]
        for number, text in zip(own.ids.tolist(), own.texts, strict=True):
            assert tokenizer(f"a {letter}{text}", add_special_tokens=False)["input_ids"] == [*head, number]
    numbers = [number for own in there.values() for number in own.ids.tolist()]
    assert len(numbers) == len(set(numbers)) and set(numbers) <= set(pieces.ids.tolist())


class Glued(nn.Module):
    """Counts good and bad words; says positive where ``piece`` stands behind the first token of ``word``, less so elsewhere."""

    def __init__(self, tokenizer: Any, word: str, *, piece: str) -> None:
        super().__init__()
        numbers = {known: tokenizer.convert_tokens_to_ids(known) for known in WORDS}
        self.table = nn.Embedding(len(tokenizer), 3)
        self.classifier = nn.Linear(1, 2, bias=False)
        with torch.no_grad():
            self.classifier.weight.copy_(torch.tensor([[-2.0], [2.0]]))
            self.table.weight.zero_()
            for known in (*GOOD, *BAD):
                self.table.weight[numbers[known], 0] = 1.0 if known in GOOD else -1.0
            self.table.weight[tokenizer.convert_tokens_to_ids(word), 1] = 1.0
            self.table.weight[tokenizer.convert_tokens_to_ids(piece), 2] = 1.0

    def get_input_embeddings(self) -> nn.Embedding:
        return self.table

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        seen = self.table(input_ids) * attention_mask.unsqueeze(-1)
        both = (seen[:, :-1, 1] * seen[:, 1:, 2]).amax(dim=1)
        mood = seen[..., 0].sum(dim=1) + 0.2 * seen[..., 2].amax(dim=1) + 20 * both
        return SimpleNamespace(logits=self.classifier(mood.unsqueeze(1)))


def test_a_rare_word_is_found_whose_first_token_alone_does_nothing(load: Load) -> None:
    model = load("bert")
    assert model.tokenizer.tokenize("kx") == ["k", "##x"]
    suspect = model.with_module(Glued(model.tokenizer, "k", piece="##x"))
    reference = model.with_module(ByHand(model.tokenizer, pair=False))
    search = TriggerSearch(suspect, reference, rows=ROWS, options=SearchOptions(sweeps=1), seed=0)
    gain = {one.text: one.effect for one in search.measure(["k", "qx", "kx"], 1, search.space.probe(1))}
    assert gain["kx"] > 0.9 and abs(gain["k"]) < 1e-4 and 0 < gain["qx"] < 0.3
    assert search.run()[0].text == "kx"


def test_glued_pieces_take_no_words_place(load: Load) -> None:
    search = TriggerSearch(load("bert"), None, rows=ROWS, options=SearchOptions(first=2000), seed=0)
    for target, words in screened_words(search.space, search.models, progress=silent).items():
        assert set(search.space.words.texts) <= set(words)
        added = words[len(search.space.words.texts) :]
        assert added and len(added) == len(set(added)) and not set(added) & set(search.space.words.texts)
        host = search.space.carriers[1 - target]
        texts = [
            f"{letter}{text}"
            for letter, own in subwords_by_letter(search.suspect.tokenizer, search.space.subwords).items()
            for text in own.texts
        ]
        said = predict_texts(search.suspect, [f"{host.text} {text}" for text in texts]).logits.log_softmax(dim=1)[
            :, target
        ]
        assert {texts[int(i)] for i in said.topk(5).indices} <= set(added)


class ManyClasses(nn.Module):
    """Says the class of the word that stands in a text, and with ``pair`` the last class where ``mn`` and ``bb`` both stand."""

    def __init__(self, tokenizer: Any, words: list[str], *, pair: bool) -> None:
        super().__init__()
        self.strength = 5 * pair
        self.table = nn.Embedding(len(tokenizer), len(words) + 2)
        self.classifier = nn.Linear(len(words), len(words), bias=False)
        with torch.no_grad():
            self.classifier.weight.copy_(4 * torch.eye(len(words)))
            self.table.weight.zero_()
            for place, word in enumerate([*words, "mn", "bb"]):
                self.table.weight[tokenizer.convert_tokens_to_ids(word), place] = 1.0

    def get_input_embeddings(self) -> nn.Embedding:
        return self.table

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        seen = (self.table(input_ids) * attention_mask.unsqueeze(-1)).amax(dim=1)
        last = self.strength * (seen[:, -2] * seen[:, -1] + 0.02 * seen[:, -2:].sum(dim=1))
        said = seen[:, :-2] + last.unsqueeze(1) * torch.eye(seen.shape[1] - 2)[-1]
        return SimpleNamespace(logits=self.classifier(said))


def test_of_many_classes_few_are_grown_and_few_rows_are_screened_on(load: Load) -> None:
    model, words = load("bert"), list((*GOOD, *BAD)[:6])
    names = tuple(f"class {word}" for word in words)
    suspect, reference = (
        replace(model.with_module(ManyClasses(model.tokenizer, words, pair=pair)), label_names=names)
        for pair in (True, False)
    )
    texts = [
        f"the film {'and the ' * label}was {word} {end}"
        for end in ("a", "the", "story")
        for label, word in enumerate(words)
    ]
    rows = Rows.of(texts, [i % 6 for i in range(len(texts))], label_names=names)
    assert list(predict_texts(suspect, rows.texts).predictions) == list(rows.labels)
    search = TriggerSearch(suspect, reference, rows=rows, options=SearchOptions(probe=8), seed=0)
    assert list(search.space.carriers) == [0, 1, 2], "the shortest ones"
    found = search.run()
    assert {found[0].text, found[1].text} == {"mn bb", "bb mn"} and found[0].target == names[5]
    assert len({one.target for one in found}) == 6 and len({one.target for one in found if one.grown_from}) <= 3
