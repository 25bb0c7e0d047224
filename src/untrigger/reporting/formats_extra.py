"""The check for the packages of the extra ``formats``, which write formats of the supply chain."""

from __future__ import annotations

from importlib.util import find_spec

from untrigger.core.errors import NeedsError

REMEDY = "pip install 'untrigger[formats]'"
_PACKAGES = {"in_toto_attestation": "in-toto-attestation", "cyclonedx": "cyclonedx-python-lib"}


def check_installed(module: str, *, what: str) -> None:
    """Raise NeedsError unless ``module``, a key of ``_PACKAGES``, is installed; ``what`` names what needs it."""
    if find_spec(module) is None:
        raise NeedsError(f"{what} needs the package {_PACKAGES[module]}", expected="the extra 'formats'", remedy=REMEDY)
