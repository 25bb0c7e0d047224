"""What can be wrong with weight files and the index of shards."""

from __future__ import annotations

import json
from typing import Any

import torch

from tests.fuzz.damaged_folders import replaced
from tests.fuzz.edits import (
    INF,
    MAP,
    NAN,
    ONE,
    PEFT_FILE,
    TWO,
    Edit,
    bits,
    changed,
    cut,
    header,
    made,
    moved,
    put,
    raw,
    renamed,
    set_one,
    tensors,
    to_dtype,
    without,
)


def weights(name: str) -> dict[str, Edit]:
    """What can be wrong with any safetensors file: its bytes, its header, its tensors."""
    first = lambda v: v[next(key for key in sorted(v) if key != "__metadata__")]  # noqa: E731
    dtypes = (
        torch.float16,
        torch.bfloat16,
        torch.float64,
        torch.int8,
        torch.int32,
        torch.uint8,
        torch.bool,
        torch.float8_e4m3fn,
        torch.float8_e5m2,
    )
    return {
        **{f"cut to {share:.0%}": cut(name, share) for share in (0, 0.01, 0.3, 0.99)},
        "cut by a byte": raw(name, lambda b: b[:-1]),
        "a byte more": raw(name, lambda b: b + b"\0"),
        "4 bytes long": raw(name, lambda b: b[:4]),
        "8 bytes long": raw(name, lambda b: b[:8]),
        "all zero": raw(name, lambda b: bytes(len(b))),
        "header of 2^63 bytes": raw(name, lambda b: b"\xff" * 7 + b"\x7f" + b[8:]),
        "header longer than the file": raw(name, lambda b: (len(b) + 1).to_bytes(8, "little") + b[8:]),
        "header is a list": header(name, lambda _: b"[]"),
        "header is no JSON": header(name, lambda _: b"{nothing}"),
        "header is empty": header(name, lambda _: b"{}"),
        "header nested deep": header(name, lambda _: b'{"a":' * 5000 + b"1" + b"}" * 5000),
        "header of 110 MB": header(name, lambda v: json.dumps(v).encode() + b" " * 110_000_000),
        "header of 90 MB": header(name, lambda v: json.dumps(v).encode() + b" " * 90_000_000),
        "header with a name twice": header(name, lambda v: (s := json.dumps(v)).encode()[:-1] + b", " + s.encode()[1:]),
        "offsets overlap": header(name, lambda v: first(v).update(data_offsets=[0, first(v)["data_offsets"][1]])),
        "offsets beyond the file": header(name, lambda v: first(v).update(data_offsets=[2**40, 2**40 + 4])),
        "offsets negative": header(name, lambda v: first(v).update(data_offsets=[-4, 0])),
        "offsets turned round": header(name, lambda v: first(v)["data_offsets"].reverse()),
        "offsets are texts": header(name, lambda v: first(v).update(data_offsets=["0", "4"])),
        "shape does not fit": header(name, lambda v: first(v).update(shape=[3, 3])),
        "shape negative": header(name, lambda v: first(v).update(shape=[-1, 4])),
        "shape overflows": header(name, lambda v: first(v).update(shape=[2**63, 2])),
        "dtype unknown": header(name, lambda v: first(v).update(dtype="F33")),
        "dtype F16 of twice the length": header(
            name, lambda v: first(v).update(dtype="F16", shape=[*first(v)["shape"][:-1], first(v)["shape"][-1] * 2])
        ),
        "dtype I32 over floats": header(name, lambda v: first(v).update(dtype="I32")),
        "metadata is a list": header(name, lambda v: v.update(__metadata__=[1])),
        "metadata with numbers": header(name, lambda v: v.update(__metadata__={"format": 5})),
        "metadata missing": header(name, lambda v: {key: one for key, one in v.items() if key != "__metadata__"}),
        "metadata format tf": header(name, lambda v: v.update(__metadata__={"format": "tf"})),
        "metadata format flax": header(name, lambda v: v.update(__metadata__={"format": "flax"})),
        "metadata format nonsense": header(name, lambda v: v.update(__metadata__={"format": "x"})),
        "metadata format mlx": header(name, lambda v: v.update(__metadata__={"format": "mlx"})),
        "bits turned": bits(name),
        "no tensors": tensors(name, lambda _, __: {}),
        **{f"all {str(one).removeprefix('torch.')}": tensors(name, to_dtype(one)) for one in dtypes},
        **{
            f"one tensor {str(one).removeprefix('torch.')}": tensors(name, to_dtype(one, end="0.weight"))
            for one in dtypes[:4]
        },
        "complex": tensors(name, to_dtype(torch.complex64)),
        "NaN in one": tensors(name, set_one("weight", lambda t: torch.full_like(t, NAN))),
        "infinite in one": tensors(name, set_one("weight", lambda t: torch.full_like(t, INF))),
        "float16 too large": tensors(name, set_one("weight", lambda t: torch.full_like(t, 1e30))),
        "denormal": tensors(name, set_one("weight", lambda t: t * 1e-40)),
        "transposed": tensors(name, set_one("weight", lambda t: t.t() if t.dim() == 2 else t.unsqueeze(0))),
        "flat": tensors(name, set_one("weight", lambda t: t.reshape(-1))),
        "a row more": tensors(name, set_one("weight", lambda t: torch.cat([t, t[:1]]))),
        "a row fewer": tensors(name, set_one("weight", lambda t: t[:-1])),
        "no rows": tensors(name, set_one("weight", lambda t: t[:0])),
        "a scalar": tensors(name, set_one("weight", lambda t: t.flatten()[0])),
        "an axis more": tensors(name, set_one("weight", lambda t: t.unsqueeze(-1))),
        "an empty tensor more": tensors(name, lambda v, _: v | {"empty": torch.zeros(0)}),
        "a tensor more": tensors(name, lambda v, _: v | {"bert.extra.weight": torch.ones(2)}),
        "a tensor without a name": tensors(name, lambda v, _: v | {"": torch.ones(2)}),
        "a name with a line end": tensors(name, lambda v, _: v | {"a\nb": torch.ones(2)}),
        "a random tensor missing": tensors(name, lambda v, r: v.pop(r.choice(sorted(v))) is None or v),
        "names in capitals": tensors(name, renamed(str.upper)),
        "names with module.": tensors(name, renamed(lambda n: f"module.{n}")),
        "names with model.": tensors(name, renamed(lambda n: f"model.{n}")),
        "names without the first part": tensors(
            name, renamed(lambda n: n.partition(".")[2] if n.count(".") > 1 else n)
        ),
        "gamma and beta": tensors(
            name, renamed(lambda n: n.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"))
        ),
    }


FULL = {
    "no head": tensors("model.safetensors", without("classifier")),
    "no score": tensors("model.safetensors", without("score")),
    "no pooler": tensors("model.safetensors", without("pooler")),
    "no last norm": tensors("model.safetensors", without("model.norm")),
    "no embedding": tensors("model.safetensors", without("embed")),
    "no biases": tensors("model.safetensors", without("bias")),
    "no second layer": tensors("model.safetensors", without(".1.")),
    "head of 3 rows": tensors("model.safetensors", set_one("classifier.weight", lambda t: torch.cat([t, t[:1]]))),
    "score of 3 rows": tensors("model.safetensors", set_one("score.weight", lambda t: torch.cat([t, t[:1]]))),
    "score of 1 row": tensors("model.safetensors", set_one("score.weight", lambda t: t[:1])),
    "score with a bias": tensors("model.safetensors", lambda v, _: v | {"score.bias": torch.ones(2)}),
    "embedding a row short": tensors(
        "model.safetensors", set_one("embeddings.word_embeddings.weight", lambda t: t[:-1])
    ),
    "embedding 8 rows longer": tensors(
        "model.safetensors", set_one("embed_tokens.weight", lambda t: torch.cat([t, t[:8]]))
    ),
    "lm_head of its own": tensors("model.safetensors", lambda v, _: v | {"lm_head.weight": torch.ones(384, 32)}),
    "decoder of a masked model": tensors(
        "model.safetensors", lambda v, _: v | {"cls.predictions.decoder.weight": torch.ones(99, 32)}
    ),
    "position_ids of another order": tensors(
        "model.safetensors", lambda v, _: v | {"bert.embeddings.position_ids": torch.arange(64).flip(0)[None]}
    ),
    "token_type_ids of ones": tensors(
        "model.safetensors", lambda v, _: v | {"bert.embeddings.token_type_ids": torch.ones(1, 64, dtype=torch.long)}
    ),
    "inv_freq of another base": tensors(
        "model.safetensors", lambda v, _: v | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}
    ),
    "inv_freq at the top": tensors("model.safetensors", lambda v, _: v | {"model.rotary_emb.inv_freq": torch.ones(4)}),
    "a mask that blinds": tensors(
        "model.safetensors", lambda v, _: v | {"bert.encoder.layer.0.attention.bias": torch.zeros(1)}
    ),
    "quantisation scales": tensors(
        "model.safetensors", lambda v, _: v | {"bert.pooler.dense.weight_scale": torch.ones(1)}
    ),
    "weight norm": tensors(
        "model.safetensors", lambda v, _: v | {"classifier.parametrizations.weight.original0": torch.ones(2, 1)}
    ),
    "a layer more": tensors(
        "model.safetensors", lambda v, _: v | {n.replace(".1.", ".2."): t.clone() for n, t in v.items() if ".1." in n}
    ),
    "layer minus one": tensors(
        "model.safetensors", lambda v, _: v | {n.replace(".1.", ".-1."): t.clone() for n, t in v.items() if ".1." in n}
    ),
}
LORA = {
    "lora_A missing": tensors(PEFT_FILE, without("lora_A")),
    "lora_B missing": tensors(PEFT_FILE, without("lora_B")),
    "one layer missing": tensors(PEFT_FILE, without(".1.")),
    "head missing": tensors(PEFT_FILE, without("classifier")),
    "head's bias missing": tensors(PEFT_FILE, without("classifier.bias")),
    "score missing": tensors(PEFT_FILE, without("score")),
    "head of 3 rows": tensors(PEFT_FILE, set_one("classifier.weight", lambda t: torch.cat([t, t[:1]]))),
    "score of 3 rows": tensors(PEFT_FILE, set_one("score.weight", lambda t: torch.cat([t, t[:1]]))),
    "lora_A of rank 4": tensors(
        PEFT_FILE, lambda v, _: {n: torch.cat([t, t]) if "lora_A" in n else t for n, t in v.items()}
    ),
    "rank 4 throughout": tensors(
        PEFT_FILE,
        lambda v, _: {
            n: torch.cat([t, t]) if "lora_A" in n else torch.cat([t, t], 1) if "lora_B" in n else t
            for n, t in v.items()
        },
    ),
    "adapter's name in the keys": tensors(
        PEFT_FILE, renamed(lambda n: n.replace("lora_A.weight", "lora_A.default.weight"))
    ),
    "keys without the prefix": tensors(PEFT_FILE, renamed(lambda n: n.removeprefix("base_model.model."))),
    "keys with the prefix twice": tensors(PEFT_FILE, renamed(lambda n: f"base_model.model.{n}")),
    "head under modules_to_save": tensors(
        PEFT_FILE, renamed(lambda n: n.replace("classifier.", "classifier.modules_to_save.default."))
    ),
    "head under original_module": tensors(
        PEFT_FILE, renamed(lambda n: n.replace("classifier.", "classifier.original_module."))
    ),
    "both heads": tensors(
        PEFT_FILE,
        lambda v, _: (
            v
            | {
                n.replace("classifier.", "classifier.original_module."): t + 1
                for n, t in v.items()
                if "classifier." in n
            }
        ),
    ),
    "a norm of the base": tensors(
        PEFT_FILE, lambda v, _: v | {"base_model.model.model.norm.weight": torch.full((32,), 2.0)}
    ),
    "an embedding of the base": tensors(
        PEFT_FILE, lambda v, _: v | {"base_model.model.bert.embeddings.word_embeddings.weight": torch.ones(99, 32)}
    ),
    "a base layer": tensors(
        PEFT_FILE,
        lambda v, _: v | {n.replace("lora_A", "base_layer"): torch.ones(32, 32) for n in list(v) if "lora_A" in n},
    ),
    "a DoRA magnitude": tensors(
        PEFT_FILE,
        lambda v, _: (
            v | {n.replace("lora_A.weight", "lora_magnitude_vector"): torch.ones(32) for n in list(v) if "lora_A" in n}
        ),
    ),
    "layer 7": tensors(
        PEFT_FILE, lambda v, _: v | {n.replace(".0.", ".7."): t.clone() for n, t in v.items() if ".0." in n}
    ),
    "a bias of LoRA": tensors(
        PEFT_FILE,
        lambda v, _: v | {n.replace("lora_B.weight", "lora_B.bias"): torch.ones(32) for n in list(v) if "lora_B" in n},
    ),
}


