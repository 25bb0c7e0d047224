"""The base class of purifiers, detectors and scanners: a name, options, and the fields of the grant that they need."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from untrigger.core.errors import NeedsError


@dataclass(frozen=True)
class Method(ABC):
    """A method of the defender. Every public field is an option.

    ``needs`` names the fields of the grant without which the method cannot run, ``uses`` optional ones. ``variants`` are other
    versions of the method by name, such as the published one.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset({"clean"})
    uses: ClassVar[frozenset[str]] = frozenset()
    variants: ClassVar[Mapping[str, Callable[..., Any]]] = {}

    def options(self) -> dict[str, Any]:
        """Return every option with its value."""
        return asdict(self)

    def _check_needs(self, granted: frozenset[str], needs: frozenset[str]) -> None:
        """Raise NeedsError unless the fields ``needs`` are among those that are granted."""
        missing = sorted(needs - granted)
        if missing:
            raise NeedsError(f"{self.name} needs {', '.join(missing)}", remedy="grant it, or take another method")
