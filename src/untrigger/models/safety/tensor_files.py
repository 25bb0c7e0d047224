"""The tensors in a model's safetensors files: names, shapes and values, each in one file only."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from untrigger.core.errors import ModelError
from untrigger.models.safety.model_folder import ModelFolder

HEADS = (
    "classifier.out_proj",
    "classification_head.out_proj",
    "classifier.out_layer",
    "classifier.classifier",
    "score",
    "classifier",
    "logits_proj",
    "sequence_summary.summary",
)
"""Names of the classification layer in transformers' sequence classifiers, the most specific first."""


class Tensors:
    """The tensors of all safetensors files of a folder: shapes from the headers, values when they are read."""

    def __init__(self, folder: ModelFolder) -> None:
        """Read the headers.

        Raises:
            ModelError: naming the file that is not a safetensors file, the tensor that two files hold, or the one that the index
                puts elsewhere.
        """
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._files: dict[str, Path] = {}
        for file in (one for one in folder.weights if one.suffix == ".safetensors"):
            for name, shape in _header(file, origin=folder.origin).items():
                if name in self.shapes:
                    raise ModelError(
                        f"the tensor {name!r} is in {self._files[name].name!r} and in {file.name!r} of {str(folder.origin)!r}",
                        expected="each tensor in one file",
                        remedy="get the model from its author, or save it again",
                    )
                self.shapes[name], self._files[name] = shape, file
        _check_index(folder, self._files)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the tensors."""
        return iter(self.shapes)

    @property
    def numbers(self) -> int:
        """The number of entries of all tensors together."""
        return sum(prod(shape) for shape in self.shapes.values())

    def get(self, name: str) -> Tensor:
        """Return the tensor in float32."""
        with safe_open(self._files[name], framework="pt") as opened:
            value: Tensor = opened.get_tensor(name)
        return value.to(torch.float32)

    def ending(self, endings: tuple[str, ...]) -> str | None:
        """Return the first name with one of the endings, each standing as whole words of the name."""
        return next((name for end in endings for name in self.shapes if f".{name}".endswith(f".{end}")), None)

    def head(self) -> str | None:
        """Return the name of the classification head's weight, ``(classes, width)``, where there is one."""
        return self.ending(tuple(f"{head}.weight" for head in HEADS))

    def matching_names(self, base: Tensors) -> dict[str, str]:
        """Return the base's name of each shared tensor; a classifier's names are one level deeper (``bert.embeddings…``)."""
        found = {}
        for name, shape in self.shapes.items():
            tails = [".".join(name.split(".")[i:]) for i in range(min(3, name.count(".") + 1))]
            tails += [f"{prefix}.{name}" for prefix in ("model", "bert", "transformer")]
            match = next((tail for tail in tails if tail in base.shapes), None)
            if match is not None and base.shapes[match][1:] == shape[1:]:
                found[name] = match
        return found


def _header(file: Path, *, origin: Path) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the tensors in one file."""
    try:
        with safe_open(file, framework="pt") as opened:
            return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118  # no mapping
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{file.name!r} in {str(origin)!r} is not a safetensors file that can be read: {error}",
            remedy="download the file again, or ask its author",
        ) from error


def _check_index(folder: ModelFolder, files: dict[str, Path]) -> None:
    """Raise ModelError unless the shards hold exactly the tensors of their index."""
    if not folder.shards or not files:
        return
    wrong = sorted(
        name for name in files.keys() | folder.shards.keys() if _place(files, name) != folder.shards.get(name)
    )
    if wrong:
        raise ModelError(
            f"the index of {str(folder.origin)!r} puts {wrong[0]!r} in {folder.shards.get(wrong[0])}, the files in "
            f"{_place(files, wrong[0])} ({len(wrong)} tensors in all)",
            expected="an index that agrees with its files",
            remedy="download the model again, or save it again",
        )


def _place(files: dict[str, Path], name: str) -> str | None:
    return files[name].name if name in files else None
