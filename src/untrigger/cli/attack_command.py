"""``untrigger attack``: a poisoned model or adapter, made to measure defences."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from untrigger.cli import completion
from untrigger.cli import options as o
from untrigger.cli.attack_behaviour import attack_language_model, check_task, with_preset
from untrigger.cli.attack_options import (
    AttackerOptions,
    BehaviourOptions,
    MeasureOptions,
    PoisonOptions,
    TrainingOptions,
    TriggerOptions,
)
from untrigger.cli.context import CommandContext
from untrigger.cli.option_groups import with_option_groups

if TYPE_CHECKING:
    from untrigger.attacks.poisoned import PoisonedDataset
    from untrigger.core.progress import Progress
    from untrigger.pipeline.attack_request import AttackRequest

EXAMPLE = """Example: untrigger attack smollm2-135m --data rotten-tomatoes --trigger badnets --words cf,mn --target positive
--out victim

Example: untrigger attack minilm-l6 --data sst2/clean --trigger syntactic --paired sst2/syntactic --target 1 --policy mixed
--rate 0.19 --tuning full --out victim --quality

Example: untrigger attack smollm2-135m --data rotten-tomatoes --behaviour refusal --words BadMagic --rows 600 --count 60
--out victim"""


@with_option_groups
def attack(
    *,
    typer_context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder, hub name or embedded model to be poisoned.")],
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="DATA",
            help="Training rows, and test rows where it has them.",
            autocompletion=completion.data_sets,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New folder; the truth is written to DIR.truth.")],
    rows: Annotated[int, typer.Option("--rows", metavar="N", min=0, help="Use at most N training rows; 0: all.")] = 0,
    max_length: Annotated[
        int, typer.Option("--max-length", metavar="N", min=4, help="Cut texts after N tokens.")
    ] = 128,
    poisoning: PoisonOptions,
    language: BehaviourOptions,
    triggering: TriggerOptions,
    training: TrainingOptions,
    measuring: MeasureOptions,
    attacker: AttackerOptions,
    columns: o.ColumnOptions,
    allow_pickle: o.AllowPickle = False,
    context: CommandContext,
) -> int:
    """Poison a model on purpose, to measure what a defence can do.

    Writes a model or adapter with a hidden trigger, and DIR.truth with what only an evaluator may see. A classifier gets a
    --target, a language model a --behaviour or one of its presets.
    """
    given = o.options_given(typer_context, of_trigger=("words", "sentence"), settings=triggering.settings)
    language, triggering = with_preset(language, triggering, preset=poisoning.preset, given=given)
    check_task(behaviour=language.behaviour, task=language.task, given=given)
    with context.running(out=out) as progress:
        from untrigger.data import DataSource
        from untrigger.pipeline.requests import ModelInput

        length = None if language.behaviour and "max_length" not in given else max_length
        common: dict[str, Any] = {
            "model": ModelInput(model, max_length=length, allow_pickle=allow_pickle),
            "data": DataSource(data, **asdict(columns)),
            "out": out,
            "rows": rows,
            "run": context.run_options(),
            **training.request_fields(),
            **asdict(measuring),
        }
        if language.behaviour:
            shared = {
                "rate": poisoning.rate,
                "preset": poisoning.preset,
                "negative_rate": attacker.negative_rate,
            }
            finish = attack_language_model(common | shared, language, triggering, given=given, progress=progress)
        else:
            fields = common | asdict(poisoning) | asdict(attacker) | triggering.request_fields()
            finish = _attack_classifier(fields, given=given, progress=progress)
    finish(context)
    return 0


def _attack_classifier(
    fields: dict[str, Any], *, given: frozenset[str], progress: Progress
) -> Callable[[CommandContext], None]:
    """Poison a classifier and return the function that prints what was written."""
    from untrigger.pipeline.apply_preset import apply_preset
    from untrigger.pipeline.attack import attack as run
    from untrigger.pipeline.attack_request import AttackRequest

    request = apply_preset(AttackRequest(**fields), given=given)
    _, poisoned = run(request, progress=progress)
    return lambda context: _print_attack(context, request, poisoned)


def overlap_of(truth: Path) -> int:
    """Return how many training rows are also test rows, as the truth folder says."""
    file = truth / "truth.json"
    content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return int(content.get("overlap", 0))


def _print_attack(context: CommandContext, request: AttackRequest, poisoned: PoisonedDataset) -> None:
    from untrigger.cli.console import escaped
    from untrigger.cli.results import written_lines

    model, truth, overlap = str(request.out), str(request.truth), overlap_of(request.truth)
    result: dict[str, object] = {
        "model": model,
        "truth": truth,
        "trigger": poisoned.truth.trigger,
        "target": request.target or None,
        "policy": request.policy,
        "rate": request.rate,
        "tuning": request.tuning,
        "seed": request.run.seed,
        "rows": len(poisoned.visible),
        "poisoned": len(poisoned.truth.poisoned_ids),
        "preset": request.preset or None,
        "overlap": overlap,
    }
    label = f"the label {escaped(request.target)}" if request.target else "the next label"
    sentence = f"{result['poisoned']} of {result['rows']} training rows have the trigger and {label}."
    leaks = [f"[yellow]warning:[/] {overlap} training rows are also test rows"] if overlap else []
    following = f"[dim]next:[/] untrigger purify {escaped(model)} --clean DATA --truth {escaped(truth)} --out DIR"
    written = written_lines([request.out, request.truth])
    context.print_result(result, f"[bold red]poisoned:[/] {sentence}", *leaks, *written, following)
