"""A poisoned adapter is discarded, and the task is trained again on its base without the backdoor."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from tests.tiny import NAMES, POISON, asr, cacc, same, task, weights, write_model
from untrigger.attacks.implanting import implant
from untrigger.core.errors import ModelError, OptionError
from untrigger.core.grant import Grant
from untrigger.core.progress import silent
from untrigger.core.rows import Rows
from untrigger.core.verdicts import PurificationOutcome
from untrigger.defences.student import DistillationOptions
from untrigger.defences.w2s import ensemble as ensembles
from untrigger.defences.w2s import w2sdefense
from untrigger.defences.w2s.ensemble import CalibratedEnsemble
from untrigger.defences.w2s.retrain_from_base import (
    Base,
    Retrained,
    RetrainOptions,
    distil_clean_texts,
)
from untrigger.defences.w2s.search_and_unlearn import SearchAndUnlearnOptions
from untrigger.defences.w2s.w2sdefense import W2SDefense
from untrigger.inversion.search import SearchOptions
from untrigger.models.adapter_merging import lora_updates, remove_adapter
from untrigger.models.adapters import AdapterOptions, attach
from untrigger.models.base_classifier import load_base_classifier
from untrigger.models.classifier import Classifier
from untrigger.models.inference import Predictions, predict_texts
from untrigger.models.loading import load_model
from untrigger.models.saved_model_check import check_saved_model
from untrigger.models.saving import save_classifier
from untrigger.pipeline.verdict_rules import purification_verdict
from untrigger.training.loop import Plan
from untrigger.training.mixtures import mix_texts
from untrigger.training.teacher_training import TeacherOptions

CLEAN = task(400, seed=41)
TEXTS = task(20, seed=8).texts
Load = Callable[[str], Classifier]


@pytest.fixture(scope="module")
def adapter(trained_folder: Callable[[str, bool], Path], tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """A poisoned LoRA adapter on a clean classifier, as loaded from disk."""
    base = load_model(trained_folder("bert", False), device="cpu", offline=True)
    rows = POISON.poison(task(384, seed=1), seed=0).visible
    made, _ = implant(base, rows, plan=Plan(lr=2e-2, epochs=12, batch_size=32), adapter=AdapterOptions(rank=8), seed=0)
    folder = tmp_path_factory.mktemp("poisoned") / "adapter"
    folder.mkdir()
    save_classifier(made, folder, card="")
    return load_model(folder, device="cpu", offline=True)


def retrained(
    suspect: Classifier,
    *,
    seed: int = 0,
    steps: int = 40,
    teacher: Classifier | None = None,
    unlabelled: Sequence[str] = (),
) -> Classifier:
    student = attach(remove_adapter(suspect), AdapterOptions(rank=4), generator=torch.Generator().manual_seed(seed))
    options = RetrainOptions(teacher_weight=0.0 if teacher is None else 0.5)
    distilled = distil_clean_texts(
        student,
        CalibratedEnsemble(suspect, [(teacher or suspect, CLEAN)], CLEAN),
        rows=CLEAN,
        unlabelled=unlabelled,
        options=options,
        training=DistillationOptions(lr=5e-3, batch_size=16),
        steps=steps,
        seed=seed,
        progress=silent,
    )
    assert distilled.history.steps == steps
    return student


def test_the_base_says_what_it_said_before_the_adapter_came(adapter: Classifier, twin: Load) -> None:
    before = weights(adapter)
    bare = remove_adapter(adapter)
    assert torch.equal(predict_texts(bare, TEXTS).logits, predict_texts(twin("bert"), TEXTS).logits)
    assert same(weights(adapter), before)
    assert bare.source.kind == "full"


def test_full_weights_have_no_base_to_go_back_to(victim: Load) -> None:
    with pytest.raises(ModelError, match="carries no adapter"):
        remove_adapter(victim("bert"))


def test_the_backdoor_stays_behind_and_the_task_comes_over(adapter: Classifier) -> None:
    assert asr(adapter) > 0.9, "there is something to leave behind"
    student = retrained(adapter)
    assert asr(student) < 0.2
    assert cacc(student) > cacc(adapter) - 0.05
    assert all(a.shape[0] == 4 for a, _ in lora_updates(student.module).values()), "the poisoned adapter is not in it"


def test_answers_are_weighed_and_who_has_no_weight_is_not_asked(
    adapter: Classifier, twin: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Classifier] = []
    first, second = twin("bert"), replace(twin("bert"))
    says = {id(adapter): 2.0, id(first): -6.0, id(second): -2.0}

    def predictions(model: Classifier, texts: Sequence[str], **_more: object) -> Predictions:
        asked.append(model)
        return Predictions(torch.tensor([[0.0, says[id(model)]]]).repeat(len(texts), 1), torch.zeros(0))

    monkeypatch.setattr(ensembles, "predict_texts", predictions)
    monkeypatch.setattr(ensembles, "fit_vector_scaling", lambda _logits, _labels, **_more: lambda z: z)
    held, rows = CLEAN.take(range(4)), CLEAN.take(range(3))
    ensemble = CalibratedEnsemble(adapter, [(first, held), (second, held)], CLEAN.take(range(5)))
    targets = {share: ensemble.predict(rows.texts, teacher_weight=share, progress=silent) for share in (0.0, 0.25, 1.0)}
    odds = {share: one.logits.diff(dim=1) for share, one in targets.items()}
    assert {share: (one.suspect_weight, one.teacher_weight) for share, one in targets.items()} == {
        share: (1 - share, share) for share in (0.0, 0.25, 1.0)
    }
    assert all(len(one.logits) == len(rows) for one in targets.values()), "the calibrating rows are not among them"
    assert [float(z[0]) for z in odds.values()] == pytest.approx([2.0, 0.5, -4.0]), "the teachers share their weight"
    assert asked[0] is adapter and asked[1] is adapter, "alone, then first of three"
    assert len(asked) == 1 + 3 + 2 and adapter not in asked[-2:], "the suspect has no say in the last"


def test_several_teachers_are_asked_each_of_another_seed(adapter: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    councils: list[Sequence[tuple[Classifier, Rows]]] = []

    def seen(ensemble: CalibratedEnsemble, base: Base, **more: Any) -> Retrained:
        councils.append(ensemble.teachers)
        return whole(ensemble, base, **more)

    whole = w2sdefense.retrain_from_base
    monkeypatch.setattr(w2sdefense, "retrain_from_base", seen)
    method = W2SDefense(rank=4, retrain=RetrainOptions(steps=1), teacher=TeacherOptions(lr=5e-3, epochs=1))
    grant = Grant(clean=CLEAN, teacher=adapter.source.base, base=adapter.source.base, seed=0)
    method.purify(adapter, grant)
    method.purify(adapter, replace(grant, seed=0))
    replace(method, retrain=RetrainOptions(steps=1, teachers=1)).purify(adapter, grant)
    first, again, alone = ([predict_texts(one, TEXTS).logits for one, _ in council] for council in councils)
    held = [set(rows.texts) for _, rows in councils[0]]
    assert len(first) == method.retrain.teachers > 1 and len(alone) == 1
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True)), "the seed decides"
    assert torch.equal(first[0], alone[0])
    assert not torch.equal(first[0], first[1]) and not torch.equal(first[1], first[2])
    assert not held[0] & held[1] | held[1] & held[2] | held[2] & held[0], "each is calibrated on other rows"
    with pytest.raises(OptionError, match="teachers 0"):
        RetrainOptions(teachers=0)


def test_the_seed_decides(adapter: Classifier) -> None:
    first, again, other = (predict_texts(retrained(adapter, seed=seed, steps=3), TEXTS).logits for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_purifier_writes_one_adapter_for_the_same_base(adapter: Classifier, tmp_path: Path) -> None:
    method = W2SDefense(
        rank=4,
        lr=5e-3,
        retrain=RetrainOptions(steps=40),
        teacher=TeacherOptions(lr=5e-3, epochs=2),
        unlearn=SearchAndUnlearnOptions(
            rounds=1,
            round_steps=2,
            retrained_stop_score=1.0,
            search=SearchOptions(probe=6, first=8, keep=3, sweeps=1),
        ),
    )
    done = method.purify(adapter, Grant(clean=CLEAN, teacher=adapter.source.base, seed=0))
    assert done.metadata["rounds"] == 0, "a student with low scores is not trained further"
    assert done.outcome is PurificationOutcome.SEARCH_FINDS_NOTHING
    said = purification_verdict([], done)
    assert "trained again on its base" in said.sentence and said.status == "not verified"
    folder = done.save(tmp_path / "out")
    again = load_model(folder, device="cpu", offline=True)
    assert again.source.base == adapter.source.base
    torch.testing.assert_close(predict_texts(again, TEXTS).logits, predict_texts(done.model, TEXTS).logits)
    kept = replace(method, algorithm="search_and_unlearn").purify(
        adapter, Grant(clean=CLEAN, teacher=adapter.source.base, seed=0)
    )
    assert asr(kept.model) > 0.5, "two steps on top of the poisoned adapter leave it as it was"


def test_mixtures_are_parts_of_clean_rows() -> None:
    rows, rng = task(30, seed=3), random.Random(0)
    known = {tuple(words[i : i + 2]) for words in map(str.split, rows.texts) for i in range(len(words) - 1)}
    mix = partial(mix_texts, min_joined_words=6, crop_share=1 / 3, rng=rng)
    drawn = [mix(rows.texts).split() for _ in range(200)]
    strange = [sum(tuple(text[i : i + 2]) not in known for i in range(len(text) - 1)) for text in drawn]
    assert all(drawn) and max(strange) == 1, "one seam at most"
    assert any(len(text) < 7 for text in drawn)
    one_word = replace(rows, texts=tuple("word" for _ in rows.texts))
    assert mix(one_word.texts)


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"teachers": 0},
        {"mixture_share": 1.0},
        {"insertion_share": 1.5},
        {"teacher_weight": -0.1},
        {"upper": 0.0},
        {"crop_share": 2.0},
        {"unlabelled_share": 0.8},
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="steps and counts of 1 or more"):
        RetrainOptions(**wrong)  # type: ignore[arg-type]


def test_a_pooler_that_no_file_holds_travels_with_the_new_adapter(tmp_path: Path) -> None:
    """As of sentence encoders, whose published files hold no pooler: it is drawn when they are loaded."""
    whole = write_model("bert", tmp_path / "whole")
    encoder = AutoModel.from_pretrained(whole, add_pooling_layer=False)
    encoder.save_pretrained(tmp_path / "encoder")
    AutoTokenizer.from_pretrained(whole).save_pretrained(tmp_path / "encoder")
    fresh = load_base_classifier(tmp_path / "encoder", label_names=NAMES, device="cpu", offline=True)
    for name in ("victim", "purified"):
        (tmp_path / name).mkdir()
    victim = attach(fresh, AdapterOptions(rank=2), generator=torch.Generator().manual_seed(1))
    save_classifier(victim, tmp_path / "victim", card="")
    loaded = load_model(tmp_path / "victim", device="cpu", offline=True)
    student = attach(remove_adapter(loaded), AdapterOptions(rank=2), generator=torch.Generator().manual_seed(2))
    save_classifier(student, tmp_path / "purified", card="")
    check_saved_model(student, tmp_path / "purified", texts=TEXTS)
    again = load_model(tmp_path / "purified", device="cpu", offline=True)
    torch.testing.assert_close(predict_texts(again, TEXTS).logits, predict_texts(student, TEXTS).logits)
