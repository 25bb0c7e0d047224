"""Smoke tests of a model: a loaded one is tried on two short texts, a trained one on its first rows."""

from __future__ import annotations

import warnings

import torch

from untrigger.core.errors import DivergedError, ModelError, UserError
from untrigger.core.rows import Rows
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts
from untrigger.models.safety.isolation import panics_as_errors

TEXTS = ("a text", "one more text, a little longer than the first")
ROWS = 16


def check_predicts(model: Classifier, *, name: str) -> None:
    """Raise ModelError unless the model gives finite logits for two short texts.

    Args:
        model: the classifier as it was loaded.
        name: the model's name in messages.

    Raises:
        ModelError: if its tokenizer or its forward pass fails, or a logit is not finite.
    """
    try:
        with warnings.catch_warnings(), panics_as_errors(name):
            warnings.simplefilter("ignore")
            empty = not all(model.tokenizer(list(TEXTS))["input_ids"])
            logits = predict_texts(model, TEXTS).logits
    except UserError:
        raise
    # architectures and tokenizers raise many kinds of error for sizes and switches that do not fit
    except Exception as error:
        why = " ".join(str(error).split())[:300]
        raise ModelError(
            f"{name!r} cannot classify a short text: {type(error).__name__}: {why}",
            expected="a config and a tokenizer that fit the weights",
            remedy="check that plain transformers can classify a text with it",
        ) from error
    if empty:
        raise ModelError(
            f"the tokenizer in {name!r} makes no tokens of a text", expected="a tokenizer that gives tokens for a text"
        )
    if not bool(torch.isfinite(logits).all()):
        raise ModelError(
            f"{name!r} gives logits for a short text that are not finite",
            expected="finite weights and scales (layer_norm_eps, lora_alpha, rope settings)",
            remedy="check its config, or download it again",
        )


def check_finite_logits(model: Classifier, rows: Rows) -> None:
    """Raise DivergedError unless a trained model gives finite logits for the first ``ROWS`` rows."""
    if not bool(predict_texts(model, rows.texts[:ROWS]).logits.isfinite().all()):
        raise DivergedError("the trained model gives logits that are not finite", remedy="use a smaller learning rate")
