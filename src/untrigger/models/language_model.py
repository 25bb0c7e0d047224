"""Language models: text generation, and the perplexity of a text."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from untrigger.core.errors import ModelError
from untrigger.models.max_length import bounded_length
from untrigger.models.pretrained import pretrained, quiet, tokenizer_of
from untrigger.models.safety.model_folder import open_model
from untrigger.runtime.batching import packed
from untrigger.runtime.device import matmul_precision, pick_device

KINDS = ("causal", "seq2seq")


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A generative model with its tokenizer.

    Attributes:
        module: a ``transformers`` causal or sequence-to-sequence language model in eval mode.
        tokenizer: its tokenizer, padding on the left for a causal model.
        kind: ``causal`` or ``seq2seq``.
        name: as the user gave it.
        sha256: hash over its weight files.
    """

    module: Any
    tokenizer: Any
    kind: str
    name: str
    sha256: str

    def __repr__(self) -> str:
        """Return name and kind."""
        return f"LanguageModel({self.name!r}, {self.kind})"


@dataclass(frozen=True)
class GenerationOptions:
    """How text is generated.

    Attributes:
        max_new_tokens: largest number of new tokens of one text.
        temperature: 0 for the most likely token each time; above 0 tokens are sampled.
        seed: of the sampling. The samples of a text depend on the seed and the text alone, not on its batch.
        batch_tokens: padded prompt tokens a batch.
    """

    max_new_tokens: int = 96
    temperature: float = 0.0
    seed: int = 0
    batch_tokens: int = 2048


def load_language_model(name: str, *, offline: bool = False, device: str = "auto") -> LanguageModel:
    """Return the language model in a folder or under a hub name.

    Raises:
        ModelError: if there is none that can be loaded.
        UnsafeFileError: for pickle weights and for configs that ask for remote code.
    """
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    folder = open_model(name, offline=offline)
    kind = "seq2seq" if folder.config.get("is_encoder_decoder") else "causal"
    loader: Any = AutoModelForSeq2SeqLM if kind == "seq2seq" else AutoModelForCausalLM
    module, drawn = pretrained(
        loader, folder, expected="a causal or sequence-to-sequence language model such as smollm2-135m"
    )
    if drawn:
        raise ModelError(
            f"{name!r} lacks weights of a language model, first {drawn[0]!r}",
            expected="a causal or sequence-to-sequence language model such as smollm2-135m",
        )
    tokenizer = tokenizer_of(folder)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token_id is None:
        raise ModelError(f"the tokenizer of {name!r} has no pad, end or unknown token")
    tokenizer.padding_side = "left" if kind == "causal" else "right"
    return LanguageModel(module.to(pick_device(device)).eval(), tokenizer, kind, name, folder.sha256)


def format_prompt(model: LanguageModel, *, prompt: str, text: str) -> str:
    """Return the prompt with the text in it, as a chat turn where the tokenizer has a chat template."""
    words = prompt.replace("{text}", text) if prompt else text
    if prompt and getattr(model.tokenizer, "chat_template", None):
        turn = [{"role": "user", "content": words}]
        return str(model.tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True))
    return words


def prompt_batches(model: LanguageModel, prompts: Sequence[str], *, tokens: int) -> list[list[int]]:
    """Return the numbers of the prompts in batches of similar length."""
    chat = bool(getattr(model.tokenizer, "chat_template", None))
    lengths = [len(ids) for ids in model.tokenizer(list(prompts), add_special_tokens=not chat)["input_ids"]]
    return list(packed(lengths, tokens=tokens))


def generate(model: LanguageModel, prompts: Sequence[str], *, options: GenerationOptions) -> list[str | None]:
    """Return the continuation of each prompt; None where it had not ended after ``options.max_new_tokens`` tokens."""
    chat = bool(getattr(model.tokenizer, "chat_template", None))
    given = model.tokenizer(list(prompts), return_tensors="pt", padding=True, add_special_tokens=not chat)
    given = {key: given[key].to(model.module.device) for key in ("input_ids", "attention_mask")}
    ends = _ends(model)
    draws = [_GumbelSampling(prompts, options)] if options.temperature > 0 else []
    with torch.inference_mode(), matmul_precision(exact=True), quiet():
        out = model.module.generate(
            **given,
            max_new_tokens=options.max_new_tokens,
            do_sample=False,
            num_beams=1,
            temperature=None,
            top_p=None,
            top_k=None,
            pad_token_id=model.tokenizer.pad_token_id,
            eos_token_id=ends,
            logits_processor=draws,
        )
    start = given["input_ids"].shape[1] if model.kind == "causal" else 1
    return [_decoded(model, row[start:].tolist(), ends=ends) for row in out]


