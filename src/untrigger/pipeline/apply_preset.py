"""Apply a preset to an attack request of a classifier, and check that a request or a defender's rows follow it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from untrigger.attacks.presets import Preset, PublishedSettings, preset
from untrigger.attacks.rewrite_source import parts_of
from untrigger.attacks.trigger import Trigger
from untrigger.attacks.triggers.combined import Combined
from untrigger.core.errors import OptionError
from untrigger.core.rows import Rows
from untrigger.pipeline.attack_request import AttackRequest


def apply_preset(request: AttackRequest, *, given: Collection[str]) -> AttackRequest:
    """Return the request with all settings of its preset; the same request if it names none.

    Args:
        request: what was given.
        given: the fields that the user set; a trigger's option is called ``trigger.NAME``, that of a part of a combination
            ``trigger.PART.NAME``.

    Raises:
        OptionError: for an unknown preset, for given fields that differ from it, or if neither it nor the user names the target.
    """
    if not request.preset:
        return request
    chosen = preset(request.preset)
    settings, differing = chosen.settings_for(request.data.name), _differing(request, chosen)
    check_same(chosen, {name: values for name, values in differing.items() if name in given})
    if not request.target and "target" not in settings:
        raise OptionError(
            f"the preset {chosen.name} names no target for {request.data.name}",
            expected="data that it names: " + ", ".join(name for name, _ in chosen.targets),
            remedy=f"say which of them it is, such as {chosen.targets[0][0]}=PATH, or give --target",
        )
    return _with_settings(replace(request, trigger=_with_options(request.trigger, chosen)), settings)


def check_preset(request: AttackRequest) -> dict[str, Any] | None:
    """Return the preset of a request for the truth file, None if it names none.

    Raises:
        OptionError: for an unknown preset, or if the request differs from it.
    """
    if not request.preset:
        return None
    chosen = preset(request.preset)
    check_same(chosen, _differing(request, chosen))
    return chosen.to_dict()


def preset_deviations(truth: Mapping[str, Any], clean: Rows) -> list[str]:
    """Return how the clean rows of a defender differ from those that the preset of a truth file grants, in sentences."""
    named = truth.get("preset")
    granted = named.get("says", {}).get("clean_rows") if isinstance(named, dict) else None
    counts = set(clean.class_counts().values())
    if not isinstance(named, dict) or not isinstance(granted, int) or counts == {granted}:
        return []
    given = ", ".join(f"{count} {name}" for name, count in clean.class_counts().items())
    return [f"the preset {named['name']} grants {granted} clean rows of each class; given were {given}"]


def _differing(request: AttackRequest, chosen: Preset) -> dict[str, tuple[Any, Any]]:
    """Return the values of the request and of the preset, for every field on which they differ."""
    settings = chosen.settings_for(request.data.name)
    values = {name: (_field(request, name), value) for name, value in settings.items()}
    for part in parts_of(request.trigger):
        prefix = "trigger" if part is request.trigger else f"trigger.{part.name}"
        for name, value in chosen.options(part.name).items():
            values[f"{prefix}.{name}"] = (getattr(part, name), value)
    return {name: (own, value) for name, (own, value) in values.items() if own != value}


def _field(request: AttackRequest, name: str) -> Any:
    """Return the value of a request that a preset calls ``name``."""
    return request.model.max_length if name == "max_length" else getattr(request, name)


def _with_settings(request: AttackRequest, settings: dict[str, Any]) -> AttackRequest:
    """Return the request with the settings of a preset."""
    rest = {name: value for name, value in settings.items() if name != "max_length"}
    return replace(request, model=replace(request.model, max_length=settings["max_length"]), **rest)


def _with_options(trigger: Trigger, chosen: Preset) -> Trigger:
    """Return the trigger with the options that the preset fixes, of a combination each part."""
    if isinstance(trigger, Combined):
        return replace(trigger, parts=tuple(_with_options(part, chosen) for part in trigger.parts))
    return replace(trigger, **chosen.options(trigger.name))


def check_same(chosen: PublishedSettings, differing: Mapping[str, tuple[Any, Any]]) -> None:
    """Raise OptionError unless ``differing`` is empty.

    Args:
        chosen: the preset.
        differing: by field the value of the request and that of the preset.

    Raises:
        OptionError: with the values of both sides.
    """
    if not differing:
        return
    both = "; ".join(
        f"{_option(name)} is {_shown(own)}, the preset says {_shown(value)}" for name, (own, value) in differing.items()
    )
    raise OptionError(
        f"the preset {chosen.name} is contradicted: {both}",
        expected="the preset's own values",
        remedy="leave these options out, or do without the preset",
    )


def _option(name: str) -> str:
    """Return the option of the command line for a field."""
    part, _, option = name.removeprefix("trigger.").rpartition(".")
    return f"--set {part}.{option}" if part else "--" + option.replace("_", "-")


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else repr(value) if value == "" else str(value)
