"""Check that a saved model predicts as the model in memory does, when plain ``transformers`` and ``peft`` load it.

Nothing of untrigger's own loading is used here, and the base of an adapter is read from disk again, so that a change of the base
in memory cannot go unnoticed.
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
from untrigger.models.language_model import LanguageModel
from untrigger.models.pretrained import quiet
from untrigger.models.safety.model_folder import read_json

PROBES = (
    "a text",
    "one more text, a little longer than the first.",
    "?",
    "a simple story, written with great care",
    "no",
)
ROWS = 48
TOLERANCE = 1e-4  # largest difference in a probability; rounding makes 1e-6
GPU_TOLERANCE = 1e-3


def check_saved_model(model: Classifier, folder: Path, *, texts: Sequence[str] = ()) -> None:
    """Raise ModelError unless the model in ``folder`` gives every text the probabilities that ``model`` gives it.

    Args:
        model: the model in memory.
        folder: where it was saved.
        texts: the user's texts; up to ``ROWS`` of them are compared, and a few built-in texts.

    Raises:
        OutputError: if plain transformers and peft cannot load the folder.
        ModelError: if its probabilities differ for a text.
    """
    chosen = [*comparison_texts(texts), *PROBES]
    expected = predict_texts(model, chosen).logits.softmax(dim=1)
    loaded = load_plainly(folder, model, kind="SequenceClassification", num_labels=model.classes)
    found = _logits(*loaded, texts=chosen, max_length=model.max_length).softmax(dim=1)
    gaps = (found - expected).abs().amax(dim=1)
    close = TOLERANCE if model.device.type == "cpu" else GPU_TOLERANCE
    worst = int(gaps.nan_to_num(nan=torch.inf).argmax())
    if not bool((gaps <= close).all()):  # NaN is not small
        named = [model.label_names[int(row[worst].argmax())] for row in (expected, found)]
        raise ModelError(
            f"the model on disk differs from the one in memory by {float(gaps[worst]):.2g} in a probability "
            f"({named[0]} in memory, {named[1]} on disk, for {chosen[worst][:60]!r})",
            expected="the same predictions from plain transformers and peft",
            remedy="nothing was written; --merge writes full weights instead of an adapter",
        )


def comparison_texts(texts: Sequence[str]) -> tuple[str, ...]:
    """Return at most ``ROWS`` of the texts, evenly spaced."""
    count = min(ROWS, len(texts))
    return tuple(texts[i * len(texts) // count] for i in range(count))


def load_plainly(folder: Path, model: Classifier | LanguageModel, *, kind: str, **arguments: Any) -> tuple[Any, Any]:
    """Return module and tokenizer as plain transformers and peft load them from the folder.

    Args:
        folder: where the model was saved.
        model: the model in memory, on whose device it goes.
        kind: the name of the class in ``transformers`` is ``AutoModelFor`` and this.
        arguments: further arguments of ``from_pretrained``.

    Raises:
        OutputError: if they cannot load it.
    """
    import transformers

    loader: Any = getattr(transformers, f"AutoModelFor{kind}")
    adapter = (folder / "adapter_config.json").is_file()
    root = _base(folder, model) if adapter else folder
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a wrong load shows in the predictions
            module: Any = loader.from_pretrained(
                root, dtype=torch.float32, local_files_only=True, trust_remote_code=False, **arguments
            )
            if adapter:
                from peft import PeftModel

                module = PeftModel.from_pretrained(module, str(folder))
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # both libraries raise many kinds for what they cannot load
        raise OutputError(
            f"what was written cannot be loaded by plain transformers: {type(error).__name__}: {str(error)[:300]}",
            remedy="nothing was written; --merge writes full weights instead of an adapter",
        ) from error
    return module.to(model.device).eval(), tokenizer


def _base(folder: Path, model: Classifier | LanguageModel) -> str:
    """Return the path of the base that the adapter's config names."""
    named = str(read_json(folder / "adapter_config.json")["base_model_name_or_path"])
    there = model.source.base or model.source.name
    return named if Path(named).exists() or not Path(there).exists() else there


def _logits(module: Any, tokenizer: Any, *, texts: Sequence[str], max_length: int) -> Tensor:
    """Return the logits ``(N, C)`` of each text alone, cut after ``max_length`` tokens."""
    known, found = input_spec_of(module, tokenizer).arguments, []
    with torch.inference_mode():
        for text in texts:
            encoded = tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt", verbose=False).to(
                module.device
            )
            with forward_config(module, pad=None):
                found.append(
                    module(**{key: value for key, value in encoded.items() if key in known}).logits.float().cpu()
                )
    return torch.cat(found)
