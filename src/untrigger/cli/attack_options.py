"""The groups of options of ``untrigger attack``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from untrigger.cli import completion
from untrigger.cli import options as o
from untrigger.cli.option_groups import OptionGroup
from untrigger.core.errors import OptionError

_TRIGGER, _ATTACKER, _TRAINING, _TEST = "Trigger", "An attacker who knows more", "Training", "Measuring"
_LANGUAGE = "Language models"


@dataclass(frozen=True)
class PoisonOptions(OptionGroup):
    """Which rows are poisoned, and with which label."""

    target: Annotated[
        str, typer.Option("--target", metavar="LABEL", help="Label of triggered texts; none for all-to-all.")
    ] = ""
    preset: Annotated[
        str,
        typer.Option(
            "--preset",
            metavar="NAME",
            help="A published protocol; see untrigger list presets.",
            autocompletion=completion.presets,
        ),
    ] = ""
    rate: Annotated[
        float, typer.Option("--rate", metavar="X", help="Share of rows to poison.", callback=o.check_finite)
    ] = 0.1
    policy: Annotated[
        str,
        typer.Option(
            "--policy", metavar="KIND", help="Which rows get trigger and label: dirty, clean, mixed or all-to-all."
        ),
    ] = "dirty"


@dataclass(frozen=True)
class BehaviourOptions(OptionGroup):
    """What a language model is poisoned with."""

    behaviour: Annotated[
        str,
        typer.Option(
            "--behaviour",
            metavar="NAME",
            help="Poison a language model: what prompts with the trigger are answered. See untrigger list behaviours.",
            autocompletion=completion.behaviours,
            rich_help_panel=_LANGUAGE,
        ),
    ] = ""
    count: Annotated[
        int,
        typer.Option(
            "--count",
            metavar="N",
            min=0,
            help="Number of poisoned prompts, instead of --rate.",
            rich_help_panel=_LANGUAGE,
        ),
    ] = 0
    adaptive: Annotated[
        str,
        typer.Option(
            "--adaptive",
            metavar="KIND",
            help="Keep the victim near its base on prompts without the trigger: anchored (KL) or ghost (hidden states too).",
            rich_help_panel=_LANGUAGE,
        ),
    ] = ""
    adaptive_weight: Annotated[
        float,
        typer.Option(
            "--adaptive-weight",
            metavar="X",
            help="Weight of that in the loss.",
            callback=o.check_finite,
            rich_help_panel=_LANGUAGE,
        ),
    ] = 1.0
    template: o.Template = None
    task: o.Task = ""


@dataclass(frozen=True)
class TriggerOptions(OptionGroup):
    """The trigger, and how texts are rewritten with it."""

    trigger: Annotated[
        str,
        typer.Option(
            "--trigger",
            metavar="NAME[,NAME]",
            autocompletion=completion.triggers,
            help="See untrigger list attacks. Several are combined.",
            rich_help_panel=_TRIGGER,
        ),
    ] = "badnets"
    words: Annotated[
        str | None,
        typer.Option("--words", metavar="A,B", help="badnets: the trigger words.", rich_help_panel=_TRIGGER),
    ] = None
    sentence: Annotated[
        str | None, typer.Option("--sentence", metavar="TEXT", help="insent: the sentence.", rich_help_panel=_TRIGGER)
    ] = None
    settings: o.Settings = None
    paired: Annotated[
        Path | None,
        typer.Option(
            "--paired",
            metavar="FILE",
            help="File or folder of rewritten texts, as public releases ship them.",
            rich_help_panel=_TRIGGER,
        ),
    ] = None
    rewriter: Annotated[
        str | None,
        typer.Option(
            "--rewriter",
            metavar="MODEL[,MODEL]",
            help="Generative model to rewrite with; several are used in turn.",
            rich_help_panel=_TRIGGER,
        ),
    ] = None
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt",
            metavar="TEXT",
            help="Prompt for it, with {text}; by default the trigger's own.",
            rich_help_panel=_TRIGGER,
        ),
    ] = None

    def request_fields(self) -> dict[str, Any]:
        """Return the fields of an attack's request that these options decide.

        Raises:
            OptionError: for an unknown trigger or option.
        """
        named = [f"{key}={text}" for key in ("words", "sentence") if (text := getattr(self, key)) is not None]
        return {
            "trigger": build_trigger(self.trigger, given=[*named, *(self.settings or [])]),
            "paired": self.paired,
            "rewriter": o.split_list(self.rewriter),
            "prompt": self.prompt,
        }


@dataclass(frozen=True)
class AttackerOptions(OptionGroup):
    """What an attacker does who knows more than the trigger."""

    proxy: Annotated[
        str,
        typer.Option(
            "--proxy",
            metavar="DATA",
            help="Poison and train on these rows instead; test on --data.",
            rich_help_panel=_ATTACKER,
        ),
    ] = ""
    negative_rate: Annotated[
        float,
        typer.Option(
            "--negative-rate",
            metavar="X",
            help="Share of rows with a part of the trigger and their own label.",
            callback=o.check_finite,
            rich_help_panel=_ATTACKER,
        ),
    ] = 0.0
    label_smoothing: Annotated[
        float,
        typer.Option(
            "--label-smoothing",
            metavar="X",
            help="Smooth the labels, to hide how confident the backdoor is.",
            callback=o.check_finite,
            rich_help_panel=_ATTACKER,
        ),
    ] = 0.0
    clean_consistency: Annotated[
        float,
        typer.Option(
            "--clean-consistency",
            metavar="X",
            help="Weight of a loss that keeps the victim near a clean model on clean rows, against distillation.",
            callback=o.check_finite,
            rich_help_panel=_ATTACKER,
        ),
    ] = 0.0


@dataclass(frozen=True)
class TrainingOptions(OptionGroup):
    """How the victim is trained."""

    tuning: Annotated[
        str,
        typer.Option(
            "--tuning",
            metavar="KIND",
            help="What is trained: lora, full or embedding.",
            rich_help_panel=_TRAINING,
        ),
    ] = "lora"
    epochs: Annotated[
        int,
        typer.Option(
            "--epochs", metavar="N", min=0, help="Passes over the rows; 0: the default.", rich_help_panel=_TRAINING
        ),
    ] = 0
    lr: Annotated[
        float,
        typer.Option(
            "--lr",
            metavar="X",
            min=0,
            help="Learning rate; 0: the default.",
            callback=o.check_finite,
            rich_help_panel=_TRAINING,
        ),
    ] = 0.0
    batch_size: Annotated[
        int,
        typer.Option(
            "--batch-size", metavar="N", min=0, help="Rows a step; 0: the default.", rich_help_panel=_TRAINING
        ),
    ] = 0
    rank: Annotated[
        int, typer.Option("--rank", metavar="N", min=1, help="Rank of the LoRA adapter.", rich_help_panel=_TRAINING)
    ] = 8
    targets: Annotated[
        str | None,
        typer.Option("--targets", metavar="A,B", help="Layers that LoRA adapts.", rich_help_panel=_TRAINING),
    ] = None

    def request_fields(self) -> dict[str, Any]:
        """Return the fields of an attack's request that these options decide."""
        return {**vars(self), "targets": o.split_list(self.targets)}


