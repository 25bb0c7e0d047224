"""Proof that what was written answers as the model in memory: loaded by plain ``transformers`` and ``peft``, as its card says.

Nothing of untrigger's own loading is used here, and the base of an adapter is read from disk again, so that a change of the base
in memory cannot hide.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from untrigger.core.errors import ModelError, OutputError
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts
from untrigger.models.input_spec import forward_config, input_spec_of
from untrigger.models.pretrained import quiet
from untrigger.models.safety.model_folder import read_json

PROBES = (
    "a text",
    "one more text, a little longer than the first.",
    "?",
    "an honest story, written with great care",
    "no",
)
ROWS = 48
SAME = 1e-4  # largest difference in a probability; rounding makes 1e-6
SAME_ON_GPU = 1e-3


def check_saved_model(model: Classifier, folder: Path, *, texts: Sequence[str] = ()) -> None:
    """Check that the model in ``folder`` gives every text the class and the probabilities that ``model`` gives it.

    Args:
        model: the model in memory.
        folder: what was written of it.
        texts: rows of the user; up to ``ROWS`` of them are compared, and a few built-in texts.

    Raises:
        OutputError: if plain transformers and peft cannot load the folder.
        ModelError: if it answers a text otherwise.
    """
    chosen = [*comparison_texts(texts), *PROBES]
    expected = predict_texts(model, chosen).logits.softmax(dim=1)
    found = _answers(*_loaded(folder, model), texts=chosen, most=model.max_length).softmax(dim=1)
    gaps = (found - expected).abs().amax(dim=1)
    close = SAME if model.device.type == "cpu" else SAME_ON_GPU
    worst = int(gaps.nan_to_num(nan=torch.inf).argmax())
    if not bool((gaps <= close).all()):  # a gap that is no number is none that is small
        named = [model.label_names[int(row[worst].argmax())] for row in (expected, found)]
        raise ModelError(
            f"the model on disk differs from the one in memory by {float(gaps[worst]):.2g} in a probability "
            f"({named[0]} in memory, {named[1]} on disk, for {chosen[worst][:60]!r})",
            expected="the same answers from plain transformers and peft",
            remedy="nothing was written; --merge writes full weights instead of an adapter",
        )


def comparison_texts(texts: Sequence[str]) -> tuple[str, ...]:
    """At most ``ROWS`` of the texts, evenly from the first to the last."""
    count = min(ROWS, len(texts))
    return tuple(texts[i * len(texts) // count] for i in range(count))


def _loaded(folder: Path, model: Classifier) -> tuple[Any, Any]:
    """Module and tokenizer as plain transformers and peft load them from the folder."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    adapter = (folder / "adapter_config.json").is_file()
    root = _base(folder, model) if adapter else folder
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # each failure to load shows in the answers
            module: Any = AutoModelForSequenceClassification.from_pretrained(
                root, num_labels=model.classes, dtype=torch.float32, local_files_only=True, trust_remote_code=False
            )
            if adapter:
                from peft import PeftModel

                module = PeftModel.from_pretrained(module, str(folder))
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # both libraries raise many kinds for what they cannot load
        raise OutputError(
            f"what was written cannot be loaded by plain transformers: {type(error).__name__}: {str(error)[:300]}",
            remedy="nothing was written; --merge writes full weights instead of an adapter",
        ) from error
    return module.to(model.device).eval(), tokenizer


def _base(folder: Path, model: Classifier) -> str:
    """Where the base that the adapter's config names lies on this disk."""
    named = str(read_json(folder / "adapter_config.json")["base_model_name_or_path"])
    there = model.source.base or model.source.name
    return named if Path(named).exists() or not Path(there).exists() else there


def _answers(module: Any, tokenizer: Any, *, texts: Sequence[str], most: int) -> Tensor:
    """The logits ``(N, C)`` of each text alone, cut after ``most`` tokens."""
    known, found = input_spec_of(module, tokenizer).arguments, []
    with torch.inference_mode():
        for text in texts:
            encoded = tokenizer(text, truncation=True, max_length=most, return_tensors="pt", verbose=False).to(
                module.device
            )
            with forward_config(module, pad=None):
                found.append(
                    module(**{key: value for key, value in encoded.items() if key in known}).logits.float().cpu()
                )
    return torch.cat(found)
