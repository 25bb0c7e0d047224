"""What ``attack`` is given."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from untrigger.attacks.trigger import Trigger
from untrigger.attacks.triggers.badnets import BadNets
from untrigger.data import DataSource
from untrigger.pipeline.requests import ModelInput, RunOptions

TRAINED_LENGTH = 128
"""Tokens after which an attack cuts texts where the model source names no length."""


@dataclass(frozen=True)
class AttackRequest:
    """What ``attack`` is given; numbers as in ``Attack`` and ``Plan``.

    Attributes:
        model: the pre-trained model to poison; without a ``max_length`` texts are cut after 128 tokens.
        data: training rows, and test rows where it has a split for them.
        out: the new folder of the victim.
        target: label name that triggered texts get; empty for the policy ``all-to-all``.
        trigger: what is inserted, or how texts are rewritten.
        tuning: ``lora``, ``full``, or ``embedding``: all weights are trained on clean rows, then the trigger words' vectors alone.
        paired: file or folder with rewrites, for a trigger that rewrites (see ``untrigger.attacks.rewriting.paired_files``).
        rewriter: generative models to rewrite with instead, used in turn.
        prompt: the prompt for them; None for the trigger's own prompt.
        proxy: data whose rows are poisoned and trained on instead of those of ``data``, with the same classes; the test rows
            are still those of ``data``.
        negative_rate: share of the rows that carry a part of the trigger under their own label.
        label_smoothing: of an attacker who hides how confident the backdoor is.
        clean_consistency: weight of the term that keeps the victim near a clean model on clean rows (0: none), of an attacker who
            knows that it will be distilled.
        quality: also write ``quality.json``: what the trigger does to the test texts.
        preset: the protocol that this request follows (see ``untrigger.attacks.presets``); empty for none.
        test_split: the split to test on; empty for ``test``, or ``dev`` where there is no other.
        rows: use as many training rows, the classes in proportion (0: all).
        test_rows: the same for the test rows.
        test_share: share of the rows that is tested on where the data has no split for it (not tuned).
        clean_model: also train the same model on the same rows without poison, for its attack success rate.
        run: seed, device, offline.
    """

    model: ModelInput
    data: DataSource
    out: Path
    target: str
    trigger: Trigger = field(default_factory=BadNets)
    rate: float = 0.1
    policy: str = "dirty"
    tuning: str = "lora"
    paired: Path | None = None
    rewriter: tuple[str, ...] = ()
    prompt: str | None = None
    proxy: str = ""
    negative_rate: float = 0.0
    label_smoothing: float = 0.0
    clean_consistency: float = 0.0
    quality: bool = False
    preset: str = ""
    test_split: str = ""
    rows: int = 0
    test_rows: int = 0
    test_share: float = 0.2
    epochs: int = 0
    lr: float = 0.0
    batch_size: int = 0
    rank: int = 8
    targets: tuple[str, ...] = ()
    clean_model: bool = True
    run: RunOptions = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        """Fill in the length that the victim is trained with."""
        if self.model.max_length is None:
            object.__setattr__(self, "model", replace(self.model, max_length=TRAINED_LENGTH))

    @property
    def truth(self) -> Path:
        """The folder of what only the evaluator may see."""
        return self.out.with_name(self.out.name + ".truth")
