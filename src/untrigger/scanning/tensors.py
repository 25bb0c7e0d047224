"""The tensors of a folder, read one by one and only through safetensors; everything that could run code is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from untrigger.errors import ModelError
from untrigger.models.inspect import PICKLES, read_json, refuse_remote_code

EMBEDDINGS = ("word_embeddings.weight", "embed_tokens.weight", "wte.weight", "shared.weight", "tok_embeddings.weight")
PACKED = (".joblib", ".npy", ".npz", ".h5", ".keras", ".msgpack")
"""Forms that hold pickles or code in some of their versions; transformers reads none of them here."""
PROGRAMS = (".py", ".pyc", ".so", ".dll", ".sh")
LISTED = 20
HEADS = ("score", "classifier", "classifier.out_proj")


class Tensors:
    """The tensors of all safetensors files of a folder: shapes from the headers, values when they are asked for."""

    def __init__(self, folder: Path) -> None:
        """Read the headers.

        Raises:
            ModelError: naming the file that is no safetensors file.
        """
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._files: dict[str, Path] = {}
        for file in sorted(folder.glob("*.safetensors")):
            try:
                with safe_open(file, framework="pt") as opened:
                    for name in opened.keys():  # noqa: SIM118  # no mapping: it has keys() and nothing else
                        self.shapes[name] = tuple(opened.get_slice(name).get_shape())
                        self._files[name] = file
            except (SafetensorError, OSError) as error:
                raise ModelError(
                    f"{file.name!r} in {str(folder)!r} is no safetensors file that can be read: {error}",
                    remedy="download the file again, or ask its author",
                ) from error

    def __iter__(self) -> Iterator[str]:
        """The names of the tensors."""
        return iter(self.shapes)

    def get(self, name: str) -> Tensor:
        """The tensor in float32."""
        with safe_open(self._files[name], framework="pt") as opened:
            value: Tensor = opened.get_tensor(name)
        return value.to(torch.float32)

    def ending(self, endings: tuple[str, ...]) -> str | None:
        """The first name with one of the endings, each standing as whole words of the name."""
        return next((name for name in self.shapes if any(f".{name}".endswith(f".{end}") for end in endings)), None)

    def head(self) -> str | None:
        """The name of the classification head's weight, ``(classes, width)``, where there is one."""
        return self.ending(tuple(f"{head}.weight" for head in reversed(HEADS)))

    def twins(self, base: Tensors) -> dict[str, str]:
        """For each name the base's name of the same tensor; a classifier's lie one level deeper (``bert.embeddings…``)."""
        found = {}
        for name, shape in self.shapes.items():
            tails = [".".join(name.split(".")[i:]) for i in range(min(3, name.count(".") + 1))]
            tails += [f"{prefix}.{name}" for prefix in ("model", "bert", "transformer")]
            twin = next((tail for tail in tails if tail in base.shapes), None)
            if twin is not None and base.shapes[twin][1:] == shape[1:]:
                found[name] = twin
        return found


def refuse_code(folder: Path) -> list[str]:
    """A line for each file of the folder that was not opened: pickles and programs.

    Raises:
        UnsafeFileError: if any config of the folder asks for code of its own.
    """
    for file in sorted(folder.glob("*config*.json")):
        refuse_remote_code(read_json(file), where=file)
    inside = sorted(p for pattern in ("*", "*/*") for p in folder.glob(pattern) if p.is_file())
    pickles = [p for p in inside if p.suffix.lower() in PICKLES]
    packed = [p for p in inside if p.suffix.lower() in PACKED]
    programs = [p for p in inside if p.suffix.lower() in PROGRAMS]
    return [
        *_named(pickles, folder, why="a pickle, opening it can run code"),
        *_named(packed, folder, why="a form that can hold a pickle or code"),
        *_named(programs, folder, why="a program, it was not run"),
    ]


def _named(files: list[Path], folder: Path, *, why: str) -> list[str]:
    """A line a file, and one for all beyond ``LISTED``."""
    lines = [f"{file.relative_to(folder)}: {why}" for file in files[:LISTED]]
    return lines + ([f"{len(files) - LISTED} more: {why}"] if len(files) > LISTED else [])
