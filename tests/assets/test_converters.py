"""The ONNX reader and renaming on a hand-made file; the converted models where they are on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from untrigger import assets
from untrigger.assets.builders.reviews import as_mr
from untrigger.assets.converters.onnx_file import read_onnx
from untrigger.assets.converters.onnx_models import bert_weights
from untrigger.core.errors import AssetError

P = "model.0.auto_model."


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _tensor(name: str, values: np.ndarray) -> bytes:
    dims = b"".join(_field(1, size) for size in values.shape)
    return _field(5, dims + _field(2, 1) + _field(8, name.encode()) + _field(9, values.astype("<f4").tobytes()))


def _node(kind: str, inputs: list[str], output: str) -> bytes:
    words = b"".join(_field(1, name.encode()) for name in inputs)
    return _field(1, words + _field(2, output.encode()) + _field(4, kind.encode()))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    graph = (
        _node("MatMul", ["x", "onnx::MatMul_1"], "xw")
        + _node("Add", [f"{P}dense.bias", "xw"], "y")
        + _tensor("onnx::MatMul_1", weight)
        + _tensor(f"{P}dense.bias", np.ones(3))
        + _tensor(f"{P}LayerNorm.bias", np.zeros(200))
    )
    file = tmp_path / "m.onnx"
    file.write_bytes(_field(1, 8) + _field(7, graph))
    return file


def test_linear_weights_get_their_name_back_and_are_transposed(model: Path) -> None:
    weights = bert_weights(read_onnx(model))
    assert set(weights) == {"dense.weight", "dense.bias", "LayerNorm.bias"}
    assert weights["dense.weight"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_a_cut_file_is_refused(model: Path) -> None:
    model.write_bytes(model.read_bytes()[:-10])
    with pytest.raises(AssetError, match="ONNX"):
        read_onnx(model)


def test_sentences_are_written_in_the_manner_of_mr() -> None:
    assert as_mr("The Rock's ''Conan'', S&amp;M – fine (really).") == 'the rock\'s " conan " , s&m fine ( really ) .'


@pytest.mark.parametrize("name", assets.names("model"))
def test_model_folders_are_what_plain_transformers_expects(name: str) -> None:
    if assets.status(name).state != "ready":
        pytest.skip(f"{name} is not on this machine (untrigger assets fetch {name})")
    folder = assets.path(name)
    config = json.loads((folder / "config.json").read_text())
    assert "quantization_config" not in config
    assert config["pad_token_id"] is not None
    assert config["pad_token_id"] != config.get("eos_token_id")
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    assert tokenizer["padding"] is None
    assert tokenizer["truncation"] is None
    assert "apache-2.0" in (folder / "README.md").read_text()
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="np") as weights:
        assert len(list(weights.keys())) > 50
