"""Check the JSON files of an untrusted model: no code, no other files, nothing that rewrites the base."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from functools import cache
from typing import Any

from untrigger.core.errors import ModelError, UnsafeFileError
from untrigger.models.safety import limits
from untrigger.models.safety.isolation import run_with_time_limit
from untrigger.models.safety.opened_files import TOKENIZER_FILES

CODE_KEYS = frozenset({"automap", "trustremotecode", "customobjects", "customgenerate"})
"""Keys that load code of the model's own, in lower case and without ``_`` and ``-``."""
OTHER_FILES = frozenset({"transformersweights", "quantizationconfig"})
"""Keys that name other files than the known ones, or a weight format that other programs read."""
ATTENTION = frozenset({"attnimplementation", "attnimplementationinternal"})
PLAIN_PATTERN = re.compile(r"[\w.\-]*\Z")
CLASSIFIERS_ONLY = (
    "this works on text classifiers so far; a language model can be scanned, purified, audited and measured (untrigger scan, "
    "detect, purify, audit, evaluate, where needed with --task generation) and poisoned (untrigger attack --behaviour)"
)
"""The remedy where a language model was given."""
SAFE_INITS = (None, True, False, "gaussian", "orthogonal", "eva")
"""Values of ``init_lora_weights`` that draw the adapter and leave the base's weights alone."""
_PATTERN_KEYS = (
    "target_modules",
    "exclude_modules",
    "layers_pattern",
    "modules_to_save",
    "feedforward_modules",
    "rank_pattern",
    "alpha_pattern",
    "n_frequency_pattern",
    "block_size_pattern",
    "lambda_pattern",
    "target_parameters",
)
_PASSING = frozenset(
    """
    peft_type task_type base_model_name_or_path revision inference_mode peft_version
    r lora_alpha lora_dropout fan_in_fan_out bias use_rslora use_dora lora_bias modules_to_save target_modules
    exclude_modules rank_pattern alpha_pattern layers_to_transform layers_pattern init_lora_weights
    trainable_token_indices target_r init_r tinit tfinal deltaT beta1 beta2 orth_reg_weight total_step
    qalora_group_size ensure_weight_tying target_parameters
    feedforward_modules init_ia3_weights alpha rank_dropout module_dropout use_effective_conv2d init_weights
    decompose_both decompose_factor rank_dropout_scale oft_block_size coft eps block_share use_cayley_neumann
    num_cayley_neumann_terms boft_block_size boft_block_num boft_n_butterfly_factor boft_dropout
    projection_prng_key save_projection vera_dropout d_initial n_frequency scaling random_loc_seed
    n_frequency_pattern ifft2_norm apply_GS num_vectors vector_length topk vblora_dropout init_vector_bank_std
    init_logits_std init_vector_bank_bound save_only_topk_weights randlora_alpha randlora_dropout sparse
    very_sparse block_size block_size_pattern mask_type random_seed token_indices variant group_size
    wavelet_family use_idwt waveft_dropout proportional_parameters delora_lambda lambda_pattern miss_dropout
    mini_r
    num_virtual_tokens token_dim num_transformer_submodules num_attention_heads num_layers
    encoder_reparameterization_type encoder_hidden_size encoder_num_layers encoder_dropout prefix_projection
    """.split()  # noqa: SIM905
)
"""Keys that PEFT may see: the kind of adapter and its base, sizes, scales, switches and names of layers."""
_DROPPED = (
    "auto_mapping",
    "megatron_core",
    "tokenizer_name_or_path",
    "prompt_tuning_init",
    "prompt_tuning_init_text",
    "tokenizer_kwargs",
)
"""Keys about the start of training; loading an adapter does not use them, and they are dropped."""
KNOWN_TYPES = frozenset(
    """
    LORA ADALORA IA3 LN_TUNING LOHA LOKR OFT BOFT VERA FOURIERFT HRA VBLORA RANDLORA C3A SHIRA ROAD WAVEFT
    DELORA MISS TRAINABLE_TOKENS PROMPT_TUNING P_TUNING PREFIX_TUNING
    """.split()  # noqa: SIM905
)
"""PEFT methods that add tensors of their own and leave the base's as they are."""

_TASKS = {
    "SEQ_CLS": "an adapter of a text classifier (SEQ_CLS)",
    "CAUSAL_LM": "an adapter of a causal language model (CAUSAL_LM)",
}


def folded(key: str) -> str:
    """Return a config key without case, ``_`` and ``-``, so that every spelling of it is one."""
    return re.sub(r"[_\-\s]", "", key).casefold()


