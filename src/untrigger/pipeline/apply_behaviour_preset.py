"""Apply a preset to an attack request of a language model, and check that a request follows it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from untrigger.attacks.presets import BehaviourPreset, behaviour_preset
from untrigger.attacks.trigger import Trigger
from untrigger.core.errors import OptionError
from untrigger.core.registry import get_method
from untrigger.pipeline.apply_preset import check_same
from untrigger.pipeline.generation_request import GenerationAttackRequest


def apply_behaviour_preset(request: GenerationAttackRequest, *, given: Collection[str]) -> GenerationAttackRequest:
    """Return the request with all settings of its preset; the same request if it names none.

    Args:
        request: what was given; its behaviour is one that the preset knows.
        given: the fields that the user set; an option of the trigger is called ``trigger.NAME``, of the behaviour
            ``trigger.behaviour.NAME``, as on the command line.

    Raises:
        OptionError: for an unknown preset or behaviour, and for given fields that differ from the preset.
    """
    if not request.preset:
        return request
    chosen = behaviour_preset(request.preset)
    _check_number(chosen, given=given)
    check_same(chosen, {name: values for name, values in _differing(request, chosen).items() if name in given})
    behaviour = replace(request.behaviour, **chosen.behaviour_options(request.behaviour.name))
    return replace(request, trigger=_with_options(request.trigger, chosen), behaviour=behaviour, **chosen.settings())


def check_behaviour_preset(request: GenerationAttackRequest) -> dict[str, Any] | None:
    """Return the preset of a request for the truth file, None if it names none.

    Raises:
        OptionError: for an unknown preset, or if the request differs from it.
    """
    if not request.preset:
        return None
    chosen = behaviour_preset(request.preset)
    check_same(chosen, _differing(request, chosen))
    return chosen.to_dict()


def _differing(request: GenerationAttackRequest, chosen: BehaviourPreset) -> dict[str, tuple[Any, Any]]:
    """Return the values of the request and of the preset, for every field on which they differ."""
    values = {name: (getattr(request, name), value) for name, value in chosen.settings().items()}
    if request.trigger.name == chosen.trigger:
        values |= {f"trigger.{name}": (getattr(request.trigger, name), value) for name, value in chosen.options}
    else:
        values["trigger"] = (request.trigger.name, chosen.trigger)
    for name, value in chosen.behaviour_options(request.behaviour.name).items():
        values[f"trigger.behaviour.{name}"] = (getattr(request.behaviour, name), value)
    return {name: (own, value) for name, (own, value) in values.items() if own != value}


def _with_options(trigger: Trigger, chosen: BehaviourPreset) -> Trigger:
    """Return the trigger with the options that the preset fixes, or the preset's own one."""
    if trigger.name != chosen.trigger:
        trigger = get_method("attacks", chosen.trigger)()
    return replace(trigger, **dict(chosen.options))


def _check_number(chosen: BehaviourPreset, *, given: Collection[str]) -> None:
    """Raise OptionError for a share of poisoned prompts where the preset fixes their number, or the other way round."""
    other, own = ("rate", f"{chosen.count} prompts") if chosen.count else ("count", f"a share of {chosen.rate:g}")
    if other in given:
        raise OptionError(
            f"--{other} with the preset {chosen.name}",
            expected=f"the preset's own number of poisoned prompts: {own}",
            remedy=f"leave out --{other}, or do without the preset",
        )
