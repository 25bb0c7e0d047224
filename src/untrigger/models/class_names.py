"""The classes of a classifier: their number and names, and whether it chooses one class a text at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from untrigger.core.errors import ModelError
from untrigger.models.classifier import Classifier
from untrigger.models.safety.limits import MAX_CLASSES
from untrigger.models.safety.model_folder import ModelFolder
from untrigger.models.safety.opened_files import SIDECAR
from untrigger.models.safety.regular_files import read_json
from untrigger.models.safety.tensor_files import Tensors

OTHER_TASKS = {"regression": "a regression", "multi_label_classification": "a multi-label"}


def class_names(
    folder: ModelFolder, root: ModelFolder, wanted: Sequence[str] | None, *, new_head: bool
) -> tuple[str, ...]:
    """Return the names of the classes in the order of the logits; ``LABEL_0`` and so on where nothing names them.

    Args:
        folder: the model or adapter.
        root: for an adapter its base, else the same folder.
        wanted: the names that the user gives; needed with ``new_head``.
        new_head: a fresh head is made, so that the model's own names do not count.

    Raises:
        ModelError: for names that contradict the model's own, for another number of them, and for heads that do not choose one
            class of several.
    """
    if new_head:
        if not wanted:
            raise ModelError(
                f"a new head of {str(folder.origin)!r} needs label names", remedy="give them with --labels"
            )
        return tuple(wanted)
    _refuse_other_tasks(folder, root)
    own = _own_names(folder, root)
    if len(own) == 1:
        raise ModelError(
            f"{str(folder.origin)!r} has one output: a regression or sigmoid head",
            expected="a classifier with a logit for each of two classes or more",
        )
    if not wanted:
        return tuple(own)
    return _reconciled(folder, own, tuple(wanted))


def has_default_names(names: Sequence[str]) -> bool:
    """Return whether names are those that transformers gives to classes that nobody named: ``LABEL_0``, ``LABEL_1``, …."""
    return all(name == f"LABEL_{i}" for i, name in enumerate(names))


def with_matching_names(model: Classifier, names: tuple[str, ...]) -> Classifier:
    """Return ``model`` with ``names`` where it or they are anonymous and as many, so that classes go by number; else itself."""
    nameless = has_default_names(names) or has_default_names(model.label_names)
    return replace(model, label_names=names) if nameless and len(names) == model.classes else model


def _reconciled(folder: ModelFolder, own: list[str], wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Return the user's names where the model has none of its own, else the model's, which must be the same."""
    if len(wanted) != len(own):
        raise ModelError(
            f"the model {str(folder.origin)!r} has {len(own)} classes ({', '.join(own)})",
            expected=f"as many label names, not the {len(wanted)} of {list(wanted)}",
        )
    if not has_default_names(own) and [name.casefold() for name in wanted] != [name.casefold() for name in own]:
        raise ModelError(
            f"the label names {list(wanted)} contradict those of {str(folder.origin)!r}",
            expected=f"{own}, in this order",
            remedy="leave out --labels, and use the model's names in the data",
        )
    return wanted if has_default_names(own) else tuple(own)


def _refuse_other_tasks(folder: ModelFolder, root: ModelFolder) -> None:
    kind = str(root.config.get("problem_type") or folder.config.get("problem_type") or "")
    if kind in OTHER_TASKS:
        raise ModelError(
            f"{str(folder.origin)!r} has {OTHER_TASKS[kind]} head (problem_type {kind!r})",
            expected="a classifier that chooses one class of several",
        )


def _own_names(folder: ModelFolder, root: ModelFolder) -> list[str]:
    """Return the names in the model's own files; for an adapter with its own head only as many as that head has rows."""
    count = _classes(folder, root)
    names = _written_names(folder, root)
    if not names or (folder.kind == "adapter" and len(names) != count and not (folder.path / SIDECAR).is_file()):
        return [f"LABEL_{i}" for i in range(count)]
    if len(names) != count:
        raise ModelError(
            f"the files of {str(folder.origin)!r} name {len(names)} classes, the head has {count}",
            expected="a name for each class",
            remedy="correct the names in config.json or untrigger.json",
        )
    return names


