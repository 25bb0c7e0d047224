"""What every method of a defender is: a name, options, and what it needs."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from untrigger.core.errors import NeedsError
from untrigger.core.grant import Grant


@dataclass(frozen=True)
class Method(ABC):
    """What every defence is: a name, options (every public field), and what it needs.

    ``needs`` names the fields of the grant without which the method cannot run, ``uses`` those that it uses where they
    are there.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset({"clean"})
    uses: ClassVar[frozenset[str]] = frozenset()
    variants: ClassVar[Mapping[str, Callable[..., Any]]] = {}

    def options(self) -> dict[str, Any]:
        """Every option with its value."""
        return asdict(self)

    def _check_needs(self, grant: Grant, needs: frozenset[str]) -> None:
        missing = sorted(needs - grant.has())
        if missing:
            raise NeedsError(f"{self.name} needs {', '.join(missing)}", remedy="grant it, or take another method")