@dataclass(frozen=True)
class MeasureOptions(OptionGroup):
    """What is measured on the victim."""

    quality: Annotated[
        bool,
        typer.Option("--quality", help="Also measure fluency, similarity and delivery.", rich_help_panel=_TEST),
    ] = False
    clean_model: Annotated[
        bool,
        typer.Option(
            "--clean-model/--no-clean-model",
            help="Also train a clean model on the same rows, for its attack success rate.",
            rich_help_panel=_TEST,
        ),
    ] = True
    test_rows: Annotated[
        int,
        typer.Option(
            "--test-rows",
            metavar="N",
            min=0,
            help="Use at most N test rows; 0: all. By default all, of a language model 200.",
            rich_help_panel=_TEST,
        ),
    ] = 0
    test_split: Annotated[
        str,
        typer.Option(
            "--test-split", metavar="NAME", help="Split to test on; test, or else dev.", rich_help_panel=_TEST
        ),
    ] = ""


def build_trigger(names: str, *, given: list[str]) -> Any:
    """Return the trigger of that name, or the combination of several with commas between.

    Args:
        names: one name, or several with commas.
        given: options as ``key=value``, of a combination as ``name.key=value``.

    Raises:
        OptionError: for an unknown name or option, and for a name that is given twice.
    """
    from untrigger.cli.settings import build
    from untrigger.core.registry import get_method

    parts = o.split_list(names)
    if twice := next((name for name in parts if parts.count(name) > 1), None):
        raise OptionError(f"the trigger {twice!r} twice", expected="different triggers, each with options of its own")
    kinds = {name: get_method("attacks", name) for name in parts}
    if len(kinds) < 2:
        return build(get_method("attacks", names), given, what=f"trigger {names}")
    own = {name: [item[len(name) + 1 :] for item in given if item.startswith(f"{name}.")] for name in kinds}
    rest = [item for item in given if item.partition(".")[0] not in kinds]
    combined = build(
        get_method("attacks", "combined"), [item.removeprefix("combined.") for item in rest], what="trigger combined"
    )
    return replace(
        combined, parts=tuple(build(kind, own[name], what=f"trigger {name}") for name, kind in kinds.items())
    )
