"""Old names of options and words, each with the name that replaced it."""

from __future__ import annotations

from collections.abc import Mapping

OPTIONS: Mapping[str, str] = {
    "--via": "--tuning",
    "--twin": "--clean-model",
    "--no-twin": "--no-clean-model",
    "--negatives": "--negative-rate",
    "--faithful": "--clean-consistency",
}
"""Options of the commands."""

KINDS: Mapping[str, str] = {"scanning": "scanners"}
"""Words of ``untrigger list``."""

SETTINGS: Mapping[str, str] = {"dropout": "use_dropout"}
"""Keys of ``--set``, without the groups that they are in."""
