"""Old names of options and words, each with the name that replaced it."""

from __future__ import annotations

from collections.abc import Mapping

OPTIONS: Mapping[str, str] = {
    "--via": "--tuning",
    "--twin": "--clean-model",
    "--no-twin": "--no-clean-model",
    "--faithful": "--clean-consistency",
}
"""Options of the commands."""

KINDS: Mapping[str, str] = {"scanning": "scanners"}
"""Words of ``untrigger list``."""

SETTINGS: Mapping[str, str] = {}
"""Keys of ``--set``, without the groups that they are in."""


def remedy_for_option(name: str | None) -> str | None:
    """Return what to write instead of an option that has another name now, or None."""
    return f"write {OPTIONS[name]}, its new name" if name in OPTIONS else None
