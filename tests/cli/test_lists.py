"""``list`` and ``assets``: what there is, what can run, what is damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from untrigger.core.registry import methods_of


def test_list_shows_methods_with_options_and_data(call: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UNTRIGGER_HOME", str(tmp_path))
    attacks = call("list", "attacks")
    assert attacks.code == 0
    assert "badnets" in attacks.out
    assert "the trigger words" in attacks.out
    result = json.loads(call("list", "--json").out)
    kinds = {
        "attacks",
        "behaviours",
        "defences",
        "language-defences",
        "guards",
        "scanners",
        "data",
        "models",
        "presets",
    }
    assert kinds == set(result)
    assert {"badnets", "insent"} <= {one["name"] for one in result["attacks"]}
    assert all(one["state"] == "absent" for one in result["data"])
    assert call("list", "data", "--quiet").out.split() == [one["name"] for one in result["data"]]


def test_have_leaves_out_what_cannot_run(call: Any) -> None:
    names = {one["name"] for one in json.loads(call("list", "--have", "clean", "--json").out)["defences"]}
    assert "finetune" in names
    assert "w2sdefense" not in names
    wrong = call("list", "--have", "clena")
    assert wrong.code == 2
    assert "did you mean: clean?" in wrong.err


def test_the_defences_of_language_models_are_listed_with_needs_variants_and_options(call: Any) -> None:
    [(kind, entries)] = json.loads(call("list", "language-defences", "--json").out).items()
    assert kind == "language-defences" and [one["name"] for one in entries] == sorted(methods_of("language_defences"))
    ours = next(one for one in entries if one["name"] == "w2sdefense")
    assert (ours["needs"], ours["uses"], ours["commands"]) == (["base", "clean"], ["teacher", "unlabelled"], ["purify"])
    assert "student.lr" in {one["name"] for one in ours["options"]}
    assert "student.lr" in call("list", "language-defences").out
    known = json.loads(call("list", "language-defences", "--have", "base", "--json").out)["language-defences"]
    assert [one["name"] for one in known] == ["return-base"]


def test_assets_alone_lists_them(call: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UNTRIGGER_HOME", str(tmp_path))
    assert json.loads(call("assets", "--json").out) == json.loads(call("assets", "list", "--json").out)
    missing = call("assets", "path", "minilm-l6")
    assert missing.code == 2
    assert "untrigger assets fetch minilm-l6" in missing.err


def test_assets_fetch_refuses_before_it_fetches(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from untrigger import assets

    fetched: list[str] = []
    rebuilt: list[bool] = []

    def fetch(name: str, *, progress: Any, offline: bool, rebuild: bool) -> Path:
        progress(0, 5_000_000, f"downloading {name}")
        progress(5_000_000, 5_000_000, f"downloading {name}")
        fetched.append(name)
        rebuilt.append(rebuild)
        return Path("/assets") / name

    monkeypatch.setattr(assets, "fetch", fetch)
    monkeypatch.setattr(assets, "damage", lambda name: ["model.safetensors has changed"])
    assert call("assets", "fetch", "minilm-l6", "minilm-l7").code == 2
    assert fetched == []
    result = call("assets", "fetch", "minilm-l6", "--json")
    wrong = ["model.safetensors has changed"]
    assert json.loads(result.out)["assets"] == [
        {"name": "minilm-l6", "path": "/assets/minilm-l6", "was_damaged": wrong}
    ]
    assert "downloading minilm-l6" in result.err
    assert rebuilt == [True]
    assert call("assets", "fetch", "minilm-l6", "--offline").code == 0
    assert rebuilt == [
        True,
        False,
    ]  # nothing is built without network: what is damaged stays and is named by the store


def test_assets_verify_names_what_is_damaged(call: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from untrigger import assets
    from untrigger.core.errors import AssetError

    def verify(name: str) -> Path:
        if name == "minilm-l3":
            raise AssetError("minilm-l3 is damaged: model.safetensors has changed", remedy="never shown")
        return tmp_path / name

    monkeypatch.setattr(assets, "verify", verify)
    assert "minilm-l6: whole" in call("assets", "verify", "minilm-l6").out
    broken = call("assets", "verify", "minilm-l6", "minilm-l3")
    assert broken.code == 2
    assert "model.safetensors has changed" in broken.err
    assert "untrigger assets fetch" in broken.err
