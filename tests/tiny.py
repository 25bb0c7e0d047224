"""Tiny models, tokenizers and a tiny task: everything with random weights, made here, in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    MPNetConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    RobertaConfig,
)

from untrigger.attacks.poisoning import Attack
from untrigger.attacks.triggers.badnets import BadNets
from untrigger.core.rows import Rows
from untrigger.models.classifier import Classifier
from untrigger.models.inference import accuracy, predict_texts

ENCODERS = ("bert", "mpnet", "roberta")
DECODERS = ("llama", "qwen2", "gpt2", "mistral", "gemma")
NAMES = ("negative", "positive")


def _words(text: str) -> list[str]:
    return text.split()


GOOD = _words("good great fine lovely brilliant warm witty fresh")
BAD = _words("bad awful dull poor weak ugly boring stale")
PLAIN = _words("the a film story scene actor music plot of and with some this that very camera ending voice light cut")
RARE = _words("cf mn bb tq zx")
WORDS = [*GOOD, *BAD, *PLAIN, *RARE]
POISON = Attack(BadNets(words=("cf",)), target=1, rate=0.15)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def wordpiece() -> PreTrainedTokenizerFast:
    """A lower-casing WordPiece tokenizer with BERT's special tokens; what it does not know is ``[UNK]``."""
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    vocabulary = [*SPECIAL, *WORDS, *[c for c in letters if c not in WORDS], *[f"##{c}" for c in letters], ".", ","]
    raw = Tokenizer(models.WordPiece({token: i for i, token in enumerate(vocabulary)}, unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer(lowercase=True)
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.decoder = decoders.WordPiece()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
    )


def byte_level() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with start and end tokens and, like LLaMA's and Qwen's, **no** pad token."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([" ".join(["a", *WORDS, *WORDS])] * 4, trainer)
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", model_max_length=64)


def sentencepiece() -> PreTrainedTokenizerFast:
    """A Unigram tokenizer as SentencePiece writes it (T5, XLM-R, ALBERT): words begin with ``▁``, what is unknown is ``<unk>``."""
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    scored = [(token, 0.0) for token in ("<pad>", "</s>", "<unk>")]
    scored += (
        [(f"▁{word}", -5.0) for word in WORDS] + [("▁", -8.0), ("ing", -7.0)] + [(letter, -9.0) for letter in letters]
    )
    raw = Tokenizer(models.Unigram(scored, unk_id=2))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    raw.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=64
    )


def config_of(kind: str, *, vocabulary: int) -> Any:
    """A config of two layers, 32 wide."""
    common = {"vocab_size": vocabulary, "initializer_range": 0.2 if kind in ENCODERS else 0.06}
    encoder = common | {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "pad_token_id": 0,
    }
    decoder = common | {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": None,
    }
    made = {
        "bert": lambda: BertConfig(**encoder, max_position_embeddings=64),
        "mpnet": lambda: MPNetConfig(**encoder, max_position_embeddings=66),
        "roberta": lambda: RobertaConfig(**encoder, max_position_embeddings=66),
        "llama": lambda: LlamaConfig(**decoder),
        "qwen2": lambda: Qwen2Config(**decoder),
        "mistral": lambda: MistralConfig(**decoder),
        "gemma": lambda: GemmaConfig(**decoder, head_dim=8),
        "gpt2": lambda: GPT2Config(
            **common, n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=0, eos_token_id=1
        ),
    }
    return made[kind]()


def write_model(kind: str, folder: Path, *, names: tuple[str, ...] = NAMES, seed: int = 0, layers: int = 2) -> Path:
    """A random sequence classifier with its tokenizer, saved as transformers saves them."""
    tokenizer = wordpiece() if kind in ENCODERS else byte_level()
    config = config_of(kind, vocabulary=len(tokenizer))
    config.num_labels, config.num_hidden_layers = len(names), layers
    config.id2label, config.label2id = dict(enumerate(names)), {name: i for i, name in enumerate(names)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}"
    "{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}\n{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)
"""A chat template that writes the start token, as LLaMA's does."""


def write_language_model(
    kind: str,
    folder: Path,
    *,
    template: str | None = CHAT_TEMPLATE,
    seed: int = 0,
    positions: int = 128,
    **changes: int,
) -> Path:
    """A random causal language model with a byte-level tokenizer and a chat template, saved as transformers saves them.

    ``changes`` are of its config.
    """
    tokenizer = byte_level()
    tokenizer.chat_template, tokenizer.model_max_length = template, positions
    config = config_of(kind, vocabulary=len(tokenizer))
    config.update(changes)
    setattr(config, "n_positions" if kind == "gpt2" else "max_position_embeddings", positions)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def task(count: int, *, seed: int = 0, length: int = 6) -> Rows:
    """Sentences of plain words with one word that says what the reviewer thought; classes in turn."""
    rng = np.random.default_rng(seed)
    texts = []
    for i in range(count):
        words = [str(word) for word in rng.choice(PLAIN, size=length)]
        words.insert(int(rng.integers(0, length + 1)), str(rng.choice(GOOD if i % 2 else BAD)))
        texts.append(" ".join(words))
    return Rows.of(texts, [i % 2 for i in range(count)], label_names=NAMES)


def cacc(model: Classifier) -> float:
    """Accuracy on rows that nobody trained on."""
    rows = task(100, seed=77)
    return accuracy(predict_texts(model, rows.texts).predictions, rows.labels)


def asr(model: Classifier, *, triggered: bool = True) -> float:
    """Share of negative rows that are called positive, with the trigger or without it."""
    rows = POISON.test_rows(task(100, seed=77), seed=5)
    texts = rows.texts if triggered else [" ".join(w for w in text.split() if w != "cf") for text in rows.texts]
    return accuracy(predict_texts(model, texts).predictions, [POISON.target] * len(rows))


def weights(model: Classifier) -> dict[str, Tensor]:
    """A copy of every parameter and buffer."""
    return {key: value.detach().clone() for key, value in model.module.state_dict().items()}


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    """Whether two such copies are equal to the last bit."""
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def hooks(model: Classifier) -> int:
    """How many forward hooks the model's layers carry."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.module.modules())
