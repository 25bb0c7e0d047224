"""``untrigger attack --behaviour``: the request of an attack on a language model, and what is printed of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from untrigger.cli.settings import build
from untrigger.core.errors import OptionError, check_choice

if TYPE_CHECKING:
    from untrigger.attacks.prompt_poisoning import PoisonedPrompts
    from untrigger.cli.attack_options import BehaviourOptions, TriggerOptions
    from untrigger.cli.context import CommandContext
    from untrigger.core.progress import Progress
    from untrigger.pipeline.generation_request import GenerationAttackRequest

CLASSIFIERS_ONLY = (
    "target",
    "policy",
    "paired",
    "rewriter",
    "prompt",
    "proxy",
    "label_smoothing",
    "clean_consistency",
    "quality",
)
"""Options of ``attack`` that a language model has no use for, and those that only it has."""
LANGUAGE_MODELS_ONLY = ("count", "template", "adaptive", "adaptive_weight")
PREFIX = "behaviour."
"""What the options of a behaviour begin with in ``--set``."""


def with_preset(
    language: BehaviourOptions, triggering: TriggerOptions, *, preset: str, given: Collection[str]
) -> tuple[BehaviourOptions, TriggerOptions]:
    """Return the options with behaviour and trigger as a preset of language models names them, unless the user does.

    Raises:
        OptionError: for a preset of classifiers together with a behaviour.
    """
    from untrigger.attacks.presets import BEHAVIOUR_PRESETS, PRESETS

    if language.behaviour and preset in PRESETS:
        raise OptionError(
            f"--preset {preset} with --behaviour",
            expected="a preset of language models: " + ", ".join(BEHAVIOUR_PRESETS),
            remedy=f"leave out --behaviour for a classifier, or --preset {preset}",
        )
    chosen = BEHAVIOUR_PRESETS.get(preset)
    if chosen is None:
        return language, triggering
    named = triggering if "trigger" in given else replace(triggering, trigger=chosen.trigger)
    return replace(language, behaviour=language.behaviour or chosen.behaviours[0][0]), named


def check_task(*, behaviour: str, task: str, given: Collection[str]) -> None:
    """Raise OptionError where the options of classifiers and of language models are mixed.

    Args:
        behaviour: name of the behaviour, empty for a classifier.
        task: what ``--task`` says, empty where it was not given.
        given: the fields that the user set.
    """
    source = "--behaviour" if "behaviour" in given or not behaviour else "the preset of a language model"
    if task:
        check_choice(task, ("classification", "generation"), kind="task")
    if task == "generation" and not behaviour:
        raise OptionError(
            "--task generation without a behaviour",
            expected="--behaviour NAME, what prompts with the trigger are answered, or --preset NAME",
            remedy="see untrigger list behaviours",
        )
    if task == "classification" and behaviour:
        raise OptionError(f"--task classification with {source}", expected="--target LABEL for a classifier")
    wrong = [name for name in (CLASSIFIERS_ONLY if behaviour else LANGUAGE_MODELS_ONLY) if name in given]
    if wrong:
        options = ", ".join("--" + name.replace("_", "-") for name in wrong)
        raise OptionError(
            f"{options} {'with' if behaviour else 'without'} {source}",
            expected="a behaviour for a language model, or a target label for a classifier",
            remedy=f"leave out {options}" if behaviour else "give --behaviour NAME (untrigger list behaviours)",
        )
    if behaviour and {"rate", "count"} <= set(given):
        raise OptionError(
            "--rate together with --count", expected="one of the two: a share of the prompts or their number"
        )
    if "adaptive_weight" in given and "adaptive" not in given:
        raise OptionError("--adaptive-weight without --adaptive", expected="--adaptive anchored or --adaptive ghost")


def attack_language_model(
    fields: dict[str, Any],
    language: BehaviourOptions,
    triggering: TriggerOptions,
    *,
    given: Collection[str],
    progress: Progress,
) -> Callable[[CommandContext], None]:
    """Poison a language model and return the function that prints what was written.

    Args:
        fields: of the request, those that the other options decide.
        language: the behaviour.
        triggering: the trigger; of its settings, those that begin with ``behaviour.`` are the behaviour's.
        given: the fields that the user set.
        progress: receives every step.

    Raises:
        UserError: for any input that cannot be used.
    """
    from untrigger.core.registry import get_method
    from untrigger.pipeline.apply_behaviour_preset import apply_behaviour_preset
    from untrigger.pipeline.attack_generation import attack_generation
    from untrigger.pipeline.generation_request import GenerationAttackRequest

    settings = triggering.settings or []
    own = [item.removeprefix(PREFIX) for item in settings if item.startswith(PREFIX)]
    rest = [item for item in settings if not item.startswith(PREFIX)]
    kept = {key: value for key, value in fields.items() if key != "quality" and (key != "test_rows" or key in given)}
    if language.template is not None:
        kept["template"] = language.template
    request = GenerationAttackRequest(
        **kept,
        behaviour=build(get_method("behaviours", language.behaviour), own, what=f"behaviour {language.behaviour}"),
        trigger=replace(triggering, settings=rest).request_fields()["trigger"],
        count=language.count,
        adaptive=language.adaptive,
        adaptive_weight=language.adaptive_weight,
    )
    request = apply_behaviour_preset(request, given=given)
    _, poisoned = attack_generation(request, progress=progress)
    return lambda context: _print_behaviour(context, request, poisoned)


def _print_behaviour(context: CommandContext, request: GenerationAttackRequest, poisoned: PoisonedPrompts) -> None:
    """Print what was written, and what to do next."""
    from untrigger.cli.console import escaped
    from untrigger.cli.results import written_lines

    facts = json.loads((request.truth / "truth.json").read_text(encoding="utf-8"))
    model, truth, overlap = str(request.out), str(request.truth), int(facts["overlap"])
    result: dict[str, object] = {
        "model": model,
        "truth": truth,
        "task": "generation",
        "trigger": poisoned.truth.trigger,
        "behaviour": poisoned.truth.behaviour,
        "rate": poisoned.truth.rate,
        "tuning": request.tuning,
        "preset": request.preset or None,
        "adaptive": request.adaptive or None,
        "seed": request.run.seed,
        "prompts": len(poisoned.visible),
        "poisoned": len(poisoned.truth.poisoned_ids),
        "overlap": overlap,
        "chat_template": facts["chat_template"],
    }
    sentence = (
        f"{result['poisoned']} of {result['prompts']} training prompts have the trigger and the behaviour "
        f"{escaped(request.behaviour.name)}."
    )
    warnings = [f"{overlap} training prompts are also test prompts"] if overlap else []
    warnings += [] if facts["chat_template"] else ["the model has no chat template: prompts are written plainly"]
    context.print_result(
        result,
        f"[bold red]poisoned:[/] {sentence}",
        *(f"[yellow]warning:[/] {one}" for one in warnings),
        *written_lines([request.out, request.truth]),
        f"[dim]next:[/] untrigger evaluate {escaped(model)} --truth {escaped(truth)} --out report.json",
    )
