"""What ``transformers`` reads from a checked folder: safetensors, no remote code, whole, and every failure one error."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from untrigger.errors import ModelError
from untrigger.models.inspect import Folder

VOCABULARIES = (
    "tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "spm.model",
)  # fmt: skip


def pretrained(kind: Any, folder: Folder, *, expected: str, pickled: bool = False, **asked: Any) -> tuple[Any, list[str]]:
    """A module in float32, and what of it no file holds, so that it was drawn: nothing but a head or a pooler.

    Args:
        kind: an ``AutoModel`` class of ``transformers``.
        folder: where the checkpoint lies; see ``untrigger.models.inspect`` for what was checked.
        expected: what should lie there, for the message.
        pickled: read pickle weights, which can run code.
        asked: further arguments of ``from_pretrained``.

    Raises:
        ModelError: if it cannot be loaded, or lacks a block or an embedding.
    """
    try:
        with quiet():
            module, info = kind.from_pretrained(
                folder.path, dtype=torch.float32, local_files_only=True, trust_remote_code=False,
                use_safetensors=not pickled, output_loading_info=True, **asked,
            )  # fmt: skip
    except Exception as error:  # transformers and safetensors raise many kinds for a file they cannot use
        raise ModelError(
            f"{str(folder.path)!r} could not be loaded: {type(error).__name__}: {str(error)[:300]}", expected=expected
        ) from error
    _check_complete(info["missing_keys"], folder.path)
    return module, sorted(info["missing_keys"])


def tokenizer_of(folder: Folder) -> Any:
    """The tokenizer that lies in a folder.

    Raises:
        ModelError: if there is none that can be used.
    """
    from transformers import AutoTokenizer

    if not holds_tokenizer(folder):  # transformers makes one up, of five tokens, all texts unknown
        raise ModelError(
            f"{str(folder.path)!r} holds no tokenizer", expected="one of " + ", ".join(VOCABULARIES),
            remedy="save the tokenizer beside the model with save_pretrained",
        )  # fmt: skip
    try:
        with quiet():
            return AutoTokenizer.from_pretrained(folder.path, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # tokenizers raises a bare Exception for a file it cannot read
        raise ModelError(f"no usable tokenizer in {str(folder.path)!r}: {str(error)[:300]}") from error


def holds_tokenizer(folder: Folder) -> bool:
    """Whether a file with a vocabulary lies in the folder."""
    return any((folder.path / name).is_file() for name in VOCABULARIES)


def _check_complete(missing: Iterable[str], where: Path) -> None:
    """Nothing, where what a checkpoint lacks is a head or a pooler: of blocks and embeddings none may be drawn at random."""
    lacking = sorted(key for key in missing if re.search(r"\.\d+\.|embed", key))
    if lacking:
        raise ModelError(
            f"{str(where)!r} lacks weights of its own architecture, first {lacking[0]!r} ({len(lacking)} tensors in all)",
            expected="a whole checkpoint", remedy="download it again, or ask its author",
        )  # fmt: skip


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, transformers shows neither bars nor load reports (what matters of them is raised as an error).

    Nor does PEFT say that it asks transformers by a name of yesterday, nor that an adapter on a norm is unusual: it is meant.
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
