"""A freshly loaded model is tried on two short texts, so that one that cannot answer is refused before any row is read."""

from __future__ import annotations

import warnings

import torch

from untrigger.core.errors import ModelError, UserError
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts
from untrigger.models.safety.panics import panics_refused

TEXTS = ("a text", "one more text, a little longer than the first")


def smoke_test(model: Classifier, *, where: str) -> Classifier:
    """Return the model itself, which has answered two texts with numbers.

    Args:
        model: the classifier as it was loaded.
        where: what messages call it.

    Raises:
        ModelError: if its tokenizer or its forward pass fails, or an answer is no number.
    """
    try:
        with warnings.catch_warnings(), panics_refused(where):
            warnings.simplefilter("ignore")
            lacking = not all(model.tokenizer(list(TEXTS))["input_ids"])
            logits = predict_texts(model, TEXTS).logits
    except UserError:
        raise
    except (
        Exception
    ) as error:  # whatever a tokenizer or an architecture raises for sizes and switches that it does not bear
        why = " ".join(str(error).split())[:300]
        raise ModelError(
            f"{where!r} cannot answer a short text: {type(error).__name__}: {why}",
            expected="a config and a tokenizer that fit the weights",
            remedy="check that plain transformers reads a text with it",
        ) from error
    if lacking:
        raise ModelError(
            f"the tokenizer in {where!r} makes no tokens of a text", expected="a tokenizer that reads its texts"
        )
    if not bool(torch.isfinite(logits).all()):
        raise ModelError(
            f"{where!r} answers a short text with what is no number",
            expected="finite weights and scales (layer_norm_eps, lora_alpha, rope settings)",
            remedy="check its config, or download it again",
        )
    return model
