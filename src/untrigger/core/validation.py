"""Types for the fields of records that come from files, and what is wrong with a value, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, Strict, ValidationError

from untrigger.core.errors import nearest
from untrigger.core.json_values import to_json_value, to_measured_number

T = TypeVar("T")

Text = Annotated[str, Strict(), BeforeValidator(to_json_value)]
Flag = Annotated[bool, Strict(), BeforeValidator(to_json_value)]
Whole = Annotated[int, Strict(), Field(ge=-(2**63), lt=2**63), BeforeValidator(to_json_value)]
"""A whole number of 64 bits."""
Number = Annotated[Annotated[float, Strict()] | None, BeforeValidator(to_measured_number)]
"""A measured number; None where it was not measured or is not a finite number."""
Finite = Annotated[float, Strict(), BeforeValidator(to_measured_number)]
"""A number that is always known."""
JsonObject = Annotated[dict[str, Any], BeforeValidator(partial(to_json_value, sort_keys=True))]
"""Free names and values as JSON holds them, keys sorted."""


def _as_list(value: Any) -> Any:
    return value if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable) else list(value)


JsonList = Annotated[list[T], BeforeValidator(_as_list)]

_EXPECTED = {
    "string_type": "text",
    "bool_type": "true or false",
    "float_type": "a number",
    "int_type": "a whole number of 64 bits",
    "int_parsing_size": "a whole number of 64 bits",
    "less_than": "a whole number of 64 bits",
    "greater_than_equal": "a whole number of 64 bits",
    "list_type": "a list",
    "dict_type": "an object",
    "dataclass_type": "an object",
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a value.

    Attributes:
        place: of the value, such as ``stages[0].wall_s``; empty for the whole.
        kind: of the problem, as pydantic names it, such as ``missing`` or ``float_type``.
        got: the value in short, empty where there is none.
        expected: what should be there.
        nearest: the known word that is most like the value, None where there is none.
    """

    place: str
    kind: str
    got: str
    expected: str
    nearest: str | None = None

    @property
    def line(self) -> str:
        """Everything on one line."""
        return f"{self.sentence}, expected {self.expected}" + (
            f"; did you mean {self.nearest}?" if self.nearest else ""
        )

    @property
    def sentence(self) -> str:
        """The place and what is wrong there."""
        return f"{self.place} is missing" if self.kind == "missing" else f"{self.place or 'the value'} is {self.got}"


def problems_of(error: ValidationError) -> list[Problem]:
    """Return everything that is wrong, in the order of the fields."""
    return [_problem(each) for each in error.errors(include_url=False)]


def _problem(each: Mapping[str, Any]) -> Problem:
    kind, value = each["type"], each["input"]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in each["loc"]).removeprefix(".")
    if kind == "missing":
        return Problem(place, kind, "", "a value")
    if kind == "literal_error":
        words = each["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
        close = nearest(value, words.split(", ")) if isinstance(value, str) else None
        return Problem(place, kind, in_short(value), f"one of {words}", close)
    return Problem(place, kind, in_short(value), _EXPECTED.get(kind, each["msg"]))


def in_short(value: Any) -> str:
    """Return the ``repr`` of a value, cut to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
