"""Load a module or tokenizer from a checked folder with ``transformers``: no remote code, complete, every failure one error."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from untrigger.core.errors import ModelError, UserError
from untrigger.models.safety.isolation import panics_as_errors
from untrigger.models.safety.model_folder import ModelFolder
from untrigger.models.safety.size_check import check_counts, check_model_size
from untrigger.models.safety.tensor_files import Tensors

BUFFERS = re.compile(r"(position_ids|token_type_ids|rotary_emb\.inv_freq|masked_bias|\.attn\.bias|\.attention\.bias)$")
"""Tensors that older versions of transformers saved and that every version computes by itself."""
UNUSED_HEADS = re.compile(
    r"(^|\.)(pooler\.dense|lm_head|cls\.(predictions|seq_relationship)|vocab_(transform|projector|layer_norm))\."
)
"""Heads of pre-training that a fine-tuned checkpoint may still hold; transformers ignores them."""


def pretrained(
    kind: Any, folder: ModelFolder, *, expected: str, whole: bool = True, **arguments: Any
) -> tuple[Any, list[str]]:
    """Return a module in float32, and the names of its parameters that are in no file and were initialised at random.

    Args:
        kind: an ``AutoModel`` class of ``transformers``.
        folder: the opened checkpoint.
        expected: what the folder should hold, for the message.
        whole: refuse tensors that no layer takes. A pre-trained model that gets another head may hold those of its own head.
        arguments: further arguments of ``from_pretrained``.

    Raises:
        ModelError: if it cannot be loaded, lacks a tensor of a block, an embedding or the last norm, or holds tensors without a
            layer.
    """
    tensors = Tensors(folder)
    pickled = any(file.suffix == ".bin" for file in folder.weights)
    numbers = sum(file.stat().st_size for file in folder.weights) if pickled else tensors.numbers
    where = str(folder.origin / "config.json")
    check_counts(folder.config, tensors=numbers if pickled else len(tensors.shapes), where=where)
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check_model_size(kind, folder, numbers=numbers, arguments=arguments)
            module, info = kind.from_pretrained(
                folder.path,
                dtype=torch.float32,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=not pickled,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # refused by name in _check_complete
                **arguments,
            )
    except UserError:
        raise
    except Exception as error:  # transformers and safetensors raise many kinds for a file they cannot use
        raise ModelError(
            f"{str(folder.origin)!r} could not be loaded: {reason(error, folder)}", expected=expected
        ) from error
    module.name_or_path = module.config.name_or_path = str(folder.origin)
    _check_complete(info, module, folder, whole=whole)
    return module, sorted(info["missing_keys"])


def reason(error: BaseException, folder: ModelFolder) -> str:
    """Return a library's message in one line of bounded length, with the user's folder in it."""
    text = " ".join(str(error).replace(str(folder.path), str(folder.origin)).split())
    return f"{type(error).__name__}: {text[:300]}"


def _check_complete(info: Mapping[str, Any], module: Any, folder: ModelFolder, *, whole: bool) -> None:
    """Raise ModelError where a checkpoint lacks a part of its backbone, holds tensors that no layer takes, or of other sizes."""
    prefix = "" if module.base_model is module else f"{module.base_model_prefix}."
    for name, held, needed in sorted(info["mismatched_keys"]):
        if not whole and not name.startswith(prefix):
            raise ModelError(
                f"{str(folder.origin)!r} has a classification head of its own, for another number of classes: {name!r} has the "
                f"shape {list(held)}, {list(needed)} is needed",
                expected="a pre-trained model without a head, or one with as many classes",
                remedy="give the pre-trained model that it was made from",
            )
        raise ModelError(
            f"{name!r} in {str(folder.origin)!r} has the shape {list(held)}, its config requires {list(needed)}",
            expected="the sizes of the tensors in config.json",
            remedy="correct the config, or get the model from its author",
        )
    lacking = sorted(key for key in info["missing_keys"] if key.startswith(prefix) and not _is_pooler(key))
    if lacking:
        raise ModelError(
            f"{str(folder.origin)!r} lacks weights of its own architecture, first {lacking[0]!r} ({len(lacking)} tensors in all)",
            expected="a whole checkpoint",
            remedy="download it again, or ask its author",
        )
    spare = sorted(key for key in info["unexpected_keys"] if not BUFFERS.search(key) and not UNUSED_HEADS.search(key))
    if not whole:
        spare = [key for key in spare if key.startswith(f"{module.base_model_prefix}.") and not _is_pooler(key)]
    if spare:
        raise ModelError(
            f"{str(folder.origin)!r} holds tensors that no layer of the model takes, first {spare[0]!r} ({len(spare)} in all)",
            expected="the tensors of its architecture and nothing else",
            remedy="check the architecture and the sizes in config.json, or save the model again with transformers",
        )


def _is_pooler(key: str) -> bool:
    return "pooler" in key.split(".")


def tokenizer_of(folder: ModelFolder) -> Any:
    """Return the tokenizer in a folder.

    Raises:
        ModelError: if there is none that can be used.
        UnsafeFileError: if a regular expression of it does not end in time.
    """
    from transformers import AutoTokenizer

    from untrigger.models.safety.opened_files import VOCABULARIES
    from untrigger.models.safety.tokenizer_check import check_settings, try_in_time

    if not folder.holds_tokenizer:  # transformers would make one up, of five tokens, all texts unknown
        raise ModelError(
            f"{str(folder.origin)!r} holds no tokenizer",
            expected="one of " + ", ".join(VOCABULARIES),
            remedy="save the tokenizer beside the model with save_pretrained",
        )
    try_in_time(folder)
    try:
        with quiet(), warnings.catch_warnings(), panics_as_errors(str(folder.origin)):
            warnings.simplefilter("ignore")
            found = AutoTokenizer.from_pretrained(folder.path, trust_remote_code=False, local_files_only=True)
    except UserError:
        raise
    except Exception as error:  # tokenizers raises a bare Exception for a file it cannot read
        raise ModelError(f"no usable tokenizer in {str(folder.origin)!r}: {reason(error, folder)}") from error
    check_settings(found, folder)
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """Silence progress bars and load reports of transformers (what matters in them is raised as an error).

    Also two warnings of PEFT: on its own use of a deprecated name, and on adapters of norm layers, which are intended.
    """
    from transformers.utils import logging as hf_logging

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    before, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity(logging.CRITICAL)
    hf_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            for message in ("Unsupported layer type", ".*is_gradient_checkpointing"):
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        hf_logging.set_verbosity(before)
        if bars:
            hf_logging.enable_progress_bar()
