"""Build the method that a request names: family, name, variant, options; several purifiers become a chain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from untrigger.core.errors import OptionError, check_choice
from untrigger.core.registry import Family, get_method, options_of
from untrigger.defences.chain import Chain
from untrigger.defences.purifier import Purifier
from untrigger.pipeline.requests import DEFAULT_TEACHER, PurifyRequest


def build_method(family: Family, name: str, *, variant: str = "", options: Mapping[str, Any]) -> Any:
    """Return the method of that name and variant with its options.

    Raises:
        OptionError: for an unknown method, variant or option.
    """
    kind: Any = get_method(family, name)
    if variant and variant != "ours":
        check_choice(variant, [*kind.variants, "ours"], kind=f"variant of {name}")
        kind = kind.variants[variant]
    options_type = kind if isinstance(kind, type) else type(kind())
    known = [one.name for one in options_of(options_type)]
    for option in options:
        check_choice(option, known, kind=f"option of {name}")
    return kind(**options)


def build_purifier(request: PurifyRequest) -> Purifier:
    """Return the purifier that the request names, or the chain of those that it names with commas.

    Raises:
        OptionError: for an unknown method, variant or option.
    """
    names = [name.strip() for name in request.method.split(",")]
    if len(names) == 1:
        method = build_method("defences", names[0], variant=request.variant, options=request.options)
        assert isinstance(method, Purifier)
        return method
    if request.variant:
        raise OptionError(f"the variant {request.variant!r} of several methods", expected="a variant of one method")
    for name in request.options:
        check_choice(name, names, kind="method of the chain")
    parts = [build_method("defences", name, options=request.options.get(name, {})) for name in names]
    return Chain(tuple(part for part in parts if isinstance(part, Purifier)))


def teacher_of(request: PurifyRequest, method: Purifier) -> str | None:
    """Return the teacher for the method: the named one where it can use one, the default where it needs one, else None."""
    if "teacher" in method.needs:
        return request.teacher or DEFAULT_TEACHER
    return request.teacher if "teacher" in method.uses else None
