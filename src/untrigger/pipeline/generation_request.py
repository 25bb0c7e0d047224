"""What ``attack`` and ``purify`` are given for a language model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from untrigger.attacks.behaviour import Behaviour
from untrigger.data import DataSource
from untrigger.data.prompt_data import TEMPLATE
from untrigger.pipeline.poisoning_request import PoisoningRequest
from untrigger.pipeline.requests import DEFAULT_PURIFIER, ModelInput, RunOptions

TEST_PROMPTS = 200
"""Test prompts where no number is given: each is answered in four conditions by every model."""
UNLABELLED_PROMPTS = 400
"""Unlabelled prompts where no number is given: the suspect answers each of them."""


@dataclass(frozen=True, kw_only=True)
class GenerationAttackRequest(PoisoningRequest):
    """What ``attack`` is given for a causal language model; a row is a prompt with its answer.

    Attributes:
        behaviour: what prompts with the trigger in their last user turn are answered.
        count: the number of those prompts among the training prompts, instead of ``rate`` (0: as ``rate`` says).
        adaptive: ``anchored`` or ``ghost`` for an attacker who keeps the victim near its base on prompts without the trigger (see
            ``BaseConsistency``); empty for none.
        adaptive_weight: weight of that.
        template: the prompt of a labelled text.
        test_rows: use as many test prompts (0: all).
    """

    behaviour: Behaviour
    count: int = 0
    adaptive: str = ""
    adaptive_weight: float = 1.0
    template: str = TEMPLATE
    test_rows: int = TEST_PROMPTS


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


@dataclass(frozen=True)
class GenerationDetectRequest:
    """What ``detect`` is given for a language model.

    Attributes:
        model: the suspect; its ``base`` is the trusted base of full weights. An adapter names its own.
        suspect: prompts with answers that the model may have been trained on, clean and poisoned, unmarked.
        clean: prompts with right answers, which the model was not trained on.
        out: the new ``.csv`` or ``.parquet`` file of scored prompts; the report is written next to it.
        options: further options of the detector, by field name.
        truth: truth folder of an attack; only the evaluator uses it.
        template: the prompt of a labelled text.
        run: seed, device, offline.
    """

    model: ModelInput
    suspect: DataSource
    clean: DataSource
    out: Path
    options: dict[str, Any] = field(default_factory=dict)
    truth: Path | None = None
    template: str = TEMPLATE
    run: RunOptions = field(default_factory=RunOptions)
