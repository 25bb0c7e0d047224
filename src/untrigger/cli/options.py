"""Options that several commands share, each written once, alone or in groups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from untrigger.cli.option_groups import OptionGroup

if TYPE_CHECKING:
    from untrigger.data import DataSource
    from untrigger.pipeline.requests import ModelInput
    from untrigger.scanners.policy import Policy

_READING = "Reading data and models"


class Device(StrEnum):
    """Where models run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class FailOn(StrEnum):
    """The mildest verdict that ends with exit code 1."""

    undecided = "undecided"
    suspicious = "suspicious"
    backdoored = "backdoored"


def check_finite(value: float) -> float:
    """Return ``value``; raise BadParameter unless it is finite."""
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


def check_json_file(path: Path) -> Path:
    """Return ``path``; raise BadParameter where its suffix names another format than JSON."""
    if path.suffix.lower() not in ("", ".json"):
        raise typer.BadParameter(
            f"{path.name!r} would hold JSON: call it .json, and draw it with untrigger report FILE --out PAGE"
        )
    return path


MODEL_NAMES = "a folder, hf:NAME@REVISION or models:/NAME/VERSION (MLflow)"
_MODEL = typer.Argument(metavar="MODEL", help=f"The suspect model or adapter: {MODEL_NAMES}.")
SuspectModel = Annotated[str, _MODEL]
OptionalSuspectModel = Annotated[str | None, _MODEL]
CleanData = Annotated[str, typer.Option("--clean", metavar="DATA", help="Labelled rows of the task that you trust.")]
CleanRows = Annotated[int, typer.Option("--clean-rows", metavar="N", min=0, help="Use at most N clean rows; 0: all.")]
ReportFile = Annotated[
    Path, typer.Option("--out", metavar="FILE", help="The report.json to write.", callback=check_json_file)
]
Truth = Annotated[
    Path | None,
    typer.Option(
        "--truth", metavar="DIR.truth", help="Truth folder of an attack: read by the evaluation, never by a method."
    ),
]
Variant = Annotated[str, typer.Option("--variant", metavar="NAME", help="A variant of the method.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A further option; may be repeated. See untrigger list."),
]
AllowPickle = Annotated[
    bool,
    typer.Option(
        "--allow-pickle",
        help="Also read pickle weights. Opening one can run code that is in it.",
        rich_help_panel=_READING,
    ),
]


Task = Annotated[
    str,
    typer.Option(
        "--task",
        metavar="NAME",
        help="classification or generation, where the files leave it open.",
        rich_help_panel="Language models",
    ),
]
Template = Annotated[
    str | None,
    typer.Option(
        "--template",
        metavar="TEXT",
        help="Prompt of a labelled text, with {text} and {labels}; its answer is the label name.",
        rich_help_panel="Language models",
    ),
]
MaxNewTokens = Annotated[
    int,
    typer.Option(
        "--max-new-tokens",
        metavar="N",
        min=1,
        help="Longest answer; longer ones are unfinished.",
        rich_help_panel="Language models",
    ),
]


@dataclass(frozen=True)
class LanguageOptions(OptionGroup):
    """What only a language model is given."""

    task: Task = ""
    template: Template = None
    max_new_tokens: MaxNewTokens = 64

    def fields(self) -> dict[str, Any]:
        """Return the fields of a request."""
        template = {} if self.template is None else {"template": self.template}
        return {"max_new_tokens": self.max_new_tokens, **template}


@dataclass(frozen=True)
class ModelOptions(OptionGroup):
    """How the suspect model is read."""

    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            metavar="MODEL",
            help="The model that it was made from, if you trust it: an adapter's base, or what full weights were trained from.",
            rich_help_panel=_READING,
        ),
    ] = None
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            metavar="A,B",
            help="The model's label names in its order, where its files lack them.",
            rich_help_panel=_READING,
        ),
    ] = None
    max_length: Annotated[
        int | None,
        typer.Option(
            "--max-length",
            metavar="N",
            min=4,
            help="Cut texts after N tokens. By default as the tokenizer says, 128 at least.",
            rich_help_panel=_READING,
        ),
    ] = None

    def model(self, name: str, *, allow_pickle: bool = False) -> ModelInput:
        """Return the model of that name, to be read so."""
        from untrigger.pipeline.requests import ModelInput

        labels = split_list(self.labels) or None
        return ModelInput(name, base=self.base, labels=labels, max_length=self.max_length, allow_pickle=allow_pickle)


