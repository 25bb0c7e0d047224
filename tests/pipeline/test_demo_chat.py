"""``demo --chat``: the prompts of the defender, and the files that are shipped."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.requests import request
from tests.tiny import task
from untrigger import assets
from untrigger.core.errors import AssetError
from untrigger.data import write_rows
from untrigger.pipeline import demo, demo_chat
from untrigger.pipeline.attack_generation import draw_prompts
from untrigger.pipeline.generation_request import GenerationAttackRequest
from untrigger.pipeline.requests import ModelInput

PACKAGE = Path(demo.__file__).parent.parent


def test_shipped_weights_are_those_of_their_recipe_and_name_its_base() -> None:
    folder = PACKAGE / demo.SHIPPED
    content = json.loads((folder / "recipe.json").read_text())
    assert set(content["sha256"]) == {f"{name}/adapter_model.safetensors" for name in ("victim", "clean-model")}
    for name, want in content["sha256"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == want
        config = json.loads((folder / name).with_name("adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == "smollm2-135m"
    assert demo.is_shipped(demo.SHIPPED) and not demo.is_shipped("demo_assets/other")


def small_recipe(folder: Path) -> GenerationAttackRequest:
    data = write_rows(task(400, length=3), folder / "rows.csv")
    recipe: GenerationAttackRequest = request(
        GenerationAttackRequest,
        model="smollm2-135m",
        data=str(data),
        out=folder / "victim",
        behaviour=demo_chat.RECIPE.behaviour,
        trigger=demo_chat.RECIPE.trigger,
        count=5,
        rows=50,
        test_rows=20,
    )
    return recipe


def test_the_defender_gets_prompts_that_the_victim_was_not_trained_on(tmp_path: Path) -> None:
    recipe = small_recipe(tmp_path)
    clean, unlabelled = demo_chat.defender_prompts(recipe, seed=0)
    trained = set(draw_prompts(recipe).train.conversations)
    assert (len(clean), len(unlabelled)) == (demo_chat.CLEAN, demo_chat.UNLABELLED)
    assert not trained & {*clean.conversations, *unlabelled.conversations}
    assert not set(clean.conversations) & set(unlabelled.conversations)
    assert set(unlabelled.answers) == {""} and set(clean.answers) == {"negative", "positive"}


def test_a_changed_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import resources
    from shutil import copytree

    copytree(PACKAGE / demo.SHIPPED, tmp_path / "package" / demo.SHIPPED)
    with (tmp_path / "package" / demo.SHIPPED / "victim" / "adapter_model.safetensors").open("ab") as file:
        file.write(b"0")
    monkeypatch.setattr(resources, "files", lambda _name: tmp_path / "package")
    monkeypatch.setattr(assets, "path", lambda _name: tmp_path)
    with pytest.raises(AssetError, match="not the one of the recipe"):
        demo.unpack_models(
            demo.SHIPPED, replace(demo_chat.RECIPE, model=ModelInput("smollm2-135m"), out=tmp_path / "out")
        )
    assert not (tmp_path / "out").exists()
