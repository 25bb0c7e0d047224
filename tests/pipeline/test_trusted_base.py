"""The base that a model was made from: given or found among the embedded ones, trusted, and gone back to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.kit import SMALL, Shop, config_of, plain
from tests.tiny import write_model
from untrigger import assets
from untrigger.assets import store
from untrigger.core.errors import ModelError
from untrigger.defences.fine_tuning import matched_control
from untrigger.defences.purifier import Purified
from untrigger.defences.w2s.base_recovery import RecoveryOptions
from untrigger.defences.w2s.retrain_from_base import RetrainOptions
from untrigger.defences.w2s.w2sdefense import W2SDefense
from untrigger.models.adapters import AdapterOptions
from untrigger.models.loading import load_model
from untrigger.pipeline.attack import attack
from untrigger.pipeline.attack_request import AttackRequest
from untrigger.pipeline.purify import purify
from untrigger.pipeline.purify_inputs import trusted_base
from untrigger.pipeline.requests import PurifyRequest
from untrigger.training.loop import History

QUICK = SMALL["w2sdefense"] | {"retrain": RetrainOptions(steps=6, full_steps=6, recovery=RecoveryOptions(rank=8))}


@pytest.fixture
def child(shop: Shop) -> AttackRequest:
    """Full weights that were moved a little away from their base."""
    spec = shop.attack_spec("bert", "full", out=shop.root / "bert-child", lr=2e-4, epochs=1, clean_model=False)
    shop.once("bert-child", lambda: attack(spec))
    return spec


def test_neither_base_nor_teacher_is_the_suspect_itself(shop: Shop, child: AttackRequest, tmp_path: Path) -> None:
    for option in ("base", "teacher"):
        with pytest.raises(ModelError, match=f"--{option} .* has the weights of the suspect model itself"):
            purify(asked(shop, child.out, out=tmp_path / "out", **{option: str(child.out)}))


def asked(shop: Shop, model: Path, **changes: Any) -> PurifyRequest:
    return shop.spec("bert", "full", model=str(model), options=QUICK, control=False, **changes)


def test_full_weights_go_back_to_the_base_that_is_given_and_stay_an_adapter_on_themselves(
    shop: Shop, child: AttackRequest, tmp_path: Path
) -> None:
    report = purify(asked(shop, child.out, base=str(shop.base("bert")), out=tmp_path / "out"))
    result = report.method["options"]
    assert (result["base"], result["algorithm"], result["rounds"]) == (shop.base("bert").name, "retrain_from_base", 0)
    assert 0 < result["recovered_share_of_base"] <= 1
    assert report.given["defender"]["base"] == shop.base("bert").name
    assert shop.base("bert").name in report.verdict.sentence
    assert config_of(tmp_path / "out")["base_model_name_or_path"] == str(child.out.resolve())
    memory = load_model(tmp_path / "out", device="cpu", offline=True)
    texts = ["good film", "a dull plot with some voice"]
    said = plain(tmp_path / "out", texts, base=child.out)
    from untrigger.models.inference import predict_texts

    assert (predict_texts(memory, texts).logits.softmax(dim=1) - said).abs().max() < 1e-5


def test_a_base_that_the_weights_do_not_descend_from_is_refused_before_any_work(
    shop: Shop, child: AttackRequest, tmp_path: Path
) -> None:
    stranger = write_model("bert", tmp_path / "stranger", seed=9)
    with pytest.raises(ModelError, match="does not descend from the base"):
        purify(asked(shop, child.out, base=str(stranger), out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_an_embedded_base_is_found_without_being_named(
    shop: Shop, child: AttackRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = asked(shop, child.out, out=tmp_path / "out")
    victim = load_model(child.out, device="cpu", offline=True)
    absent = assets.Status("minilm-l6", "model", "absent", tmp_path / "nowhere", 0)
    monkeypatch.setattr(assets, "listing", lambda: [absent])
    assert trusted_base(spec, victim) is None
    monkeypatch.setattr(assets, "listing", lambda: [absent, replace(absent, state="ready", path=shop.base("bert"))])
    assert trusted_base(spec, victim) == "minilm-l6"
    adapter = load_model(shop.victim("llama", "lora").out, device="cpu", offline=True)
    assert trusted_base(spec, adapter) is None
    monkeypatch.setattr(store, "listing", lambda: [replace(absent, state="ready", path=shop.base("llama"))])
    assert trusted_base(spec, adapter) == "minilm-l6", "the very folder that the adapter was loaded on"


def test_nothing_is_searched_on_an_adapters_base_that_the_user_trusts(shop: Shop, tmp_path: Path) -> None:
    trusting = shop.spec(
        "llama", "lora", base=str(shop.base("llama")), options=QUICK, control=False, out=tmp_path / "trusting"
    )
    result = purify(trusting).method["options"]
    assert result["largest_score_by_search"] == [] and result["algorithm"] == "retrain_from_base"
    result = purify(replace(trusting, model=replace(trusting.model, base=None), out=tmp_path / "wary")).method[
        "options"
    ]
    assert len(result["largest_score_by_search"]) >= 1


def test_the_control_trains_what_the_method_trained(shop: Shop) -> None:
    model = load_model(shop.victim("llama", "lora").out, device="cpu", offline=True)
    budget = replace(W2SDefense(lr=2e-3, batch_size=5).budget(), adapter=AdapterOptions(rank=3, upper=0.5))
    done = Purified(model, changed=True, history=History(losses=[0.0] * 7), budget=budget)
    control = matched_control(done)
    assert (control.rank, control.upper, control.lr, control.batch_size, control.steps) == (3, 0.5, 2e-3, 5, 7)
