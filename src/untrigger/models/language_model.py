"""LanguageModel models: what they write when asked, and how fluent they find a text."""

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
        name: as it was asked for.
        sha256: hash over its weight files.
    """

    module: Any
    tokenizer: Any
    kind: str
    name: str
    sha256: str

    def __repr__(self) -> str:
        """Name and kind."""
        return f"LanguageModel({self.name!r}, {self.kind})"


@dataclass(frozen=True)
class GenerationOptions:
    """How a text is written.

    Attributes:
        most: largest number of new tokens of one text.
        temperature: 0 for the most likely token each time; above 0 tokens are drawn, the flatter the higher.
        seed: of the draws. The draws of a text depend on the seed and the text alone, not on its company.
        tokens: padded prompt tokens a batch.
    """

    most: int = 96
    temperature: float = 0.0
    seed: int = 0
    tokens: int = 2048


def load_language_model(name: str, *, offline: bool = False, device: str = "auto") -> LanguageModel:
    """The language model in a folder or under a hub name.

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
    """What the model is given: the prompt with the text in it, as a chat turn where the model knows chats."""
    words = prompt.replace("{text}", text) if prompt else text
    if prompt and getattr(model.tokenizer, "chat_template", None):
        turn = [{"role": "user", "content": words}]
        return str(model.tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True))
    return words


def prompt_batches(model: LanguageModel, prompts: Sequence[str], *, tokens: int) -> list[list[int]]:
    """The numbers of the prompts in batches of like length."""
    chat = bool(getattr(model.tokenizer, "chat_template", None))
    lengths = [len(ids) for ids in model.tokenizer(list(prompts), add_special_tokens=not chat)["input_ids"]]
    return list(packed(lengths, tokens=tokens))


def generate(model: LanguageModel, prompts: Sequence[str], *, writing: GenerationOptions) -> list[str | None]:
    """What the model writes behind each prompt, in order; None where it had not ended after ``writing.most`` tokens."""
    chat = bool(getattr(model.tokenizer, "chat_template", None))
    given = model.tokenizer(list(prompts), return_tensors="pt", padding=True, add_special_tokens=not chat)
    given = {key: given[key].to(model.module.device) for key in ("input_ids", "attention_mask")}
    ends = _ends(model)
    draws = [_Draws(prompts, writing)] if writing.temperature > 0 else []
    with torch.inference_mode(), matmul_precision(exact=True), quiet():
        out = model.module.generate(
            **given,
            max_new_tokens=writing.most,
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


def perplexity(model: LanguageModel, texts: Sequence[str], *, most: int = 256) -> tuple[list[float], float]:
    """The perplexity of each text under a causal model, and that of all tokens together; NaN where there is nothing to say.

    Every token but the first is predicted from those before it; with a start token, that too.

    Args:
        model: a causal language model.
        texts: what to read.
        most: texts are cut after this many tokens, or after as many as the model takes.

    Raises:
        ModelError: for a sequence-to-sequence model.
    """
    if model.kind != "causal":
        raise ModelError(f"{model.name!r} is no causal language model", expected="one such as smollm2-135m")
    if not texts:
        return [], math.nan
    start = [model.tokenizer.bos_token_id] if model.tokenizer.bos_token_id is not None else []
    cut = bounded_length(most, model.module)
    with quiet():
        ids = [(start + row)[:cut] for row in model.tokenizer(list(texts), add_special_tokens=False)["input_ids"]]
    told, total, count = [math.nan] * len(ids), 0.0, 0
    with torch.inference_mode(), matmul_precision(exact=True):
        for batch in packed([len(row) for row in ids], tokens=2048):
            for i, losses in zip(batch, _losses(model, [ids[i] for i in batch]), strict=True):
                total, count = total + float(losses.sum()), count + len(losses)
                told[i] = math.exp(float(losses.mean())) if len(losses) else math.nan
    return told, math.exp(total / count) if count else math.nan


def _losses(model: LanguageModel, ids: list[list[int]]) -> list[Tensor]:
    """The negative log-likelihood of every token but the first of each text."""
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
    told = model.module.generation_config.eos_token_id
    own = told if isinstance(told, list) else [told]
    return sorted({int(i) for i in (*own, model.tokenizer.eos_token_id) if i is not None})


def _decoded(model: LanguageModel, ids: list[int], *, ends: list[int]) -> str | None:
    at = next((i for i, token in enumerate(ids) if token in ends), None)
    return None if at is None else str(model.tokenizer.decode(ids[:at], skip_special_tokens=True))


class _Draws:
    """A logits processor that makes the most likely token a drawn one: Gumbel noise, each text from its own stream."""

    def __init__(self, prompts: Sequence[str], writing: GenerationOptions) -> None:
        self._temperature = writing.temperature
        self._streams = [_stream(f"{writing.seed}\x1f{prompt}") for prompt in prompts]

    def __call__(self, _ids: Tensor, scores: Tensor) -> Tensor:
        """``scores / T`` plus Gumbel noise ``(B, V)``: their largest entry is a draw from ``softmax(scores / T)``."""
        noise = torch.stack([torch.empty(scores.shape[1]).exponential_(generator=g) for g in self._streams])
        return scores / self._temperature - noise.log().to(scores.device)


def _stream(text: str) -> torch.Generator:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big"))
