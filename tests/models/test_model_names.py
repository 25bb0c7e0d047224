"""A model is a folder, a name of the hub with or without a revision, or a version in an MLflow registry."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.models.kit import FolderOf, edit
from untrigger.core.errors import ModelError
from untrigger.models.loading import load_model
from untrigger.models.safety import hub_files as hub
from untrigger.models.safety import registry_files as registry
from untrigger.models.safety.model_folder import open_model
from untrigger.models.saving import save_classifier
from untrigger.pipeline.model_facts import model_facts

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def fake_hub(folder_of: FolderOf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, str | None]]:
    """The hub client with one model in its cache; the list has the names and revisions it was called with."""
    import huggingface_hub

    cached = tmp_path / "models--someone--bert" / "snapshots" / COMMIT
    shutil.copytree(folder_of("bert"), cached)
    calls: list[tuple[str, str | None]] = []

    class Api:
        def model_info(self, *_: object, **__: object) -> object:
            return type("Info", (), {"siblings": []})

    def download(name: str, *, revision: str | None, **_: object) -> str:
        calls.append((name, revision))
        return str(cached)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return calls


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("someone/bert", ("someone/bert", None)),
        ("someone/bert@v2", ("someone/bert", "v2")),
        ("hf:someone/bert", ("someone/bert", None)),
        (f"hf:someone/bert@{COMMIT}", ("someone/bert", COMMIT)),
        ("hf:bert-base", ("bert-base", None)),
    ],
)
def test_a_hub_name_is_fetched_and_its_commit_is_known(
    name: str, asked: tuple[str, str | None], fake_hub: list[tuple[str, str | None]]
) -> None:
    folder = open_model(name, offline=False)
    assert fake_hub == [asked]
    assert (folder.name, folder.commit) == (name, COMMIT)


def test_a_report_has_the_commit_of_a_model_and_of_a_base(
    adapter: Path, fake_hub: list[tuple[str, str | None]]
) -> None:
    model = load_model("hf:someone/bert", device="cpu")
    assert model_facts(model)["revision"] == COMMIT
    edit(adapter / "adapter_config.json", base_model_name_or_path="someone/bert", revision="v7")
    adapted = load_model(adapter, base="hf:someone/bert", device="cpu")
    assert fake_hub[-1] == ("someone/bert", "v7"), "the revision that the adapter was trained on"
    assert model_facts(adapted)["base_revision"] == COMMIT and "revision" not in model_facts(adapted)


def test_a_prefixed_name_is_never_a_folder(
    folder_of: FolderOf, fake_hub: list[tuple[str, str | None]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(folder_of("bert"), tmp_path / "hf:someone" / "bert")
    shutil.copytree(folder_of("bert"), tmp_path / "someone" / "bert")
    monkeypatch.chdir(tmp_path)
    assert open_model("someone/bert", offline=False).commit is None and not fake_hub
    assert open_model("hf:someone/bert", offline=False).commit == COMMIT


@pytest.mark.parametrize("name", ["hf:", "hf:a/b/c", "hf:a b/c", "hf:../c/d", "hf:@v1"])
def test_a_prefixed_name_of_another_form_is_one_message(name: str, fake_hub: list[tuple[str, str | None]]) -> None:
    with pytest.raises(ModelError, match="hub model"):
        open_model(name, offline=False)
    assert not fake_hub


def test_an_adapter_on_full_weights_of_the_hub_names_them_as_peft_does(
    fake_hub: list[tuple[str, str | None]], tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model

    model = load_model("hf:someone/bert@v2", device="cpu")
    student = model.with_module(get_peft_model(model.module, LoraConfig(target_modules=["query"])))  # type: ignore[arg-type]
    save_classifier(student, tmp_path, card="")
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("someone/bert", COMMIT)


@pytest.fixture
def fake_mlflow(folder_of: FolderOf, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The MLflow client with one registered model, written as ``mlflow.transformers`` does; the list has its downloads."""
    calls: list[tuple[str, str]] = []

    def download(*, artifact_uri: str, dst_path: str) -> str:
        calls.append((artifact_uri, dst_path))
        if "/unknown/" in artifact_uri:
            raise RuntimeError("RESOURCE_DOES_NOT_EXIST\nmore lines")
        root = Path(dst_path)
        (root / "MLmodel").write_text("flavors: {}")
        for name in ("model", "again") if "/two/" in artifact_uri else ("model",):
            shutil.copytree(folder_of("bert"), root / name)
        tokenizer = root / "components" / "tokenizer"
        tokenizer.mkdir(parents=True)
        for file in (root / "model").glob("tokenizer*"):
            file.rename(tokenizer / file.name)
        return dst_path

    package, artifacts = ModuleType("mlflow"), ModuleType("mlflow.artifacts")
    artifacts.download_artifacts = download  # type: ignore[attr-defined]
    package.artifacts = artifacts  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", package)
    monkeypatch.setitem(sys.modules, "mlflow.artifacts", artifacts)
    registry._downloaded.cache_clear()
    return calls


def test_a_registered_model_is_fetched_once_into_a_private_folder(
    fake_mlflow: list[tuple[str, str]], folder_of: FolderOf
) -> None:
    model = load_model("models:/reviews/3", device="cpu")
    again = open_model("models:/reviews/3", offline=False)
    assert [uri for uri, _ in fake_mlflow] == ["models:/reviews/3"]
    private = Path(fake_mlflow[0][1])
    assert private.stat().st_mode & 0o077 == 0
    assert model.source.name == "models:/reviews/3"
    assert model.source.sha256 == again.sha256 == load_model(folder_of("bert"), device="cpu").source.sha256
    assert model_facts(model)["name"] == "models:/reviews/3"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("models:/unknown/1", "RESOURCE_DOES_NOT_EXIST"),
        ("models:/two/1", "2 models"),
        ("models:/reviews", "no version"),
        ("models:/", "no version"),
    ],
)
def test_a_registered_model_that_cannot_be_used_is_one_message(
    name: str, message: str, fake_mlflow: list[tuple[str, str]]
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        open_model(name, offline=False)
    assert "more lines" not in str(caught.value)


def test_without_mlflow_the_remedy_is_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    registry._downloaded.cache_clear()
    with pytest.raises(ModelError) as caught:
        open_model("models:/reviews/3", offline=False)
    assert caught.value.remedy == "pip install mlflow"


def test_a_registry_is_not_used_offline_nor_for_a_base_that_a_stranger_names(
    adapter: Path, fake_mlflow: list[tuple[str, str]]
) -> None:
    with pytest.raises(ModelError, match="--offline"):
        open_model("models:/reviews/3", offline=True)
    edit(adapter / "adapter_config.json", base_model_name_or_path="models:/reviews/3", revision="v7")
    with pytest.raises(ModelError) as caught:
        load_model(adapter, device="cpu")
    assert (caught.value.remedy or "").endswith("--base models:/reviews/3") and not fake_mlflow
    assert load_model(adapter, base="models:/reviews/3", device="cpu").source.kind == "adapter"


def test_hub_names_are_taken_apart() -> None:
    assert hub.hub_name_parts("hf:a/b@v1") == ("a/b", "v1")
    assert hub.hub_name_parts("a/b") == ("a/b", None)
    assert hub.commit_of(Path("models--a--b/snapshots") / COMMIT) == COMMIT
    assert hub.commit_of(Path("folder") / COMMIT) is None
