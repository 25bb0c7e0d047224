"""An old name ends with 2 and one message that names the new one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from typer.main import get_command

from untrigger.cli import renamed
from untrigger.cli.main import app
from untrigger.cli.settings import settings
from untrigger.core.errors import OptionError
from untrigger.core.registry import FAMILIES, flat_options, methods_of

ATTACK = ["attack", "m", "--data", "d", "--target", "t", "--out", "o"]


@pytest.mark.parametrize(("old", "new"), list(renamed.OPTIONS.items()))
def test_an_old_option_names_the_new_one(old: str, new: str, call: Any) -> None:
    result = call(*ATTACK, old)
    assert (result.code, result.out) == (2, "")
    assert f"the option {old} is called {new} now" in result.err and f"write {new}" in result.err
    assert call(*ATTACK, f"{old}=1").code == 2


def test_new_names_are_there_and_old_ones_are_not() -> None:
    commands = get_command(app).commands.values()  # type: ignore[attr-defined]
    known = {name for command in commands for one in command.params for name in [*one.opts, *one.secondary_opts]}
    assert set(renamed.OPTIONS.values()) <= known
    assert not set(renamed.OPTIONS) & known


@pytest.mark.parametrize(("old", "new"), list(renamed.KINDS.items()))
def test_an_old_word_of_list_names_the_new_one(old: str, new: str, call: Any) -> None:
    result = call("list", old)
    assert result.code == 2 and f"write untrigger list {new}" in result.err


@dataclass(frozen=True)
class Encoder:
    """An encoder.

    Attributes:
        use_dropout: whether it has dropout.
    """

    use_dropout: bool = False


@dataclass(frozen=True)
class Method:
    """A method.

    Attributes:
        teacher: its teacher.
    """

    teacher: Encoder = Encoder()


@pytest.mark.parametrize("old", renamed.SETTINGS)
def test_every_old_key_of_set_is_renamed_for_some_method(old: str) -> None:
    kinds = [kind for family in FAMILIES for kind in methods_of(family).values()]  # type: ignore[arg-type]
    messages = []
    for kind in kinds:
        keys = {one.name for one in flat_options(kind)}
        prefixes = {"", *(key[: i + 1] for key in keys for i, sign in enumerate(key) if sign == ".")}
        for prefix in prefixes:
            try:
                settings(kind, [f"{prefix}{old}=1"], what="method m")
            except OptionError as error:
                messages.append(str(error))
    assert any("now\nremedy: write --set" in message for message in messages)


def test_an_old_key_of_set_names_the_new_one() -> None:
    with pytest.raises(OptionError) as error:
        settings(Method, ["teacher.dropout=true"], what="method m")
    assert "the option 'teacher.dropout' of method m is called 'teacher.use_dropout' now" in str(error.value)
    assert "remedy: write --set teacher.use_dropout=..." in str(error.value)


@pytest.mark.parametrize(
    ("word", "remedy"),
    [
        ("relearn.kept=0", "write --set retrain.recovery.lower_layer_mix=..."),
        ("reset=false", "write --set algorithm=search_and_unlearn"),
    ],
)
def test_a_purification_with_an_old_key_ends_with_two(word: str, remedy: str, call: Any) -> None:
    result = call("purify", "m", "--clean", "c", "--out", "o", "--set", word)
    assert result.code == 2 and remedy in result.err
