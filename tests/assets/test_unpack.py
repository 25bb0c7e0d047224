"""Archives: only what is named comes out, only where we say, only as much as allowed."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from untrigger.assets.unpack import unpack
from untrigger.core.errors import AssetError, UnsafeFileError


def _zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in members.items():
            out.writestr(name, content)
    return path


def _tar(path: Path, *infos: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as out:
        for info, content in infos:
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))
    return path


def test_members_land_under_our_names_whatever_theirs_say(tmp_path: Path) -> None:
    hostile = "../../outside.txt"
    for archive in (
        _zip(tmp_path / "a.zip", {hostile: b"x"}),
        _tar(tmp_path / "a.tar.gz", (tarfile.TarInfo(hostile), b"x")),
    ):
        out = unpack(archive, members={hostile: "inside.txt"}, into=tmp_path / "into")
        assert out == [tmp_path / "into" / "inside.txt"]
        assert out[0].read_bytes() == b"x"
    assert not (tmp_path.parent / "outside.txt").exists()


def test_a_target_outside_is_refused(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "a.zip", {"a": b"x"})
    with pytest.raises(UnsafeFileError, match="outside"):
        unpack(archive, members={"a": "../b"}, into=tmp_path / "into")


def test_other_members_stay_inside(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "a.zip", {"a": b"x", "setup.py": b"boom"})
    unpack(archive, members={"a": "a"}, into=tmp_path / "into")
    assert [one.name for one in (tmp_path / "into").iterdir()] == ["a"]


def test_a_member_over_the_limit_is_refused(tmp_path: Path) -> None:
    bomb = _zip(tmp_path / "a.zip", {"a": b"0" * 1_000_000})
    with pytest.raises(UnsafeFileError, match="1000000 bytes"):
        unpack(bomb, members={"a": "a"}, into=tmp_path / "into", limit=1000)
    tar = _tar(tmp_path / "a.tar.gz", (tarfile.TarInfo("a"), b"0" * 2000))
    with pytest.raises(UnsafeFileError, match="2000 bytes"):
        unpack(tar, members={"a": "a"}, into=tmp_path / "into", limit=1000)


def test_links_are_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo("a")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    with pytest.raises(UnsafeFileError, match="not a regular file"):
        unpack(_tar(tmp_path / "a.tar.gz", (link, b"")), members={"a": "a"}, into=tmp_path / "into")
    info = zipfile.ZipInfo("a")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        out.writestr(info, "/etc/hostname")
    with pytest.raises(UnsafeFileError, match="not a regular file"):
        unpack(tmp_path / "a.zip", members={"a": "a"}, into=tmp_path / "into")


def test_a_missing_member_and_a_broken_archive_are_named(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="no member") as caught:
        unpack(_zip(tmp_path / "a.zip", {"data.txt": b"x"}), members={"dta.txt": "a"}, into=tmp_path)
    assert caught.value.nearest == "data.txt"
    (tmp_path / "b.whl").write_bytes(b"no archive at all")
    with pytest.raises(AssetError, match="cannot be read as an archive"):
        unpack(tmp_path / "b.whl", members={"a": "a"}, into=tmp_path)
