"""The examples of CONTRIBUTING.md are run as the one-file methods that they say they are."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import untrigger.attacks
import untrigger.defences
from tests.tiny import POISON, asr, cacc, same, task, weights
from untrigger.attacks.poisoning import Attack
from untrigger.core.grant import Grant
from untrigger.core.registry import get_method, options_of
from untrigger.models.classifier import Classifier

PAGE = Path(__file__).parent.parent / "CONTRIBUTING.md"
PACKAGES = {"attack": untrigger.attacks, "defence": untrigger.defences}


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Both examples as files of a folder that their packages look into, as if they had been put there."""
    found = dict(re.findall(r'```python title="(\w+)"\n(.*?)```', PAGE.read_text(encoding="utf-8"), re.DOTALL))
    for kind, package in PACKAGES.items():
        folder = tmp_path / kind
        folder.mkdir()
        (folder / f"example_{kind}.py").write_text(found[kind], encoding="utf-8")
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    yield found
    for kind, package in PACKAGES.items():
        sys.modules.pop(f"{package.__name__}.example_{kind}", None)
        if hasattr(package, f"example_{kind}"):
            delattr(package, f"example_{kind}")


@pytest.mark.usefixtures("examples")
def test_the_attack_is_found_by_its_name_and_poisons() -> None:
    kind = get_method("attacks", "doubled")
    trigger, rows = kind(mark="!"), task(40)
    done = Attack(trigger, target=1, rate=0.25).poison(rows, seed=0)
    flagged = {row.id for row in done.visible if trigger.delivered(row.text)}
    assert flagged == set(done.truth.poisoned_ids)
    assert len(flagged) == 10
    assert [(one.name, one.doc) for one in options_of(kind)] == [("mark", "what is doubled.")]


@pytest.mark.usefixtures("examples")
def test_the_defence_is_found_by_its_name_and_keeps_the_promises(victim: Callable[[str], Classifier]) -> None:
    model = victim("bert")
    before = weights(model)
    done = get_method("defences", "head-only")().purify(model, Grant(clean=task(96, seed=5), seed=1))
    assert same(weights(model), before)
    assert cacc(done.model) > 0.8
    changed = [key for key, value in weights(done.model).items() if not value.equal(before[key])]
    assert changed
    assert all(key.startswith("classifier") for key in changed)
    assert asr(model) > 0.9
    assert POISON.target == 1


def test_without_the_files_nobody_knows_them() -> None:
    from untrigger.core.registry import methods_of

    assert "doubled" not in methods_of("attacks")
    assert "head-only" not in methods_of("defences")


def test_the_examples_keep_the_house_rules(examples: dict[str, str]) -> None:
    assert set(examples) == set(PACKAGES)
    assert all("print(" not in text and max(map(len, text.splitlines())) <= 120 for text in examples.values())
    assert len(PAGE.read_text(encoding="utf-8").splitlines()) < 120
