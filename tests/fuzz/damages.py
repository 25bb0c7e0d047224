"""The table of damages: what can be wrong with a model's folder, one row a kind. ``...`` as a value takes the key away.

``WHERE`` says on which folder a part's damages fall: the one with ``config.json`` (of an adapter its base), the adapter's, or the
one that holds the tokenizer.
"""

from __future__ import annotations

import gzip
import json
import os
import pickle
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tests.fuzz.edits import (
    Edit,
    bits,
    changed,
    cut,
    gone,
    header,
    inner,
    instead,
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

NAN, INF, HUGE = float("nan"), float("inf"), 10**12
DEEP = {"a": {}}
for _ in range(40):
    DEEP = {"a": DEEP}


@dataclass(frozen=True)
class Damage:
    """One kind of damage: which part of the folder, what it is called, and the edit."""

    part: str
    name: str
    edit: Edit

    def __str__(self) -> str:
        return f"{self.part}: {self.name}"


def rows(part: str, file: str, values: Mapping[str, Iterable[object]]) -> Iterator[Damage]:
    """A row for each value of each key of a JSON file."""
    for key, several in values.items():
        for value in several:
            edit = inner(file, key, value) if "." in key else put(file, **{key: value})
            yield Damage(part, f"{ascii(key)[1:-1]} = {'absent' if value is ... else ascii(value)[:60]}", edit)


def named(part: str, edits: Mapping[str, Edit]) -> Iterator[Damage]:
    yield from (Damage(part, name, edit) for name, edit in edits.items())


# config.json

CONFIG: dict[str, list[Any]] = {
    "model_type": [
        ...,
        "",
        5,
        None,
        "roberta",
        "gpt2",
        "distilbert",
        "albert",
        "no-such-model",
        "BERT",
        "../bert",
        ["bert"],
    ],
    "architectures": [
        ...,
        [],
        None,
        "BertForSequenceClassification",
        [5],
        ["BertForMaskedLM"],
        ["LlamaForCausalLM"],
        ["No"],
    ],
    "hidden_size": [..., None, "32", 0, -32, 33, 64, 32.0, HUGE, True, [32]],
    "num_hidden_layers": [..., None, "2", 0, -1, 1, 3, 2.5, 10**9, 10**30],
    "num_attention_heads": [..., "4", 0, -4, 1, 3, 8, 64, 4.0],
    "intermediate_size": [..., "64", 0, -1, 63, HUGE],
    "vocab_size": [..., None, "99", 0, -1, 10, 98, 100, HUGE, 10**30],
    "max_position_embeddings": [..., "64", 0, -1, 1, 4, 63, 65, HUGE, 64.0],
    "type_vocab_size": [0, 1, 3, -1, "2", HUGE],
    "hidden_act": ["relu", "gelu_new", "silu", "gelu", "linear", "GELU", "no-such", "", None, 5],
    "layer_norm_eps": [0, -1, 1.0, 1e300, NAN, INF, "1e-12", None],
    "rms_norm_eps": [0, -1, 1.0, NAN, "1e-6", None],
    "initializer_range": [0, -1, NAN, "x", None],
    "hidden_dropout_prob": [1.0, 1.5, -1, "x", None],
    "attention_dropout": [1.0, "x"],
    "classifier_dropout": [0.5, 2, "x"],
    "pad_token_id": [..., None, -1, 5, 98, 99, 10**9, "0", 1.5, True],
    "eos_token_id": [None, 10**9, "x", [1, 2], 5],
    "bos_token_id": [10**9, "x"],
    "tie_word_embeddings": [True, False, None, "yes"],
    "num_labels": [0, 1, 2, 3, -1, "2", None],
    "id2label": [
        ...,
        None,
        {},
        [],
        "positive",
        {"0": "a", "2": "b"},
        {"1": "a", "2": "b"},
        {"1": "positive", "0": "negative"},
        {"a": "x", "b": "y"},
        {"0": "a"},
        {"0": "a", "1": "b", "2": "c"},
        {"0": "a", "1": "a"},
        {"0": 7, "1": 8},
        {"0": None, "1": "b"},
        {"0": ["a"], "1": "b"},
        {"-1": "a", "0": "b"},
        {"00": "a", "1": "b"},
        {"\u0660": "a", "\u0661": "b"},
        {"0": "", "1": "b"},
        {"0": " a", "1": "a"},
        {"0": "A", "1": "a"},
        {"0": "a\n# b", "1": "\x1b[31mb"},
        {"0": "x" * 5000, "1": "b"},
        {"0": "\ud800", "1": "b"},
        {"0": "LABEL_1", "1": "LABEL_0"},
        {"0": "a", "1": "b", "1.0": "c"},
        {str(i): str(i) for i in range(3000)},
        {"0": True, "1": False},
    ],
    "label2id": [
        ...,
        None,
        {},
        [],
        {"negative": 1, "positive": 0},
        {"x": 0, "y": 1},
        {"negative": "0", "positive": "1"},
        {"negative": 5},
        7,
    ],
    "problem_type": ["single_label_classification", "multi_label_classification", "regression", "no-such", 5, "", None],
    "return_dict": [False, None, "no"],
    "output_hidden_states": [True, "x"],
    "output_attentions": [True],
    "torchscript": [True],
    "use_cache": [False],
    "dtype": ["float16", "bfloat16", "float64", "int8", "no-such", 5, None, "auto"],
    "torch_dtype": ["float16", "x"],
    "auto_map": [{"AutoModel": "evil.Evil"}, {"AutoTokenizer": ["evil.Evil", None]}, {}, None],
    "quantization_config": [{"quant_method": "gptq"}, {"quant_method": "bitsandbytes", "load_in_8bit": True}, {}, 5],
    "compression_config": [{"quant_method": "compressed-tensors"}],
    "transformers_weights": ["other.safetensors", "/etc/passwd"],
    "_attn_implementation": ["eager", "sdpa", "flash_attention_2", "flex_attention", "no-such", 5, "someone/kernel"],
    "attn_implementation": ["sdpa", "flash_attention_2", "someone/kernel", {"": "sdpa"}],
    "experts_implementation": ["grouped_mm", "x"],
    "is_decoder": [True, "x"],
    "add_cross_attention": [True],
    "is_encoder_decoder": [True],
    "chunk_size_feed_forward": [1, 7, -1, "x"],
    "position_embedding_type": ["relative_key", "x"],
    "pruned_heads": [{"0": [0]}, {"0": [0, 1, 2, 3]}, {"9": [0]}, 5],
    "rope_parameters": [
        ...,
        None,
        {},
        5,
        {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0},
        {"rope_type": "dynamic", "factor": 2.0},
        {"rope_type": "yarn", "factor": 2.0, "rope_theta": 10000.0},
        {"rope_type": "longrope"},
        {"rope_type": "no-such", "rope_theta": 1e4},
        {"rope_type": "llama3", "rope_theta": 1e4},
        {"rope_type": "linear", "factor": 0, "rope_theta": 1e4},
        {"rope_type": "linear", "factor": "x", "rope_theta": 1e4},
        {"rope_type": "default", "rope_theta": 0},
        {"rope_type": "default", "rope_theta": -1},
        {"rope_type": "default", "rope_theta": NAN},
        {"rope_type": "default", "rope_theta": "x"},
        {"rope_type": "default", "rope_theta": 1e308},
        {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5},
    ],
    "rope_scaling": [{"type": "linear", "factor": 4.0}, {"rope_type": "yarn", "factor": 4.0}, {"type": "x"}, 5],
    "rope_theta": [1e6, 0, "x"],
    "head_dim": [..., None, 0, -8, 16, 8, "8", HUGE],
    "num_key_value_heads": [..., None, 0, 1, 3, 4, "2"],
    "attention_bias": [True, "x"],
    "mlp_bias": [True],
    "pretraining_tp": [2, 0, "x"],
    "text_config": [{}, 5, {"hidden_size": 16}, DEEP],
    "vision_config": [{}],
    "attribute_map": [{"hidden_size": "x"}, {"num_hidden_layers": "vocab_size"}],
    "base_model_tp_plan": [5],
    "to_dict": [5],
    "get_text_config": [5],
    "base_config_key": ["text_config"],
    "sub_configs": [{"text_config": 5}],
    "_name_or_path": ["/etc", 5],
    "_commit_hash": ["x", 5],
    "transformers_version": [..., "99.0", "x", 5, None],
    "use_safetensors": [False],
    "trust_remote_code": [True],
    "custom_generate": ["evil"],
    "max_length": [5],
    "num_beams": [4],
    "task_specific_params": [5, {"x": {"max_length": 5}}],
    "finetuning_task": ["sst2"],
    "gradient_checkpointing": [True],
    "tokenizer_class": ["BertTokenizer", "NoSuchTokenizer", 5, "../x", "T5Tokenizer"],
    "unheard_of": [1, "\ud800", DEEP, 10**400],
    "Hidden_Size": [64],
    "\ud800": [1],
    "": [1],
    "__class__": [5, "x"],
    "__init__": [5],
    "__dict__": [{}],
    "layer_types": [["full_attention"], ["no-such", "x"], 5],
    "use_bidirectional_attention": [True],
    "sep_token_id": [5, "x"],
    "decoder_start_token_id": [5],
}


def spelled(name: str) -> dict[str, Edit]:
    """What can be wrong with the bytes of any JSON file."""
    return {
        "empty": raw(name, lambda _: b""),
        "white space": raw(name, lambda _: b" \n"),
        "byte order mark": raw(name, lambda b: b"\xef\xbb\xbf" + b),
        "UTF-16": raw(name, lambda b: b.decode("utf-8", "replace").encode("utf-16")),
        "Latin-1 letter": raw(name, lambda b: b.replace(b"{", b'{"caf\xe9": 1, ', 1)),
        "a list": raw(name, lambda b: b"[" + b + b"]"),
        "null": raw(name, lambda _: b"null"),
        "a number": raw(name, lambda _: b"5"),
        "a text": raw(name, lambda _: b'"{}"'),
        "empty object": raw(name, lambda _: b"{}"),
        "trailing comma": raw(name, lambda b: b.rstrip()[:-1] + b",}"),
        "trailing words": raw(name, lambda b: b + b" x"),
        "two objects": raw(name, lambda b: b + b),
        "comment": raw(name, lambda b: b"// x\n" + b),
        "single quotes": raw(name, lambda b: b.replace(b'"', b"'")),
        "NUL inside": raw(name, lambda b: b.replace(b"{", b"{\0", 1)),
        "line ends of Windows": raw(name, lambda b: b.replace(b"\n", b"\r\n")),
        "the first key twice": raw(name, lambda b: b.replace(b"{", b"{" + b.lstrip()[1:].split(b",")[0] + b",", 1)),
        "a key twice, other values": raw(name, lambda b: b.replace(b"{", b'{"x": 1, "x": 2,', 1)),
        "nested 3,000 objects deep": raw(name, lambda _: b'{"a":' * 3000 + b"1" + b"}" * 3000),
        "nested 200,000 lists deep": raw(
            name, lambda b: b.replace(b"{", b'{"a": ' + b"[" * 200_000 + b"]" * 200_000 + b",", 1)
        ),
        "nested 40 deep": changed(name, lambda v: v | {"a_b": DEEP}),
        "a number of 5,000 digits": raw(name, lambda b: b.replace(b"{", b'{"big": ' + b"9" * 5000 + b",", 1)),
        "1e999": raw(name, lambda b: b.replace(b"{", b'{"big": 1e999,', 1)),
        "NaN": raw(name, lambda b: b.replace(b"{", b'{"not_a_number": NaN,', 1)),
        "zipped": raw(name, gzip.compress),
        "64 MiB and more": raw(name, lambda b: b + b" " * 2**26),
        "cut in the middle": cut(name, 0.5),
        "cut at random": cut(name),
        "bits turned": bits(name),
    }


# tokenizer files

TOKENIZER_CONFIG: dict[str, list[Any]] = {
    "tokenizer_class": [
        ...,
        None,
        5,
        "",
        "BertTokenizer",
        "BertTokenizerFast",
        "LlamaTokenizer",
        "PreTrainedTokenizerFast",
        "NoSuch",
        "../x",
    ],
    "model_max_length": [..., None, 0, -1, 1, 2, 3, 4, 10**30, "64", 1.5, True, NAN],
    "padding_side": ["left", "right", "middle", 5, None],
    "truncation_side": ["left", "middle", 5],
    "pad_token": [..., None, "good", "no-such-token", 5, ["x"], {"content": "[PAD]", "__type": "AddedToken"}, ""],
    "unk_token": [..., None, "cf", "no-such-token", 5],
    "cls_token": [None, "cf", "no-such-token"],
    "sep_token": [None, "good"],
    "bos_token": [None, "good", "no-such-token"],
    "eos_token": [None, "good", "no-such-token", 5],
    "mask_token": ["film"],
    "do_lower_case": [False, True],
    "add_bos_token": [True, False],
    "add_eos_token": [True],
    "add_prefix_space": [True, False],
    "added_tokens_decoder": [
        {},
        {"5": {"content": "zz", "special": True}},
        {"1000000": {"content": "zz", "special": False}},
        {"x": {"content": "zz"}},
        {
            "99": {
                "content": "cf",
                "special": True,
                "lstrip": True,
                "rstrip": True,
                "normalized": False,
                "single_word": False,
            }
        },
        {"5": 5},
        [],
    ],
    "additional_special_tokens": [["cf"], ["no-such"], [5], "cf", {"a": "cf"}, ["good film"]],
    "extra_special_tokens": [["cf"], {"image_token": "cf"}, {"cf": 5}, ["<image>"], 5],
    "split_special_tokens": [True],
    "model_input_names": [
        ["input_ids"],
        ["input_ids", "attention_mask"],
        [],
        [5],
        ["input_ids", "token_type_ids", "attention_mask", "x"],
    ],
    "clean_up_tokenization_spaces": [True],
    "chat_template": ["{{ x", 5, "{% for %}"],
    "tokenizer_file": ["/etc/passwd", "other.json", 5],
    "vocab_file": ["/etc/passwd"],
    "merges_file": ["/etc/passwd"],
    "fast_tokenizer_files": [["tokenizer.4.0.0.json"], ["tokenizer.99.0.0.json"], 5, ["../x.json"]],
    "name_or_path": ["/etc", 5],
    "backend": ["sentencepiece", "mistral", "x", 5],
    "from_slow": [True],
    "use_fast": [False],
    "legacy": [True, False],
    "max_length": [3, "x"],
    "stride": [2],
    "truncation_strategy": ["only_second"],
    "pad_to_multiple_of": [8],
    "auto_map": [{"AutoTokenizer": ["evil.Evil", None]}],
    "processor_class": ["NoSuch"],
    "trust_remote_code": [True],
    "__class__": [5],
    "unheard_of": [DEEP, NAN],
}
WORD = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
BOMB = {"type": "Split", "pattern": {"Regex": r"(?:x+x+)+y"}, "behavior": "Isolated", "invert": False}
TOKENIZER: dict[str, list[Any]] = {
    "version": [..., "2.0", 1],
    "model": [
        ...,
        None,
        {},
        {"type": "WordLevel", "vocab": {"good": 0, "[UNK]": 1, "<s>": 2, "[CLS]": 3, "[SEP]": 4}, "unk_token": "[UNK]"},
    ],
    "model.type": [..., "No", "Unigram", "BPE", "WordPiece"],
    "model.vocab": [..., {}, [], {"a": 0}, None],
    "model.vocab.zzz": [0, 5, 10**6, 2**31, 2**32, -1, 1.5, "x", None],
    "model.vocab.good": [...],
    "model.unk_token": ["no-such", None, 5],
    "model.dropout": [0.5, 2, "x"],
    "model.max_input_chars_per_word": [0, 1, 3, -1, 2**63],
    "model.continuing_subword_prefix": ["", "@@", None],
    "model.fuse_unk": [True],
    "model.byte_fallback": [True],
    "model.ignore_merges": [True],
    "model.merges": [[], [["a", "b", "c"]], ["a b"], [["no-such", "pair"]], 5, ["a"]],
    "added_tokens": [..., [], None, [5]],
    "added_tokens.0": [
        {"id": 5, "content": "cf", **WORD},
        {"id": 10**6, "content": "film", **WORD},
        {"id": 2**32, "content": "x", **WORD},
        {"id": -1, "content": "x", **WORD},
        {"id": 99, "content": "", **WORD},
        {"id": 99, "content": "\ud800", **WORD},
        {"id": 99},
        {"id": 384, "content": "a good", **WORD},
        {"id": 99, "content": "a", **(WORD | {"normalized": True, "lstrip": True})},
    ],
    "normalizer": [
        None,
        {"type": "No"},
        {"type": "Lowercase"},
        {"type": "Prepend", "prepend": "cf "},
        {"type": "NFKC"},
        5,
        {"type": "Replace", "pattern": {"Regex": r"(?:x+x+)+y"}, "content": ""},
        {"type": "Replace", "pattern": {"Regex": "("}, "content": ""},
        {"type": "Replace", "pattern": {"String": ""}, "content": "x"},
        {"type": "Precompiled", "precompiled_charsmap": "AAAA"},
    ],
    "pre_tokenizer": [
        None,
        {"type": "No"},
        BOMB,
        BOMB | {"pattern": {"Regex": "("}},
        BOMB | {"pattern": {"Regex": ""}},
        {"type": "Whitespace"},
        {"type": "Split", "pattern": {"String": ""}, "behavior": "Removed", "invert": False},
        5,
    ],
    "post_processor": [
        None,
        {"type": "No"},
        {"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}},
        {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "no", "type_id": 0}}],
            "pair": [],
            "special_tokens": {},
        },
        {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        {"type": "BertProcessing", "sep": ["x", 10**6], "cls": ["y", 5]},
        {"type": "RobertaProcessing", "sep": ["x", 3], "cls": ["y", 2], "trim_offsets": True, "add_prefix_space": True},
        5,
    ],
    "decoder": [None, {"type": "No"}, {"type": "Replace", "pattern": {"String": "cf"}, "content": "the"}, 5],
    "truncation": [
        {"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        {"max_length": 0, "strategy": "LongestFirst", "stride": 0},
        {"max_length": 3, "strategy": "LongestFirst", "stride": 5, "direction": "Left"},
        {"max_length": 4, "strategy": "No", "stride": 0},
        5,
    ],
    "padding": [
        {
            "strategy": {"Fixed": 20},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "[PAD]",
        },
        {
            "strategy": "BatchLongest",
            "direction": "Left",
            "pad_to_multiple_of": 8,
            "pad_id": 10**6,
            "pad_type_id": 9,
            "pad_token": "x",
        },
        5,
    ],
    "unheard_of": [1],
}

# adapter_config.json

ADAPTER: dict[str, list[Any]] = {
    "peft_type": [
        ...,
        None,
        5,
        "",
        "lora",
        "LoRA",
        "IA3",
        "ADALORA",
        "LOHA",
        "VERA",
        "PROMPT_TUNING",
        "PREFIX_TUNING",
        "LN_TUNING",
        "XLORA",
        "NO_SUCH",
    ],
    "task_type": [..., None, 5, "TOKEN_CLS", "CAUSAL_LM", "FEATURE_EXTRACTION", "seq_cls", "NO"],
    "r": [..., None, 0, -1, 1, 4, "2", 2.0, 2.5, True, 10**9, 10**30, [2]],
    "lora_alpha": [..., None, 0, -1, 1, 64, "4", NAN, INF, 1e30, 10**400, [1]],
    "lora_dropout": [0.5, 1.0, -1, "x", None, NAN],
    "bias": ["all", "lora_only", "none", "no-such", 5, None],
    "fan_in_fan_out": [True, "x"],
    "use_rslora": [True, "yes", None],
    "use_dora": [True, "x"],
    "lora_bias": [True],
    "use_qalora": [True],
    "modules_to_save": [
        ...,
        None,
        [],
        ["no-such"],
        "classifier",
        ["classifier", "score", "pooler"],
        5,
        [5],
        ["embeddings"],
        ["classifier", "classifier"],
    ],
    "target_modules": [
        ...,
        None,
        [],
        "all-linear",
        ["query"],
        ["q_proj"],
        ["no-such"],
        ["value", "v_proj"],
        "(",
        r"(([a-z._0-9]+)+)+~",
        5,
        [5],
        [""],
        {"query": 1},
        ".*",
        ".*(query|q_proj)",
        "x" * 30_000,
        ["classifier"],
        ["LayerNorm"],
        ["word_embeddings", "embed_tokens"],
    ],
    "exclude_modules": [["query", "q_proj"], "(", 5, ["0.attention.self.query"], ".*0.*"],
    "layers_to_transform": [[0], 0, [5], -1, "x", 10**9, []],
    "layers_pattern": ["layer", "x", 5, ["layers"], "("],
    "rank_pattern": [
        {"query": 1, "q_proj": 1},
        {"query": "x", "q_proj": "x"},
        {"query": 0, "q_proj": 0},
        [],
        5,
        {"(": 1},
        {"query": 10**12, "q_proj": 10**12},
    ],
    "alpha_pattern": [
        {"query": 99, "q_proj": 99},
        {"query": "x", "q_proj": "x"},
        {"(": 1},
        5,
        {"query": NAN, "q_proj": NAN},
    ],
    "init_lora_weights": [
        True,
        False,
        "gaussian",
        "pissa",
        "pissa_niter_4",
        "olora",
        "loftq",
        "corda",
        "eva",
        "orthogonal",
        5,
        "no-such",
    ],
    "layer_replication": [[[0, 1], [0, 2]], []],
    "megatron_config": [{"a": 1}, {}],
    "megatron_core": ["os", 5],
    "loftq_config": [{"loftq_bits": 4}, 5],
    "auto_mapping": [{"base_model_class": "Evil", "parent_library": "os"}, 5],
    "base_model_name_or_path": [
        ...,
        None,
        "",
        5,
        "no-such-folder",
        "/no/such/folder",
        "someone/no-such-model",
        "minilm-l3x",
        ".",
        ["x"],
    ],
    "revision": [None, "main", "../x", 5],
    "inference_mode": [False, "x", None],
    "trainable_token_indices": [None, [1], [10**9], [-1], {"word_embeddings": [1]}, {"x": [1]}, "x", 5],
    "target_parameters": [["x"], [], 5],
    "ensure_weight_tying": [True],
    "eva_config": [{"rho": 1}],
    "corda_config": [{"cache_file": "x"}],
    "runtime_config": [{"ephemeral_gpu_offload": True}],
    "alora_invocation_tokens": [[1], None],
    "lora_ga_config": [{}, {"a": 1}],
    "arrow_config": [{"a": 1}],
    "use_bdlora": [True],
    "peft_version": [..., "99", 5],
    "R": [4],
    "unheard_of": [1, None, "\ud800"],
    "__class__": [5],
}
SIDECAR: dict[str, list[Any]] = {
    "label_names": [
        ...,
        None,
        [],
        ["a"],
        ["positive", "negative"],
        ["a", "b", "c"],
        ["a", "a"],
        [5, 6],
        [None, "b"],
        [["a"], "b"],
        "ab",
        {"0": "a", "1": "b"},
        {"a": 0, "b": 1},
        ["\ud800", "b"],
        ["a\n# b", "\x1b[31m"],
        5,
    ],
    "max_length": [..., None, 0, -1, 1, 2, 3, 10, 64, 10**12, 10**30, "x", 1.5, True, NAN],
    "base": [..., None, "minilm-l3", "/etc", 5, "../../x", "\ud800"],
    "unheard_of": [1, DEEP],
}


# weights


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
PEFT_FILE = "adapter_model.safetensors"
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

# folders

PICKLE = pickle.dumps({"a": 1})


def replaced(name: str) -> dict[str, Edit]:
    """What can stand where a file should be."""
    return {
        f"{name} missing": gone(name),
        f"{name} is a folder": instead(name, lambda p: p.mkdir()),
        f"{name} is a pipe": instead(name, os.mkfifo),
        f"{name} is a link to itself": instead(name, lambda p: p.symlink_to(p.name)),
        f"{name} is a link to nothing": instead(name, lambda p: p.symlink_to("nothing")),
        f"{name} is a link out": instead(name, lambda p: p.symlink_to(p.parent.parent / f"away-{p.name}")),
        f"{name} is a link to a device": instead(name, lambda p: p.symlink_to("/dev/zero")),
        f"{name} is a link within": lambda f, r: (moved(name, "inside")(f, r), (f / name).symlink_to("inside")),
        f"{name} in capitals": moved(name, name.upper()),
    }


FOLDER = {
    **replaced("config.json"),
    **replaced("model.safetensors"),
    **replaced("tokenizer.json"),
    **replaced("tokenizer_config.json"),
    "nobody may read the weights": lambda f, _: next(f.glob("*.safetensors")).chmod(0),
    "empty": lambda f, _: [one.unlink() for one in f.iterdir()],
    "adapter_config.json beside": made("adapter_config.json", {"peft_type": "LORA"}),
    "empty adapter_config.json beside": made("adapter_config.json"),
    "index beside": made("model.safetensors.index.json", {"weight_map": {"a": "model.safetensors"}}),
    "broken index beside": made("model.safetensors.index.json", "{"),
    "pickle beside": made("pytorch_model.bin", PICKLE),
    "pickle instead": lambda f, r: (
        moved("model.safetensors", "away.txt")(f, r),
        (f / "pytorch_model.bin").write_bytes(PICKLE),
    ),
    "pickle index instead": lambda f, r: (
        moved("model.safetensors", "away.txt")(f, r),
        made("pytorch_model.bin.index.json", {"weight_map": {"a": "b.bin"}})(f, r),
    ),
    "weights under another name": moved("model.safetensors", "weights.safetensors"),
    "weights of a variant": moved("model.safetensors", "model.fp16.safetensors"),
    "a variant beside": made("model.fp16.safetensors", b"x"),
    "code beside": made("modeling_bert.py", "raise SystemExit(1)"),
    "code in a folder beside": made("custom_generate/generate.py", "raise SystemExit(1)"),
    "generation_config.json broken": made("generation_config.json", "{"),
    "generation_config.json odd": made("generation_config.json", {"max_length": "x", "pad_token_id": 10**9}),
    "preprocessor_config.json odd": made("preprocessor_config.json", {"feature_extractor_type": "No"}),
    "processor_config.json odd": made(
        "processor_config.json", {"processor_class": "No", "auto_map": {"AutoProcessor": "e.E"}}
    ),
    "tokenizer.4.0.0.json beside": made("tokenizer.4.0.0.json", "{"),
    "vocab.txt in another order": made(
        "vocab.txt", "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "bad", "good"])
    ),
    "vocab.json and merges.txt beside": lambda f, r: (
        made("vocab.json", {"a": 0})(f, r),
        made("merges.txt", "#version\na b")(f, r),
    ),
    "tokenizer.model beside": made("tokenizer.model", b"\x0a\x05garbage"),
    "spiece.model beside": made("spiece.model", b""),
    "tekken.json beside": made("tekken.json", {"config": {}}),
    "special_tokens_map.json contradicts": made("special_tokens_map.json", {"unk_token": "good", "pad_token": "bad"}),
    "special_tokens_map.json broken": made("special_tokens_map.json", "{"),
    "special_tokens_map.json a list": made("special_tokens_map.json", [1]),
    "added_tokens.json contradicts": made("added_tokens.json", {"cf": 5, "zz": 99}),
    "added_tokens.json beyond": made("added_tokens.json", {"zz": 10**9}),
    "added_tokens.json broken": made("added_tokens.json", "{"),
    "added_tokens.json odd": made("added_tokens.json", {"zz": "x"}),
    "chat_template.jinja broken": made("chat_template.jinja", "{{ x"),
    "chat_template.jinja no text": made("chat_template.jinja", b"\xff\xfe"),
    "additional_chat_templates beside": made("additional_chat_templates/a.jinja", "{{ x"),
    "300 files beside": lambda f, r: [made(f"stray/{i}.bin", PICKLE)(f, r) for i in range(300)],
    "a deep folder beside": made("/".join(["d"] * 60) + "/x.pkl", PICKLE),
    "a name that is no text": lambda f, _: Path(os.fsdecode(os.fsencode(f) + b"/\xff\n\x1b[31m.bin")).write_bytes(
        PICKLE
    ),
    "a link loop of folders": lambda f, _: (f / "loop").symlink_to(f),
    "a sparse file of 1 TB beside": lambda f, _: [(f / "big.bin").touch(), os.truncate(f / "big.bin", 10**12)],
    "consolidated.safetensors beside": made("consolidated.safetensors", b"x"),
    "tf_model.h5 beside": made("tf_model.h5", b"\x89HDF"),
    "README.md is a link out": lambda f, _: (f / "README.md").symlink_to("/etc/passwd"),
    "untrigger.json names the labels turned round": made("untrigger.json", {"label_names": ["positive", "negative"]}),
    "untrigger.json broken": made("untrigger.json", "{"),
    "untrigger.json max_length 3": made("untrigger.json", {"max_length": 3}),
    "untrigger.json max_length 10^12": made("untrigger.json", {"max_length": 10**12}),
    "untrigger.json is a link out": lambda f, _: (f / "untrigger.json").symlink_to("/etc/passwd"),
    "peft's folder within": made("adapter/adapter_config.json", {"peft_type": "LORA"}),
}
ADAPTER_FOLDER = {
    **replaced("adapter_config.json"),
    **replaced(PEFT_FILE),
    "a decoy beside a pickle": lambda f, r: (
        moved(PEFT_FILE, "adapter_model-decoy.safetensors")(f, r),
        (f / "adapter_model.bin").write_bytes(PICKLE),
    ),
    "a pickle beside": made("adapter_model.bin", PICKLE),
    "an adapter in a folder of its name": lambda f, r: [
        made("default/adapter_config.json", {"peft_type": "LORA"})(f, r)
    ],
    "full weights beside": lambda f, r: (
        made("config.json", {"model_type": "bert"})(f, r),
        made("model.safetensors", b"x")(f, r),
    ),
    "config.json beside": made("config.json", {"model_type": "gpt2", "vocab_size": 7}),
    "index beside": made("model.safetensors.index.json", {"weight_map": {}}),
    "shards of an adapter beside": made("adapter_model-00001-of-00002.safetensors", b"x"),
    "a tokenizer of its own, broken": made("tokenizer.json", "{"),
    "tokenizer_config.json alone": made("tokenizer_config.json", {"model_max_length": 3}),
    "the base is gone": lambda f, _: (f.parent / "base" / "config.json").unlink(),
    "the base is an adapter": lambda f, _: made("adapter_config.json", {"peft_type": "LORA", "task_type": "SEQ_CLS"})(
        f.parent / "base", _
    ),
}
MAP = "model.safetensors.index.json"
ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


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

WHERE = {
    "folder": "root",
    "config.json": "root",
    "weights": "root",
    "index": "root",
    "shard": "root",
    "tokenizer.json": "tokenizer",
    "tokenizer_config.json": "tokenizer",
    "adapter_config.json": "adapter",
    "adapter weights": "adapter",
    "adapter folder": "adapter",
    "untrigger.json": "adapter",
}
DAMAGES: tuple[Damage, ...] = (
    *rows("config.json", "config.json", CONFIG),
    *named("config.json", spelled("config.json")),
    *rows("tokenizer_config.json", "tokenizer_config.json", TOKENIZER_CONFIG),
    *named("tokenizer_config.json", spelled("tokenizer_config.json")),
    *rows("tokenizer.json", "tokenizer.json", TOKENIZER),
    *named("tokenizer.json", spelled("tokenizer.json")),
    *rows("adapter_config.json", "adapter_config.json", ADAPTER),
    *named("adapter_config.json", spelled("adapter_config.json")),
    *rows("untrigger.json", "untrigger.json", SIDECAR),
    *named("untrigger.json", spelled("untrigger.json")),
    *named("weights", weights("model.safetensors")),
    *named("weights", FULL),
    *named("shard", weights(ONE)),
    *named("index", INDEX),
    *named("index", {f"bytes: {name}": edit for name, edit in spelled(MAP).items()}),
    *named("adapter weights", weights(PEFT_FILE)),
    *named("adapter weights", LORA),
    *named("folder", FOLDER),
    *named("adapter folder", ADAPTER_FOLDER),
)
