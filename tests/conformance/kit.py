"""Folders of tiny random models, and what plain ``transformers`` and ``peft`` answer, one text at a time."""

from __future__ import annotations

import copy
import inspect
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from tests.conformance.adapter_matrix import Adapter
from tests.conformance.matrix import ROWS, Row
from tests.conformance.tokenizers import LENGTH, TOKENIZERS
from tests.tiny import WORDS, task
from untrigger.models.pretrained import quiet

TEXTS = [
    *task(12, seed=5).texts[:12],
    "good",
    "bad film",
    "a lovely camera and the light of this ending " * 2,
    "a",
    "?!",
    "good film </s>",
    "good film </s> </s>",
    "</s> dull </s> scene",
    "poor <pad>",
    "great <pad> plot",
    "fresh <s>",
    "ünïcode 🙂 wörds",
    "filmscene of the coolplot",
    "dull <user> scene <url>",
    "[SEP] good [PAD]",
    "  spaces  in   it ",
    "the " * 20,
    " ".join(WORDS) + " " + " ".join(WORDS[::-1]),
    "good " * 70,
    "bad " + "the film " * 60 + "brilliant",
]
CLOSE = 1e-5


def skip_unknown(row: Row, adapter: Adapter | None = None) -> None:
    """Skip what the installed version of transformers or peft does not have yet."""
    import peft

    if row.kind not in CONFIG_MAPPING or (adapter is not None and not hasattr(peft, adapter.method)):
        pytest.skip("not in this version of transformers or peft")


def write(row: Row, folder: Path, *, seed: int = 0) -> Path:
    """The row's model with its tokenizer, as ``save_pretrained`` writes them."""
    skip_unknown(row)
    tokenizer = TOKENIZERS[row.tokenizer]()
    labels = (
        {}
        if row.labels is None
        else {"id2label": dict(enumerate(row.labels)), "label2id": {n: i for i, n in enumerate(row.labels)}}
    )
    config = AutoConfig.for_model(
        row.kind, vocab_size=len(tokenizer) + row.spare, **(labels or {"num_labels": row.classes}), **row.config
    )
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = AutoModelForSequenceClassification.from_config(config)
        _spread(module)
        module.to(getattr(torch, row.dtype)).save_pretrained(
            folder, **({"max_shard_size": row.shard} if row.shard else {})
        )
    tokenizer.save_pretrained(folder)
    return folder


def _spread(module: Any) -> None:
    """Make norms, biases and a head that begins at zero count too: what is left out shall be seen."""
    with torch.no_grad():
        for name, value in module.named_parameters():
            if value.dim() < 2:
                value.add_(0.1 * torch.randn_like(value))
            elif not bool(value.any()) or "classif" in name or "score" in name:
                value.normal_(std=0.5)


def write_adapter(adapter: Adapter, base: Path, folder: Path, *, seed: int = 1) -> Path:
    """The adapter with random weights, as ``save_pretrained`` writes it; the tokenizer beside it, as a Trainer leaves it."""
    import peft

    row = ROWS[adapter.base]
    skip_unknown(row, adapter)
    with quiet(), warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        module = AutoModelForSequenceClassification.from_pretrained(base, num_labels=row.classes)
        config = getattr(peft, adapter.method)(task_type=adapter.task or None, **adapter.options)
        module = peft.get_peft_model(module, config)
        for name, value in module.named_parameters():
            if value.requires_grad and "prompt_encoder" not in name:
                value.data.add_(0.1 * torch.randn_like(value))
        module.save_pretrained(folder)
    TOKENIZERS[row.tokenizer]().save_pretrained(folder)
    return folder


def answers_or_error(folder: Path, **how: Any) -> Tensor | Exception:
    """What ``plain`` gives, or what these libraries raise: some of their own versions do not fit together."""
    try:
        return plain(folder, **how)
    except Exception as error:  # noqa: BLE001
        return error


def plain(folder: Path, *, classes: int, base: Path | None = None, texts: list[str] = TEXTS) -> Tensor:
    """``(N, C)``: what ``transformers`` and, over a ``base``, ``peft`` answer by themselves."""
    from peft import PeftModel

    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module: Any = AutoModelForSequenceClassification.from_pretrained(
            base or folder, num_labels=classes, dtype=torch.float32
        )
        module.config.return_dict = True  # a config that wants tuples breaks some architectures in transformers itself
        if base is not None:
            module = PeftModel.from_pretrained(module, str(folder))
    return answers(module.eval(), AutoTokenizer.from_pretrained(folder), texts)


def answers(module: Any, tokenizer: Any, texts: list[str]) -> Tensor:
    """The module's logits for each text alone; the forward pass gets what it names of what the tokenizer makes, as in a Trainer."""
    inner = module.get_base_model() if hasattr(module, "get_base_model") else module
    known, found = inspect.signature(inner.forward).parameters, []
    with torch.inference_mode():
        for text in texts:
            encoded = tokenizer(text, truncation=True, max_length=LENGTH, return_tensors="pt", verbose=False)
            one = (
                copy.deepcopy(module) if hasattr(inner.config, "attention_type") else module
            )  # BigBird switches itself
            output = one(**{key: value for key, value in encoded.items() if key in known})
            found.append(output[0] if isinstance(output, tuple) else output.logits)
    return torch.cat(found).float()


def agree(found: Tensor, expected: Tensor, *, close: float = CLOSE) -> None:
    """Assert equal classes on every text and logits within ``close``, of a model that tells the texts apart."""
    assert expected.std(dim=0).max() > 1e-3, "a model that answers every text alike shows nothing"
    gap = (found - expected).abs().amax(dim=1)
    worst = int(gap.argmax())
    assert gap.max() <= close * max(1.0, float(expected.abs().max())), (
        f"{TEXTS[worst]!r}: {found[worst].tolist()[:4]} for {expected[worst].tolist()[:4]}"
    )
    assert found.argmax(dim=1).tolist() == expected.argmax(dim=1).tolist()