def refuse_code(config: Mapping[str, Any], *, where: str) -> None:
    """Raise UnsafeFileError where a config, at any depth, requests code, other files or an attention kernel of a hub.

    Raises:
        UnsafeFileError: naming the file and the key.
    """
    for key, value in entries(config, where=where):
        name = folded(key)
        if name in CODE_KEYS and value:
            raise UnsafeFileError(
                f"{where!r} requests remote code ({key}: {str(value)[:100]!r})",
                expected="a model of an architecture that transformers itself knows",
                remedy="untrigger never runs a model's own code; convert the checkpoint to a built-in architecture",
            )
        if name in OTHER_FILES and value:
            raise UnsafeFileError(
                f"{where!r} holds {key}: {str(value)[:100]}",
                expected="plain weights in model.safetensors or its shards",
                remedy="load the model with transformers, dequantise it and save it with save_pretrained",
            )
        if name in ATTENTION and isinstance(value, str) and "/" in value:
            raise UnsafeFileError(
                f"{where!r} requests an attention kernel of a hub ({key}: {value[:100]!r}), which is code",
                expected="eager, sdpa, or no such key",
                remedy="delete that key",
            )


def without_kernels(value: Any) -> Any:
    """Return a config without the keys that choose an attention kernel, at any depth.

    Kernels differ in speed and not in what they compute; one of them starts a compiler. ``from_pretrained`` does not always let its
    argument override the key.
    """
    if isinstance(value, Mapping):
        return {key: without_kernels(one) for key, one in value.items() if folded(str(key)) not in ATTENTION}
    return [without_kernels(one) for one in value] if isinstance(value, list) else value


