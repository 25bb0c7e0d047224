"""The words that a shell completes: methods, presets and data sets, found without importing a method (or torch)."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import untrigger
from untrigger.core.registry import FAMILIES, Family


def method_names(family: Family) -> list[str]:
    """Return the names of the family's own methods, sorted, as their source files state them."""
    facts = FAMILIES[family]
    base = facts.base.partition(":")[2]
    classes = {one.name: one for package in facts.packages for one in _classes(package)}
    return sorted(
        {name for one in classes.values() if (name := _stated_name(one)) and base in _ancestors(one.name, classes)}
    )


def purifiers(incomplete: str) -> list[str]:
    """Return the completions of ``--method`` of ``purify``, which takes several with commas: of classifiers and language models."""
    return _listed(incomplete, {*method_names("defences"), *method_names("language_defences")})


def detectors(incomplete: str) -> list[str]:
    """Return the completions of ``--method`` of ``detect``."""
    return _beginning(incomplete, method_names("detectors"))


def scanners(incomplete: str) -> list[str]:
    """Return the completions of ``--method`` of ``scan``."""
    return _beginning(incomplete, method_names("scanners"))


def guards(incomplete: str) -> list[str]:
    """Return the completions of ``--guard``, which takes several with commas."""
    return _listed(incomplete, method_names("guards"))


def triggers(incomplete: str) -> list[str]:
    """Return the completions of ``--trigger``, which takes several with commas."""
    return _listed(incomplete, method_names("attacks"))


def behaviours(incomplete: str) -> list[str]:
    """Return the completions of ``--behaviour``."""
    return _beginning(incomplete, method_names("behaviours"))


def presets(incomplete: str) -> list[str]:
    """Return the completions of ``--preset``."""
    from untrigger.attacks.presets import BEHAVIOUR_PRESETS, PRESETS

    return _beginning(incomplete, [*PRESETS, *BEHAVIOUR_PRESETS])


def data_sets(incomplete: str) -> list[str]:
    """Return the completions of ``--data``: data sets by name; where none fits, the shell completes paths."""
    from untrigger import assets
    from untrigger.data.public_datasets import PUBLIC_DATASETS

    return _beginning(incomplete, {*PUBLIC_DATASETS, *assets.names(kind="data")})


def corpora(incomplete: str) -> list[str]:
    """Return the completions of ``--unlabelled-from``, which takes several public corpora with commas, or ``auto``."""
    from untrigger import assets

    return _listed(incomplete, [*assets.names(kind="data"), "auto"])


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))


def _listed(incomplete: str, names: Iterable[str]) -> list[str]:
    """Return completions of the last word of a list with commas, without the words that are in it already."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in _beginning(last, set(names) - set(before.split(",")))]


def _classes(package: str) -> Iterator[ast.ClassDef]:
    """Yield the classes of all files of a package of untrigger."""
    folder = Path(untrigger.__file__).parent.joinpath(*package.split(".")[1:])
    for file in sorted(folder.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        yield from (one for one in tree.body if isinstance(one, ast.ClassDef))


def _stated_name(kind: ast.ClassDef) -> str | None:
    """Return the value of the class's own ``name``."""
    for line in kind.body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.target.id == "name":
            return (
                line.value.value if isinstance(line.value, ast.Constant) and isinstance(line.value.value, str) else None
            )
    return None


def _ancestors(name: str, classes: dict[str, ast.ClassDef]) -> set[str]:
    """Return the names of all bases of a class, as far as they are among ``classes``, and of those beyond."""
    direct = {ast.unparse(base).partition("[")[0] for base in classes[name].bases} if name in classes else set()
    return direct.union(*(_ancestors(base, classes) for base in direct))
