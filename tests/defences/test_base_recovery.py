"""Full weights are recognised as fine-tuned from a base, and reset to it without any text that activates their backdoor."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.tiny import POISON, asr, cacc, same, task, weights, write_model
from untrigger.attacks.implanting import implant
from untrigger.core.grant import Grant
from untrigger.defences.fine_tuning import FineTune
from untrigger.defences.w2s.base_recovery import (
    RecoveryOptions,
    load_base_of,
    mix_lower_layers,
    reset_to_base,
)
from untrigger.defences.w2s.retrain_from_base import RetrainOptions
from untrigger.defences.w2s.w2sdefense import W2SDefense
from untrigger.models.adapter_merging import merge_adapter
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts
from untrigger.models.loading import load_model
from untrigger.models.saving import save_classifier
from untrigger.models.weight_cosine import weight_cosine
from untrigger.training.loop import Plan
from untrigger.training.teacher_training import TeacherOptions

KINDS = pytest.mark.parametrize("kind", ["bert", "llama"])
Made = Callable[[str], tuple[Classifier, Path]]


@pytest.fixture(scope="module")
def made(trained_folder: Callable[[str, bool], Path], tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A function from an architecture to a classifier poisoned through all its weights, and the folder of what it was before."""
    kept: dict[str, tuple[Classifier, Path]] = {}

    def victim(kind: str) -> tuple[Classifier, Path]:
        if kind not in kept:
            before = trained_folder(kind, False)
            base = load_model(before, device="cpu", offline=True)
            rows = POISON.poison(task(384, seed=2), seed=0).visible
            model, _ = implant(base, rows, tuning="full", plan=Plan(lr=2e-3, epochs=12, batch_size=32), seed=0)
            folder = tmp_path_factory.mktemp("poisoned") / kind
            folder.mkdir()
            save_classifier(model, folder, card="")
            kept[kind] = load_model(folder, device="cpu", offline=True), before
        return kept[kind]

    return victim


@KINDS
def test_a_child_knows_its_base_and_no_stranger(made: Made, tmp_path: Path, kind: str) -> None:
    model, before = made(kind)
    assert load_base_of(model, before) is not None
    assert load_base_of(model, write_model(kind, tmp_path / "stranger", seed=9)) is None, (
        "the same shape, other weights"
    )
    assert load_base_of(model, write_model("mpnet", tmp_path / "other")) is None


def test_an_adapted_model_is_not_compared(made: Made) -> None:
    model, before = made("bert")
    adapted = FineTune(steps=1, rank=2).purify(model, Grant(clean=task(40, seed=3))).model
    assert load_base_of(adapted, before) is None


@KINDS
def test_at_full_rank_the_way_back_is_whole_and_the_suspect_stays_as_it_is(made: Made, kind: str) -> None:
    model, before = made(kind)
    copy, base = weights(model), load_base_of(model, before)
    assert base is not None
    reset, share = reset_to_base(
        model, base, options=RecoveryOptions(rank=32), generator=torch.Generator().manual_seed(0)
    )
    assert share == pytest.approx(1.0, abs=1e-4)
    assert same(weights(model), copy)
    whole = merge_adapter(reset)
    assert weight_cosine(whole.module.base_model, base) > weight_cosine(model.module.base_model, base)
    for name, layer in base.named_modules():
        if isinstance(layer, nn.Linear) and any(part.isdigit() for part in name.split(".")):
            torch.testing.assert_close(
                whole.module.base_model.get_submodule(name).weight, layer.weight, atol=1e-4, rtol=1e-3
            )


def test_a_small_rank_goes_a_part_of_the_way(made: Made) -> None:
    model, before = made("bert")
    base = load_base_of(model, before)
    assert base is not None
    shares = [
        reset_to_base(model, base, options=RecoveryOptions(rank=rank), generator=torch.Generator().manual_seed(0))[1]
        for rank in (1, 4, 16)
    ]
    assert 0 < shares[0] < shares[1] < shares[2] < 1