def entries(value: object, *, where: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield every key with its value, of all objects within ``value``.

    Raises:
        UnsafeFileError: for a value that is nested deeper than ``limits.JSON_DEPTH``.
    """
    if depth > limits.JSON_DEPTH:
        raise UnsafeFileError(
            f"{where!r} is nested more than {limits.JSON_DEPTH} deep", expected="a config as save_pretrained writes it"
        )
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key), inner
            yield from entries(inner, where=where, depth=depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from entries(inner, where=where, depth=depth + 1)


def refuse_tokenizer_files(config: Mapping[str, Any], *, where: str) -> None:
    """Raise UnsafeFileError for a tokenizer's config that names the files to load it from.

    ``fast_tokenizer_files`` makes transformers read another file than tokenizer.json, even one outside the folder. Other keys for
    files are leftovers of the author's machine, and some versions of transformers open what they name where it exists.

    Raises:
        UnsafeFileError: naming the file and the key.
    """
    for key, value in config.items():
        named = value if isinstance(value, list) else [value]
        files = [one for one in named if isinstance(one, str) and one]
        versions = folded(key) == "fasttokenizerfiles" and any(one != "tokenizer.json" for one in files)
        other = folded(key).endswith("file") and any(
            os.path.lexists(one) and one not in TOKENIZER_FILES for one in files
        )
        if versions or other:
            raise UnsafeFileError(
                f"{where!r} names other files for the tokenizer ({key}: {str(value)[:100]})",
                expected="a tokenizer that is read from tokenizer.json",
                remedy="delete that key, or save the tokenizer again with save_pretrained",
            )


def adapter_config(config: Mapping[str, Any], *, where: str, task: str = "SEQ_CLS") -> dict[str, Any]:
    """Return the part of an adapter's config that PEFT may see.

    A key that is not in the whitelist must have an empty value or PEFT's default.

    Args:
        config: as read from the file.
        where: the file, for messages.
        task: the PEFT task that the adapter may name, ``SEQ_CLS`` or ``CAUSAL_LM``; an adapter may also name none.

    Raises:
        UnsafeFileError: for a key that opens other files, runs code, or rewrites or rearranges the base's weights.
        ModelError: for a PEFT method that is not known, or for values of the wrong type.
    """
    kind = config.get("peft_type")
    if not isinstance(kind, str) or kind not in KNOWN_TYPES:
        raise ModelError(
            f"{where!r} has the PEFT method {str(kind)[:60]!r}",
            expected="one of " + ", ".join(sorted(KNOWN_TYPES)),
            remedy="merge the adapter into its base with PEFT and give the merged model, if you trust the place where you do it",
        )
    for key in ("base_model_name_or_path", "revision", "task_type"):
        if not isinstance(config.get(key), str | None):
            raise ModelError(f"{where!r}: {key} is {str(config[key])[:80]}", expected="a text")
    named = config.get("task_type")
    if named not in (None, task):
        lacks = "so it has no classification head" if task == "SEQ_CLS" else "not to generate text"
        remedy = CLASSIFIERS_ONLY if (task, named) == ("SEQ_CLS", "CAUSAL_LM") else None
        raise ModelError(
            f"{where!r}: the adapter was trained for {named!r}, {lacks}", expected=_TASKS[task], remedy=remedy
        )
    for key, value in config.items():
        if key not in _PASSING and key not in _DROPPED and not _is_empty(value) and value != _defaults(kind).get(key):
            raise UnsafeFileError(
                f"{where!r} sets {key}: {str(value)[:100]}",
                expected="an adapter that adds tensors to its base and nothing else",
                remedy="save the adapter in plain form with PEFT, or delete that key if you know that it changes nothing",
            )
    init = config.get("init_lora_weights")
    if init not in SAFE_INITS:
        raise UnsafeFileError(
            f"{where!r} sets init_lora_weights: {str(init)[:60]!r}, which rewrites the base's weights when it is loaded",
            expected="true, false, gaussian, orthogonal or eva",
            remedy="save it as plain LoRA (save_pretrained with path_initial_model_for_weight_conversion) and give that",
        )
    _check_patterns(config, where=where)
    return {key: value for key, value in config.items() if key in _PASSING}


@cache
def _defaults(kind: str) -> dict[str, Any]:
    """Return the default values of PEFT's config class of that method."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    cls: Any = PEFT_TYPE_TO_CONFIG_MAPPING.get(kind)
    return {} if cls is None else {one.name: one.default for one in fields(cls) if one.default is not MISSING}


def _is_empty(value: object) -> bool:
    return value is None or value is False or (isinstance(value, (str, list, dict)) and not value)


def _check_patterns(config: Mapping[str, Any], *, where: str) -> None:
    """Raise unless the names of layers are strings of at most ``limits.PATTERN_LENGTH`` characters."""
    for key in _PATTERN_KEYS:
        value = config.get(key)
        names = [value] if isinstance(value, str) else list(value) if isinstance(value, (list, dict)) else []
        if (value is not None and not isinstance(value, (str, list, dict))) or not all(
            isinstance(name, str) for name in names
        ):
            raise ModelError(
                f"{where!r}: {key} is {str(value)[:80]}", expected="names of layers, or one regular expression"
            )
        if any(len(name) > limits.PATTERN_LENGTH for name in names):
            raise UnsafeFileError(
                f"{where!r}: {key} has more than {limits.PATTERN_LENGTH:,} characters", expected="a short pattern"
            )


def check_pattern_time(config: Mapping[str, Any], names: list[str], *, where: str) -> None:
    """Raise unless the regular expressions of an adapter's config end in time on the names of the base's layers.

    The patterns are tried in a process of their own, which is stopped after ``limits.PATTERN_SECONDS``. Plain names are not tried.

    Raises:
        UnsafeFileError: for a pattern that takes too long.
        ModelError: for one that is not a regular expression.
    """
    patterns = []
    for key in _PATTERN_KEYS:
        value = config.get(key)
        if isinstance(value, (str, dict, list)):
            patterns += [one for one in ([value] if isinstance(value, str) else value) if not PLAIN_PATTERN.match(one)]
    if not patterns:
        return
    tried = [*patterns, *(rf"(.*\.)?({one})$" for one in patterns), *(rf".*\.{one}\.(\d+)\." for one in patterns)]
    words = "\x1e".join(["\x1f".join(tried), "\x1f".join(names)])
    process = run_with_time_limit(
        _TRY_PATTERNS, stdin=words.encode("utf-8", "surrogatepass"), seconds=limits.PATTERN_SECONDS
    )
    if process is None:
        raise UnsafeFileError(
            f"{where!r}: a pattern for layer names was not matched within {limits.PATTERN_SECONDS:.0f} s ({patterns[0][:80]!r})",
            expected="the names of layers, or a simple regular expression",
        )
    if process.returncode:
        raise ModelError(f"{where!r}: {patterns[0][:80]!r} is not a regular expression", expected="the names of layers")


_TRY_PATTERNS = """
import re, sys
patterns, names = sys.stdin.buffer.read().decode("utf-8", "surrogatepass").split("\\x1e")
compiled = [re.compile(one) for one in patterns.split("\\x1f")]
for name in names.split("\\x1f"):
    for one in compiled:
        one.fullmatch(name), one.match(name)
"""