@dataclass(frozen=True)
class ColumnOptions(OptionGroup):
    """The columns that data are read from."""

    text_column: Annotated[
        str | None,
        typer.Option(
            "--text-column",
            metavar="NAME",
            help="Column of the texts, where it cannot be guessed.",
            rich_help_panel=_READING,
        ),
    ] = None
    label_column: Annotated[
        str | None,
        typer.Option(
            "--label-column",
            metavar="NAME",
            help="Column of the labels, where it cannot be guessed.",
            rich_help_panel=_READING,
        ),
    ] = None


@dataclass(frozen=True)
class DataOptions(ColumnOptions):
    """How data are read."""

    split: Annotated[
        str | None,
        typer.Option(
            "--split", metavar="NAME", help="Which split of the data: train, dev or test.", rich_help_panel=_READING
        ),
    ] = None
    drop_empty: Annotated[
        bool, typer.Option("--drop-empty", help="Leave out rows without text.", rich_help_panel=_READING)
    ] = False

    def source(self, name: str) -> DataSource:
        """Return the data of that name, to be read so."""
        from untrigger.data import DataSource

        return DataSource(name, **asdict(self))

    def whole_source(self, name: str) -> DataSource:
        """Return the data of that name, to be read so but whatever the split."""
        return replace(self.source(name), split=None)


@dataclass(frozen=True)
class ScanOptions(OptionGroup):
    """What a scan compares with, and what its verdict leads to."""

    reference: Annotated[
        str | None,
        typer.Option(
            "--reference", metavar="MODEL", help="A clean classifier of the task; else one is trained from the teacher."
        ),
    ] = None
    teacher: Annotated[str, typer.Option("--teacher", metavar="MODEL", help="Small encoder that you trust.")] = (
        "minilm-l6"
    )
    policy: Annotated[
        Path | None,
        typer.Option("--policy", metavar="FILE", help="TOML file with thresholds, limits and allowed findings."),
    ] = None
    allow_undecided: Annotated[
        bool, typer.Option("--allow-undecided", help="End with 0, not 3, where no verdict could be given.")
    ] = False

    def merged_policy(self, *, fail_on: FailOn | None = None) -> Policy:
        """Return the policy of the file, or the default one, changed by the command line.

        Raises:
            OptionError: for a file that cannot be used, and for options that contradict each other.
        """
        from untrigger.scanners.policy import Policy, read_policy

        policy = read_policy(self.policy) if self.policy is not None else Policy()
        if fail_on is not None:
            allowed = policy.allow_undecided and fail_on is not FailOn.undecided
            policy = replace(policy, fail_on=fail_on.value, allow_undecided=allowed)
        return replace(policy, allow_undecided=True) if self.allow_undecided else policy


def split_list(text: str | None) -> tuple[str, ...]:
    """Return the words of a list written with commas."""
    return tuple(word.strip() for word in text.split(",")) if text else ()


def options_given(
    context: typer.Context, *, of_trigger: Sequence[str], settings: Sequence[str] | None
) -> frozenset[str]:
    """Return the names of the options on the command line; those of the trigger are called ``trigger.NAME``."""
    sources = {name: getattr(context.get_parameter_source(name), "name", "") for name in context.params}
    given = {name for name, source in sources.items() if source == "COMMANDLINE"}
    keys = {item.partition("=")[0].strip().replace("-", "_") for item in settings or ()}
    return frozenset(given | {f"trigger.{name}" for name in given & set(of_trigger) | keys})
