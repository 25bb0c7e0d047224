"""Reader of the parts of an ONNX file that hold weights (protobuf wire format).

The onnx package would do the same, but is compiled, some 9 MB, and has further dependencies, for one asset.

Field numbers are those of onnx.proto3: ModelProto.graph 7; GraphProto.node 1, .initializer 5; NodeProto.input 1,
.output 2, .op_type 4; TensorProto.dims 1, .data_type 2, .name 8, .raw_data 9.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from untrigger.core.errors import AssetError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FLOAT = 1
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Node:
    """One operation of the graph."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """Operations in order, and the float32 weights by name."""

    nodes: tuple[Node, ...]
    weights: dict[str, Array]


def read_onnx(file: Path) -> Graph:
    """Return the graph's operations and float32 weights.

    Raises:
        AssetError: if the file is not an ONNX model.
    """
    try:
        model = memoryview(file.read_bytes())
        parts = [part for number, part in _fields(model) if number == 7 and isinstance(part, memoryview)]
        fields = list(_fields(parts[0]))
        nodes = tuple(_node(part) for number, part in fields if number == 1 and isinstance(part, memoryview))
        tensors = [_tensor(part) for number, part in fields if number == 5 and isinstance(part, memoryview)]
    except (IndexError, ValueError) as error:
        raise AssetError(f"{file.name} cannot be read as an ONNX model: {error}", remedy="fetch it again") from error
    return Graph(nodes, {name: values for name, values in tensors if values is not None})


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Iterate over the (field number, value) pairs of one protobuf message."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at + size > len(data):
            raise ValueError("a field reaches past the end")
        yield number, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number is too long")


def _node(data: memoryview) -> Node:
    words: dict[int, list[str]] = {1: [], 2: [], 4: []}
    for number, value in _fields(data):
        if number in words and isinstance(value, memoryview):
            words[number].append(bytes(value).decode())
    return Node("".join(words[4]), tuple(words[1]), tuple(words[2]))


def _tensor(data: memoryview) -> tuple[str, Array | None]:
    """Return name and values of a tensor; None as values for other types than float32."""
    dims: list[int] = []
    kind, name, raw = 0, "", memoryview(b"")
    for number, value in _fields(data):
        if number == 1:
            dims += [value] if isinstance(value, int) else _packed(value)
        elif number == 2 and isinstance(value, int):
            kind = value
        elif number == 8 and isinstance(value, memoryview):
            name = bytes(value).decode()
        elif number == 9 and isinstance(value, memoryview):
            raw = value
    if kind != _FLOAT or not len(raw):
        return name, None
    return name, np.frombuffer(raw, dtype="<f4").reshape(dims).astype(np.float32)


def _packed(data: memoryview) -> list[int]:
    numbers, at = [], 0
    while at < len(data):
        value, at = _varint(data, at)
        numbers.append(value)
    return numbers
