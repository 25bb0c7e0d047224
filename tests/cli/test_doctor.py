"""The doctor says what is here, what is missing and what to do, as text and as JSON, and ends with 0 or 2."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from untrigger.pipeline import doctor
from untrigger.pipeline.doctor import Check
from untrigger.runtime import machine

REQUIRES = [
    "torch>=2",
    "transformers>=5",
    "peft>=0.1",
    "numpy>=1",
    'mkdocs-none>=1; extra == "docs"',
    'numpy; extra == "all"',
]


class About(dict[str, Any]):
    def get_all(self, name: str) -> list[str] | None:
        return {"Requires-Dist": self["requires"], "Provides-Extra": ["docs", "all"]}.get(name)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """``installed(requires)``: an untrigger with these requirements, no assets, no network, and a fast measurement."""
    monkeypatch.setenv("UNTRIGGER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(doctor, "SECONDS", 0.01)
    monkeypatch.setattr(machine, "product_rate", lambda *, seconds: 521.0)
    monkeypatch.setattr(machine, "load", lambda: 0.5)

    def unreachable() -> str:
        raise OSError("no route")

    monkeypatch.setattr(doctor, "_ask_index", lambda: "answers")
    monkeypatch.setattr(doctor, "_ask_hub", unreachable)

    def install(requires: list[str], *, python: str = ">=3.11") -> None:
        about = About({"Requires-Python": python, "requires": requires})
        monkeypatch.setattr(metadata, "metadata", lambda _name: about)

    install(REQUIRES)
    return install


def by_name(checks: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    return {one["name"]: one for one in checks}


def test_a_machine_that_can_be_used(call: Any, installed: Any, tmp_path: Path) -> None:
    done = call("doctor", "--json")
    assert done.code == 0, done.err
    facts = json.loads(done.out)
    assert facts["usable"] is True
    found = by_name(facts["checks"])
    for name in ("python", "untrigger", "torch", "transformers", "peft", "devices", "threads", "package index"):
        assert found[name]["state"] == "ok", name
    assert "allowed: >=2" in found["torch"]["text"] and "numpy" not in found
    assert str(tmp_path / "home") in found["folder"]["text"] and found["ready"]["text"] == "none"
    assert found["minilm-l6"]["remedy"] == "untrigger assets fetch minilm-l6"
    assert found["hub"]["state"] == "note" and "no answer" in found["hub"]["text"]
    assert found["docs"]["remedy"] == 'pip install "untrigger[docs]"' and found["all"]["state"] == "ok"
    assert "estimate" in found["matrix products"]["text"] and "2 minutes" in found["matrix products"]["text"]


def test_offline_asks_nobody(call: Any, installed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_ask_index", lambda: pytest.fail("the index was used"))
    done = call("doctor", "--offline")
    assert done.code == 0 and "untrigger can be used" in done.out
    assert "network" not in done.out


@pytest.mark.parametrize(
    ("requires", "python", "name", "remedy"),
    [
        (
            [*REQUIRES, "no-such-package-at-all>=1"],
            ">=3.11",
            "no-such-package-at-all",
            'pip install "no-such-package-at-all>=1"',
        ),
        ([*REQUIRES, "rich<1"], ">=3.11", "rich", 'pip install "rich<1"'),
        (REQUIRES, ">=9", "python", "install another Python"),
    ],
)
def test_what_is_missing_ends_with_2(
    requires: list[str], python: str, name: str, remedy: str, call: Any, installed: Any
) -> None:
    installed(requires, python=python)
    done = call("doctor", "--json", "--offline")
    assert done.code == 2
    facts = json.loads(done.out)
    assert facts["usable"] is False
    assert by_name(facts["checks"])[name] == {
        "topic": "software",
        "name": name,
        "state": "missing",
        "text": by_name(facts["checks"])[name]["text"],
        "remedy": remedy,
    }
    assert "matrix products" not in by_name(facts["checks"])


def test_a_package_that_cannot_be_imported_is_missing(
    call: Any, installed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str) -> None:
        raise OSError(f"lib{name}.so: cannot open shared object file\nmore")

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    done = call("doctor", "--offline")
    assert done.code == 2 and "cannot be imported: libtorch.so" in done.out and "more" not in done.out


def test_a_rate_beside_other_programs_is_a_note(installed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "load", lambda: 999.0)
    [speed] = [one for one in doctor.examine(offline=True) if one.topic == "speed"]
    assert speed.state == "note" and "beside other programs (load 999)" in speed.text


def test_little_memory_is_a_note(installed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "free_memory", lambda: 10**9)
    [memory] = [one for one in doctor.examine(offline=True) if one.name == "memory"]
    assert (memory.state, memory.text) == ("note", "1.0 GB free") and "--clean-rows" in memory.remedy
    assert doctor.usable([memory, Check("extras", "docs", "note", "not installed")])


def test_the_machine_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.product_rate(seconds=0.01) > 0
    assert machine.load() >= 0
    assert machine.usable_cores() >= 1
    assert machine.free_disk(tmp_path / "not" / "there") > 0
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 4 kB\n")
    monkeypatch.setattr(machine, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    assert machine.free_memory() == 4096
    (tmp_path / "memory.max").write_text("3000\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert machine.free_memory() == 2000
    monkeypatch.setattr(machine, "_MEMINFO", tmp_path / "none")
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.free_memory() is None
