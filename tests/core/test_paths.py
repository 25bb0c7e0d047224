"""Names that no system can look up are the user's to mend, wherever they come from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tiny import write_model
from untrigger.cli.main import main
from untrigger.core.errors import DataError, ModelError
from untrigger.core.paths import local_path
from untrigger.data import load_data
from untrigger.models.adapters import AdapterOptions, attach
from untrigger.models.loading import load_model
from untrigger.models.saving import save_classifier

LONG = "x" * 5000
BAD = ["~nouser/x", LONG, f"{LONG}/y", "/" + "y/" * 3000, "a\0b", "a\ud800/b", "", " "]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model("bert", tmp_path_factory.mktemp("paths") / "bert")


@pytest.fixture
def adapter(bert: Path, tmp_path: Path) -> Callable[[str], Path]:
    """An adapter whose config names its base as it likes."""

    def made(base: str) -> Path:
        folder = tmp_path / "adapter"
        folder.mkdir()
        model = load_model(bert, device="cpu", offline=True)
        save_classifier(attach(model, AdapterOptions(rank=2, targets=("query",))), folder, card="")
        config = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": base}))
        return folder

    return made


@pytest.mark.parametrize("name", BAD, ids=range(len(BAD)))
def test_a_name_that_cannot_be_looked_up_is_a_short_message(name: str, bert: Path) -> None:
    with pytest.raises(ModelError) as model:
        load_model(name, device="cpu", offline=True)
    with pytest.raises(ModelError) as base:
        load_model(bert, base=name, device="cpu", offline=True)
    with pytest.raises(DataError) as data:
        load_data(name)
    with pytest.raises(DataError) as named:
        load_data(f"sst2={name}")
    assert all(len(str(one.value)) < 500 for one in (model, base, data, named))


def test_what_is_there_and_what_is_not_are_paths_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in (tmp_path, tmp_path / "none", tmp_path / "file" / "below", Path()):
        assert local_path(name, what="it", error=ModelError) == name
    assert local_path("~", what="it", error=ModelError) == Path.home()


@pytest.mark.parametrize("name", BAD[:6], ids=range(6))
def test_the_base_that_an_adapter_names_is_judged_alike_and_another_can_be_given(
    name: str, adapter: Callable[[str], Path], bert: Path
) -> None:
    folder = adapter(name)
    with pytest.raises(ModelError, match="--base"):
        load_model(folder, device="cpu", offline=True)
    for wrong in ("", "~nouser/x"):
        with pytest.raises(ModelError, match="the base"):
            load_model(folder, base=wrong, device="cpu", offline=True)
    assert load_model(folder, base=bert, device="cpu", offline=True).source.kind == "adapter"


PLACES = {
    "purify": ["model", "clean", "base", "suspect", "teacher"],
    "scan": ["model", "clean", "base", "reference", "rewritten"],
    "detect": ["suspect"],
    "audit": ["model", "clean", "teacher"],
    "evaluate": ["model", "data"],
}


@pytest.mark.parametrize("name", ["~nouser/x", ""])
@pytest.mark.parametrize(
    ("command", "place"), [(command, place) for command, places in PLACES.items() for place in places]
)
def test_commands_end_with_two(
    command: str, place: str, name: str, bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, out = tmp_path / "rows.csv", tmp_path / {"purify": "out", "detect": "out.csv"}.get(command, "out.json")
    rows.write_text("text,label\n" + "".join(f"word {i},{('negative', 'positive')[i % 2]}\n" for i in range(40)))
    given = {"model": str(bert), "data" if command == "evaluate" else "clean": str(rows)} | {place: name}
    options = [word for key, value in given.items() if key != "model" for word in (f"--{key}", value)]
    code = main([command, given["model"], *options, "--out", str(out), "--offline", "--device", "cpu"])
    written = capsys.readouterr().err
    assert code == 2 and "Traceback" not in written and not out.exists(), written
    assert "cannot be looked up" in written or "is empty" in written, written
