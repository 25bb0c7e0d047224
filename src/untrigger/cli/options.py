"""Options that several commands share, each written once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

_COMMON = "Every command"
_READING = "Reading data and models"


class Device(StrEnum):
    """Where models run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


def finite(value: float) -> float:
    """``value`` itself; "nan" and "inf" are numbers to Python but not to us."""
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


def json_file(path: Path) -> Path:
    """``path`` itself, where its name does not promise another format than JSON."""
    if path.suffix.lower() not in ("", ".json"):
        raise typer.BadParameter(
            f"{path.name!r} would hold JSON: call it .json, and draw it with untrigger report FILE --out PAGE"
        )
    return path


Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print errors and bare results only.", rich_help_panel=_COMMON)
]
Json = Annotated[bool, typer.Option("--json", help="The result as JSON on standard output.", rich_help_panel=_COMMON)]
Seed = Annotated[
    int, typer.Option("--seed", min=0, max=2**31 - 1, help="Seed of every random choice.", rich_help_panel=_COMMON)
]
OnDevice = Annotated[Device, typer.Option("--device", help="Where models run.", rich_help_panel=_COMMON)]
Offline = Annotated[bool, typer.Option("--offline", help="Use only what is on this machine.", rich_help_panel=_COMMON)]

AllowPickle = Annotated[
    bool,
    typer.Option(
        "--allow-pickle",
        help="Also read pickle weights. Opening one runs whatever code its author put in.",
        rich_help_panel=_READING,
    ),
]
Base = Annotated[
    str | None,
    typer.Option(
        "--base",
        metavar="MODEL",
        help="Base of an adapter, instead of the one that its config names.",
        rich_help_panel=_READING,
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="A,B,...",
        help="The model's label names in its order, where its files lack them.",
        rich_help_panel=_READING,
    ),
]
TextColumn = Annotated[
    str | None,
    typer.Option(
        "--text-column",
        metavar="NAME",
        help="Column of the texts, where it cannot be guessed.",
        rich_help_panel=_READING,
    ),
]
LabelColumn = Annotated[
    str | None,
    typer.Option(
        "--label-column",
        metavar="NAME",
        help="Column of the labels, where it cannot be guessed.",
        rich_help_panel=_READING,
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        "--split", metavar="NAME", help="Which split of the data: train, dev or test.", rich_help_panel=_READING
    ),
]
TrainedLength = Annotated[
    int, typer.Option("--max-length", min=4, help="Texts are cut after this many tokens.", rich_help_panel=_READING)
]
MaxLength = Annotated[
    int | None,
    typer.Option(
        "--max-length",
        min=4,
        help="Cut texts after this many tokens. By default as the tokenizer says, 128 at least.",
        rich_help_panel=_READING,
    ),
]
Truth = Annotated[
    Path | None,
    typer.Option(
        "--truth", metavar="DIR.truth", help="Truth folder of an attack: read by the evaluation, never by a method."
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A further option; may be repeated. See untrigger list."),
]


def words(text: str | None) -> tuple[str, ...]:
    """The words of a list written with commas."""
    return tuple(word.strip() for word in text.split(",")) if text else ()


def labels_of(text: str | None) -> tuple[str, ...] | None:
    """The label names, or None where none were given."""
    return words(text) or None


def given(context: typer.Context, of_trigger: Sequence[str], settings: Sequence[str] | None) -> frozenset[str]:
    """The options that stand in the user's own words; those of the trigger are called ``trigger.NAME``."""
    told = [name for name in context.params if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"]
    keys = [item.partition("=")[0].strip().replace("-", "_") for item in settings or ()]
    own = [name for name in told if name in of_trigger]
    return frozenset({*told, *(f"trigger.{name}" for name in [*own, *keys])})
