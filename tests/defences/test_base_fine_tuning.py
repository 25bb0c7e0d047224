"""The control that counts: what the clean rows alone teach the trusted base, with nothing of the suspect in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.tiny import NAMES, asr, cacc, same, task, weights, write_model
from untrigger.attacks.implanting import implant
from untrigger.core.errors import ModelError, NeedsError
from untrigger.core.grant import Grant
from untrigger.defences.base_fine_tuning import BaseFineTuning, known_base, not_clearly_worse, whole_base
from untrigger.models.adapter_merging import is_adapted, lora_updates
from untrigger.models.adapters import AdapterOptions
from untrigger.models.classification_head import classification_head, draw_new_head
from untrigger.models.classifier import Classifier
from untrigger.models.loading import load_model
from untrigger.models.saving import save_classifier
from untrigger.training.loop import Plan

CLEAN = task(64, seed=41)
SHORT = BaseFineTuning(lr=5e-3, adapter_lr=2e-2, epochs=2, steps=4, batch_size=16)
LONG = replace(SHORT, epochs=8, steps=60)
Load = Callable[[str], Classifier]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("control")


@pytest.fixture(scope="module")
def base(folder: Path) -> Path:
    """A pre-trained model: random weights."""
    return write_model("bert", folder / "base")


@pytest.fixture(scope="module")
def child(base: Path, folder: Path) -> Classifier:
    """Full weights a little away from that base."""
    made, _ = implant(_loaded(base), task(64, seed=1), tuning="full", plan=Plan(lr=1e-3, epochs=1, batch_size=32))
    (folder / "child").mkdir()
    save_classifier(made, folder / "child", card="")
    return _loaded(folder / "child")


@pytest.fixture(scope="module")
def adapter(trained_folder: Callable[[str, bool], Path], folder: Path) -> Classifier:
    """A LoRA adapter on a classifier with a head of its own, as loaded from disk."""
    on = _loaded(trained_folder("bert", False))
    made, _ = implant(
        on, task(64, seed=1), plan=Plan(lr=1e-2, epochs=1, batch_size=32), adapter=AdapterOptions(rank=2), seed=0
    )
    (folder / "adapter").mkdir()
    save_classifier(made, folder / "adapter", card="")
    return _loaded(folder / "adapter")


def _loaded(place: Path) -> Classifier:
    return load_model(place, device="cpu", offline=True)


def test_an_adapters_control_is_a_lora_on_its_own_base_with_a_new_head(adapter: Classifier) -> None:
    before = weights(adapter)
    made = SHORT.train(adapter, Grant(clean=CLEAN))
    assert (made.tuning, made.trusted, made.base) == ("lora", False, Path(adapter.source.base or "").name)
    assert is_adapted(made.model) and lora_updates(made.model.module)
    assert same(before, weights(adapter)), "the suspect stays as it is"
    assert SHORT.train(adapter, Grant(clean=CLEAN, base=adapter.source.base)).trusted
    facts = made.to_dict()
    assert (facts["rows"], facts["held_out"], facts["steps"], facts["epochs"]) == (54, 10, 8, 2)
    assert facts["best_epoch"] in (1, 2)


def test_nothing_of_the_suspects_own_weights_reaches_the_control(
    adapter: Classifier, child: Classifier, base: Path
) -> None:
    for suspect, grant in ((adapter, Grant(clean=CLEAN)), (child, Grant(clean=CLEAN, base=base))):
        spoiled = suspect.with_module(_with_noise(suspect))
        left, right = (SHORT.train(one, grant).model for one in (suspect, spoiled))
        assert not same(weights(suspect), weights(spoiled))
        assert same(weights(left), weights(right))


def _with_noise(suspect: Classifier) -> torch.nn.Module:
    """The suspect with other weights, except for those of the base below its adapter."""
    other = _loaded(Path(suspect.source.name))
    with torch.no_grad():
        for name, value in other.module.named_parameters():
            if not is_adapted(suspect) or "lora_" in name or ".modules_to_save." in name:
                value.add_(0.01 * value.abs().mean())
    return other.module


def test_full_weights_are_trained_from_the_base_that_is_given(child: Classifier, base: Path) -> None:
    made = SHORT.train(child, Grant(clean=CLEAN, base=base))
    assert (made.tuning, made.trusted, made.base, made.rows + made.held_out) == ("full", True, "base", 64)
    assert not is_adapted(made.model) and made.model.label_names == NAMES
    assert made.model.max_length == child.max_length


def test_a_base_that_knows_the_words_learns_the_task_without_the_backdoor(
    victim: Load, trained_folder: Callable[[str, bool], Path]
) -> None:
    suspect, knowing = victim("bert"), trained_folder("bert", False)
    assert asr(suspect) > 0.9, "there is something to be free of"
    assert cacc(whole_base(knowing, like=suspect, seed=0)) < 0.75, "a new head knows nothing"
    grant = Grant(clean=CLEAN, base=knowing)
    assert known_base(suspect, grant) == knowing
    made = LONG.train(suspect, grant)
    assert made.tuning == "full" and cacc(made.model) > 0.9
    assert asr(made.model) < 0.2


def test_the_teachers_encoder_counts_where_the_suspect_descends_from_it(
    child: Classifier, base: Path, folder: Path
) -> None:
    stranger = write_model("bert", folder / "stranger", seed=9)
    assert known_base(child, Grant(teacher=base)) == base
    assert known_base(child, Grant(base=stranger, teacher=base)) == base
    assert known_base(child, Grant(teacher=stranger)) is None
    made = SHORT.train(child, Grant(clean=CLEAN, teacher=stranger))
    assert (made.tuning, made.trusted, made.base) == ("teacher", True, "stranger")


def test_the_model_that_the_skill_is_carried_into_comes_first(adapter: Classifier, base: Path) -> None:
    made = SHORT.train(adapter, Grant(clean=CLEAN, base=adapter.source.base, onto=base))
    assert (made.tuning, made.trusted, made.base) == ("full", True, "base") and not is_adapted(made.model)


def test_without_anything_trusted_there_is_no_control(child: Classifier) -> None:
    with pytest.raises(
        NeedsError, match="neither the base of the full weights nor another pre-trained model is trusted"
    ):
        SHORT.train(child, Grant(clean=CLEAN))


def test_the_same_seed_gives_the_same_control_and_another_seed_another(child: Classifier, base: Path) -> None:
    a, b, c = (weights(SHORT.train(child, Grant(clean=CLEAN, base=base, seed=seed)).model) for seed in (0, 0, 1))
    assert same(a, b) and not same(a, c)


def test_nothing_is_left_of_a_head_that_the_base_came_with(
    child: Classifier, trained_folder: Callable[[str, bool], Path]
) -> None:
    own = _loaded(trained_folder("bert", False))
    trained = classification_head(own.module, classes=2).weight.detach().clone()
    fresh = classification_head(whole_base(Path(own.source.name), like=child, seed=3).module, classes=2)
    likeness = torch.cosine_similarity(trained.flatten(), fresh.weight.detach().flatten(), dim=0)
    assert abs(float(likeness)) < 0.5
    assert 0.01 < float(fresh.weight.detach().std()) < 0.03 and not fresh.bias.any()
    draw_new_head(own.module, classes=2, seed=3)
    assert torch.equal(classification_head(own.module, classes=2).weight, fresh.weight)


def test_a_base_that_is_no_classifier_of_these_classes_is_refused(child: Classifier, folder: Path) -> None:
    three = write_model("bert", folder / "three", names=("a", "b", "c"))
    with pytest.raises(ModelError, match="shape"):
        whole_base(three, like=child, seed=0)


@pytest.mark.parametrize(("count", "full", "lora"), [(54, 25, 25), (85, 17, 17), (340, 5, 5), (850, 4, 2)])
def test_few_rows_are_read_in_more_epochs(count: int, full: int, lora: int) -> None:
    for adapter, epochs in ((False, full), (True, lora)):
        plan = BaseFineTuning().plan(task(count), adapter=adapter)
        assert plan.epochs == epochs and plan.epochs * -(-count // plan.batch_size) >= 100
    assert BaseFineTuning().plan(task(54), adapter=True).lr == 1e-3 > BaseFineTuning().plan(task(54), adapter=False).lr


def test_the_latest_epoch_that_is_not_clearly_worse_is_kept() -> None:
    """52 of 60 right is 0.87, with a 95 % interval from 0.76 on."""
    keep = not_clearly_worse(60)
    assert keep([0.5]) and keep([0.55, 0.87]) and keep([0.55, 0.87, 0.78]) and keep([0.87, 0.5, 0.9])
    assert not keep([0.87, 0.75]) and not keep([0.55, 0.87, 0.7, 0.74])
    assert not_clearly_worse(600)([0.87, 0.845]) and not not_clearly_worse(600)([0.87, 0.83]), "more rows tell more"


def test_the_epoch_that_was_kept_is_the_one_that_the_model_has(child: Classifier, base: Path) -> None:
    made = LONG.train(child, Grant(clean=CLEAN, base=base))
    scores, best = made.history.scores, made.history.best_epoch
    keep = not_clearly_worse(made.held_out)
    assert best == max(i for i in range(len(scores)) if keep(scores[: i + 1]))
