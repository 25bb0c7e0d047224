"""The methods of each family by name: from a module in the family's packages, or from an entry point of another package.

A new method is one module with one frozen dataclass that has a ``name``; no list needs editing.
"""

from __future__ import annotations

import inspect
import pkgutil
import types
import warnings
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from importlib import import_module, metadata
from types import ModuleType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from untrigger.core.errors import check_choice

Family = Literal["attacks", "behaviours", "defences", "detectors", "guards", "language_defences", "scanners"]


class FamilyFacts(NamedTuple):
    """The base class of a family as ``module:class``, the word for one member, and the packages with its members."""

    base: str
    member: str
    packages: tuple[str, ...]


FAMILIES: dict[str, FamilyFacts] = {
    "attacks": FamilyFacts("untrigger.attacks.trigger:Trigger", "trigger", ("untrigger.attacks",)),
    "behaviours": FamilyFacts("untrigger.attacks.behaviour:Behaviour", "behaviour", ("untrigger.attacks.behaviours",)),
    "defences": FamilyFacts("untrigger.defences.purifier:Purifier", "method", ("untrigger.defences",)),
    "detectors": FamilyFacts(
        "untrigger.detectors.detector:Detector", "method", ("untrigger.detectors", "untrigger.defences")
    ),
    "guards": FamilyFacts("untrigger.defences.guards.guard:Guard", "guard", ("untrigger.defences.guards",)),
    "language_defences": FamilyFacts(
        "untrigger.defences.language.language_purifier:LanguagePurifier", "method", ("untrigger.defences.language",)
    ),
    "scanners": FamilyFacts("untrigger.scanners.scanner:Scanner", "scanner", ("untrigger.scanners",)),
}


class PluginWarning(UserWarning):
    """A method of another package that was left out."""


class Option(NamedTuple):
    """One option of a method. ``default`` is ``dataclasses.MISSING`` where it must be given."""

    name: str
    type: Any
    default: Any
    doc: str


def methods_of(family: Family) -> dict[str, type[Any]]:
    """Return the classes of a family by name, sorted; what is broken in another package is left out with a warning."""
    base = _base_class(family)
    own = {
        kind.name: kind
        for package in FAMILIES[family].packages
        for module in _modules(package)
        for kind in _classes_in(module, base)
    }
    return dict(sorted({**_plugins(family, base=base, taken=set(own)), **own}.items()))


def get_method(family: Family, name: str) -> type[Any]:
    """Return the class of that name.

    Raises:
        OptionError: with the known names and the nearest one.
    """
    known = methods_of(family)
    return known[check_choice(name, known, kind=FAMILIES[family].member)]


def options_of(kind: type[Any]) -> list[Option]:
    """Return every option of a method: name, type, default, and its text in the ``Attributes`` of the class docstring."""
    hints, docs = get_type_hints(kind), _attribute_docs(kind)
    return [
        Option(one.name, hints[one.name], _default(one), docs.get(one.name, ""))
        for one in fields(kind)
        if one.init and not one.name.startswith("_")
    ]


def flat_options(kind: type[Any], *, prefix: str = "") -> list[Option]:
    """Return the options, those of nested records by dotted names such as ``search.first``."""
    flat: list[Option] = []
    for one in options_of(kind):
        inner = nested_options(one.type)
        if inner is None:
            flat.append(one._replace(name=prefix + one.name))
        else:
            flat += flat_options(inner, prefix=f"{prefix}{one.name}.")
    return flat


def nested_options(hint: Any) -> type[Any] | None:
    """Return the dataclass that ``hint`` is, alone or in a union with None; None for any other type."""
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return next((part for part in parts if isinstance(part, type) and is_dataclass(part)), None)


def summary(kind: type[Any]) -> str:
    """Return the first line of the class docstring."""
    return (inspect.getdoc(kind) or "").strip().split("\n")[0]


def _base_class(family: str) -> type[Any]:
    module, _, name = FAMILIES[family].base.partition(":")
    base: type[Any] = getattr(import_module(module), name)
    return base


def _modules(package: str) -> Iterator[ModuleType]:
    """Yield every public module of a package and of the packages in it."""
    for one in pkgutil.walk_packages(import_module(package).__path__, prefix=f"{package}."):
        if not one.name.rpartition(".")[2].startswith("_"):
            yield import_module(one.name)


def _classes_in(module: ModuleType, base: type[Any]) -> Iterator[type[Any]]:
    """Yield the concrete classes of the family that ``module`` itself defines."""
    for kind in vars(module).values():
        member = isinstance(kind, type) and issubclass(kind, base) and kind.__module__ == module.__name__
        if member and not inspect.isabstract(kind) and isinstance(getattr(kind, "name", None), str):
            yield kind


def _plugins(family: str, *, base: type[Any], taken: set[str]) -> dict[str, type[Any]]:
    """Return the classes that other packages name in the entry-point group ``untrigger.FAMILY``."""
    plugins: dict[str, type[Any]] = {}
    for point in metadata.entry_points(group=f"untrigger.{family}"):
        try:
            kind = point.load()
            reason = _rejection(kind, base=base, taken=taken | set(plugins))
        except Exception as error:  # noqa: BLE001  # another package may fail in any way at import
            kind, reason = None, f"{type(error).__name__}: {error}"
        if kind is None or reason:
            warnings.warn(f"plug-in {point.name!r} ({point.value}) was left out: {reason}", PluginWarning, stacklevel=4)
        else:
            plugins[kind.name] = kind
    return plugins


def _rejection(kind: Any, *, base: type[Any], taken: set[str]) -> str:
    """Return why another package's class cannot join the family, empty if it can."""
    if not (isinstance(kind, type) and issubclass(kind, base)):
        return f"it is not a class of the family {base.__name__}"
    if inspect.isabstract(kind):
        return f"it lacks {', '.join(sorted(getattr(kind, '__abstractmethods__', ())))}"
    parameters = vars(kind).get("__dataclass_params__")
    if parameters is None or not parameters.frozen:
        return "it is not a frozen dataclass"
    name = getattr(kind, "name", None)
    if not isinstance(name, str) or not name:
        return "it has no name"
    return f"the name {name!r} is taken" if name in taken else ""


def _default(one: Any) -> Any:
    return one.default_factory() if one.default_factory is not MISSING else one.default


def _attribute_docs(kind: type[Any]) -> dict[str, str]:
    """Return the texts of the ``Attributes`` of a class and of those that it extends, by field name."""
    docs: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        docs |= attribute_entries(inspect.cleandoc(each.__doc__ or ""))
    return docs


def attribute_entries(docstring: str) -> dict[str, str]:
    """Return the entries of a docstring's ``Attributes`` section by name."""
    docs: dict[str, str] = {}
    inside, name = False, ""
    for line in docstring.split("\n"):
        if line and not line.startswith(" "):
            inside = line.strip() == "Attributes:"
        elif inside and line.startswith("    ") and not line.startswith("     "):
            name, _, text = line.strip().partition(":")
            docs[name] = text.strip()
        elif inside and line.strip() and name:
            docs[name] += " " + line.strip()
    return docs


__all__ = [
    "FAMILIES",
    "Family",
    "Option",
    "PluginWarning",
    "attribute_entries",
    "flat_options",
    "get_method",
    "methods_of",
    "nested_options",
    "options_of",
    "summary",
]
