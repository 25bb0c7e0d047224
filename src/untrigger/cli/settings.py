"""``--set key=value``: from words of the command line to the options of a method."""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Sequence
from dataclasses import MISSING, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from untrigger.cli.renamed import SETTINGS
from untrigger.core.errors import OptionError, check_choice, nearest
from untrigger.core.registry import Family, flat_options, get_method, nested_options, options_of

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
NO_VARIANT = "ours"
"""The word for a method without a variant."""
_PLAIN = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "text",
    Path: "a path",
    type(None): "none",
}


def method_settings(
    method: str, *, given: Sequence[str], variant: str = "", family: Family = "defences"
) -> dict[str, Any]:
    """Return the options that ``--set`` gives a method; of several methods with commas, such options by method name.

    Args:
        method: name of a method, or several with commas.
        given: ``key=value`` each, of several methods ``method.key=value``.
        variant: a variant of the method, whose nested records are kept where nothing was set.
        family: the family of the method.

    Raises:
        OptionError: for an unknown method, variant or option, or a value of the wrong type.
    """
    names = [name.strip() for name in method.split(",")]
    if len(names) > 1:
        if loose := [item for item in given if item.partition(".")[0] not in names]:
            raise OptionError(f"--set {loose[0]}", expected="METHOD.KEY=VALUE, the method one of " + ", ".join(names))
        own = {name: [item.partition(".")[2] for item in given if item.partition(".")[0] == name] for name in names}
        return {name: method_settings(name, given=items, family=family) for name, items in own.items() if items}
    kind = get_method(family, method)
    variants = getattr(kind, "variants", {})
    base = None
    if variant not in ("", NO_VARIANT):
        check_choice(variant, [*variants, NO_VARIANT], kind=f"variant of {method}")
        base = variants[variant]() if given else None
    what = f"{'scanner' if family == 'scanners' else 'method'} {method}"
    return settings(kind if base is None else type(base), given, what=what, base=base)


def settings(kind: type[Any], given: Sequence[str], *, what: str, base: object | None = None) -> dict[str, Any]:
    """Return keyword arguments for ``kind``; a nested record is whole, with what was not set as in ``base``.

    Args:
        kind: the dataclass of the method.
        given: ``key=value`` each; dotted keys are options of nested records.
        what: the method in messages, such as ``method w2sdefense``.
        base: an instance whose nested records are changed; without it their defaults.

    Raises:
        OptionError: one for all problems together.
    """
    known = {one.name: one.type for one in flat_options(kind)}
    values: dict[str, Any] = {}
    problems: list[OptionError] = []
    for item in given:
        try:
            key, value = _parse(item, known=known, what=what)
            if key in values:
                raise OptionError(f"the option {key!r} is given twice", expected="each option once")
            values[key] = value
        except OptionError as error:
            problems.append(error)
    if problems:
        raise _one_error(problems)
    return _nested(kind, values, base=base)


def build(kind: type[Any], given: Sequence[str], *, what: str) -> Any:
    """Return an instance of ``kind`` with the given options.

    Raises:
        OptionError: for options that are unknown, missing or have a wrong value.
    """
    values = settings(kind, given, what=what)
    missing = [one.name for one in options_of(kind) if one.default is MISSING and one.name not in values]
    if missing:
        raise OptionError(
            f"{what} needs the option {', '.join(missing)}", remedy=" ".join(f"--set {name}=..." for name in missing)
        )
    return _construct(lambda: kind(**values), what=what)


def _parse(item: str, *, known: dict[str, Any], what: str) -> tuple[str, Any]:
    """Return key and value of one ``key=value``."""
    word, sign, text = item.partition("=")
    key = word.strip().replace("-", "_")
    if not sign:
        raise OptionError(
            f"--set {item!r}", expected="KEY=VALUE, such as " + (f"{next(iter(known))}=..." if known else "a=1")
        )
    if key not in known:
        raise _unknown_option(key, known=known, what=what)
    try:
        return key, parse_value(known[key], text)
    except ValueError as error:
        raise OptionError(f"the option {key} cannot be {text!r}", expected=str(error)) from error


