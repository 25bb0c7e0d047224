"""Removes backdoors from language models, and shows with numbers that it did.

Names are loaded when they are first used, so that ``import untrigger`` loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from untrigger.assets import fetch
    from untrigger.attacks.poisoning import Attack
    from untrigger.attacks.triggers.badnets import BadNets
    from untrigger.attacks.triggers.insent import InSent
    from untrigger.core.grant import Grant
    from untrigger.core.report import Report
    from untrigger.core.rows import Rows
    from untrigger.data import load_data, load_texts
    from untrigger.defences.bedkd.bedkd_defence import BeDKD
    from untrigger.defences.fine_tuning import FineTune
    from untrigger.defences.scan_and_unlearn import ScanCure
    from untrigger.defences.w2s.w2sdefense import W2SDefense
    from untrigger.models.loading import load_model
    from untrigger.pipeline.evaluate import evaluate
    from untrigger.scanners.insertion_scanner import InsertionScanner

    __version__: str

_HOMES = {
    "Attack": "untrigger.attacks.poisoning",
    "BadNets": "untrigger.attacks.triggers.badnets",
    "BeDKD": "untrigger.defences.bedkd.bedkd_defence",
    "FineTune": "untrigger.defences.fine_tuning",
    "Grant": "untrigger.core.grant",
    "InSent": "untrigger.attacks.triggers.insent",
    "InsertionScanner": "untrigger.scanners.insertion_scanner",
    "Report": "untrigger.core.report",
    "Rows": "untrigger.core.rows",
    "ScanCure": "untrigger.defences.scan_and_unlearn",
    "W2SDefense": "untrigger.defences.w2s.w2sdefense",
    "evaluate": "untrigger.pipeline.evaluate",
    "fetch": "untrigger.assets",
    "load_data": "untrigger.data",
    "load_model": "untrigger.models.loading",
    "load_texts": "untrigger.data",
}


def __getattr__(name: str) -> Any:
    """Load the public name now and keep it."""
    if name == "__version__":
        value: Any = _version()
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module 'untrigger' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    """Return the installed version, or "0.0.0+source" for a package that runs from its sources."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("untrigger")
    except PackageNotFoundError:
        return "0.0.0+source"


__all__ = [
    "Attack",
    "BadNets",
    "BeDKD",
    "FineTune",
    "Grant",
    "InSent",
    "InsertionScanner",
    "Report",
    "Rows",
    "ScanCure",
    "W2SDefense",
    "__version__",
    "evaluate",
    "fetch",
    "load_data",
    "load_model",
    "load_texts",
]