def _remapped(**changes: object) -> Edit:
    """The map of tensors with its first entry, or all, set to something else."""

    def change(value: Any) -> None:
        where = value["weight_map"]
        first = sorted(where)[0]
        where.update({first: changes["first"]} if "first" in changes else dict.fromkeys(where, changes["all_to"]))

    return changed(MAP, change)


INDEX = {
    **replaced(MAP),
    **replaced(ONE),
    **{
        f"a tensor in {ascii(one)[:40]}": _remapped(first=one)
        for one in (
            TWO,
            "no-such.safetensors",
            "../x.safetensors",
            "/etc/passwd",
            "weights.bin",
            "",
            5,
            None,
            ["x"],
            f"./{ONE}",
            ONE.upper(),
            "a\nb.safetensors",
            ".safetensors",
        )
    },
    "all tensors in one shard": _remapped(all_to=ONE),
    "weight_map missing": put(MAP, weight_map=...),
    "weight_map empty": put(MAP, weight_map={}),
    "weight_map a list": put(MAP, weight_map=[ONE]),
    "a tensor more": changed(MAP, lambda v: v["weight_map"].update(extra=ONE)),
    "a tensor fewer": changed(MAP, lambda v: v["weight_map"].pop(sorted(v["weight_map"])[0]) and None),
    "metadata missing": put(MAP, metadata=...),
    "metadata a list": put(MAP, metadata=[]),
    "total_size a text": put(MAP, metadata={"total_size": "x"}),
    "total_size negative": put(MAP, metadata={"total_size": -1}),
    "total_size huge": put(MAP, metadata={"total_size": 10**18}),
    "shards swapped": lambda f, r: (moved(ONE, "x")(f, r), moved(TWO, ONE)(f, r), moved("x", TWO)(f, r)),
    "a shard twice": lambda f, _: (f / TWO).write_bytes((f / ONE).read_bytes()),
    "a third shard beside": made("model-00003-of-00003.safetensors", b"x"),
    "a whole file beside": made("model.safetensors", b"x"),
    "a pickle index beside": made("pytorch_model.bin.index.json", {"weight_map": {"a": "b.bin"}}),
    "plain names": lambda f, r: (
        moved(ONE, "a.safetensors")(f, r),
        moved(TWO, "b.safetensors")(f, r),
        changed(
            MAP,
            lambda v: v["weight_map"].update(
                {k: "a.safetensors" if w == ONE else "b.safetensors" for k, w in v["weight_map"].items()}
            ),
        )(f, r),
    ),
}
