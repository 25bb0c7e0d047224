"""Every PEFT method that is supported, on the architectures of ``tests/conformance/matrix.py``: one row a kind of adapter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Adapter:
    """One PEFT adapter on an architecture of ``ROWS``.

    Attributes:
        base: a name in ``ROWS``.
        method: name of the config class in ``peft``.
        options: its options.
        refused: the words with which it is refused when loaded or asked.
        purified: the words with which a purified adapter of the same format is refused, empty where it is saved.
        merged: the words with which ``merge=True`` is refused, empty where the merged model has to answer as the adapter.
        task: task type in its config; empty for none, as where PEFT is used by hand.
        quick: part of the slice that ``make test`` runs.
    """

    base: str
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    refused: str = ""
    purified: str = ""
    merged: str = ""
    task: str = "SEQ_CLS"
    quick: bool = False


NOT_ONE = "cannot be folded into one LoRA adapter"
NEITHER = "neither be merged into its base nor carry a second adapter"
QV = {
    "bert": ["query", "value"],
    "llama": ["q_proj", "v_proj"],
    "gpt2": ["c_attn"],
    "t5": ["q", "v"],
    "bart": ["q_proj", "v_proj"],
}


def _on(base: str, method: str, **more: Any) -> Adapter:
    known = {key: more.pop(key) for key in ("refused", "purified", "merged", "quick", "task") if key in more}
    return Adapter(base, method, {"target_modules": QV[base.split(",")[0]]} | more, **known)


def _lora() -> dict[str, Adapter]:
    rows: dict[str, Adapter] = {}
    for base in ("bert", "llama"):
        head = "classifier" if base == "bert" else "score"
        table = "word_embeddings" if base == "bert" else "embed_tokens"
        rows |= {
            f"{base}: lora": _on(base, "LoraConfig", r=4, quick=True),
            f"{base}: lora, all-linear": _on(base, "LoraConfig", target_modules="all-linear", r=4, quick=True),
            f"{base}: lora on the head": _on(base, "LoraConfig", target_modules=[*QV[base], head], r=4, quick=True),
            f"{base}: lora on the head, no task": _on(
                base, "LoraConfig", target_modules=[*QV[base], head], r=4, task="", quick=True
            ),
            f"{base}: lora, all-linear, no task": _on(base, "LoraConfig", target_modules="all-linear", r=4, task=""),
            f"{base}: rslora": _on(base, "LoraConfig", r=4, lora_alpha=8, use_rslora=True),
            f"{base}: dora": _on(base, "LoraConfig", r=4, use_dora=True, purified=NOT_ONE),
            f"{base}: lora, bias all": _on(base, "LoraConfig", r=4, bias="all", purified=NOT_ONE),
            f"{base}: lora, bias lora_only": _on(base, "LoraConfig", r=4, bias="lora_only", purified=NOT_ONE),
            f"{base}: lora_bias": _on(
                base,
                "LoraConfig",
                r=4,
                lora_bias=True,
                purified=NOT_ONE if base == "bert" else "the base layer has no bias",
                merged="" if base == "bert" else "the base layer has no bias",
            ),
            f"{base}: lora, rank_pattern": _on(
                base, "LoraConfig", r=4, rank_pattern={QV[base][0]: 2}, alpha_pattern={QV[base][1]: 3}
            ),
            f"{base}: lora, modules_to_save": _on(
                base, "LoraConfig", r=4, modules_to_save=["pooler" if base == "bert" else "norm"]
            ),
            f"{base}: lora on embeddings": _on(base, "LoraConfig", target_modules=[*QV[base], table], r=4),
            f"{base}: lora, trainable tokens": _on(
                base, "LoraConfig", r=4, trainable_token_indices={table: [3, 5, 9]}, quick=True, purified=NOT_ONE
            ),
            f"{base}: lora, layers_to_transform": _on(base, "LoraConfig", r=4, layers_to_transform=[1]),
        }
    rows["llama, 64 classes: lora on the head"] = _on(
        "llama, 64 classes", "LoraConfig", target_modules=["q_proj", "score"], r=4
    )
    rows["bert, 64 classes: lora on the head"] = _on(
        "bert, 64 classes", "LoraConfig", target_modules=["query", "classifier"], r=4, quick=True
    )
    for base, target in (("llama, 64 classes", ["q_proj", "score"]), ("bert, 64 classes", ["query", "classifier"])):
        rows[f"{base}: lora on the head, no task"] = _on(
            base, "LoraConfig", target_modules=target, r=4, task="", quick=base[0] == "l"
        )
    rows["llama, pad is eos: lora"] = _on("llama, pad is eos", "LoraConfig", r=4)
    for base in ("gpt2", "t5", "bart"):
        save = {"modules_to_save": ["classification_head"]} if base != "gpt2" else {"fan_in_fan_out": True}
        rows[f"{base}: lora"] = _on(base, "LoraConfig", r=4, **save)
    rows["distilbert: lora"] = Adapter("distilbert", "LoraConfig", {"r": 4, "target_modules": ["q_lin", "v_lin"]})
    rows["roberta: lora"] = Adapter("roberta", "LoraConfig", {"r": 4, "target_modules": ["query", "value"]})
    return rows


def _others() -> dict[str, Adapter]:
    rows: dict[str, Adapter] = {}
    for base in ("bert", "llama"):
        q = QV[base]
        feed = ["output.dense"] if base == "bert" else ["down_proj"]
        made: dict[str, dict[str, Any]] = {
            "IA3Config": {"target_modules": [*q, *feed], "feedforward_modules": feed},
            "LNTuningConfig": {"target_modules": ["LayerNorm"] if base == "bert" else ["norm"]},
            "AdaLoraConfig": {"init_r": 4, "target_r": 2, "total_step": 10, "target_modules": q},
            "LoHaConfig": {"r": 4, "target_modules": q},
            "LoKrConfig": {"r": 4, "target_modules": q},
            "OFTConfig": {"oft_block_size": 8, "r": 0, "target_modules": q},
            "BOFTConfig": {"boft_block_size": 4, "target_modules": q},
            "VeraConfig": {"r": 4, "target_modules": [q[0]]},
            "FourierFTConfig": {"n_frequency": 20, "target_modules": q},
            "HRAConfig": {"r": 4, "target_modules": q},
            "VBLoRAConfig": {"r": 4, "num_vectors": 16, "vector_length": 8, "topk": 2, "target_modules": q},
            "MissConfig": {"r": 4, "target_modules": q},
            "RandLoraConfig": {"r": 4, "target_modules": [q[0]]},
            "ShiraConfig": {"r": 4, "target_modules": q},
            "C3AConfig": {"block_size": 8, "target_modules": q},
            "RoadConfig": {"target_modules": q, "group_size": 8},
            "DeloraConfig": {"r": 4, "target_modules": q},
            "TrainableTokensConfig": {
                "token_indices": [3, 5, 9],
                "target_modules": ["word_embeddings" if base == "bert" else "embed_tokens"],
            },
            "PromptTuningConfig": {"num_virtual_tokens": 4},
            "PromptEncoderConfig": {"num_virtual_tokens": 4, "encoder_hidden_size": 16},
            "PrefixTuningConfig": {"num_virtual_tokens": 4},  # broken in some pairs of transformers and peft themselves
        }
        quick = ("IA3Config", "PromptTuningConfig", "PrefixTuningConfig")
        for name, options in made.items():
            prompts = name.startswith("Pr")
            rows[f"{base}: {name}"] = Adapter(
                base,
                name,
                options,
                quick=name in quick,
                purified=NEITHER if prompts else NOT_ONE,
                merged=NEITHER if prompts else "",
            )
    for base in ("gpt2", "llama, pad is eos"):
        rows[f"{base}: PromptTuningConfig"] = Adapter(
            base, "PromptTuningConfig", {"num_virtual_tokens": 4}, purified=NEITHER, merged=NEITHER
        )
    return rows


ADAPTERS: dict[str, Adapter] = _lora() | _others()