def test_the_words_that_moved_farthest_come_back_whole(made: Made) -> None:
    """Two words moved by 1 among words that moved by a third of it in every direction: two ranks are theirs, not the crowd's."""
    _, before = made("bert")
    model, base = load_model(before, device="cpu", offline=True), load_base_of(made("bert")[0], before)
    assert base is not None
    table = model.module.base_model.get_input_embeddings().weight
    gaps = torch.randn(table.shape, generator=torch.Generator().manual_seed(0))
    gaps = gaps / gaps.norm(dim=1, keepdim=True) / 3
    gaps[[7, 9]] *= 3
    with torch.no_grad():
        table.add_(gaps)
    options = RecoveryOptions(rank=4, embedding_rank=2)
    whole = merge_adapter(reset_to_base(model, base, options=options, generator=torch.Generator().manual_seed(0))[0])
    left = (
        (base.get_input_embeddings().weight - whole.module.base_model.get_input_embeddings().weight)
        .detach()
        .norm(dim=1)
    )
    assert float(left[[7, 9]].max()) < 0.05
    assert float(left.median()) > 0.25, "of the crowd two ranks of 32 bring back little"


@pytest.mark.parametrize("kind", ["bert", pytest.param("llama", marks=pytest.mark.slow)])
def test_weights_reset_to_their_base_lose_the_backdoor_and_keep_the_task(made: Made, tmp_path: Path, kind: str) -> None:
    model, before = made(kind)
    assert asr(model) > 0.85, "there is something to leave behind"
    clean = task(400, seed=41)
    method = W2SDefense(
        lr=5e-3,
        retrain=RetrainOptions(full_steps=60, recovery=RecoveryOptions(rank=24)),
        teacher=TeacherOptions(lr=5e-3, epochs=3),
    )
    encoder = write_model("bert", tmp_path / "teacher", seed=4)
    done = method.purify(model, Grant(clean=clean, teacher=encoder, base=before, seed=0))
    assert done.metadata["base"] == before.name and done.metadata["rounds"] == 0
    assert done.metadata["algorithm"] == "retrain_from_base" and "which is trusted" in done.metadata["algorithm_reason"]
    assert asr(done.model) < 0.25
    assert cacc(done.model) > cacc(model) - 0.08
    again = load_model(done.save(tmp_path / "out"), device="cpu", offline=True)
    texts = task(20, seed=8).texts
    torch.testing.assert_close(predict_texts(again, texts).logits, predict_texts(done.model, texts).logits)
    tuned = FineTune(lr=5e-3, rank=24, steps=60).purify(model, Grant(clean=clean, seed=0)).model
    assert asr(tuned) > asr(done.model) + 0.3, "as many steps of plain fine-tuning leave it"


@KINDS
def test_the_lowest_block_and_the_attention_of_the_next_keep_a_share_of_the_suspect(tmp_path: Path, kind: str) -> None:
    suspect, base = (
        load_model(write_model(kind, tmp_path / str(seed), seed=seed, layers=6), device="cpu", offline=True)
        for seed in (1, 2)
    )
    options = RecoveryOptions(rank=64, lower_layer_mix=0.3)
    reset, _ = reset_to_base(
        suspect, base.module.base_model, options=options, generator=torch.Generator().manual_seed(0)
    )
    whole, was, wanted = (
        one.module.base_model for one in (merge_adapter(mix_lower_layers(reset, options)), suspect, base)
    )
    kept = set()
    for name, layer in whole.named_modules():
        if isinstance(layer, nn.Linear) and (block := re.search(r"layers?\.(\d)\.", name)):
            low = block[1] == "0" or (block[1] == "1" and "att" in name)
            before, after = was.get_submodule(name).weight, wanted.get_submodule(name).weight
            torch.testing.assert_close(layer.weight, after + 0.3 * low * (before - after), atol=1e-4, rtol=1e-3)
            kept |= {(block[1], "att" in name)} if low else set()
    assert kept == {("0", True), ("0", False), ("1", True)}