def _unknown_option(key: str, *, known: dict[str, Any], what: str) -> OptionError:
    inside = [name for name in known if name.startswith(f"{key}.")]
    if inside:
        return OptionError(f"{key!r} is a group of options of {what}", expected="one of " + ", ".join(inside))
    if renamed := _new_name(key, known=known):
        remedy = f"write --set {renamed}" + ("" if "=" in renamed else "=...")
        return OptionError(f"the option {key!r} of {what} is called {renamed.partition('=')[0]!r} now", remedy=remedy)
    ending = [name for name in known if name.endswith(f".{key}")]
    return OptionError(
        f"{what} has no option {key!r}",
        expected=("one of " + ", ".join(sorted(known))) if known else "no options",
        nearest=ending[0] if ending else nearest(key, known),
    )


def _new_name(key: str, *, known: dict[str, Any]) -> str | None:
    """Return the new name of an option that was renamed, None where ``known`` has none."""
    parts = key.split(".")
    for i in range(len(parts)):
        new = ".".join([*parts[:i], SETTINGS.get(".".join(parts[i:]), "")])
        if new.partition("=")[0] in known:
            return new
    return None


def _nested(kind: type[Any], values: dict[str, Any], *, base: object | None) -> dict[str, Any]:
    """Return ``values``, which have flat names, with the dotted ones in records."""
    whole = {key: value for key, value in values.items() if "." not in key}
    for one in options_of(kind):
        inner = {key.partition(".")[2]: value for key, value in values.items() if key.partition(".")[0] == one.name}
        record = nested_options(one.type)
        if record is None or not inner:
            continue
        start = getattr(base, one.name, None) if base is not None else one.default
        if start is None or start is MISSING:
            start = _construct(record, what=one.name)
        changes = _nested(record, inner, base=start)
        whole[one.name] = _construct(partial(replace, start, **changes), what=one.name)
    return whole


def _construct(constructor: Callable[[], Any], *, what: str) -> Any:
    """Return what ``constructor`` gives; raise OptionError where the dataclass refuses a value."""
    try:
        return constructor()
    except (TypeError, ValueError) as error:
        raise OptionError(f"the options of {what} cannot be used: {error}") from error


def parse_value(hint: Any, text: str) -> Any:
    """Return ``text`` as a value of the type ``hint``.

    Raises:
        ValueError: with what is expected as its message.
    """
    if get_origin(hint) in (Union, types.UnionType):
        return _parse_union(get_args(hint), text)
    if get_origin(hint) is Literal or (isinstance(hint, type) and issubclass(hint, Enum)):
        return _parse_choice(hint, text)
    if (get_origin(hint) or hint) in (tuple, list, frozenset, set):
        return _parse_list(hint, text)
    return _parse_plain(hint, text)


def expectation(hint: Any) -> str:
    """Return the type in words."""
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


def _parse_union(parts: tuple[Any, ...], text: str) -> Any:
    if type(None) in parts and text.strip().casefold() in ("none", ""):
        return None
    for part in sorted((part for part in parts if part is not type(None)), key=lambda part: part is str):
        try:
            return parse_value(part, text)
        except ValueError:
            continue
    raise ValueError(" or ".join(expectation(part) for part in parts))


def _parse_choice(hint: Any, text: str) -> Any:
    for one in hint if isinstance(hint, type(Enum)) else get_args(hint):
        if text.strip() == str(one.value if isinstance(one, Enum) else one):
            return one
    raise ValueError(expectation(hint))


def _parse_list(hint: Any, text: str) -> Any:
    """Return a list written with commas as the container of the type."""
    container = get_origin(hint) or hint
    inner = get_args(hint) or (str, Ellipsis)
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    if container is tuple and Ellipsis not in inner:
        if len(words) != len(inner):
            raise ValueError(f"{len(inner)} values with commas")
        return tuple(parse_value(part, word) for part, word in zip(inner, words, strict=True))
    return container(parse_value(inner[0], word) for word in words)


def _parse_plain(hint: Any, text: str) -> Any:
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


def _one_error(problems: Sequence[OptionError]) -> OptionError:
    """Return one error with all messages."""
    if len(problems) == 1:
        return problems[0]
    messages = "\n".join("- " + problem.message().replace("\n", "\n  ") for problem in problems)
    return OptionError(f"{len(problems)} options cannot be used\n{messages}")
