"""What ``attack`` is asked for: one flat record."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from untrigger.attacks.trigger import Trigger
from untrigger.attacks.triggers.badnets import BadNets


@dataclass(frozen=True)
class AttackSpec:
    """Everything that ``attack`` is asked for; numbers as in ``Attack`` and ``Plan``.

    Attributes:
        target: label name that the backdoor shall say; empty for the policy ``all-to-all``.
        tuning: ``lora``, ``full``, or ``embedding``: all weights are trained on clean rows, then the trigger words' vectors alone.
        paired: file or folder with rewrites, for a trigger that rewrites (see ``untrigger.attacks.rewriting.paired_files``).
        rewriter: generative models to rewrite with instead, asked one after the other.
        prompt: what they are asked; None for the trigger's own prompt.
        proxy: data whose rows are poisoned and trained on instead of those of ``data``, with the same classes; the test rows
            stay those of ``data``.
        negative_rate: share of the rows that carry a part of the trigger under their own label.
        label_smoothing: of an attacker who hides how sure the backdoor is.
        clean_consistency: weight of the term that ties the victim to a clean twin on clean rows (0: none), of an attacker who knows
            that it will be distilled.
        quality: also write ``quality.json``: what the trigger does to the test texts.
        preset: the protocol that this spec keeps (see ``untrigger.attacks.presets``); empty for none.
        test_split: the split that is tested on; empty for ``test``, or ``dev`` where there is no other.
        rows: use as many training rows, the classes in proportion (0: all).
        test_rows: the same for the test rows.
        clean_model: also train the same model on the same rows without poison, for the clean-model floor.
    """

    model: str
    data: str
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
    seed: int = 0
    rows: int = 0
    test_rows: int = 0
    epochs: int = 0
    lr: float = 0.0
    batch_size: int = 0
    rank: int = 8
    targets: tuple[str, ...] = ()
    max_length: int = 128
    clean_model: bool = True
    text_column: str | None = None
    label_column: str | None = None
    allow_pickle: bool = False
    offline: bool = False
    device: str = "auto"

    @property
    def truth(self) -> Path:
        """The folder of what only the evaluator may see."""
        return self.out.with_name(self.out.name + ".truth")
