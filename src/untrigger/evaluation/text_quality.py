"""What a trigger does to texts: how fluent, how like the original, how long they are, and whether a model reads them whole."""

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
from untrigger.models.safety.model_folder import open_model_folder, resolve_model
from untrigger.runtime.batching import packed
from untrigger.runtime.device import matmul_precision, pick_device


@dataclass(frozen=True)
class QualityOptions:
    """Who judges, and how many texts.

    Attributes:
        language: causal language model for the perplexity.
        encoder: sentence encoder for the similarity (mean of the last hidden states).
        most: texts that are judged, taken evenly from all; delivery is judged on all (0: all).
        offline: ask no hub.
        device: where the judges run.
    """

    language: str = "smollm2-135m"
    encoder: str = "minilm-l6"
    most: int = 200
    offline: bool = False
    device: str = "auto"

    def fetch(self) -> None:
        """Nothing, where the judges are here or can be fetched; so that no training is in vain.

        Raises:
            ModelError: naming the one that is missing.
            AssetError: for an embedded one that cannot be fetched.
        """
        for name in (self.language, self.encoder):
            open_model_folder(resolve_model(name, offline=self.offline))


def quality(
    clean: Rows,
    triggered: Rows,
    *,
    trigger: Trigger,
    victim: Classifier,
    options: QualityOptions | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """The quality report of a trigger, as plain JSON values.

    ``perplexity`` of clean and triggered texts: of all tokens together, the median over texts, and the median factor by which
    a text's own rises. ``similarity``: the cosine of the sentence vectors of a text and the same triggered, mean, median and
    lowest tenth. ``words``: mean before and after and the mean factor. ``delivery_rate``: the share of triggered texts in which
    the trigger survives the victim's tokenisation and truncation, with its interval.

    Args:
        clean: test rows; those with the ids of the triggered ones are compared.
        triggered: the same rows with the trigger.
        trigger: the trigger.
        victim: whose tokeniser and length count for delivery.
        options: the judges.
        progress: told of their work.
    """
    told = options or QualityOptions()
    by_id = dict(zip(clean.ids, clean.texts, strict=True))
    trigger = trigger.prepare([by_id[row] for row in triggered.ids])  # a generator then knows what it wrote
    step = max(1, math.ceil(len(triggered) / told.most)) if told.most else 1
    some = triggered.take(range(0, len(triggered), step))
    before, after = [by_id[row] for row in some.ids], list(some.texts)
    model = load_language_model(told.language, offline=told.offline, device=told.device)
    with progress.task("reading for fluency and likeness", total=3) as tick:
        plain, plain_all = perplexity(model, before)
        tick(1)
        odd, odd_all = perplexity(model, after)
        tick(1)
        alike = similarities(before, after, encoder=told.encoder, offline=told.offline, device=told.device)
        tick(1)
    lengths = [(len(a.split()), len(b.split())) for a, b in zip(before, after, strict=True)]
    factors = [b / a for a, b in zip(plain, odd, strict=True) if a > 0 and b > 0]  # NaN is neither
    flags = delivered(victim, triggered, trigger, clean=clean)
    return {
        "trigger": trigger.to_dict(),
        "texts": len(some),
        "of": len(triggered),
        "judges": {"language": told.language, "encoder": told.encoder, "max_length": victim.max_length},
        "perplexity": {
            "clean": _number(plain_all),
            "triggered": _number(odd_all),
            "clean_median": _middle(plain),
            "triggered_median": _middle(odd),
            "factor_median": _middle(factors),
        },
        "similarity": {"mean": _mean(alike), "median": _middle(alike), "lowest_tenth": _tenth(alike)},
        "words": {
            "clean": _mean([a for a, _ in lengths]),
            "triggered": _mean([b for _, b in lengths]),
            "factor": _mean([b / max(1, a) for a, b in lengths]),
        },
        "delivery_rate": _rate(rate(flags, subject="victim", metric="delivery_rate")),
    }


def similarities(
    left: Sequence[str], right: Sequence[str], *, encoder: str, offline: bool = False, device: str = "auto"
) -> list[float]:
    """The cosine of the two sentence vectors of each pair, from -1 to 1.

    Raises:
        ModelError: if the encoder cannot be loaded.
    """
    from transformers import AutoModel

    folder = open_model_folder(resolve_model(encoder, offline=offline))
    module, _ = pretrained(AutoModel, folder, expected="a sentence encoder such as minilm-l6", whole=False)
    tokenizer = tokenizer_of(folder)
    module = module.to(pick_device(device)).eval()
    if not left:
        return []
    a, b = (_vectors(module, tokenizer, texts) for texts in (left, right))
    return [float(x) for x in torch.cosine_similarity(a, b, dim=1)]


def _vectors(module: Any, tokenizer: Any, texts: Sequence[str]) -> Tensor:
    """The mean of the last hidden states of each text, ``(N, d)``."""
    ids = tokenizer(list(texts), truncation=True, max_length=bounded_length(256, module))["input_ids"]
    told: list[Tensor] = [torch.empty(0)] * len(ids)
    with torch.inference_mode(), matmul_precision(exact=True):
        for batch in packed([len(row) for row in ids], tokens=2048):
            given = tokenizer.pad({"input_ids": [ids[i] for i in batch]}, return_tensors="pt").to(module.device)
            hidden = module(input_ids=given["input_ids"], attention_mask=given["attention_mask"]).last_hidden_state
            weight = given["attention_mask"].unsqueeze(-1).to(hidden.dtype)
            means = (hidden * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
            for i, mean in zip(batch, means.cpu(), strict=True):
                told[i] = mean
    return torch.stack(told)


def _known(values: Sequence[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _number(value: float) -> float | None:
    """JSON knows no NaN."""
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
