"""Five kinds of evidence against a row: what they find, and what they leave alone, on rows made by hand."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import issparse

from tests.tiny import task
from untrigger.defences.bedkd.row_detection.linear_classifiers import (
    EvidenceOptions,
    FeatureSpace,
    _fit_against,
    cross_fitted_log_odds,
    fit_word_classifier,
    terms_of,
    words_and_pairs,
)
from untrigger.defences.bedkd.row_detection.row_evidence import (
    ReferenceRows,
    RowFeatures,
    collect_features,
    label_log_ratio,
    reference_features,
    score_rows,
)
from untrigger.detectors.conformal import calibrate
from untrigger.evaluation.metrics import auroc
from untrigger.models.classifier import Classifier
from untrigger.models.inference import hidden_state_means, log_odds, predict_texts

WIDTH = 12
OPTIONS = EvidenceOptions()
Load = Callable[[str], Classifier]


def made(count: int, *, seed: int, poisoned: int = 0, shift: float = 0.0) -> RowFeatures:
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
    return RowFeatures(
        _texts(is_poison.tolist(), seed=seed, source="b" if shift else "a"), labels, victim, mapping, layers
    )


def _texts(poisoned: Sequence[bool], *, seed: int, source: str) -> list[str]:
    """Ten words of sixty each; of a poisoned text every other word is one of six."""
    draw = random.Random(seed)
    return [
        " ".join(f"{source}{draw.randrange(60)}" if not odd or i % 2 else f"old{draw.randrange(6)}" for i in range(10))
        for odd in poisoned
    ]


def joined(known: RowFeatures, rest: RowFeatures, pool: RowFeatures, *, seed: int) -> tuple[list[float], list[float]]:
    """The evidence, what words say being read off ``known``."""
    clean = ReferenceRows(known.texts, known.labels, known.layers)
    words = clean.word_classifier(classes=2, options=OPTIONS)
    return score_rows(rest, pool, reference=clean, word_logits=words, seed=seed, options=OPTIONS)


def test_rows_that_the_mapping_hardly_tells_are_found_by_all_four() -> None:
    known, rest, pool = made(200, seed=1), made(400, seed=2), made(1000, seed=3, poisoned=150)
    pool.mapping[:150] = torch.randn(150, 2, generator=torch.Generator().manual_seed(9))  # it says either class
    clean, scores = joined(known, rest, pool, seed=0)
    poisoned = [i < 150 for i in range(1000)]
    alone = log_odds(pool.mapping, pool.labels.tolist()).tolist()
    assert auroc(scores, poisoned=poisoned) > auroc(alone, poisoned=poisoned) + 0.05
    assert auroc(scores, poisoned=poisoned) > 0.97
    result = calibrate(clean, scores, fpr=0.01)
    flagged = [score > result.threshold for score in scores]
    assert result.found and sum(f and p for f, p in zip(flagged, poisoned, strict=True)) / sum(flagged) > 0.95


def test_words_tell_rows_that_hidden_states_do_not() -> None:
    known, rest, pool = made(200, seed=1), made(400, seed=2), made(1000, seed=3, poisoned=150)
    pool.layers[:150, :, 5] -= 1.5
    poisoned = [i < 150 for i in range(1000)]
    spoken = auroc(joined(known, rest, pool, seed=0)[1], poisoned=poisoned)
    mute = pool._replace(texts=_texts([False] * 1000, seed=3, source="a"))
    assert spoken > auroc(joined(known, rest, mute, seed=0)[1], poisoned=poisoned) + 0.005
    assert spoken > 0.99


def test_the_log_ratio_of_labels_by_hand() -> None:
    labels, leading = np.array([0, 0, 0, 1, 1, 1, 1]), np.array([False] * 4 + [True] * 3)
    word = label_log_ratio(labels, leading, classes=3)
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
    assert float((scores[:150].unsqueeze(1) > of_other).float().mean()) > 0.97, "0.81 without the log-ratio of labels"
    swapped = pool._replace(labels=1 - pool.labels, mapping=pool.mapping.flip(1), victim=pool.victim.flip(1))
    turned = [
        one._replace(labels=1 - one.labels, mapping=one.mapping.flip(1), victim=one.victim.flip(1))
        for one in (known, rest)
    ]
    again = torch.tensor(joined(turned[0], turned[1], swapped, seed=0)[1])
    torch.testing.assert_close(again, scores, msg="no class is special", rtol=1e-2, atol=1e-2)


def told_apart(space: FeatureSpace, *weights: np.ndarray, leading: np.ndarray, others: np.ndarray) -> np.ndarray:
    first, second = weights
    return cross_fitted_log_odds(space, (first, second), positive=leading, negative=others, seed=0, options=OPTIONS)


def test_only_how_much_a_row_counts_beside_others_matters_and_one_that_counts_nothing_is_not_there() -> None:
    rng = np.random.default_rng(0)
    known, rows = rng.normal(size=(200, 4)), rng.normal(size=(300, 4))
    rows[:40, 0] += 2.0
    space = FeatureSpace(known, rows)
    leading, others = np.arange(300) < 40, np.arange(300) >= 40
    each, once = np.ones(200), np.ones(300)
    plain = told_apart(space, each, once, leading=leading, others=others)
    scaled = told_apart(space, 3 * each, 3 * once, leading=leading, others=others)
    np.testing.assert_allclose(scaled, plain, atol=1e-5)
    gone = np.where(np.arange(300) < 150, once, 0.0)
    without = told_apart(space, each, once, leading=leading, others=others & (gone > 0))
    np.testing.assert_allclose(told_apart(space, each, gone, leading=leading, others=others), without, atol=1e-4)
    assert not np.allclose(without, plain, atol=1e-3)


def test_a_classifier_is_at_the_optimum_of_its_loss() -> None:
    """The weighted loss plus the penalty has no slope there: neither solver nor scaling of scikit-learn changes the objective."""
    rng = np.random.default_rng(0)
    known, rows = torch.tensor(rng.normal(size=(60, 3))), torch.tensor(rng.normal(size=(40, 3)) + 0.5)
    options = EvidenceOptions()
    everyone = np.ones(40, dtype=bool)
    space = FeatureSpace(known.numpy(), rows.numpy())
    model = _fit_against(space, (np.ones(60), np.ones(40)), positive=everyone, negative=~everyone, options=options)
    weight, bias = torch.tensor(model.coef_[0], requires_grad=True), torch.tensor(model.intercept_, requires_grad=True)
    loss = torch.nn.functional.softplus(-(rows @ weight + bias)).mean() / 2
    loss = (
        loss + torch.nn.functional.softplus(known @ weight + bias).mean() / 2 + options.penalty * weight.square().sum()
    )
    loss.backward()
    assert weight.grad is not None and bias.grad is not None
    assert float(weight.grad.abs().max()) < 1e-5 and float(bias.grad.abs().max()) < 1e-5


@pytest.mark.parametrize("classes", [2, 3])
def test_the_word_classifier_is_at_the_optimum_of_its_loss(classes: int) -> None:
    """Mean cross-entropy plus penalty with one column of weights a class: one fitted so by torch gives the same log-odds."""
    rng = np.random.default_rng(1)
    labels = rng.integers(classes, size=90)
    features = rng.normal(size=(90, 4)) + labels[:, None]
    result = fit_word_classifier(features, labels, classes=classes, options=OPTIONS)(features)
    known = torch.tensor((features - features.mean(axis=0)) / features.std(axis=0))
    weight = torch.zeros(4, classes, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=500, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(known @ weight + bias, torch.tensor(labels))
        loss = loss + OPTIONS.word_penalty * weight.square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    expected = (known @ weight + bias).detach()
    for y in range(classes):
        own = [y] * 90
        torch.testing.assert_close(log_odds(torch.tensor(result), own), log_odds(expected, own), atol=1e-3, rtol=1e-3)


def terms(
    clean: Sequence[str], pool: Sequence[str], *, options: EvidenceOptions = OPTIONS
) -> tuple[torch.Tensor, torch.Tensor]:
    space = terms_of(clean, pool, options=options)
    return torch.tensor(space.reference.toarray()), torch.tensor(space.rows.toarray())


def test_terms_by_hand() -> None:
    clean, pool = terms(["Good film", "a good film"], ["good film", "bad", "bad"])
    rows = torch.cat([clean, pool])
    assert rows.shape == (5, 6), (
        "good, film, both, good and bad at the start, bad; 'a' and its pairs are in one text alone"
    )
    torch.testing.assert_close(rows.norm(dim=1), torch.full((5,), OPTIONS.text_length, dtype=torch.float64))
    torch.testing.assert_close(rows[0], rows[2], msg="capital letters do not count")
    thrice, twice = math.log(5 / 3), math.log(5 / 2)
    of_second = OPTIONS.text_length / math.sqrt(3)
    assert sorted(rows[1].tolist()) == pytest.approx([0, 0, 0, of_second, of_second, of_second])
    whole = math.sqrt(3 * thrice**2 + twice**2)
    assert sorted(rows[0].tolist()) == pytest.approx(
        sorted([0.0, 0.0, *[OPTIONS.text_length * thrice / whole] * 3, OPTIONS.text_length * twice / whole])
    )


def test_terms_come_in_the_order_of_the_text_whatever_python_hashes_them_to() -> None:
    assert words_and_pairs("So it is so") == ["so", "it", "is", "so", " so", "so it", "it is", "is so"]
    first, second = terms(["so it is", "so it was"], ["is it so", "was it so"])
    assert torch.equal(first, terms(["so it is", "so it was"], ["is it so", "was it so"])[0]) and second.shape == (2, 7)
    assert words_and_pairs("") == []
    clean, pool = terms([""], [""])
    assert clean.tolist() == pool.tolist() == [[0.0]], "texts without words have no terms"


def test_a_table_of_terms_grows_with_the_words_and_not_with_texts_times_terms() -> None:
    few = replace(OPTIONS, terms=3)
    clean, pool = terms(["x y", "x y", "x z"], ["x"], options=few)
    assert torch.cat([clean, pool]).shape == (4, 3), "the most frequent ones"
    texts = [f"w{i % 500} v{i % 700}" for i in range(3000)]
    space = terms_of(texts[:1000], texts[1000:], options=OPTIONS)
    assert issparse(space.reference) and issparse(space.rows)
    assert space.rows.nnz <= 5 * 2000


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_in_a_clean_pool_nothing_is_found_though_it_be_of_another_source(seed: int, shift: float) -> None:
    parts = made(200, seed=10 + seed), made(400, seed=20 + seed), made(1000, seed=30 + seed, shift=shift)
    clean, scores = joined(*parts, seed=seed)
    result = calibrate(clean, scores, fpr=0.01)
    assert not result.found, result


def test_few_rows_are_judged_by_label_and_mapping_alone() -> None:
    known, rest = made(200, seed=1), made(400, seed=2)
    small, whole = made(OPTIONS.fewest - 1, seed=3, poisoned=9), made(OPTIONS.fewest + 40, seed=3, poisoned=9)
    _, few = joined(known, rest, small, seed=0)
    assert few == joined(known, rest, small, seed=1)[1], "no folds are drawn"
    assert min(few[:9]) > sum(few[9:]) / len(few[9:])
    assert joined(known, rest, whole, seed=0)[1] != joined(known, rest, whole, seed=1)[1]


def test_how_many_rows_the_victim_follows_by_hand() -> None:
    rows = RowFeatures(
        "abc",
        torch.tensor([0, 1, 1]),
        torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 1.0]]),
        torch.zeros(3, 2),
        torch.zeros(3, 3, 1),
    )
    assert rows.victim_agreement([True, True, True]) == pytest.approx(2 / 3)
    assert rows.victim_agreement([False, True, False]) == 0.0
    assert rows.victim_agreement([False, False, False]) == 1.0


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
    result = collect_features(model, model, rows)
    torch.testing.assert_close(result.victim, result.mapping)
    assert result.labels.tolist() == list(rows.labels)
    known = reference_features(model, rows)
    torch.testing.assert_close(known.layers, result.layers)
    assert (known.labels.tolist(), list(known.texts)) == (list(rows.labels), list(rows.texts))
