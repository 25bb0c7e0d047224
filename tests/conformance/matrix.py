"""The matrix: every architecture, tokenizer, file form, label form and PEFT method that is promised. One row each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

WIDE: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
ENCODER = WIDE | {"max_position_embeddings": 64, "initializer_range": 0.3, "pad_token_id": 0}
FAIRSEQ = WIDE | {"max_position_embeddings": 66, "initializer_range": 0.3, "pad_token_id": 0}
DECODER = WIDE | {
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
}
GPT = {
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 64,
    "initializer_range": 0.3,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
}
PAIR = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 64,
    "init_std": 0.3,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 2,
    "decoder_start_token_id": 1,
    "forced_eos_token_id": 1,
}
T5 = {"d_model": 32, "d_ff": 64, "d_kv": 8, "num_layers": 2, "num_heads": 4}
T5 |= {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}


@dataclass(frozen=True)
class Row:
    """One model folder: its architecture and config, its tokenizer, how it lies on disk.

    Attributes:
        kind: ``model_type`` of the config.
        config: what the config says beside vocabulary and labels.
        tokenizer: a name in ``TOKENIZERS``.
        labels: names of the classes; ``None`` for none in the config, so that transformers writes ``LABEL_0``.
        classes: number of classes.
        dtype: of the weights on disk.
        shard: largest file of weights, empty for one file.
        spare: embeddings more than the tokenizer has tokens (fewer where negative).
        refused: the words with which the row is refused, empty where it has to be right.
        purify: whether the round trip is made: purified, saved, loaded as the card says.
        unpurified: the words with which a purifier refuses the model, empty where the round trip is made.
        quick: part of the slice that ``make test`` runs.
    """

    kind: str
    config: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: str = "wordpiece"
    labels: tuple[str, ...] | None = ("negative", "positive")
    classes: int = 2
    dtype: str = "float32"
    shard: str = ""
    spare: int = 0
    refused: str = ""
    purify: bool = True
    unpurified: str = ""
    quick: bool = False


def _encoders() -> dict[str, Row]:
    plain = (
        "bert",
        "rembert",
        "roformer",
        "ernie",
        "electra",
        "squeezebert",
        "megatron-bert",
        "layoutlm",
        "nystromformer",
    )
    more: dict[str, dict[str, Any]] = {
        "electra": {"embedding_size": 32},
        "squeezebert": {"embedding_size": 32, "q_groups": 1, "k_groups": 1, "v_groups": 1},
        "rembert": {"input_embedding_size": 16, "output_embedding_size": 16},
        "roformer": {"embedding_size": 32},
        "nystromformer": {"num_landmarks": 8, "segment_means_seq_len": 8},
    }
    rows = {kind: Row(kind, ENCODER | more.get(kind, {}), quick=kind == "bert") for kind in plain}
    fairseq = (
        "roberta",
        "xlm-roberta",
        "camembert",
        "data2vec-text",
        "mpnet",
        "roberta-prelayernorm",
        "xlm-roberta-xl",
        "ibert",
    )
    rows |= {
        kind: Row(kind, FAIRSEQ, "unigram" if kind != "mpnet" else "wordpiece", quick=kind == "roberta")
        for kind in fairseq
    }
    for kind in ("squeezebert", "ibert"):
        rows[kind] = replace(rows[kind], unpurified="no plain linear layer")
    rows["albert"] = Row("albert", ENCODER | {"embedding_size": 16}, "unigram")
    rows["distilbert"] = Row(
        "distilbert",
        {
            "dim": 32,
            "n_layers": 2,
            "n_heads": 4,
            "hidden_dim": 64,
            "max_position_embeddings": 64,
            "initializer_range": 0.3,
            "pad_token_id": 0,
        },
        quick=True,
    )
    rows["deberta"] = Row(
        "deberta", ENCODER | {"pos_att_type": ["c2p", "p2c"], "relative_attention": True}, "wordpiece"
    )
    rows["deberta-v2"] = Row(
        "deberta-v2",
        ENCODER
        | {
            "pos_att_type": ["c2p", "p2c"],
            "relative_attention": True,
            "position_buckets": 16,
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
        },
        "unigram",
        quick=True,
    )
    rows["mobilebert"] = Row(
        "mobilebert",
        ENCODER
        | {"initializer_range": 0.1, "embedding_size": 32, "intra_bottleneck_size": 32, "num_feedforward_networks": 1},
    )
    rows["convbert"] = Row("convbert", ENCODER | {"embedding_size": 32, "conv_kernel_size": 3, "head_ratio": 2})
    rows["modernbert"] = Row(
        "modernbert",
        ENCODER
        | {
            "global_attn_every_n_layers": 2,
            "local_attention": 8,
            "cls_token_id": 2,
            "sep_token_id": 3,
            "bos_token_id": 2,
            "eos_token_id": 3,
            "initializer_cutoff_factor": 2.0,
        },
        quick=True,
    )
    rows["modernbert, mean"] = Row("modernbert", rows["modernbert"].config | {"classifier_pooling": "mean"})
    rows["esm"] = Row(
        "esm", FAIRSEQ | {"position_embedding_type": "rotary", "token_dropout": False, "mask_token_id": 4}
    )
    rows["longformer"] = Row("longformer", FAIRSEQ | {"attention_window": 8}, "unigram")
    rows["big_bird, full"] = Row("big_bird", ENCODER | {"attention_type": "original_full"}, "unigram")
    rows["big_bird, sparse"] = Row(
        "big_bird", ENCODER | {"attention_type": "block_sparse", "block_size": 2, "num_random_blocks": 1}, "unigram"
    )
    rows["funnel"] = Row(
        "funnel",
        {
            "block_sizes": [1, 1],
            "num_decoder_layers": 1,
            "d_model": 32,
            "n_head": 4,
            "d_head": 8,
            "d_inner": 64,
            "initializer_std": 0.3,
            "initializer_range": 0.3,
        },
        purify=True,
    )
    rows["fnet"] = Row("fnet", ENCODER | {"tpu_short_seq_length": 64})
    rows["xlnet"] = Row(
        "xlnet",
        {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64, "initializer_range": 0.3},
        "segments",
        quick=True,
    )
    xlm = {
        "emb_dim": 32,
        "n_layers": 2,
        "n_heads": 4,
        "max_position_embeddings": 64,
        "init_std": 0.3,
        "embed_init_std": 0.3,
        "pad_index": 0,
        "pad_token_id": 0,
    }
    rows["xlm"] = Row("xlm", xlm)
    rows["flaubert"] = Row("flaubert", xlm)
    rows["luke"] = Row("luke", FAIRSEQ | {"entity_vocab_size": 8, "entity_emb_size": 32}, "bytes, own pad")
    rows["nomic_bert"] = Row("nomic_bert", ENCODER)
    rows["eurobert"] = Row("eurobert", ENCODER | {"num_key_value_heads": 2})
    rows["nystromformer, landmarks"] = Row(
        "nystromformer",
        ENCODER | {"num_landmarks": 8, "segment_means_seq_len": 64},
        refused="cannot classify",
        purify=False,
    )
    return rows


def _decoders() -> dict[str, Row]:
    plain = (
        "llama",
        "qwen2",
        "qwen3",
        "mistral",
        "ministral",
        "gemma",
        "gemma2",
        "gemma3_text",
        "olmo",
        "olmo2",
        "phi",
        "phi3",
        "starcoder2",
        "stablelm",
        "persimmon",
        "smollm3",
        "nemotron",
        "glm",
        "glm4",
        "helium",
        "seed_oss",
        "arcee",
        "exaone4",
        "diffllama",
    )
    small = {"head_dim": 8}
    more: dict[str, dict[str, Any]] = {
        "gemma": small,
        "gemma2": small | {"query_pre_attn_scalar": 8, "sliding_window": 8},
        "gemma3_text": small | {"sliding_window": 8},
        "qwen3": small,
        "glm": small,
        "glm4": small,
        "helium": small,
        "seed_oss": small,
        "ministral": small,
        "mistral": {"sliding_window": 8},
        "persimmon": {"num_key_value_heads": 4},
    }
    rows = {
        kind: Row(kind, DECODER | more.get(kind, {}), "bytes", quick=kind in ("llama", "qwen2", "gemma3_text"))
        for kind in plain
    }
    experts = {"num_local_experts": 4, "num_experts_per_tok": 2}
    rows["mixtral"] = Row("mixtral", DECODER | experts, "bytes")
    rows["qwen2_moe"] = Row(
        "qwen2_moe",
        DECODER
        | {
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
            "shared_expert_intermediate_size": 32,
        },
        "bytes",
    )
    rows["qwen3_moe"] = Row(
        "qwen3_moe",
        DECODER | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "head_dim": 8},
        "bytes",
    )
    rows["gpt2"] = Row("gpt2", GPT, "bytes, no start token", quick=True)
    rows["gpt_bigcode"] = Row("gpt_bigcode", GPT | {"n_inner": 64}, "bytes")
    rows["gptj"] = Row("gptj", GPT | {"rotary_dim": 4}, "bytes")
    rows["openai-gpt"] = Row("openai-gpt", GPT, "bytes")
    rows["ctrl"] = Row("ctrl", GPT | {"dff": 64}, "bytes")
    rows["gpt_neo"] = Row(
        "gpt_neo",
        {
            "hidden_size": 32,
            "num_layers": 2,
            "num_heads": 4,
            "intermediate_size": 64,
            "max_position_embeddings": 64,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 8,
            "initializer_range": 0.3,
            "bos_token_id": 0,
            "eos_token_id": 1,
        },
        "bytes",
    )
    rows["gpt_neox"] = Row("gpt_neox", {k: v for k, v in DECODER.items() if k != "num_key_value_heads"}, "bytes")
    rows["opt"] = Row(
        "opt",
        {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "ffn_dim": 64,
            "max_position_embeddings": 64,
            "word_embed_proj_dim": 32,
            "init_std": 0.3,
            "pad_token_id": 2,
            "bos_token_id": 0,
            "eos_token_id": 1,
        },
        "bytes, own pad",
    )
    rows["bloom"] = Row(
        "bloom",
        {"hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.3, "pad_token_id": 2},
        "bytes, own pad",
    )
    rows["mpt"] = Row(
        "mpt", {"d_model": 32, "n_layers": 2, "n_heads": 4, "expansion_ratio": 2, "max_seq_len": 64}, "bytes"
    )
    rows["falcon"] = Row(
        "falcon",
        WIDE | {"max_position_embeddings": 64, "initializer_range": 0.3, "bos_token_id": 0, "eos_token_id": 1},
        "bytes",
    )
    rows["falcon, alibi"] = Row("falcon", rows["falcon"].config | {"alibi": True}, "bytes")
    rows["biogpt"] = Row(
        "biogpt", WIDE | {"max_position_embeddings": 64, "initializer_range": 0.3, "pad_token_id": 2}, "bytes, own pad"
    )
    rows["modernbert-decoder"] = Row(
        "modernbert-decoder",
        DECODER | {"local_attention": 8, "global_attn_every_n_layers": 2, "pad_token_id": 2},
        "bytes, own pad",
    )
    return rows


def _pairs() -> dict[str, Row]:
    rows = {kind: Row(kind, PAIR, "unigram", quick=kind == "bart") for kind in ("bart", "mbart", "plbart", "mvp")}
    rows |= {kind: Row(kind, T5, "unigram") for kind in ("t5", "mt5", "umt5")}
    rows["bigbird_pegasus, full"] = Row("bigbird_pegasus", PAIR | {"attention_type": "original_full"}, "unigram")
    return rows


def _forms() -> dict[str, Row]:
    """What else differs between checkpoints: tokenizer, pad token, dtype, shards, labels."""
    bert, llama = ENCODER, DECODER
    many = tuple(f"topic {i}" for i in range(64))
    return {
        "llama, no start token": Row("llama", llama, "bytes, no start token"),
        "llama, pad is eos": Row("llama", llama | {"pad_token_id": 1}, "bytes, pad is eos", quick=True),
        "llama, tokenizer alone pads with eos": Row("llama", llama, "bytes, pad is eos"),
        "llama, own pad": Row("llama", llama | {"pad_token_id": 2}, "bytes, own pad"),
        "llama, another pad than the tokenizer": Row("llama", llama | {"pad_token_id": 0}, "bytes, own pad"),
        "llama, pad -1": Row("llama", llama | {"pad_token_id": -1}, "bytes"),
        "llama, cut on the left": Row("llama", llama, "bytes, cut and padded on the left", quick=True),
        "llama, no bound": Row("llama", llama, "bytes, no bound"),
        "gpt2, token types": Row("gpt2", GPT, "bytes, token types", quick=True),
        "gpt2, pad is eos": Row("gpt2", GPT | {"pad_token_id": 1}, "bytes, pad is eos"),
        "qwen2, unigram": Row("qwen2", llama | {"pad_token_id": 0}, "unigram"),
        "bert, added tokens": Row("bert", bert, "wordpiece, added tokens", quick=True),
        "bert, spare embeddings": Row("bert", bert, "wordpiece, added tokens", spare=9),
        "bert, tokens beyond the embedding": Row(
            "bert", bert, "wordpiece, added tokens", spare=-2, refused="embeddings for", purify=False, quick=True
        ),
        "bert, return_dict false": Row("bert", bert | {"return_dict": False}, quick=True),
        "llama, return_dict false": Row("llama", llama | {"return_dict": False}, "bytes"),
        "bert, float16": Row("bert", bert, dtype="float16"),
        "bert, bfloat16": Row("bert", bert, dtype="bfloat16", quick=True),
        "llama, float16": Row("llama", llama, "bytes", dtype="float16"),
        "llama, bfloat16 in shards": Row("llama", llama, "bytes", dtype="bfloat16", shard="40KB", quick=True),
        "bert, shards": Row("bert", bert, shard="20KB"),
        "bert, three classes": Row("bert", bert, labels=("bad", "so so", "good"), classes=3),
        "bert, 64 classes": Row("bert", bert, labels=many, classes=64, quick=True),
        "llama, 64 classes": Row("llama", llama, "bytes", labels=many, classes=64),
        "bert, 32 classes as wide as the model": Row("bert", bert, labels=many[:32], classes=32),
        "bert, no names": Row("bert", bert, labels=None, quick=True),
        "llama, three without names": Row("llama", llama, "bytes", labels=None, classes=3),
    }


DECODERS = frozenset(row.kind for row in _decoders().values())
ROWS: dict[str, Row] = _encoders() | _decoders() | _pairs() | _forms()
