"""Removes backdoors from language models, and shows with numbers that it did.

Names are loaded when they are first used, so that ``import untrigger`` loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from untrigger.assets import fetch
    from untrigger.attacks.badnets import BadNets
    from untrigger.attacks.insent import InSent
    from untrigger.attacks.poison import Attack
    from untrigger.data import load_data
    from untrigger.defences.bedkd import BeDKD
    from untrigger.defences.finetune import FineTune
    from untrigger.defences.scancure import ScanCure
    from untrigger.defences.w2sdefense import W2SDefense
    from untrigger.models.load import load_model
    from untrigger.pipeline.evaluate import evaluate
    from untrigger.scanning.insertions import InsertionScanner
    from untrigger.vocabulary.grant import Grant
    from untrigger.vocabulary.report import Report
    from untrigger.vocabulary.rows import Rows

    __version__: str

_HOMES = {
    "Attack": "untrigger.attacks.poison",
    "BadNets": "untrigger.attacks.badnets",
    "BeDKD": "untrigger.defences.bedkd",
    "FineTune": "untrigger.defences.finetune",
    "Grant": "untrigger.vocabulary.grant",
    "InSent": "untrigger.attacks.insent",
    "InsertionScanner": "untrigger.scanning.insertions",
    "Report": "untrigger.vocabulary.report",
    "Rows": "untrigger.vocabulary.rows",
    "ScanCure": "untrigger.defences.scancure",
    "W2SDefense": "untrigger.defences.w2sdefense",
    "evaluate": "untrigger.pipeline.evaluate",
    "fetch": "untrigger.assets",
    "load_data": "untrigger.data",
    "load_model": "untrigger.models.load",
}


def __getattr__(name: str) -> Any:
    """The public name, loaded now and kept."""
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
    """The installed version, or one that says that the package runs from its sources."""
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
]
