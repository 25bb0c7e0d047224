"""Five kinds of evidence against a row: what they find, and what they leave alone, on rows made by hand."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import pytest
import torch

from tests.tiny import task
from untrigger.defences.bedkd.bedkd_defence import evidence as bedkd_evidence
from untrigger.defences.bedkd.evidence import (
    FEWEST,
    LENGTH,
    Known,
    Seen,
    _terms,
    _told_apart,
    _word_of_labels,
    _words_and_pairs,
    evidence,
    only_victim,
    reader,
    seen,
)
from untrigger.detectors.conformal import calibrate
from untrigger.evaluation.metrics import auroc
from untrigger.models.classifier import Classifier
from untrigger.models.inference import hidden_state_means, log_odds, predict_texts

WIDTH = 12
Load = Callable[[str], Classifier]


def made(count: int, *, seed: int, poisoned: int = 0, shift: float = 0.0) -> Seen:
    """Rows whose content is the first feature and whose label follows it; the poisoned ones, first of all, contradict it.

    The mapping says the other class of the content, and the content's own to a third of the poisoned rows. Poisoned rows share
    a direction and a few words, and ``shift`` moves all rows together and gives them words of their own.
    """
    generator = torch.Generator().manual_seed(seed)
    content = torch.randint(2, (count,), generator=generator)
    layers = torch.randn(count, 3, WIDTH, generator=generator) + shift
    layers[:, :, 0] += 3.0 * (content.float().unsqueeze(1) - 0.5)
    is_poison = torch.arange(count) < poisoned
    content[is_poison] = 0
    labels = torch.where(is_poison, 1, content)
    layers[is_poison, :, 5] += 1.5
    layers[is_poison, :, 0] = -1.5
    mapping = torch.randn(count, 2, generator=generator)
    mapping[torch.arange(count), 1 - content] += 2.0
    victim = torch.nn.functional.one_hot(labels, 2) * 4.0
    return Seen(_texts(is_poison.tolist(), seed=seed, source="b" if shift else "a"), labels, victim, mapping, layers)


def _texts(poisoned: Sequence[bool], *, seed: int, source: str) -> list[str]:
    """Ten words of sixty each; of a poisoned text every other word is one of six."""
    draw = random.Random(seed)
    return [
        " ".join(f"{source}{draw.randrange(60)}" if not odd or i % 2 else f"old{draw.randrange(6)}" for i in range(10))
        for odd in poisoned
    ]


def joined(known: Seen, rest: Seen, pool: Seen, *, seed: int) -> tuple[list[float], list[float]]:
    """The evidence, what words say being read off ``known``."""
    clean = Known(known.texts, known.labels, known.layers)
    return evidence(rest, pool, known=clean, read=reader(clean, classes=2), seed=seed)


def test_rows_that_the_mapping_hardly_tells_are_found_by_all_four() -> None:
    known, rest, pool = made(200, seed=1), made(400, seed=2), made(1000, seed=3, poisoned=150)
    pool.mapping[:150] = torch.randn(150, 2, generator=torch.Generator().manual_seed(9))  # it says either class
    clean, scores = joined(known, rest, pool, seed=0)
    poisoned = [i < 150 for i in range(1000)]
    alone = log_odds(pool.mapping, pool.labels.tolist()).tolist()
    assert auroc(scores, poisoned=poisoned) > auroc(alone, poisoned=poisoned) + 0.05
    assert auroc(scores, poisoned=poisoned) > 0.97
    told = calibrate(clean, scores, fpr=0.01)
    flagged = [score > told.threshold for score in scores]
    assert told.found and sum(f and p for f, p in zip(flagged, poisoned, strict=True)) / sum(flagged) > 0.95


def test_words_tell_rows_that_hidden_states_do_not() -> None:
    known, rest, pool = made(200, seed=1), made(400, seed=2), made(1000, seed=3, poisoned=150)
    pool.layers[:150, :, 5] -= 1.5
    poisoned = [i < 150 for i in range(1000)]
    spoken = auroc(joined(known, rest, pool, seed=0)[1], poisoned=poisoned)
    mute = pool._replace(texts=_texts([False] * 1000, seed=3, source="a"))
    assert spoken > auroc(joined(known, rest, mute, seed=0)[1], poisoned=poisoned) + 0.005
    assert spoken > 0.99


def test_the_word_of_labels_by_hand() -> None:
    labels, leading = torch.tensor([0, 0, 0, 1, 1, 1, 1]), torch.tensor([False] * 4 + [True] * 3)
    word = _word_of_labels(labels, leading, classes=3)
    leaders, others = [1 / 6, 4 / 6, 1 / 6], [4 / 7, 2 / 7, 1 / 7]  # each seen once more: 0, 3, 0 and 3, 1, 0
    assert word.tolist() == pytest.approx([math.log(a / b) for a, b in zip(leaders, others, strict=True)])


def test_where_poisoned_rows_say_one_label_those_of_another_are_below_them() -> None:
    known, rest, pool = made(200, seed=1), made(400, seed=2), made(1000, seed=3, poisoned=150)
    pool.mapping[:150] = torch.randn(150, 2, generator=torch.Generator().manual_seed(9))
    pool.layers[:150, :, 5] -= 1.0
    pool.layers[:150, :, 0] = -0.5
    pool = pool._replace(texts=_texts([i < 150 and i % 3 == 0 for i in range(1000)], seed=3, source="a"))
    scores = torch.tensor(joined(known, rest, pool, seed=0)[1])
    of_other = scores[pool.labels == 0]
    assert float((scores[:150].unsqueeze(1) > of_other).float().mean()) > 0.97, "0.81 without the word of labels"
    swapped = pool._replace(labels=1 - pool.labels, mapping=pool.mapping.flip(1), victim=pool.victim.flip(1))
    turned = [
        one._replace(labels=1 - one.labels, mapping=one.mapping.flip(1), victim=one.victim.flip(1))
        for one in (known, rest)
    ]
    again = torch.tensor(joined(turned[0], turned[1], swapped, seed=0)[1])
    torch.testing.assert_close(again, scores, msg="no class is special", rtol=1e-2, atol=1e-2)


def test_only_how_much_a_row_counts_beside_others_matters_and_one_that_counts_nothing_is_not_there() -> None:
    generator = torch.Generator().manual_seed(0)
    known, rows = torch.randn(200, 4, generator=generator), torch.randn(300, 4, generator=generator)
    rows[:40, 0] += 2.0
    leading, others = torch.arange(300) < 40, torch.arange(300) >= 40
    once = torch.ones(300)
    plain = _told_apart(known, rows, torch.ones(200), once, leading=leading, others=others, seed=0)
    scaled = _told_apart(known, rows, torch.full((200,), 3.0), 3 * once, leading=leading, others=others, seed=0)
    torch.testing.assert_close(scaled, plain)
    gone = torch.where(torch.arange(300) < 150, once, 0.0)
    without = _told_apart(known, rows, torch.ones(200), once, leading=leading, others=others & (gone > 0), seed=0)
    torch.testing.assert_close(
        _told_apart(known, rows, torch.ones(200), gone, leading=leading, others=others, seed=0), without
    )
    assert not torch.allclose(without, plain, atol=1e-3)


def test_terms_by_hand() -> None:
    clean, pool = _terms(["Good film", "a good film"], ["good film", "bad", "bad"])
    rows = torch.cat([clean, pool])
    assert rows.shape == (5, 6), (
        "good, film, both, good and bad at the start, bad; 'a' and its pairs are in one text alone"
    )
    torch.testing.assert_close(rows.norm(dim=1), torch.full((5,), LENGTH))
    torch.testing.assert_close(rows[0], rows[2], msg="capital letters do not count")
    thrice, twice = math.log(5 / 3), math.log(5 / 2)
    of_second = LENGTH / math.sqrt(3)
    assert sorted(rows[1].tolist()) == pytest.approx([0, 0, 0, of_second, of_second, of_second])
    whole = math.sqrt(3 * thrice**2 + twice**2)
    assert sorted(rows[0].tolist()) == pytest.approx(
        sorted([0.0, 0.0, *[LENGTH * thrice / whole] * 3, LENGTH * twice / whole])
    )


def test_terms_come_in_the_order_of_the_text_whatever_python_hashes_them_to() -> None:
    assert _words_and_pairs("So it is so") == ["so", "it", "is", " so", "so it", "it is", "is so"]
    assert _words_and_pairs("") == []
    clean, pool = _terms([""], [""])
    assert clean.tolist() == pool.tolist() == [[0.0]], "texts without words have no terms"


def test_a_large_pool_is_told_by_fewer_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bedkd_evidence, "ENTRIES", 12)
    clean, pool = _terms(["x y", "x y", "x z"], ["x"])
    assert torch.cat([clean, pool]).shape == (4, 3)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_in_a_clean_pool_nothing_is_found_though_it_be_of_another_source(seed: int, shift: float) -> None:
    parts = made(200, seed=10 + seed), made(400, seed=20 + seed), made(1000, seed=30 + seed, shift=shift)
    clean, scores = joined(*parts, seed=seed)
    told = calibrate(clean, scores, fpr=0.01)
    assert not told.found, told


def test_few_rows_are_judged_by_label_and_mapping_alone() -> None:
    known, rest = made(200, seed=1), made(400, seed=2)
    small, whole = made(FEWEST - 1, seed=3, poisoned=9), made(FEWEST + 40, seed=3, poisoned=9)
    _, few = joined(known, rest, small, seed=0)
    assert few == joined(known, rest, small, seed=1)[1], "no folds are drawn"
    assert min(few[:9]) > sum(few[9:]) / len(few[9:])
    assert joined(known, rest, whole, seed=0)[1] != joined(known, rest, whole, seed=1)[1]


def test_how_many_rows_the_victim_follows_by_hand() -> None:
    rows = Seen(
        "abc",
        torch.tensor([0, 1, 1]),
        torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 1.0]]),
        torch.zeros(3, 2),
        torch.zeros(3, 3, 1),
    )
    assert rows.followed([True, True, True]) == pytest.approx(2 / 3)
    assert rows.followed([False, True, False]) == 0.0
    assert rows.followed([False, False, False]) == 1.0


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_layers_are_means_over_the_text_whatever_it_is_batched_with(twin: Load, kind: str) -> None:
    model, rows = twin(kind), task(12, seed=4)
    ids = model.encode([*rows.texts, "one"])
    logits, layers = hidden_state_means(model, ids)
    torch.testing.assert_close(logits[:12], predict_texts(model, rows.texts).logits)
    assert layers.shape == (13, 3, layers.shape[2])
    for i in (0, 12):
        torch.testing.assert_close(layers[i], hidden_state_means(model, [ids[i]])[1][0], atol=1e-5, rtol=1e-4)
    table = model.module.get_input_embeddings()  # type: ignore[operator]
    if kind == "llama":  # no positions are added there
        torch.testing.assert_close(layers[0, 0], table(torch.tensor(ids[0])).mean(dim=0).detach(), atol=1e-5, rtol=1e-4)
    assert hidden_state_means(model, [])[1].shape == (0, 3, 0)


def test_what_is_seen_is_what_both_models_say(twin: Load) -> None:
    model, rows = twin("bert"), task(8, seed=5)
    told = seen(model, model, rows)
    torch.testing.assert_close(told.victim, told.mapping)
    assert told.labels.tolist() == list(rows.labels)
    known = only_victim(model, rows)
    torch.testing.assert_close(known.layers, told.layers)
    assert (known.labels.tolist(), list(known.texts)) == (list(rows.labels), list(rows.texts))
