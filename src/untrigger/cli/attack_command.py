"""``untrigger attack``: a poisoned model or adapter, made to measure defences."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from untrigger.cli import options as o
from untrigger.cli.context import Desk, seated
from untrigger.core.errors import OptionError

EXAMPLE = """Example: untrigger attack smollm2-135m --data rotten-tomatoes --trigger badnets --words cf,mn --target positive
--out victim

Example: untrigger attack minilm-l6 --data sst2/clean --trigger syntactic --paired sst2/syntactic --target 1 --policy mixed
--rate 0.19 --via full --out victim --quality"""
_REWRITES, _ATTACKER = "Triggers that rewrite the text", "An attacker who knows more"


@seated
def attack(
    desk: Desk,
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder, hub name or embedded model to be poisoned.")],
    data: Annotated[
        str, typer.Option("--data", metavar="DATA", help="Training rows, and test rows where it has them.")
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="New folder; the truth goes to DIR.truth beside it.")
    ],
    target: Annotated[
        str,
        typer.Option("--target", metavar="LABEL", help="The label that the backdoor shall say; none for all-to-all."),
    ] = "",
    preset: Annotated[
        str, typer.Option("--preset", metavar="NAME", help="A published protocol; see untrigger list presets.")
    ] = "",
    trigger: Annotated[
        str, typer.Option("--trigger", metavar="NAME[,NAME]", help="See untrigger list attacks. Several are combined.")
    ] = "badnets",
    words: Annotated[str | None, typer.Option("--words", metavar="A,B", help="badnets: the trigger words.")] = None,
    sentence: Annotated[str | None, typer.Option("--sentence", metavar="TEXT", help="insent: the sentence.")] = None,
    settings: o.Set = None,
    rate: Annotated[float, typer.Option("--rate", help="Share of rows to poison.", callback=o.finite)] = 0.1,
    policy: Annotated[
        str, typer.Option("--policy", metavar="dirty|clean|mixed|all-to-all", help="Which rows get trigger and label.")
    ] = "dirty",
    tuning: Annotated[str, typer.Option("--via", metavar="lora|full|embedding", help="What is trained.")] = "lora",
    paired: Annotated[
        Path | None,
        typer.Option(
            "--paired",
            metavar="FILE",
            help="File or folder of rewrites, as public releases ship them.",
            rich_help_panel=_REWRITES,
        ),
    ] = None,
    rewriter: Annotated[
        str | None,
        typer.Option(
            "--rewriter",
            metavar="MODEL[,MODEL]",
            help="Generative model to rewrite with; several go in turn.",
            rich_help_panel=_REWRITES,
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt",
            metavar="TEXT",
            help="What it is asked, with {text}; by default the trigger's own.",
            rich_help_panel=_REWRITES,
        ),
    ] = None,
    quality: Annotated[
        bool, typer.Option("--quality", help="Also measure fluency, likeness and delivery.", rich_help_panel=_REWRITES)
    ] = False,
    proxy: Annotated[
        str,
        typer.Option(
            "--proxy",
            metavar="DATA",
            help="Poison and train on these rows instead; test on --data.",
            rich_help_panel=_ATTACKER,
        ),
    ] = "",
    negatives: Annotated[
        float,
        typer.Option(
            "--negatives",
            help="Share of rows with a part of the trigger and their own label.",
            callback=o.finite,
            rich_help_panel=_ATTACKER,
        ),
    ] = 0.0,
    label_smoothing: Annotated[
        float,
        typer.Option(
            "--label-smoothing",
            help="Smooth the labels, to hide how sure the backdoor is.",
            callback=o.finite,
            rich_help_panel=_ATTACKER,
        ),
    ] = 0.0,
    faithful: Annotated[
        float,
        typer.Option(
            "--faithful",
            help="Weight of staying like a clean twin on clean rows, against distillation.",
            callback=o.finite,
            rich_help_panel=_ATTACKER,
        ),
    ] = 0.0,
    twin: Annotated[
        bool, typer.Option("--twin/--no-twin", help="Also train the never-poisoned twin, for the floor.")
    ] = True,
    rows: Annotated[int, typer.Option("--rows", min=0, help="Use at most as many training rows; 0: all.")] = 0,
    test_rows: Annotated[int, typer.Option("--test-rows", min=0, help="The same for test rows.")] = 0,
    test_split: Annotated[
        str, typer.Option("--test-split", metavar="NAME", help="Split to test on; test, or else dev.")
    ] = "",
    epochs: Annotated[int, typer.Option("--epochs", min=0, help="Passes over the rows; 0: the usual.")] = 0,
    lr: Annotated[float, typer.Option("--lr", min=0, help="Learning rate; 0: the usual.", callback=o.finite)] = 0.0,
    batch_size: Annotated[int, typer.Option("--batch-size", min=0, help="Rows a step; 0: the usual.")] = 0,
    rank: Annotated[int, typer.Option("--rank", min=1, help="Rank of the LoRA adapter.")] = 8,
    targets: Annotated[str | None, typer.Option("--targets", metavar="A,B", help="Layers that LoRA adapts.")] = None,
    text_column: o.TextColumn = None,
    label_column: o.LabelColumn = None,
    max_length: o.TrainedLength = 128,
    allow_pickle: o.AllowPickle = False,
) -> int:
    """Poison a model on purpose, to measure what a defence can do.

    Writes a model or adapter with a hidden trigger, and beside it DIR.truth with what only an evaluator may see.
    """
    with desk.working() as progress:
        from untrigger.data import DataSource
        from untrigger.pipeline.attack import attack as run
        from untrigger.pipeline.preset_check import filled_in
        from untrigger.pipeline.requests import AttackRequest, ModelInput, RunOptions

        named = [f"{key}={text}" for key, text in (("words", words), ("sentence", sentence)) if text is not None]
        spec = AttackRequest(
            model=ModelInput(model, max_length=max_length, allow_pickle=allow_pickle),
            data=DataSource(data, text_column=text_column, label_column=label_column),
            out=out,
            target=target,
            rate=rate,
            policy=policy,
            tuning=tuning,
            trigger=trigger_of(trigger, [*named, *(settings or [])]),
            paired=paired,
            rewriter=o.words(rewriter),
            prompt=prompt,
            proxy=proxy,
            negative_rate=negatives,
            label_smoothing=label_smoothing,
            clean_consistency=faithful,
            quality=quality,
            rows=rows,
            test_rows=test_rows,
            epochs=epochs,
            lr=lr,
            batch_size=batch_size,
            rank=rank,
            targets=o.words(targets),
            clean_model=twin,
            preset=preset,
            test_split=test_split,
            run=RunOptions(seed=desk.seed, device=desk.device, offline=desk.offline),
        )
        spec = filled_in(spec, given=o.given(context, ("words", "sentence"), settings))
        _, poisoned = run(spec, progress=progress)
    told: dict[str, object] = {
        "model": str(spec.out),
        "truth": str(spec.truth),
        "trigger": poisoned.truth.trigger,
        "target": spec.target or None,
        "policy": spec.policy,
        "rate": spec.rate,
        "tuning": spec.tuning,
        "seed": desk.seed,
        "rows": len(poisoned.visible),
        "poisoned": len(poisoned.truth.poisoned_ids),
        "preset": preset or None,
        "overlap": overlap_of(spec.truth),
    }
    _tell(desk, told, written=[spec.out, spec.truth])
    return 0


def trigger_of(names: str, given: list[str]) -> Any:
    """The trigger of that name, or a combination of several with commas between; options as ``key=value`` or ``name.key=value``.

    Raises:
        OptionError: for an unknown name or option, and a name that stands twice.
    """
    from untrigger.cli.settings import build
    from untrigger.core.registry import get_method

    asked = o.words(names)
    if twice := next((name for name in asked if asked.count(name) > 1), None):
        raise OptionError(f"the trigger {twice!r} twice", expected="different triggers, each with options of its own")
    kinds = {name: get_method("attacks", name) for name in asked}
    if len(kinds) < 2:
        return build(get_method("attacks", names), given, what=f"trigger {names}")
    own = {name: [item[len(name) + 1 :] for item in given if item.startswith(f"{name}.")] for name in kinds}
    given = [item.removeprefix("combined.") for item in given]
    rest = [item for item in given if not any(item.startswith(f"{name}.") for name in kinds)]
    parts = tuple(build(kind, own[name], what=f"trigger {name}") for name, kind in kinds.items())
    return replace(build(get_method("attacks", "combined"), rest, what="trigger combined"), parts=parts)


def overlap_of(truth: Path) -> int:
    """How many training rows also stand among the test rows, as the truth tells."""
    file = truth / "truth.json"
    told = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return int(told.get("overlap", 0))


def _tell(desk: Desk, told: dict[str, object], *, written: list[Path]) -> None:
    from untrigger.cli.console import said
    from untrigger.cli.results import paths

    says = f"say {said(told['target'])}" if told["target"] else "say the next label"
    sentence = f"{told['poisoned']} of {told['rows']} training rows carry the trigger and {says}."
    nxt = f"[dim]next:[/] untrigger purify {said(told['model'])} --clean DATA --truth {said(told['truth'])} --out DIR"
    leaks = (
        [f"[yellow]warning:[/] {told['overlap']} training rows also stand among the test rows"]
        if told["overlap"]
        else []
    )
    desk.answer(told, f"[bold red]poisoned:[/] {sentence}", *leaks, *paths(written), nxt)
