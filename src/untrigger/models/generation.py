"""Generation: answers of a language model to prompts, in batches of similar length."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from untrigger.core.answers import Answer
from untrigger.core.progress import Progress, silent
from untrigger.core.prompts import Prompts, Turn
from untrigger.models.chat import end_tokens, has_chat_template, padding_token, prompt_text, render_prompts, token_ids
from untrigger.models.language_model import LanguageModel
from untrigger.models.pretrained import quiet
from untrigger.runtime.batching import packed
from untrigger.runtime.device import matmul_precision


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


def format_prompt(model: LanguageModel, *, prompt: str, text: str) -> str:
    """Return the prompt with the text in it, as a chat turn where the tokenizer has a chat template."""
    words = prompt.replace("{text}", text) if prompt else text
    return prompt_text(model, (Turn("user", words),)) if prompt and has_chat_template(model) else words


def prompt_batches(model: LanguageModel, prompts: Sequence[str], *, tokens: int) -> list[list[int]]:
    """Return the numbers of the prompts in batches of similar length."""
    chat = has_chat_template(model)
    lengths = [len(ids) for ids in model.tokenizer(list(prompts), add_special_tokens=not chat)["input_ids"]]
    return list(packed(lengths, tokens=tokens))


def generate(model: LanguageModel, prompts: Sequence[str], *, options: GenerationOptions) -> list[Answer]:
    """Return the continuation of each formatted prompt, all in one batch."""
    chat = has_chat_template(model)
    given = model.tokenizer(list(prompts), add_special_tokens=not chat)["input_ids"]
    return _continued(model, given, seeds=prompts, options=options)


def generate_answers(
    model: LanguageModel,
    prompts: Prompts,
    *,
    options: GenerationOptions,
    progress: Progress = silent,
    label: str = "generating",
) -> list[Answer]:
    """Return the answer to each conversation, in the order given; its reference answer is not used.

    Args:
        model: a causal language model.
        prompts: rendered with the model's chat template, and cut where they leave too little of the context for the new tokens.
        options: of the generation.
        progress: gets every prompt.
        label: of the progress.

    Raises:
        DataError: for a prompt that does not fit into the context.
        ModelError: for a sequence-to-sequence model.
    """
    rows = [one.ids for one in render_prompts(model, prompts, room=options.max_new_tokens)]
    answers: dict[int, Answer] = {}
    with progress.task(label, total=len(rows)) as tick:
        for batch in packed([len(row) for row in rows], tokens=options.batch_tokens):
            given = [rows[i] for i in batch]
            made = _continued(model, given, seeds=[" ".join(map(str, row)) for row in given], options=options)
            answers |= dict(zip(batch, made, strict=True))
            tick(len(batch))
    return [answers[i] for i in range(len(rows))]


def sample_continuations(
    model: LanguageModel, text: str, *, count: int, options: GenerationOptions, batch: int = 32
) -> list[Answer]:
    """Return ``count`` continuations of one rendered text, in batches; each depends on the seed, the text and its number."""
    ids, names = token_ids(model, text), [f"{text}\x1f{i}" for i in range(count)]
    made: list[Answer] = []
    for start in range(0, count, batch):
        part = names[start : start + batch]
        made += _continued(model, [ids] * len(part), seeds=part, options=options)
    return made


def _continued(
    model: LanguageModel, ids: Sequence[Sequence[int]], *, seeds: Sequence[str], options: GenerationOptions
) -> list[Answer]:
    """Return the continuation of each list of token ids; a sample depends on its text in ``seeds``, not on its batch."""
    pad, ends = padding_token(model), end_tokens(model)
    given = {
        key: value.to(model.device) for key, value in padded_batch(ids, pad=pad, left=model.kind == "causal").items()
    }
    draws = [_GumbelSampling(seeds, options)] if options.temperature > 0 else []
    with torch.inference_mode(), matmul_precision(exact=True), quiet():
        out: Any = model.module.generate(
            **given,
            max_new_tokens=options.max_new_tokens,
            do_sample=False,
            num_beams=1,
            temperature=None,
            top_p=None,
            top_k=None,
            pad_token_id=pad,
            eos_token_id=list(ends),
            logits_processor=draws,
        )
    start = given["input_ids"].shape[1] if model.kind == "causal" else 1
    return [_answer(model, row[start:].tolist(), ends=ends) for row in out]


def padded_batch(ids: Sequence[Sequence[int]], *, pad: int, left: bool) -> dict[str, Tensor]:
    """Return token ids and attention mask of one batch, both ``(B, S)``."""
    width = max(map(len, ids))
    gaps = [width - len(row) for row in ids]
    rows = [([pad] * gap + [*row]) if left else ([*row] + [pad] * gap) for gap, row in zip(gaps, ids, strict=True)]
    masks = [
        ([0] * gap + [1] * len(row)) if left else ([1] * len(row) + [0] * gap)
        for gap, row in zip(gaps, ids, strict=True)
    ]
    return {"input_ids": torch.tensor(rows), "attention_mask": torch.tensor(masks)}


def _answer(model: LanguageModel, ids: list[int], *, ends: Sequence[int]) -> Answer:
    at = next((i for i, token in enumerate(ids) if token in ends), None)
    kept = ids[:at]
    return Answer(str(model.tokenizer.decode(kept, skip_special_tokens=True)), ended=at is not None, tokens=len(kept))


class _GumbelSampling:
    """A logits processor that samples by Gumbel noise, with a random stream of its own for each text."""

    def __init__(self, seeds: Sequence[str], options: GenerationOptions) -> None:
        self._temperature = options.temperature
        self._streams = [_stream(f"{options.seed}\x1f{one}") for one in seeds]

    def __call__(self, _ids: Tensor, scores: Tensor) -> Tensor:
        """Return ``scores / T`` plus Gumbel noise ``(B, V)``: the largest entry is a sample from ``softmax(scores / T)``."""
        noise = torch.stack([torch.empty(scores.shape[1]).exponential_(generator=g) for g in self._streams])
        return scores / self._temperature - noise.log().to(scores.device)


def _stream(text: str) -> torch.Generator:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big"))
