"""``--set key=value``: words of the command line made into the options of a method."""

from __future__ import annotations

import math
import types
from collections.abc import Sequence
from dataclasses import MISSING, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from untrigger.core.errors import OptionError, nearest
from untrigger.core.registry import check_not_renamed, flat_options, nested_options, options_of

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_PLAIN = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "text",
    Path: "a path",
    type(None): "none",
}


def settings(kind: type[Any], given: Sequence[str], *, what: str, base: object | None = None) -> dict[str, Any]:
    """Keyword arguments for ``kind``; a nested record comes whole, with what was not set as ``base`` has it.

    Args:
        kind: the dataclass of the method.
        given: ``key=value`` each; dotted keys reach into nested records.
        what: how messages call the method, such as ``method w2sdefense``.
        base: an instance whose nested records are started from; without it their defaults.

    Raises:
        OptionError: one for all problems together.
    """
    known = {one.name: one.type for one in flat_options(kind)}
    values: dict[str, Any] = {}
    problems: list[OptionError] = []
    for item in given:
        try:
            check_not_renamed(item.partition("=")[0].strip().replace("-", "_"), kind, what=what)
            key, value = _read(item, known=known, what=what)
            if key in values:
                raise OptionError(f"the option {key!r} is given twice", expected="each option once")
            values[key] = value
        except OptionError as error:
            problems.append(error)
    if problems:
        raise _together(problems)
    return _nested(kind, values, base=base)


def build(kind: type[Any], given: Sequence[str], *, what: str) -> Any:
    """An instance of ``kind`` with the given options.

    Raises:
        OptionError: for options that it does not know, cannot use or lacks.
    """
    values = settings(kind, given, what=what)
    lacking = [one.name for one in options_of(kind) if one.default is MISSING and one.name not in values]
    if lacking:
        raise OptionError(
            f"{what} needs the option {', '.join(lacking)}", remedy=" ".join(f"--set {name}=..." for name in lacking)
        )
    return _made(lambda: kind(**values), what=what)


def _read(item: str, *, known: dict[str, Any], what: str) -> tuple[str, Any]:
    """Key and value of one ``key=value``."""
    word, sign, text = item.partition("=")
    key = word.strip().replace("-", "_")
    if not sign:
        raise OptionError(
            f"--set {item!r}", expected="KEY=VALUE, such as " + (f"{next(iter(known))}=..." if known else "a=1")
        )
    if key in known:
        try:
            return key, value_of(known[key], text)
        except ValueError as error:
            raise OptionError(f"the option {key} cannot be {text!r}", expected=str(error)) from error
    inside = [name for name in known if name.startswith(f"{key}.")]
    if inside:
        raise OptionError(f"{key!r} is a group of options of {what}", expected="one of " + ", ".join(inside))
    ending = [name for name in known if name.endswith(f".{key}")]
    raise OptionError(
        f"{what} has no option {key!r}",
        expected=("one of " + ", ".join(sorted(known))) if known else "no options",
        nearest=ending[0] if ending else nearest(key, known),
    )


def _nested(kind: type[Any], values: dict[str, Any], *, base: object | None) -> dict[str, Any]:
    """``values`` by flat names, with dotted ones gathered into records."""
    whole = {key: value for key, value in values.items() if "." not in key}
    for one in options_of(kind):
        inner = {key.partition(".")[2]: value for key, value in values.items() if key.partition(".")[0] == one.name}
        record = nested_options(one.type)
        if record is None or not inner:
            continue
        start = getattr(base, one.name, None) if base is not None else one.default
        if start is None or start is MISSING:
            start = _made(record, what=one.name)
        changes = _nested(record, inner, base=start)
        whole[one.name] = _made(partial(replace, start, **changes), what=one.name)
    return whole


def _made(make: Any, *, what: str) -> Any:
    """What ``make`` gives; a value that an author's own check refuses is the user's to mend."""
    try:
        return make()
    except (TypeError, ValueError) as error:
        raise OptionError(f"the options of {what} cannot be used: {error}") from error


def value_of(hint: Any, text: str) -> Any:
    """``text`` as a value of the type ``hint``.

    Raises:
        ValueError: whose message says what is expected.
    """
    if get_origin(hint) in (Union, types.UnionType):
        return _any_of(get_args(hint), text)
    if get_origin(hint) is Literal or (isinstance(hint, type) and issubclass(hint, Enum)):
        return _choice(hint, text)
    if (get_origin(hint) or hint) in (tuple, list, frozenset, set):
        return _several(hint, text)
    return _plain(hint, text)


def expectation(hint: Any) -> str:
    """The type in words."""
    if hint in _PLAIN:
        return _PLAIN[hint]
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(expectation(part) for part in get_args(hint))
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(str(one) for one in get_args(hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return "one of " + ", ".join(str(one.value) for one in hint)
    if (get_origin(hint) or hint) in (tuple, list, frozenset, set):
        inner = [part for part in get_args(hint) if part is not Ellipsis]
        return "a list with commas" + (f", each {expectation(inner[0])}" if inner else "")
    return "nothing on the command line: it can only be set from Python"


def _any_of(parts: tuple[Any, ...], text: str) -> Any:
    if type(None) in parts and text.strip().casefold() in ("none", ""):
        return None
    for part in sorted((part for part in parts if part is not type(None)), key=lambda part: part is str):
        try:
            return value_of(part, text)
        except ValueError:
            continue
    raise ValueError(" or ".join(expectation(part) for part in parts))


def _choice(hint: Any, text: str) -> Any:
    for one in hint if isinstance(hint, type(Enum)) else get_args(hint):
        if text.strip() == str(one.value if isinstance(one, Enum) else one):
            return one
    raise ValueError(expectation(hint))


def _several(hint: Any, text: str) -> Any:
    """A list with commas, as the container that the type asks for."""
    container = get_origin(hint) or hint
    inner = get_args(hint) or (str, Ellipsis)
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    if container is tuple and Ellipsis not in inner:
        if len(words) != len(inner):
            raise ValueError(f"{len(inner)} values with commas")
        return tuple(value_of(part, word) for part, word in zip(inner, words, strict=True))
    return container(value_of(inner[0], word) for word in words)


def _plain(hint: Any, text: str) -> Any:
    word = text.strip().casefold()
    if hint is bool:
        if word not in _TRUE + _FALSE:
            raise ValueError(_PLAIN[bool])
        return word in _TRUE
    if hint in (int, float):
        try:
            value = hint(word)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ValueError(_PLAIN[hint])
        return value
    if hint is Path:
        return Path(text).expanduser()
    if hint is str:
        return text
    raise ValueError(expectation(hint))


def _together(problems: Sequence[OptionError]) -> OptionError:
    """One error that says them all."""
    if len(problems) == 1:
        return problems[0]
    told = "\n".join("- " + problem.message().replace("\n", "\n  ") for problem in problems)
    return OptionError(f"{len(problems)} options cannot be used\n{told}")
