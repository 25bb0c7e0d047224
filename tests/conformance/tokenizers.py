"""Tokenizers of every kind that checkpoints bring, made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from tests.tiny import SPECIAL, WORDS, sentencepiece, wordpiece

LENGTH = 48


def byte_pairs(
    *, bos: str | None = "<s>", pad: str | None = None, eos: str | None = "</s>", **more: Any
) -> PreTrainedTokenizerFast:
    """Byte-level BPE as GPT-2, LLaMA 3 and Qwen have it: a start token or none, a pad token or none; pad may be the end token."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([" ".join(["a", *WORDS, *WORDS])] * 4, trainer)
    if bos:
        raw.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, 0)])
    asked = {
        "model_max_length": LENGTH,
        "model_input_names": ["input_ids", "attention_mask"],
        "bos_token": "<s>",
    } | more
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=eos, pad_token=pad, **asked)


def segments() -> PreTrainedTokenizerFast:
    """Unigram as XLNet has it: padding on the left, the class token at the end, in a segment of its own."""
    tokenizer = sentencepiece()
    raw = tokenizer.backend_tokenizer
    raw.add_special_tokens(["<sep>", "<cls>"])
    cls, sep = raw.token_to_id("<cls>"), raw.token_to_id("<sep>")
    raw.post_processor = processors.TemplateProcessing(
        single="$A:0 <sep>:0 <cls>:2", special_tokens=[("<sep>", sep), ("<cls>", cls)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<pad>",
        unk_token="<unk>",
        cls_token="<cls>",
        sep_token="<sep>",
        padding_side="left",
        model_max_length=LENGTH,
    )


def _cut_on_the_left() -> PreTrainedTokenizerFast:
    return byte_pairs(truncation_side="left", padding_side="left")


def _with_added_tokens() -> PreTrainedTokenizerFast:
    tokenizer = wordpiece()
    tokenizer.add_tokens(["filmscene", "coolplot"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<user>", "<url>"]})
    return tokenizer


TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "wordpiece": wordpiece,
    "bytes": byte_pairs,
    "unigram": sentencepiece,
    "segments": segments,
    "bytes, no start token": lambda: byte_pairs(bos=None),
    "bytes, pad is eos": lambda: byte_pairs(pad="</s>"),
    "bytes, own pad": lambda: byte_pairs(pad="<pad>"),
    "bytes, token types": lambda: byte_pairs(model_input_names=["input_ids", "token_type_ids", "attention_mask"]),
    "bytes, no bound": lambda: byte_pairs(model_max_length=10**30),
    "bytes, cut and padded on the left": _cut_on_the_left,
    "wordpiece, added tokens": _with_added_tokens,
}
assert len(SPECIAL) == 5
