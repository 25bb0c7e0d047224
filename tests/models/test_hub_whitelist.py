"""A base that a stranger names is fetched only when the user names it, and only within bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models.kit import FolderOf, edit, load_here
from tests.tiny import write_model
from untrigger.core.errors import ModelError, UnsafeFileError
from untrigger.models.loading import load_model
from untrigger.models.safety import hub_files as hub
from untrigger.models.safety import limits


@pytest.fixture
def fetched(folder_of: FolderOf, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None, bool]]:
    """What the hub client is called for: name, revision and whether the network may be used."""
    calls: list[tuple[str, str | None, bool]] = []

    def fetch(name: str, *, allow_pickle: bool, offline: bool, revision: str | None) -> Path:
        calls.append((name, revision, not offline))
        if offline:
            raise ModelError(f"{name!r} is not here")
        return folder_of("bert")

    monkeypatch.setattr(hub, "_from_hub", fetch)
    return calls


def test_a_base_that_a_stranger_names_is_fetched_only_when_the_user_names_it(
    adapter: Path, fetched: list[tuple[str, str | None, bool]]
) -> None:
    edit(adapter / "adapter_config.json", base_model_name_or_path="someone/bert", revision="v7")
    with pytest.raises(ModelError, match="someone/bert") as caught:
        load_model(adapter, device="cpu")
    assert fetched == [("someone/bert", "v7", False)]
    assert "--base someone/bert@v7" in (caught.value.remedy or "")
    model = load_model(adapter, device="cpu", base="someone/bert")
    assert fetched[-1] == ("someone/bert", "v7", True), "the revision that the adapter was trained on"
    assert model.source.revision == "v7" and model.source.base_sha256
    load_model(adapter, device="cpu", base="someone/bert@v8")
    assert fetched[-1] == ("someone/bert", "v8", True)
    load_model(adapter, device="cpu", base="other/bert")
    assert fetched[-1] == ("other/bert", None, True)


def test_a_hub_model_above_the_bound_is_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    class File:
        rfilename, size = "model.safetensors", limits.MAX_DOWNLOAD + 1

    class Api:
        def model_info(self, *_: object, **__: object) -> object:
            return type("Info", (), {"siblings": [File()]})

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("it was fetched"))
    with pytest.raises(UnsafeFileError, match="to fetch"):
        hub.resolve_model("someone/huge", offline=False)


def test_the_report_of_a_model_says_what_was_opened(bert: Path, tmp_path: Path) -> None:
    write_model("bert", tmp_path / "other", seed=4)
    model = load_here(bert)
    assert set(model.source.files["opened"]) == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert model.source.sha256 != load_here(tmp_path / "other").source.sha256
