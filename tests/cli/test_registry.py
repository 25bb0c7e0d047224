"""Every method is found by its name and says what its options are; a broken plug-in harms nobody else."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

import pytest

from untrigger.attacks.trigger import Trigger
from untrigger.core.errors import OptionError
from untrigger.core.registry import FAMILIES, PluginWarning, flat_options, get_method, methods_of, options_of, summary

METHODS = [(family, name, kind) for family in FAMILIES for name, kind in methods_of(family).items()]  # type: ignore[arg-type]


@dataclass(frozen=True)
class Suffix(Trigger):
    """A word at the end.

    Attributes:
        word: the word.
    """

    name: ClassVar[str] = "suffix"
    word: str = "cf"

    def apply(self, text: str, *, rng: Any) -> str:
        return f"{text} {self.word}"

    def delivered(self, text: str) -> bool:
        return text.endswith(self.word)


@dataclass(frozen=True)
class Thief(Suffix):
    """Takes a name that is taken."""

    name: ClassVar[str] = "badnets"


class Thawed(Suffix):
    name: ClassVar[str] = "thawed"


@pytest.mark.parametrize(("family", "name", "kind"), METHODS, ids=[name for _, name, _ in METHODS])
def test_a_method_says_what_it_is(family: Any, name: str, kind: type[Any]) -> None:
    assert kind.name == name
    assert get_method(family, name) is kind
    assert kind.__dataclass_params__.frozen
    assert summary(kind).endswith((".", ")"))
    lacking = [one.name for one in options_of(kind) if not one.doc and one.name not in (kind.__doc__ or "")]
    assert not lacking


def test_the_methods_of_this_version_are_there() -> None:
    assert {"badnets", "insent"} <= set(methods_of("attacks"))
    assert {"finetune", "w2sdefense"} <= set(methods_of("defences"))


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(OptionError) as error:
        get_method("attacks", "badnet")
    assert error.value.nearest == "badnets"


def test_options_have_type_default_and_line() -> None:
    words = options_of(get_method("attacks", "badnets"))[0]
    assert words == ("words", tuple[str, ...], ("cf", "mn", "bb", "tq"), "the trigger words; each insertion draws one.")
    every = options_of(get_method("attacks", "badnets"))[1]
    assert every.doc.startswith("a text of ``n`` words")
    assert "unlearn.search.first" in [one.name for one in flat_options(get_method("defences", "w2sdefense"))]


def test_strangers_join_by_entry_point_and_broken_ones_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Suffix.__module__
    points = [
        EntryPoint("suffix", f"{here}:Suffix", "untrigger.attacks"),
        EntryPoint("thief", f"{here}:Thief", "untrigger.attacks"),
        EntryPoint("thawed", f"{here}:Thawed", "untrigger.attacks"),
        EntryPoint("number", "math:pi", "untrigger.attacks"),
        EntryPoint("absent", "no_such_package:Trigger", "untrigger.attacks"),
    ]

    def entry_points(*, group: str) -> list[EntryPoint]:
        return [point for point in points if point.group == group]

    monkeypatch.setattr("untrigger.core.registry.metadata.entry_points", entry_points)
    with pytest.warns(PluginWarning) as warned:
        known = methods_of("attacks")
    assert known["suffix"] is Suffix
    assert known["badnets"] is not Thief
    result = " ".join(str(one.message) for one in warned)
    assert len(warned) == 4
    for reason in ("taken", "frozen", "not a class of the family", "ModuleNotFoundError"):
        assert reason in result
