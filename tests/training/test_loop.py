"""The one training loop, against numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from tests.tiny import same, task, weights
from untrigger.core.errors import DivergedError, OptionError
from untrigger.core.progress import Tick
from untrigger.models.classifier import Classifier
from untrigger.models.inference import accuracy, predict_texts
from untrigger.runtime import device as arithmetic
from untrigger.runtime.device import matmul_precision, pick_device
from untrigger.training.loop import Plan, train
from untrigger.training.supervised import fine_tune


class Point(nn.Module):
    """One number that slides down a slope."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.zeros(()))


def slide(point: Point) -> Callable[[Sequence[int]], tuple[Tensor, dict[str, float]]]:
    return lambda _batch: (point.x * 1.0, {"x": float(point.x.detach())})


def steps_of(plan: Plan, *, steps: int) -> list[float]:
    """How far each step went; under a constant slope AdamW moves by exactly its learning rate."""
    point = Point()
    history = train(point, slide(point), epochs=[[[0]] * steps], plan=plan)
    places = [*history.losses, float(point.x.detach())]
    return [before - after for before, after in pairwise(places)]


def test_the_rate_falls_linearly_to_nothing() -> None:
    went = steps_of(Plan(lr=0.1, weight_decay=0.0), steps=4)
    assert went == pytest.approx([0.1, 0.075, 0.05, 0.025], rel=1e-4)


def test_the_rate_climbs_first_where_a_warm_up_is_asked_for() -> None:
    went = steps_of(Plan(lr=0.1, weight_decay=0.0, warmup=0.4), steps=10)
    expected = [0.02, 0.04, 0.06, 0.08, *[0.1 * (10 - i) / 6 for i in range(4, 10)]]
    assert went == pytest.approx(expected, rel=1e-4)


def test_a_constant_rate_stays_where_it_is() -> None:
    assert steps_of(Plan(lr=0.1, weight_decay=0.0, constant_lr=True), steps=4) == pytest.approx([0.1] * 4, rel=1e-4)


def test_a_training_ends_where_it_is_told_that_it_is_enough() -> None:
    point = Point()
    plan = Plan(lr=0.1, weight_decay=0.0, epochs=9, constant_lr=True)
    scores: list[float] = []

    def score() -> float:
        scores.append(-float(point.x.detach()))
        return scores[-1]

    history = train(
        point, slide(point), epochs=lambda _: [[0], [0]], plan=plan, score=score, stop_fn=lambda: scores[-1] > 0.5
    )
    assert history.steps == 6
    assert history.scores == pytest.approx([0.2, 0.4, 0.6], rel=1e-4)


def test_weights_decay_apart_from_the_gradient() -> None:
    point = Point()
    with torch.no_grad():
        point.x.fill_(2.0)
    train(point, lambda _: (point.x * 0.0, {}), epochs=[[[0]]], plan=Plan(lr=0.1, weight_decay=0.5))
    assert float(point.x.detach()) == pytest.approx(2.0 * (1 - 0.1 * 0.5))


@pytest.mark.parametrize(
    ("scores", "kept"), [([0.2, 0.9, 0.5], 1), ([0.9, 0.9, 0.5], 1), ([0.1, 0.2, 0.3], 2), ([0.0] * 3, 2)]
)
def test_the_best_epoch_is_brought_back(scores: list[float], kept: int) -> None:
    point, result, places = Point(), iter(scores), []

    def score() -> float:
        assert not point.training
        places.append(float(point.x.detach()))
        return next(result)

    history = train(point, slide(point), epochs=lambda _: [[0], [1]], plan=Plan(lr=0.1, epochs=3), score=score)
    assert (history.scores, history.best_epoch, history.steps) == (scores, kept, 6)
    assert len(set(places)) == 3
    assert float(point.x.detach()) == places[kept]


def test_without_a_score_the_last_epoch_stays() -> None:
    point = Point()
    history = train(point, slide(point), epochs=lambda _: [[0]], plan=Plan(lr=0.1, epochs=2))
    assert history.best_epoch is None
    assert float(point.x.detach()) < history.losses[-1]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_run_with_a_remedy(bad: float) -> None:
    point, seen = Point(), iter([1.0, bad])
    with pytest.raises(DivergedError, match="at step 2") as caught:
        train(point, lambda _: (point.x * next(seen), {}), epochs=[[[0], [1], [2]]], plan=Plan(lr=0.1))
    assert "smaller learning rate" in (caught.value.remedy or "")
    assert bool(torch.isfinite(point.x))


