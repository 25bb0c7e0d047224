"""Presets at work: a spec filled in by one, and a spec that claims one held to it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from untrigger.attacks.presets import Preset, preset
from untrigger.attacks.rewrite_source import parts_of
from untrigger.attacks.trigger import Trigger
from untrigger.attacks.triggers.combined import Combined
from untrigger.core.errors import OptionError
from untrigger.core.rows import Rows

NESTED = {"max_length": "model"}
"""Where a request holds the values that are not fields of its own."""

if TYPE_CHECKING:
    from untrigger.pipeline.requests import AttackRequest


def filled_in(spec: AttackRequest, *, given: Collection[str]) -> AttackRequest:
    """The spec with all that its preset says; the same spec where it names none.

    Args:
        spec: what is asked for.
        given: the fields that the user set with their own words; a trigger's option is called ``trigger.NAME``, that of a part
            of a combination ``trigger.PART.NAME``.

    Raises:
        OptionError: for an unknown preset, for fields that were given and that it contradicts, or where neither it nor the
            user names the target.
    """
    if not spec.preset:
        return spec
    chosen = preset(spec.preset)
    said = chosen.settings_for(spec.data.name)
    _refuse(chosen, [name for name in _other(spec, chosen) if name in given], spec)
    if not spec.target and "target" not in said:
        raise OptionError(
            f"the preset {chosen.name} does not say the target for {spec.data.name}",
            expected="data that it names: " + ", ".join(name for name, _ in chosen.targets),
            remedy=f"say which of them it is, such as {chosen.targets[0][0]}=PATH, or give --target",
        )
    return _with(replace(spec, trigger=_set(spec.trigger, chosen)), said)


def held(spec: AttackRequest) -> dict[str, Any] | None:
    """What a truth file tells of the spec's preset; None where it names none.

    Raises:
        OptionError: for an unknown preset, or where the spec does another thing than it says.
    """
    if not spec.preset:
        return None
    chosen = preset(spec.preset)
    _refuse(chosen, _other(spec, chosen), spec)
    return chosen.to_dict()


def strayed(told: Mapping[str, Any], clean: Rows) -> list[str]:
    """Where the clean rows of a defender are not those that the preset of a truth grants, in words."""
    named = told.get("preset")
    said = named.get("says", {}).get("clean_rows") if isinstance(named, dict) else None
    counts = set(clean.class_counts().values())
    if not isinstance(said, int) or counts == {said}:
        return []
    given = ", ".join(f"{count} {name}" for name, count in clean.class_counts().items())
    return [f"the preset {named['name']} grants {said} clean rows of each class; given were {given}"]  # type: ignore[index]


def _other(spec: AttackRequest, chosen: Preset) -> dict[str, tuple[Any, Any]]:
    """What the spec has and what the preset says, for every field on which they differ."""
    said = chosen.settings_for(spec.data.name)
    differing = {name: (_field(spec, name), value) for name, value in said.items() if _field(spec, name) != value}
    for part in parts_of(spec.trigger):
        prefix = "trigger" if part is spec.trigger else f"trigger.{part.name}"
        for name, value in chosen.options(part.name).items():
            if (has := getattr(part, name)) != value:
                differing[f"{prefix}.{name}"] = (has, value)
    return differing


def _field(request: AttackRequest, name: str) -> Any:
    """Return the value of a request that a preset calls ``name``."""
    return getattr(getattr(request, NESTED[name]) if name in NESTED else request, name)


def _with(request: AttackRequest, values: Mapping[str, Any]) -> AttackRequest:
    """Return the request with the values that a preset names."""
    flat = {name: value for name, value in values.items() if name not in NESTED}
    nested = {
        NESTED[name]: replace(getattr(request, NESTED[name]), **{name: value})
        for name, value in values.items()
        if name in NESTED
    }
    return replace(request, **flat, **nested)


def _set(trigger: Trigger, chosen: Preset) -> Trigger:
    """The trigger with the options that the preset settles, of a combination each part."""
    if isinstance(trigger, Combined):
        return replace(trigger, parts=tuple(_set(part, chosen) for part in trigger.parts))
    return replace(trigger, **chosen.options(trigger.name))


def _refuse(chosen: Preset, names: Collection[str], spec: AttackRequest) -> None:
    """Nothing, where there are no names; else the error that tells of both sides."""
    if not names:
        return
    other = _other(spec, chosen)
    told = "; ".join(
        f"{_word(name)} is {_plain(other[name][0])}, the preset says {_plain(other[name][1])}" for name in names
    )
    raise OptionError(
        f"the preset {chosen.name} is contradicted: {told}",
        expected="the preset's own values",
        remedy="leave these options out, or do without the preset",
    )


def _word(name: str) -> str:
    """The field as the command line calls it."""
    part, _, option = name.removeprefix("trigger.").rpartition(".")
    return f"--set {part}.{option}" if part else "--" + option.replace("_", "-")


def _plain(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else repr(value) if value == "" else str(value)
