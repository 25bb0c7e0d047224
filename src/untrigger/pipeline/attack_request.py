"""What ``attack`` is given for a classifier."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from untrigger.pipeline.poisoning_request import PoisoningRequest

TRAINED_LENGTH = 128
"""Tokens after which an attack cuts texts where the model source names no length."""


@dataclass(frozen=True, kw_only=True)
class AttackRequest(PoisoningRequest):
    """What ``attack`` is given for a classifier; without a ``max_length`` of the model texts are cut after 128 tokens.

    Tuned as ``embedding``, all weights are trained on clean rows, then the trigger words' vectors alone.

    Attributes:
        target: label name that triggered texts get; empty for the policy ``all-to-all``.
        policy: which rows get the trigger, and which label.
        paired: file or folder with rewrites, for a trigger that rewrites (see ``untrigger.attacks.rewriting.paired_files``).
        rewriter: generative models to rewrite with instead, used in turn.
        prompt: the prompt for them; None for the trigger's own prompt.
        proxy: data whose rows are poisoned and trained on instead of those of ``data``, with the same classes; the test rows
            are still those of ``data``.
        label_smoothing: of an attacker who hides how confident the backdoor is.
        clean_consistency: weight of the term that keeps the victim near a clean model on clean rows (0: none), of an attacker who
            knows that it will be distilled.
        quality: also write ``quality.json``: what the trigger does to the test texts.
    """

    target: str
    policy: str = "dirty"
    paired: Path | None = None
    rewriter: tuple[str, ...] = ()
    prompt: str | None = None
    proxy: str = ""
    label_smoothing: float = 0.0
    clean_consistency: float = 0.0
    quality: bool = False

    def __post_init__(self) -> None:
        """Fill in the length that the victim is trained with."""
        if self.model.max_length is None:
            object.__setattr__(self, "model", replace(self.model, max_length=TRAINED_LENGTH))
