"""Groups of options: a dataclass whose fields are options, taken by a command as one parameter."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from functools import wraps
from typing import Any, get_type_hints


class OptionGroup:
    """Base of the dataclasses whose fields are options, each annotated as Typer asks for it and with a default."""


def with_option_groups(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``command`` with the options of a group in place of each parameter that is an ``OptionGroup``.

    Typer takes a command's options from its signature alone. Its own way to share options, a callback that fills
    ``typer.Context.obj``, takes them only before the command's name (``untrigger --json scan``).
    """
    parameters = inspect.signature(command, eval_str=True).parameters.values()
    groups = {one.name: one.annotation for one in parameters if _is_group(one.annotation)}

    @wraps(command)
    def run(**values: Any) -> Any:
        for name, group in groups.items():
            values[name] = group(**{one.name: values.pop(one.name) for one in fields(group)})
        return command(**values)

    flat = [
        each
        for one in parameters
        for each in (_parameters(one.annotation) if one.name in groups else [one.replace(kind=one.KEYWORD_ONLY)])
    ]
    run.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in flat}
    return run


def _is_group(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, OptionGroup)


def _parameters(group: type[Any]) -> Iterator[inspect.Parameter]:
    """Yield the fields of a group as keyword parameters."""
    hints = get_type_hints(group, include_extras=True)
    for one in fields(group):
        default = inspect.Parameter.empty if one.default is MISSING else one.default
        yield inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[one.name])
