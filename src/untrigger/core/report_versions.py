"""Reports of earlier versions, with the keys of this one."""

from __future__ import annotations

from typing import Any

SCHEMA = "untrigger.report/2"
SCHEMA_1 = "untrigger.report/1"
READABLE = (SCHEMA_1, SCHEMA)

_CANDIDATE_KEYS = {
    "places": "positions",
    "surest": "high_confidence_flip_rate",
    "longest": "long_rows_flip_rate",
    "glued": "extra_subwords",
}
_POSITION_KEYS = {"surest": "high_confidence"}


def to_current_version(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a report with the keys of ``SCHEMA``; anything else is returned as it is.

    In version 1 a finding had two rates without their intervals, and candidates had other names for their measurements.
    """
    if content.get("schema") != SCHEMA_1:
        return content
    current = dict(content)
    current["findings"] = _each(content.get("findings", []), _finding)
    scan = content.get("scan")
    if isinstance(scan, dict):
        lists = {name: _each(scan[name], _candidate) for name in ("candidates", "controls") if name in scan}
        current["scan"] = {**scan, **lists}
    return current


def _finding(one: dict[str, Any]) -> dict[str, Any]:
    rates = {"suspect": one.get("student_rate"), "reference": one.get("reference_rate")}
    measured = {
        name: {"subject": name, "metric": "flip_rate", "value": value, "low": None, "high": None, "n": 0}
        for name, value in rates.items()
    }
    return {**measured, **{key: value for key, value in one.items() if key not in ("student_rate", "reference_rate")}}


def _candidate(one: dict[str, Any]) -> dict[str, Any]:
    renamed = _renamed(one, _CANDIDATE_KEYS)
    if "positions" in renamed:
        renamed["positions"] = _each(renamed["positions"], lambda place: _renamed(place, _POSITION_KEYS))
    return renamed


def _renamed(one: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in one.items()}


def _each(items: Any, change: Any) -> Any:
    """Return the list with every object changed; anything else as it is."""
    if not isinstance(items, list):
        return items
    return [change(one) if isinstance(one, dict) else one for one in items]
