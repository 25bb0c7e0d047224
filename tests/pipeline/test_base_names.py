"""By which name a saved adapter calls its base: one that holds elsewhere, where there is one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from peft import AutoPeftModelForSequenceClassification

from tests.pipeline.kit import FINETUNE, Shop, config_of
from untrigger import assets
from untrigger.assets import store
from untrigger.core.errors import ModelError
from untrigger.models.loading import load_model
from untrigger.models.safety import hub_files as hub
from untrigger.pipeline.attack import attack
from untrigger.pipeline.purify import purify


def rename_base(adapter: Path, name: str) -> None:
    config = config_of(adapter) | {"base_model_name_or_path": name}
    (adapter / "adapter_config.json").write_text(json.dumps(config))


def test_an_adapter_on_a_hub_model_keeps_the_hub_name(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = Path(shutil.copytree(shop.victim("llama", "lora").out, tmp_path / "victim"))
    cached = tmp_path / "models--someone--llama" / "snapshots" / "abc"
    shutil.copytree(shop.base("llama"), cached)
    rename_base(victim, "someone/llama")
    monkeypatch.setattr(hub, "_from_hub", lambda name, **_: cached)
    purify(shop.spec("llama", "lora", model=str(victim), out=tmp_path / "out", offline=False, **FINETUNE))
    assert config_of(tmp_path / "out")["base_model_name_or_path"] == "someone/llama"


def test_an_adapter_on_an_embedded_model_names_it_for_peft_and_for_other_machines(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = Path(shutil.copytree(shop.victim("llama", "lora").out, tmp_path / "victim"))
    rename_base(victim, "smollm2-135m")
    ready = assets.Status("smollm2-135m", "model", "ready", shop.base("llama"), 1)
    monkeypatch.setattr(assets, "fetch", lambda name, **_: shop.base("llama"))
    monkeypatch.setattr(assets, "status", lambda name, **_: ready)
    monkeypatch.setattr(store, "listing", lambda: [ready])
    out = tmp_path / "out"
    purify(shop.spec("llama", "lora", model=str(victim), out=out, **FINETUNE))
    assert config_of(out)["base_model_name_or_path"] == str(shop.base("llama"))
    plain = AutoPeftModelForSequenceClassification.from_pretrained(out, num_labels=2)
    assert set(plain.peft_config) == {"default"}
    rename_base(out, "/another/machine/models/smollm2-135m")
    assert load_model(out, device="cpu", offline=True).source.base == str(shop.base("llama"))
    sidecar = out / "untrigger.json"
    for stranger in ("rotten-tomatoes", "/etc", 7, None):
        sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"base": stranger}))
        with pytest.raises(ModelError, match="another/machine"):
            load_model(out, device="cpu", offline=True)


def test_an_attack_on_an_embedded_model_names_its_path_and_its_name(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = assets.Status("minilm-l3", "model", "ready", shop.base("bert"), 1)
    monkeypatch.setattr(assets, "fetch", lambda name, **_: shop.base("bert"))
    monkeypatch.setattr(assets, "status", lambda name, **_: ready)
    monkeypatch.setattr(store, "listing", lambda: [ready])
    attack(shop.attack_spec("bert", "lora", model="minilm-l3", out=tmp_path / "victim", epochs=1, clean_model=False))
    assert config_of(tmp_path / "victim")["base_model_name_or_path"] == str(shop.base("bert"))
    assert json.loads((tmp_path / "victim" / "untrigger.json").read_text())["base"] == "minilm-l3"
    assert AutoPeftModelForSequenceClassification.from_pretrained(tmp_path / "victim", num_labels=2).peft_config


def test_a_relative_base_becomes_one_that_holds_from_anywhere(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = Path(shutil.copytree(shop.victim("llama", "lora").out, tmp_path / "victim"))
    monkeypatch.chdir(shop.base("llama").parent)
    rename_base(victim, f"./{shop.base('llama').name}")
    purify(shop.spec("llama", "lora", model=str(victim), out=tmp_path / "out", **FINETUNE))
    assert config_of(tmp_path / "out")["base_model_name_or_path"] == str(shop.base("llama").resolve())


def test_the_antidote_of_full_weights_names_the_victims_whole_path(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = shop.victim("bert", "full").out
    monkeypatch.chdir(victim.parent)
    purify(shop.spec("bert", "full", model=victim.name, out=tmp_path / "out", **FINETUNE))
    assert config_of(tmp_path / "out")["base_model_name_or_path"] == str(victim.resolve())
    assert str(victim.name) in (tmp_path / "out" / "README.md").read_text()
