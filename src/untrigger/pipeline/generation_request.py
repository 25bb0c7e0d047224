"""What ``attack`` and ``purify`` are given for a language model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from untrigger.attacks.behaviour import Behaviour
from untrigger.attacks.trigger import Trigger
from untrigger.attacks.triggers.badnets import BadNets
from untrigger.data import DataSource
from untrigger.data.prompt_data import TEMPLATE
from untrigger.pipeline.requests import DEFAULT_PURIFIER, ModelInput, RunOptions

TEST_PROMPTS = 200
"""Test prompts where no number is given: each is answered in four conditions by every model."""
UNLABELLED_PROMPTS = 400
"""Unlabelled prompts where no number is given: the suspect answers each of them."""


@dataclass(frozen=True)
class GenerationAttackRequest:
    """What ``attack`` is given for a language model; numbers as in ``BehaviourAttack`` and ``Plan``.

    Attributes:
        model: the causal language model to poison.
        data: training prompts with answers, and test prompts where it has a split for them; labelled texts become prompts.
        out: the new folder of the victim.
        behaviour: what prompts with the trigger are answered.
        trigger: what is inserted into the last user turn.
        template: the prompt of a labelled text.
        tuning: ``lora`` or ``full``.
        test_split: the split to test on; empty for ``test``, or ``dev`` where there is no other.
        rows: use as many training prompts (0: all).
        test_rows: the same for the test prompts.
        test_share: share of the prompts that is tested on where the data has no split for it (not tuned).
        clean_model: also train the same model on the same prompts without poison: the floor of every evaluation.
        run: seed, device, offline.
    """

    model: ModelInput
    data: DataSource
    out: Path
    behaviour: Behaviour
    trigger: Trigger = field(default_factory=BadNets)
    rate: float = 0.1
    count: int = 0
    negative_rate: float = 0.0
    template: str = TEMPLATE
    tuning: str = "lora"
    test_split: str = ""
    rows: int = 0
    test_rows: int = TEST_PROMPTS
    test_share: float = 0.2
    epochs: int = 0
    lr: float = 0.0
    batch_size: int = 0
    rank: int = 8
    targets: tuple[str, ...] = ()
    clean_model: bool = True
    run: RunOptions = field(default_factory=RunOptions)

    @property
    def truth(self) -> Path:
        """The folder of what only the evaluator may see."""
        return self.out.with_name(self.out.name + ".truth")


@dataclass(frozen=True)
class GenerationPurifyRequest:
    """What ``purify`` is given for a language model.

    Attributes:
        model: the suspect; its ``base`` is the model that it was made from, if the user trusts it. An adapter names its own.
        clean: prompts with right answers; a share of them is held out from the method.
        out: the new folder.
        unlabelled: prompts of the domain without answers; plain texts get the question that the clean prompts share.
        unlabelled_rows: use at most as many of them (0: all).
        method: name of a purifier of language models.
        variant: a variant of the method, empty for the default.
        teacher: a small clean language model with the suspect's tokenizer, for methods that can use one.
        options: further options of the method, by field name.
        truth: truth folder of an attack; only the evaluator uses it, the method gets nothing of it.
        merge: write merged full weights instead of an adapter.
        clean_rows: use at most as many clean prompts (0: all).
        held_out: share of the clean prompts that the method does not get; they measure the skill without a truth (not tuned).
        control: also fine-tune the suspect, and the trusted base, on the same clean prompts.
        template: the prompt of a labelled text.
        max_new_tokens: the longest answer that is measured.
        run: seed, device, offline.
    """

    model: ModelInput
    clean: DataSource
    out: Path
    unlabelled: DataSource | None = None
    unlabelled_rows: int = UNLABELLED_PROMPTS
    method: str = DEFAULT_PURIFIER
    variant: str = ""
    teacher: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    truth: Path | None = None
    merge: bool = False
    clean_rows: int = 1000
    held_out: float = 0.2
    control: bool = True
    template: str = TEMPLATE
    max_new_tokens: int = 64
    run: RunOptions = field(default_factory=RunOptions)
