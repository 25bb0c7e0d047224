"""The method never sees the truth: not in its grant, not in its weights."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.pipeline.kit import FINETUNE, TRIGGER, Shop
from untrigger.core.grant import Grant
from untrigger.defences.fine_tuning import FineTune
from untrigger.defences.purifier import Purified, Purifier
from untrigger.evaluation.ground_truth import GroundTruth, read_truth
from untrigger.models.classifier import Classifier
from untrigger.pipeline import purify as pipeline
from untrigger.pipeline.purify import purify


def test_a_grant_has_no_field_for_what_only_the_attacker_knows() -> None:
    names = {"clean", "unlabelled", "suspect", "teacher", "base", "onto", "seed"}
    assert {one.name for one in fields(Grant)} == names


def test_nothing_in_the_defences_search_or_training_can_even_name_the_truth() -> None:
    package = Path(pipeline.__file__).parents[1]
    for room in ("defences", "search", "training", "models"):
        for file in (package / room).glob("*.py"):
            text = file.read_text(encoding="utf-8")
            for word in (
                "read_truth",
                "GroundTruth",
                "untrigger.evaluation",
                "untrigger.attacks",
                "untrigger.pipeline",
            ):
                assert word not in text, (file.name, word)


def holds(value: Any, kinds: tuple[type, ...], *, depth: int = 4) -> bool:
    """Whether ``value`` or something in it is of one of the kinds."""
    if isinstance(value, kinds):
        return True
    if depth == 0 or isinstance(value, str | bytes | int | float | None):
        return False
    if isinstance(value, dict):
        return any(holds(item, kinds, depth=depth - 1) for item in value.values())
    if isinstance(value, list | tuple):
        return any(holds(item, kinds, depth=depth - 1) for item in value[:50])
    inner = getattr(value, "__dict__", {})
    return holds(inner, kinds, depth=depth - 1) if isinstance(inner, dict) else False


@pytest.mark.parametrize("method", ["finetune", "w2sdefense"])
def test_every_call_of_a_method_gets_model_grant_and_progress_and_no_triggered_text(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    victim, handed = shop.victim("bert", "full"), []
    triggered = set(read_truth(victim.truth, label_names=("negative", "positive")).triggered.texts)
    whole = Purifier.purify

    def watched(self: Purifier, model: Classifier, grant: Grant, **more: Any) -> Purified:
        assert set(more) == {"progress"}
        assert type(grant) is Grant and grant.clean is not None
        assert not set(grant.clean.texts) & triggered and not any(TRIGGER in text.split() for text in grant.clean.texts)
        assert not any(holds(one, (GroundTruth,)) for one in (self, model, grant))
        assert str(victim.truth) not in repr((self, model.source, grant.teacher))
        handed.append(self.name)
        return whole(self, model, grant, **more)

    monkeypatch.setattr(Purifier, "purify", watched)
    purify(shop.spec("bert", "full", out=tmp_path / "out", method=method, truth=victim.truth))
    assert method in handed


def weights(folder: Path) -> dict[str, Any]:
    return load_file(folder / "adapter_model.safetensors")


@pytest.mark.parametrize("count", [0, 48])
@pytest.mark.parametrize("method", ["finetune", "w2sdefense"])
def test_grant_and_weights_are_the_same_with_and_without_truth(
    shop: Shop, tmp_path: Path, method: str, count: int
) -> None:
    given = []
    for name, truth in (("with", shop.victim("bert", "full").truth), ("without", None)):
        spec = shop.spec("bert", "full", out=tmp_path / name, method=method, truth=truth, clean_rows=count)
        given.append(purify(spec).given)
    assert given[0]["defender"] == given[1]["defender"] and given[0]["held_out"] == given[1]["held_out"]
    assert given[0]["defender"]["clean"]["rows"] == count or given[0]["held_out"]["rows"] == 16
    left, right = weights(tmp_path / "with"), weights(tmp_path / "without")
    assert left.keys() == right.keys() and all(bool((left[key] == right[key]).all()) for key in left)


def test_another_truth_changes_the_numbers_and_not_the_model(shop: Shop, tmp_path: Path) -> None:
    truths = [shop.victim("bert", tuning).truth for tuning in ("full", "lora")]
    for i, truth in enumerate(truths):
        purify(shop.spec("bert", "full", out=tmp_path / str(i), truth=truth, **FINETUNE))
    left, right = weights(tmp_path / "0"), weights(tmp_path / "1")
    assert all(bool((left[key] == right[key]).all()) for key in left)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(shop: Shop, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        purify(shop.spec("bert", "full", out=tmp_path / name, seed=seed, **FINETUNE))
    a, b, c = (weights(tmp_path / name) for name in "abc")
    assert all(bool((a[key] == b[key]).all()) for key in a)
    assert not all(bool((a[key] == c[key]).all()) for key in a)


def test_a_method_that_changes_its_model_is_found_out(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from untrigger.core.errors import ContractError

    def spoil(self: FineTune, model: Classifier, grant: Grant, *, progress: Any) -> Purified:
        next(model.module.parameters()).data.add_(1.0)
        raise_or_return: Purified = true_purify(self, model, grant, progress=progress)
        return raise_or_return

    true_purify = FineTune._purify
    monkeypatch.setattr(FineTune, "_purify", spoil)
    with pytest.raises(ContractError, match="changed the model"):
        purify(shop.spec("bert", "full", out=tmp_path / "out", **FINETUNE))
    assert not list(tmp_path.iterdir())
