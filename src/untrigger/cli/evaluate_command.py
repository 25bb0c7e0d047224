"""``untrigger evaluate``: accuracy on clean rows and attack success on triggered ones, with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from untrigger.cli import completion
from untrigger.cli import options as o
from untrigger.cli.context import CommandContext
from untrigger.cli.option_groups import OptionGroup, with_option_groups
from untrigger.core.errors import OptionError
from untrigger.pipeline.task_options import check_task_options

FOR_CLASSIFIERS = ("labels",)
FOR_LANGUAGE_MODELS = ("template", "max_new_tokens")
"""Options that the evaluation of the other task does not have."""
EXAMPLE = "Example: untrigger evaluate victim cleaned --truth victim.truth --out report.json"


@dataclass(frozen=True)
class GuardOptions(OptionGroup):
    """Guards of a language model, and what they compare it with."""

    guard: Annotated[
        str | None,
        typer.Option(
            "--guard",
            metavar="NAME[,NAME]",
            autocompletion=completion.guards,
            help="Of a language model: also measure the first MODEL under this rule of decoding. See untrigger list guards.",
        ),
    ] = None
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            metavar="MODEL",
            help="With --guard: the trusted model that it compares with, such as a clean adapter; usually the base.",
        ),
    ] = None
    settings: o.Settings = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of the request.

        Raises:
            OptionError: for an unknown guard or option, and for options without a guard.
        """
        from untrigger.cli.settings import method_settings

        names = o.split_list(self.guard)
        if not names:
            if given := [name for name, value in (("--reference", self.reference), ("--set", self.settings)) if value]:
                raise OptionError(f"{' and '.join(given)} without --guard", expected="--guard NAME beside it")
            return {}
        found = method_settings(",".join(names), given=self.settings or [], family="guards")
        options = found if len(names) > 1 else {names[0]: found}
        return {"guards": tuple(names), "guard_options": options, "reference": self.reference}


@with_option_groups
def evaluate(
    *,
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Folders or hub names, one subject each.")],
    out: o.ReportFile,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="DATA", help="Labelled test rows.", autocompletion=completion.data_sets),
    ] = None,
    truth: o.Truth = None,
    language: o.LanguageOptions,
    guarding: GuardOptions,
    reading: o.ModelOptions,
    rows: o.DataOptions,
    allow_pickle: o.AllowPickle = False,
    typer_context: typer.Context,
    context: CommandContext,
) -> int:
    """Measure clean accuracy, and with a truth folder also attack success.

    Without a truth folder the attack success is "not measured". Of a language model the answers to prompts are measured.
    """
    if data is None and truth is None:
        raise OptionError(
            "nothing to evaluate on", expected="--data, --truth or both", remedy="give labelled rows with --data DATA"
        )
    given = o.options_given(typer_context, of_trigger=(), settings=None)
    with context.running(out=out) as progress:
        from untrigger.evaluation.ground_truth import GENERATION
        from untrigger.pipeline.evaluate import evaluate as run
        from untrigger.pipeline.requests import EvaluateRequest
        from untrigger.pipeline.subjects import task_of_evaluation

        request = EvaluateRequest(
            models=tuple(reading.model(model, allow_pickle=allow_pickle) for model in models),
            out=out,
            data=rows.source(data) if data is not None else None,
            truth=truth,
            task=language.task,
            run=context.run_options(),
            **guarding.fields(),
            **language.fields(),
        )
        generation = task_of_evaluation(request) == GENERATION
        check_task_options(
            given,
            model=models[0],
            offline=request.run.offline,
            generation=generation,
            of_classifiers=FOR_CLASSIFIERS,
            of_language_models=FOR_LANGUAGE_MODELS,
        )
        report = run(request, progress=progress)
    from untrigger.cli.results import print_report

    print_report(context, report, written=[out, out.with_suffix(".outcomes.csv")])
    return 0
