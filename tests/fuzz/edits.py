"""Small edits of files, of which the table of damages is made: each is a function of a folder and a random generator."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

NAN, INF, HUGE = float("nan"), float("inf"), 10**12
DEEP = {"a": {}}
for _ in range(40):
    DEEP = {"a": DEEP}
PEFT_FILE = "adapter_model.safetensors"
MAP = "model.safetensors.index.json"
ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
Edit = Callable[[Path, Random], object]
Tensors = dict[str, Tensor]


class DoesNotApplyError(Exception):
    """The damage has nothing to take hold of in this folder."""


def read(file: Path) -> Any:
    """The JSON value of a file that an edit changes."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DoesNotApplyError(str(error)) from error


def write(file: Path, value: object) -> None:
    file.write_text(json.dumps(value), encoding="utf-8")


def put(name: str, **changes: object) -> Edit:
    """Keys of a JSON object set; ``...`` takes a key away."""

    def edit(folder: Path, _: Random) -> None:
        value = read(folder / name)
        if not isinstance(value, dict):
            raise DoesNotApplyError(name)
        merged = value | changes
        write(folder / name, {key: one for key, one in merged.items() if one is not ...})

    return edit


def inner(name: str, path: str, value: object) -> Edit:
    """One value deep in a JSON file set (``...`` takes it away); ``path`` is dotted, numbers count in lists."""

    def edit(folder: Path, _: Random) -> None:
        whole = read(folder / name)
        place, *rest = whole, *path.split(".")
        try:
            for key in rest[:-1]:
                place = place[int(key)] if isinstance(place, list) else place[key]
            if value is ...:
                del place[rest[-1]]
            elif isinstance(place, list):
                place.append(value)
            else:
                place[rest[-1]] = value
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise DoesNotApplyError(path) from error
        write(folder / name, whole)

    return edit


def changed(name: str, change: Callable[[Any], Any]) -> Edit:
    """A JSON file after a change of its value."""

    def edit(folder: Path, _: Random) -> None:
        value = read(folder / name)
        try:
            new = change(value)
        except (KeyError, TypeError, IndexError, AttributeError, StopIteration) as error:
            raise DoesNotApplyError(name) from error
        write(folder / name, value if new is None else new)

    return edit


def raw(name: str, change: Callable[[bytes], bytes]) -> Edit:
    """A file after a change of its bytes."""

    def edit(folder: Path, _: Random) -> None:
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            raise DoesNotApplyError(name) from error
        (folder / name).write_bytes(change(content))

    return edit


def made(name: str, content: bytes | str | object = b"") -> Edit:
    """A file made beside the others: bytes, a text, or a value as JSON."""

    def edit(folder: Path, _: Random) -> None:
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            place.write_bytes(content)
        else:
            place.write_text(
                content if isinstance(content, str) else json.dumps(content), encoding="utf-8", errors="surrogatepass"
            )

    return edit


def gone(name: str) -> Edit:
    def edit(folder: Path, _: Random) -> None:
        if not os.path.lexists(folder / name):
            raise DoesNotApplyError(name)
        (folder / name).unlink()

    return edit


def moved(name: str, to: str) -> Edit:
    def edit(folder: Path, _: Random) -> None:
        if not os.path.lexists(folder / name):
            raise DoesNotApplyError(name)
        (folder / name).rename(folder / to)

    return edit


def instead(name: str, make: Callable[[Path], object]) -> Edit:
    """Something else (a pipe, a link, a folder) where the file was; the file lies beside the folder afterwards."""

    def edit(folder: Path, _: Random) -> None:
        if not os.path.lexists(folder / name):
            raise DoesNotApplyError(name)
        (folder / name).rename(folder.parent / f"away-{name}")
        make(folder / name)

    return edit


def tensors(name: str, change: Callable[[Tensors, Random], Tensors | None]) -> Edit:
    """A safetensors file after a change of its tensors."""

    def edit(folder: Path, rng: Random) -> None:
        try:
            value = load_file(folder / name)
        except Exception as error:  # noqa: BLE001
            raise DoesNotApplyError(name) from error
        new = change(value, rng)
        content = save(
            {key: one.contiguous() for key, one in (value if new is None else new).items()}, metadata={"format": "pt"}
        )
        (folder / name).write_bytes(content)

    return edit


def header(name: str, change: Callable[[dict[str, Any]], object]) -> Edit:
    """A safetensors file after a change of its header; the data stay as they are."""

    def edit(folder: Path, _: Random) -> None:
        try:
            content = (folder / name).read_bytes()
            (length,) = struct.unpack("<Q", content[:8])
            value = json.loads(content[8 : 8 + length])
            new = change(value)
        except (OSError, struct.error, ValueError, StopIteration, TypeError, AttributeError) as error:
            raise DoesNotApplyError(name) from error
        spelled = new if isinstance(new, bytes) else json.dumps(value if new is None else new).encode()
        (folder / name).write_bytes(struct.pack("<Q", len(spelled)) + spelled + content[8 + length :])

    return edit


def one_of(names: Tensors, end: str) -> str:
    """The first tensor's name with that ending."""
    found = next((name for name in sorted(names) if name.endswith(end)), None)
    if found is None:
        raise DoesNotApplyError(end)
    return found


def to_dtype(dtype: torch.dtype, *, end: str = "") -> Callable[[Tensors, Random], Tensors]:
    """Tensors of another dtype, those with the ending or all."""
    return lambda all_of, _: {name: one.to(dtype) if name.endswith(end) else one for name, one in all_of.items()}


def set_one(end: str, change: Callable[[Tensor], Tensor]) -> Callable[[Tensors, Random], Tensors]:
    """One tensor changed."""

    def edit(all_of: Tensors, _: Random) -> Tensors:
        name = one_of(all_of, end)
        return all_of | {name: change(all_of[name])}

    return edit


def without(part: str) -> Callable[[Tensors, Random], Tensors]:
    """The tensors with ``part`` in their name left out."""

    def edit(all_of: Tensors, _: Random) -> Tensors:
        if not any(part in name for name in all_of):
            raise DoesNotApplyError(part)
        return {name: one for name, one in all_of.items() if part not in name}

    return edit


def renamed(change: Callable[[str], str]) -> Callable[[Tensors, Random], Tensors]:
    """Every tensor under another name."""

    def edit(all_of: Tensors, _: Random) -> Tensors:
        new = {change(name): one for name, one in all_of.items()}
        if new.keys() == all_of.keys():
            raise DoesNotApplyError("no name changes")
        return new

    return edit


def flip_bits(content: bytes, rng: Random, *, count: int = 3) -> bytes:
    """The bytes with a few bits turned over."""
    changed_bytes = bytearray(content)
    for _ in range(count if changed_bytes else 0):
        changed_bytes[rng.randrange(len(changed_bytes))] ^= 1 << rng.randrange(8)
    return bytes(changed_bytes)


def bits(name: str) -> Edit:
    """A file with a few bits turned over at random places."""

    def edit(folder: Path, rng: Random) -> None:
        if not (folder / name).is_file():
            raise DoesNotApplyError(name)
        (folder / name).write_bytes(flip_bits((folder / name).read_bytes(), rng))

    return edit


def cut(name: str, share: float | None = None) -> Edit:
    """A file cut off at a share of its length, or at a random place."""

    def edit(folder: Path, rng: Random) -> None:
        if not (folder / name).is_file():
            raise DoesNotApplyError(name)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * (rng.random() if share is None else share))])

    return edit
