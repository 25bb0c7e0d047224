"""Files and folders appear whole, with the rights that the user's umask gives, or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from untrigger.core import files
from untrigger.core.errors import OutputError
from untrigger.core.files import new_files, new_folder, replaced_file, replaced_folder, write_text
from untrigger.core.rows import Rows
from untrigger.core.table_files import write_rows

ROWS = Rows.of(["a"], [0], label_names=("x",))


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_written_has_the_rights_of_the_umask(tmp_path: Path, umask: int) -> None:
    written = [write_text(tmp_path / "a.txt", text="a"), write_rows(ROWS, tmp_path / "b.csv")]
    written.append(write_rows(ROWS, tmp_path / "b.parquet"))
    with new_files(tmp_path / "c", tmp_path / "d") as places:
        for place in places:
            place.write_text("x")
    assert {rights(path) for path in [*written, tmp_path / "c", tmp_path / "d"]} == {0o666 & ~umask}
    for make in (new_folder, replaced_folder):
        with make(tmp_path / make.__name__):
            pass
        assert rights(tmp_path / make.__name__) == 0o777 & ~umask


def test_nobody_changes_the_umask_of_the_process() -> None:
    source = Path(files.__file__).parents[1]
    assert not [str(file) for file in source.rglob("*.py") if "umask(" in file.read_text(encoding="utf-8")]


@pytest.mark.parametrize("make", [new_folder, replaced_folder, replaced_file, new_files])
def test_an_error_on_the_way_leaves_nothing(tmp_path: Path, make: object) -> None:
    def fail() -> None:
        with make(tmp_path / "out") as place:  # type: ignore[operator]
            if isinstance(place, Path):
                (place / "part").write_text("x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not list(tmp_path.iterdir())


def test_of_files_that_belong_together_all_or_none_appear(tmp_path: Path) -> None:
    def write_one_of_two() -> None:
        with new_files(tmp_path / "a", tmp_path / "b") as (first, _):
            first.write_text("x")

    with pytest.raises(OutputError, match="cannot write"):
        write_one_of_two()
    assert not list(tmp_path.iterdir())


def test_an_old_file_and_an_old_folder_are_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    write_text(tmp_path / "file", text="new \ud800")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "new ?"
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").touch()
    with replaced_folder(tmp_path / "folder") as folder:
        (folder / "new").touch()
        assert (tmp_path / "folder" / "old").exists()
    assert [file.name for file in (tmp_path / "folder").iterdir()] == ["new"]


@pytest.mark.parametrize("name", ["ü" * 120, "漢" * 80, "a" * 250])
def test_a_long_name_is_no_hindrance(tmp_path: Path, name: str) -> None:
    assert write_text(tmp_path / name, text="x").read_text() == "x"
    with new_folder(tmp_path / f"{name[:80]}_"):
        pass
    assert len(list(tmp_path.iterdir())) == 2


def test_files_of_killed_runs_are_removed_by_the_next_for_the_same_path(tmp_path: Path) -> None:
    out = tmp_path / "out"
    prefix = files._working_prefix(out)
    stale, running = (tmp_path / f"{prefix}{number}-abc" for number in (2**22 + 1, os.getppid()))
    for one in (stale, running):
        one.touch()
    write_text(out, text="x")
    assert out.exists() and running.exists() and not stale.exists()