def _classes(folder: ModelFolder, root: ModelFolder) -> int:
    """Return how many classes the head has: by the adapter's own head, else by the config that transformers builds the model from.

    Raises:
        ModelError: where the config contradicts itself or the head.
    """
    rows = _head_rows(folder)
    if folder.kind == "adapter" and rows is not None:
        return rows
    count = _configured_classes(root)
    if folder.kind == "full" and count > 1 and rows not in (None, count):
        raise ModelError(
            f"the config of {str(root.origin)!r} has {count} classes, the head has {rows}",
            expected="as many classes in config.json as the head has rows",
            remedy="correct id2label and num_labels in config.json",
        )
    return count


def _head_rows(folder: ModelFolder) -> int | None:
    """Return how many rows the head in the folder's safetensors files has, None where there is no known head."""
    if any(file.suffix != ".safetensors" for file in folder.weights):
        return None
    tensors = Tensors(folder)
    head = tensors.head()
    return tensors.shapes[head][0] if head is not None and len(tensors.shapes[head]) == 2 else None


def _configured_classes(root: ModelFolder) -> int:
    """Return how many classes transformers gives the head: by the names in the config, else by ``num_labels``, else two.

    Raises:
        ModelError: for names and a number that contradict each other, and for numbers that cannot be.
    """
    names, number = root.config.get("id2label"), root.config.get("num_labels")
    number = number if isinstance(number, int) and not isinstance(number, bool) else None
    if number is not None and not 0 < number <= MAX_CLASSES:
        raise ModelError(
            f"the config of {str(root.origin)!r} sets num_labels to {str(number)[:40]}",
            expected=f"1 to {MAX_CLASSES:,} classes",
        )
    if isinstance(names, dict):
        if not names or number not in (None, len(names)):
            raise ModelError(
                f"the config of {str(root.origin)!r} names {len(names)} classes"
                + (f" and sets num_labels to {number}" if number is not None else ""),
                expected="as many names in id2label as there are classes",
                remedy="correct the config",
            )
        return len(names)
    return number or 2


def _written_names(folder: ModelFolder, root: ModelFolder) -> list[str]:
    """Return the names in the model's files, empty where nothing names the classes.

    The config that transformers reads comes first for full weights, our own file first for an adapter, whose base may have been
    made for another task. Names that are in both, ignoring case, must have the same order.

    Raises:
        ModelError: where the names are not a list of different names, or the two files contradict each other.
    """
    sidecar = folder.path / SIDECAR
    config = _listed(root.config.get("id2label") or {}, root.origin / "config.json")
    written = read_json(sidecar, origin=folder.origin / SIDECAR).get("label_names", []) if sidecar.is_file() else []
    own = _listed(written, folder.origin / SIDECAR)
    named = [names for names in (own, config) if names and not has_default_names(names)]
    if _in_other_order(own, config) or (len(named) == 2 and own != config and folder.kind == "full"):
        raise ModelError(
            f"{SIDECAR} in {str(folder.origin)!r} names the classes {own}, config.json {config}",
            expected="the same names in one order",
            remedy=f"delete {SIDECAR}, or correct the one that is wrong",
        )
    return named[0] if named else own or config


def _in_other_order(left: Sequence[str], right: Sequence[str]) -> bool:
    """Return whether names that are in both lists, ignoring case, differ in order (in position, if the lists are equally long)."""
    folded = [[name.strip().casefold() for name in names] for names in (left, right)]
    if any(len(set(names)) < len(names) for names in folded):  # names that differ in case only are compared exactly
        folded = [list(left), list(right)]
    mine, theirs = folded
    if len(mine) == len(theirs):
        return any(name in theirs and name != other for name, other in zip(mine, theirs, strict=True))
    return [name for name in mine if name in theirs] != [name for name in theirs if name in mine]


def _listed(names: object, file: Path) -> list[str]:
    """Return names as a list, from a list or from an object with numbers as keys."""
    if isinstance(names, dict) and sorted(names) == sorted(str(i) for i in range(len(names))):
        names = [names[str(i)] for i in range(len(names))]
    if (
        not isinstance(names, list)
        or not all(isinstance(one, str | int) for one in names)
        or len(set(map(str, names))) < len(names)
    ):
        raise ModelError(
            f"the label names in {str(file)!r} are {str(names)[:80]}",
            expected='different names, such as {"0": "negative", "1": "positive"}',
            remedy="correct the file",
        )
    return [str(one) for one in names]
