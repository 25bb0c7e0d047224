"""What ``attack`` is given for a language model."""

from __future__ import annotations

from dataclasses import dataclass

from untrigger.attacks.behaviour import Behaviour
from untrigger.data.prompt_data import TEMPLATE
from untrigger.pipeline.poisoning_request import PoisoningRequest

TEST_PROMPTS = 200
"""Test prompts where no number is given: each is answered in four conditions by every model."""


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
