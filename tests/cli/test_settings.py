"""``--set key=value``: the type of the field decides, and whatever is wrong is said at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from untrigger.cli.settings import build, settings
from untrigger.core.errors import OptionError


@dataclass(frozen=True)
class Search:
    """How wide.

    Attributes:
        first: how many first.
        keep: how many are kept,
            on two lines.
    """

    first: int = 256
    keep: int = 12

    def __post_init__(self) -> None:
        if self.first < 1:
            raise ValueError("first below 1")


@dataclass(frozen=True)
class Method:
    """A method.

    Attributes:
        rounds: how often.
    """

    rounds: int = 4
    lr: float = 1e-3
    fast: bool = False
    peft: Literal["lora", "dora"] = "lora"
    words: tuple[str, ...] = ("cf",)
    range: tuple[float, float] = (0.0, 1.0)
    sizes: list[int] = field(default_factory=list)
    file: Path | None = None
    most: int | None = None
    hook: Any = None
    search: Search = field(default_factory=Search)
    second: Search | None = None


@pytest.mark.parametrize(
    ("word", "want"),
    [
        ("rounds=2", {"rounds": 2}),
        ("lr=2e-3", {"lr": 0.002}),
        ("fast=yes", {"fast": True}),
        ("fast=False", {"fast": False}),
        ("peft=dora", {"peft": "dora"}),
        ("words=a, b", {"words": ("a", "b")}),
        ("words=", {"words": ()}),
        ("range=0.1,0.2", {"range": (0.1, 0.2)}),
        ("sizes=1,2", {"sizes": [1, 2]}),
        ("file=x=y.csv", {"file": Path("x=y.csv")}),
        ("most=none", {"most": None}),
        ("most=7", {"most": 7}),
        ("search.first=128", {"search": Search(first=128)}),
        ("second.keep=1", {"second": Search(keep=1)}),
    ],
)
def test_the_type_of_the_field_decides(word: str, want: dict[str, Any]) -> None:
    assert settings(Method, [word], what="method m") == want


def test_nested_options_keep_what_the_base_has() -> None:
    base = Method(search=Search(first=1, keep=2))
    assert settings(Method, ["search.keep=5"], what="m", base=base) == {"search": Search(first=1, keep=5)}


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("rounds=2.5", "a whole number"),
        ("rounds=", "a whole number"),
        ("lr=fast", "a finite number"),
        ("lr=nan", "a finite number"),
        ("lr=inf", "a finite number"),
        ("fast=maybe", "true or false"),
        ("peft=lara", "one of lora, dora"),
        ("range=1", "2 values"),
        ("sizes=1,b", "a whole number"),
        ("most=x", "a whole number or none"),
        ("hook=print", "only be set from Python"),
        ("rounds", "KEY=VALUE"),
        ("roundz=1", "did you mean: rounds?"),
        ("first=1", "did you mean: search.first?"),
        ("search.frist=1", "did you mean: search.first?"),
        ("search=1", "search.first, search.keep"),
        ("search.first=0", "first below 1"),
    ],
)
def test_what_is_wrong_is_said(word: str, hint: str) -> None:
    with pytest.raises(OptionError) as error:
        settings(Method, [word], what="method m")
    assert hint in str(error.value)


def test_all_problems_come_at_once() -> None:
    with pytest.raises(OptionError) as error:
        settings(Method, ["rounds=x", "rounds=1", "rounds=2", "lrr=1"], what="method m")
    result = str(error.value)
    assert result.startswith("3 options cannot be used")
    assert "rounds cannot be 'x'" in result
    assert "given twice" in result
    assert "'lrr'" in result


def test_what_must_be_given_is_asked_for() -> None:
    @dataclass(frozen=True)
    class Needy:
        """Needy."""

        path: str

    with pytest.raises(OptionError, match="needs the option path"):
        build(Needy, [], what="trigger needy")
    assert build(Needy, ["path=x"], what="trigger needy") == Needy("x")


@pytest.mark.parametrize(
    ("method", "given", "remedy"),
    [
        ("insertions", "tried=3", "write --set confirmation.candidates=..."),
        ("insertions", "held=0.4", "write --set held_out=..."),
        ("scancure", "scanner.sure=2", "write --set scanner.confirmation.top=..."),
    ],
)
def test_the_old_name_of_a_scanner_s_option_gives_the_new_one_as_remedy(method: str, given: str, remedy: str) -> None:
    from untrigger.core.registry import get_method

    family = "scanners" if method == "insertions" else "defences"
    with pytest.raises(OptionError) as caught:
        settings(get_method(family, method), [given], what=method)
    assert caught.value.remedy == remedy