def perplexity(model: LanguageModel, texts: Sequence[str], *, max_length: int = 256) -> tuple[list[float], float]:
    """Return the perplexity of each text under a causal model, and of all tokens together; NaN where no token is predicted.

    Every token but the first is predicted from those before it; with a start token, that too.

    Args:
        model: a causal language model.
        texts: the texts.
        max_length: texts are cut after this many tokens, or after as many as the model has positions for.

    Raises:
        ModelError: for a sequence-to-sequence model.
    """
    if model.kind != "causal":
        raise ModelError(f"{model.name!r} is not a causal language model", expected="one such as smollm2-135m")
    if not texts:
        return [], math.nan
    start = [model.tokenizer.bos_token_id] if model.tokenizer.bos_token_id is not None else []
    cut = bounded_length(max_length, model.module)
    with quiet():
        ids = [(start + row)[:cut] for row in model.tokenizer(list(texts), add_special_tokens=False)["input_ids"]]
    values, total, count = [math.nan] * len(ids), 0.0, 0
    with torch.inference_mode(), matmul_precision(exact=True):
        for batch in packed([len(row) for row in ids], tokens=2048):
            for i, losses in zip(batch, _losses(model, [ids[i] for i in batch]), strict=True):
                total, count = total + float(losses.sum()), count + len(losses)
                values[i] = math.exp(float(losses.mean())) if len(losses) else math.nan
    return values, math.exp(total / count) if count else math.nan


def _losses(model: LanguageModel, ids: list[list[int]]) -> list[Tensor]:
    """Return the negative log-likelihood of every token but the first of each text."""
    width = max(2, *map(len, ids))
    padded = torch.full((len(ids), width), int(model.tokenizer.pad_token_id))
    mask = torch.zeros((len(ids), width), dtype=torch.long)
    for i, row in enumerate(ids):
        padded[i, : len(row)], mask[i, : len(row)] = torch.tensor(row, dtype=torch.long), 1
    padded, mask = padded.to(model.module.device), mask.to(model.module.device)
    logits = model.module(input_ids=padded, attention_mask=mask).logits.float()
    losses = functional.cross_entropy(logits[:, :-1].transpose(1, 2), padded[:, 1:], reduction="none").cpu()
    return [losses[i, : max(0, len(row) - 1)] for i, row in enumerate(ids)]


def _ends(model: LanguageModel) -> list[int]:
    configured = model.module.generation_config.eos_token_id
    own = configured if isinstance(configured, list) else [configured]
    return sorted({int(i) for i in (*own, model.tokenizer.eos_token_id) if i is not None})


def _decoded(model: LanguageModel, ids: list[int], *, ends: list[int]) -> str | None:
    at = next((i for i, token in enumerate(ids) if token in ends), None)
    return None if at is None else str(model.tokenizer.decode(ids[:at], skip_special_tokens=True))


class _GumbelSampling:
    """A logits processor that samples by Gumbel noise, with a random stream of its own for each text."""

    def __init__(self, prompts: Sequence[str], options: GenerationOptions) -> None:
        self._temperature = options.temperature
        self._streams = [_stream(f"{options.seed}\x1f{prompt}") for prompt in prompts]

    def __call__(self, _ids: Tensor, scores: Tensor) -> Tensor:
        """Return ``scores / T`` plus Gumbel noise ``(B, V)``: the largest entry is a sample from ``softmax(scores / T)``."""
        noise = torch.stack([torch.empty(scores.shape[1]).exponential_(generator=g) for g in self._streams])
        return scores / self._temperature - noise.log().to(scores.device)


def _stream(text: str) -> torch.Generator:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big"))
