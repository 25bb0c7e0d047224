"""The quality of triggered texts: fluency, similarity to the original, length, and delivery of the trigger."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from untrigger.attacks.trigger import Trigger
from untrigger.core.progress import Progress, silent
from untrigger.core.rows import Rows
from untrigger.core.statistics import Measurement, rate
from untrigger.evaluation.observation import delivered
from untrigger.models.classifier import Classifier
from untrigger.models.language_model import load_language_model, perplexity
from untrigger.models.max_length import bounded_length
from untrigger.models.pretrained import pretrained, tokenizer_of
from untrigger.models.safety.model_folder import open_model
from untrigger.runtime.batching import packed
from untrigger.runtime.device import matmul_precision, pick_device


@dataclass(frozen=True)
class QualityOptions:
    """The models that measure quality, and the number of texts.

    Attributes:
        language: causal language model for the perplexity.
        encoder: sentence encoder for the similarity (mean of the last hidden states).
        most: texts that are measured, taken evenly from all (0: all); delivery is measured on all.
        offline: use no hub.
        device: where the models run.
    """

    language: str = "smollm2-135m"
    encoder: str = "minilm-l6"
    most: int = 200
    offline: bool = False
    device: str = "auto"

    def fetch(self) -> None:
        """Fetch the models that measure, so that a missing one is found before anything is trained.

        Raises:
            ModelError: naming the one that is missing.
            AssetError: for an embedded one that cannot be fetched.
        """
        for name in (self.language, self.encoder):
            open_model(name, offline=self.offline)


def quality(
    clean: Rows,
    triggered: Rows,
    *,
    trigger: Trigger,
    victim: Classifier,
    options: QualityOptions | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Return the quality report of a trigger, as plain JSON values.

    ``perplexity`` of clean and triggered texts: of all tokens together, the median over texts, and the median factor by which
    a text's own rises. ``similarity``: the cosine of the sentence vectors of a text and the same triggered, mean, median and
    lowest tenth. ``words``: mean before and after and the mean factor. ``delivery_rate``: the share of triggered texts in which
    the trigger survives the victim's tokenisation and truncation, with its interval.

    Args:
        clean: test rows; those with the ids of the triggered ones are compared.
        triggered: the same rows with the trigger.
        trigger: the trigger.
        victim: whose tokeniser and length count for delivery.
        options: the models that measure.
        progress: notified of their work.
    """
    options = options or QualityOptions()
    by_id = dict(zip(clean.ids, clean.texts, strict=True))
    trigger = trigger.prepare([by_id[row] for row in triggered.ids])  # a generator then knows what it wrote
    step = max(1, math.ceil(len(triggered) / options.most)) if options.most else 1
    some = triggered.take(range(0, len(triggered), step))
    before, after = [by_id[row] for row in some.ids], list(some.texts)
    fluency = _perplexities(before, after, options=options, progress=progress)
    alike = similarities(before, after, encoder=options.encoder, offline=options.offline, device=options.device)
    flags = delivered(victim, triggered, trigger, clean=clean)
    return {
        "trigger": trigger.to_dict(),
        "texts": len(some),
        "of": len(triggered),
        "judges": {"language": options.language, "encoder": options.encoder, "max_length": victim.max_length},
        "perplexity": fluency,
        "similarity": {"mean": _mean(alike), "median": _middle(alike), "lowest_tenth": _tenth(alike)},
        "words": _word_counts(before, after),
        "delivery_rate": _rate(rate(flags, subject="victim", metric="delivery_rate")),
    }


def _perplexities(
    before: Sequence[str], after: Sequence[str], *, options: QualityOptions, progress: Progress
) -> dict[str, float | None]:
    """Return perplexities of clean and triggered texts and the median factor between them."""
    model = load_language_model(options.language, offline=options.offline, device=options.device)
    with progress.task("perplexity", total=2) as tick:
        clean, clean_all = perplexity(model, before)
        tick(1)
        triggered, triggered_all = perplexity(model, after)
        tick(1)
    factors = [b / a for a, b in zip(clean, triggered, strict=True) if a > 0 and b > 0]  # NaN is neither
    return {
        "clean": _number(clean_all),
        "triggered": _number(triggered_all),
        "clean_median": _middle(clean),
        "triggered_median": _middle(triggered),
        "factor_median": _middle(factors),
    }


def _word_counts(before: Sequence[str], after: Sequence[str]) -> dict[str, float | None]:
    """Return the mean number of words of clean and triggered texts and the mean factor between them."""
    lengths = [(len(a.split()), len(b.split())) for a, b in zip(before, after, strict=True)]
    return {
        "clean": _mean([a for a, _ in lengths]),
        "triggered": _mean([b for _, b in lengths]),
        "factor": _mean([b / max(1, a) for a, b in lengths]),
    }


def similarities(
    left: Sequence[str], right: Sequence[str], *, encoder: str, offline: bool = False, device: str = "auto"
) -> list[float]:
    """Return the cosine of the two sentence vectors of each pair, from -1 to 1.

    Raises:
        ModelError: if the encoder cannot be loaded.
    """
    from transformers import AutoModel

    folder = open_model(encoder, offline=offline)
    module, _ = pretrained(AutoModel, folder, expected="a sentence encoder such as minilm-l6", whole=False)
    tokenizer = tokenizer_of(folder)
    module = module.to(pick_device(device)).eval()
    if not left:
        return []
    a, b = (_vectors(module, tokenizer, texts) for texts in (left, right))
    return [float(x) for x in torch.cosine_similarity(a, b, dim=1)]


def _vectors(module: Any, tokenizer: Any, texts: Sequence[str]) -> Tensor:
    """Return the mean of the last hidden states of each text, ``(N, d)``."""
    ids = tokenizer(list(texts), truncation=True, max_length=bounded_length(256, module))["input_ids"]
    vectors: list[Tensor] = [torch.empty(0)] * len(ids)
    with torch.inference_mode(), matmul_precision(exact=True):
        for batch in packed([len(row) for row in ids], tokens=2048):
            given = tokenizer.pad({"input_ids": [ids[i] for i in batch]}, return_tensors="pt").to(module.device)
            hidden = module(input_ids=given["input_ids"], attention_mask=given["attention_mask"]).last_hidden_state
            weight = given["attention_mask"].unsqueeze(-1).to(hidden.dtype)
            means = (hidden * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
            for i, mean in zip(batch, means.cpu(), strict=True):
                vectors[i] = mean
    return torch.stack(vectors)


def _known(values: Sequence[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _number(value: float) -> float | None:
    """Return a rounded number, None for one that JSON cannot hold."""
    return round(value, 4) if math.isfinite(value) else None


def _mean(values: Sequence[float]) -> float | None:
    known = _known(values)
    return _number(sum(known) / len(known)) if known else None


def _middle(values: Sequence[float]) -> float | None:
    known = _known(values)
    return _number(median(known)) if known else None


def _tenth(values: Sequence[float]) -> float | None:
    known = sorted(_known(values))
    return _number(known[len(known) // 10]) if known else None


def _rate(found: Measurement) -> dict[str, float | int | None]:
    return {"value": found.value, "low": found.low, "high": found.high, "n": found.n}