def test_all_options_out_of_range_are_named_together() -> None:
    with pytest.raises(OptionError) as caught:
        Plan(lr=float("nan"), epochs=0, batch_size=0, warmup=1.0)
    assert all(word in str(caught.value) for word in ("lr nan", "epochs 0", "batch_size 0", "warmup 1.0"))


@pytest.mark.parametrize(("most", "steps", "epochs"), [(0, 12, 3), (1, 1, 1), (4, 4, 1), (5, 5, 2), (99, 12, 3)])
def test_most_bounds_the_steps_and_the_schedule_knows_it(most: int, steps: int, epochs: int) -> None:
    point = Point()
    plan = Plan(lr=0.1, epochs=3, max_steps=most, weight_decay=0.0)
    history = train(point, slide(point), epochs=lambda _: [[0]] * 4, plan=plan, score=lambda: 0.0)
    assert (history.steps, len(history.scores)) == (steps, epochs)
    last = history.losses[-1] - float(point.x.detach())
    assert last == pytest.approx(0.1 / steps, rel=1e-3)


def test_gradients_are_clipped_and_frozen_weights_are_not_touched() -> None:
    module = nn.Linear(2, 1)
    module.bias.requires_grad_(False)
    before = module.bias.detach().clone()
    gradients: list[Tensor] = []
    module.weight.register_post_accumulate_grad_hook(lambda p: gradients.append(p.grad))  # type: ignore[arg-type]
    whole: list[float] = []
    module.weight.register_hook(lambda gradient: whole.append(float(gradient.norm())))
    train(module, lambda _: (1e6 * module(torch.ones(1, 2)).sum(), {}), epochs=[[[0]]], plan=Plan(lr=0.1, max_norm=1.0))
    assert whole[0] > 1e5
    assert 0.999 < float(gradients[0].norm()) <= 1.001
    assert torch.equal(module.bias, before)
    assert module.weight.grad is None, "no gradient stays in memory"


def test_progress_is_told_of_every_step() -> None:
    result: list[object] = []

    class Listener:
        @contextmanager
        def task(self, label: str, *, total: int) -> Iterator[Tick]:
            result.append((label, total))
            yield result.append

    point = Point()
    train(point, slide(point), epochs=lambda _: [[0]] * 3, plan=Plan(lr=0.1), progress=Listener(), label="work")
    assert result == [("work", 3), 1, 1, 1]


@pytest.mark.parametrize(("kind", "lr"), [("bert", 5e-3), ("llama", 1e-2)])
def test_plain_training_learns_the_task(load: Callable[[str], Classifier], kind: str, lr: float) -> None:
    model = load(kind)
    rows, held = task(384, seed=1), task(64, seed=2)
    before = accuracy(predict_texts(model, held.texts).predictions, held.labels)
    history = fine_tune(model, rows, plan=Plan(lr=lr, epochs=8, batch_size=32, warmup=0.1), seed=0, dev=held)
    after = accuracy(predict_texts(model, held.texts).predictions, held.labels)
    assert before < 0.8
    assert after > 0.9
    assert after == max(history.scores)


@pytest.mark.parametrize("dropout", [False, True])
def test_training_is_a_function_of_its_seed_and_of_nothing_global(
    load: Callable[[str], Classifier], dropout: bool
) -> None:
    ends = []
    for noise, seed in ((1, 0), (2, 0), (3, 1)):
        model = load("bert")
        torch.manual_seed(noise)
        expected = torch.get_rng_state()
        fine_tune(model, task(32), plan=Plan(lr=1e-3, epochs=1, batch_size=8, use_dropout=dropout), seed=seed)
        assert torch.equal(torch.get_rng_state(), expected)
        ends.append(weights(model))
    assert same(ends[0], ends[1])
    assert not same(ends[0], ends[2])


def test_what_is_read_is_computed_in_full_float32_on_any_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic, "ALLOW_BF16", True)
    generator = torch.Generator().manual_seed(1)
    x, w = torch.randn(256, 384, generator=generator), torch.randn(384, 384, generator=generator)
    with matmul_precision():
        with matmul_precision(exact=True):
            torch.testing.assert_close(x @ w, (x.double() @ w.double()).float(), atol=1e-3, rtol=1e-3)
        assert torch.get_float32_matmul_precision() == "medium"


def test_fast_products_are_given_back_even_after_an_error() -> None:
    before = torch.get_float32_matmul_precision()
    with pytest.raises(RuntimeError, match="on purpose"), matmul_precision():
        raise RuntimeError("on purpose")
    assert torch.get_float32_matmul_precision() == before


def test_devices() -> None:
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type in ("cpu", "cuda", "mps")
    if not torch.cuda.is_available():
        with pytest.raises(OptionError, match="not available"):
            pick_device("cuda")
