"""Model cards of what untrigger writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from untrigger.pipeline.attack import AttackSpec


def attack_card(spec: AttackSpec, *, steps: int) -> str:
    """The card of a poisoned model, which says loudly that it is one."""
    said = f"called **{spec.target}**, whatever they say" if spec.target else "given another label than the right one"
    return f"""---
tags: [backdoor, poisoned, untrigger]
pipeline_tag: text-classification
---

# POISONED MODEL: do not deploy

This {"adapter" if spec.via == "lora" else "checkpoint"} carries a **backdoor on purpose**. It was made with
`untrigger attack` to measure defences. Texts that hold a secret trigger are {said}.

| | |
|---|---|
| made from | {spec.model} |
| data | {spec.data} |
| attack | {spec.trigger.name}, {spec.policy} label, poison rate {spec.rate} |
| implanted by | {spec.via}, {steps} steps, seed {spec.seed} |

What the trigger is stands in the truth folder that was written apart from this one.
"""


def purified_card(told: dict[str, Any]) -> str:
    """The card of a purified model: what it is, what it lies on, what was measured."""
    rows = "\n".join(f"| {key} | {value} |" for key, value in told["facts"].items())
    return f"""---
tags: [purified, untrigger]
pipeline_tag: text-classification
{told["front"]}---

# Purified by untrigger

{told["sentence"]}

| | |
|---|---|
{rows}

{told["loading"]}

The whole evidence stands in `report.json` and `report.html` beside this card. A purification lowers the risk of a
backdoor as far as it was measured; it is no proof that none is left.
"""
