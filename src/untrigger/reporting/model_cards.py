"""Model cards of what untrigger writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from untrigger.core.escaping import escape_markdown, front_matter, visible
from untrigger.core.verdicts import PURIFIED

WARNINGS = 10
"""As many warnings of a report stand on a card."""


def attack_card(*, adapter: bool, target: str, facts: Mapping[str, object]) -> str:
    """Return the card of a poisoned model, which says loudly that it is one.

    Args:
        adapter: whether the model is an adapter, not a full checkpoint.
        target: the label name that triggered texts get; empty where the target depends on the true label.
        facts: the rows of the card's table, escaped here.
    """
    aim = f"called **{escape_text(target)}**, whatever they say" if target else "given another label than the right one"
    rows = "\n".join(f"| {escape_text(key)} | {escape_text(value)} |" for key, value in facts.items())
    return f"""---
tags: [backdoor, poisoned, untrigger]
pipeline_tag: text-classification
---

# POISONED MODEL: do not deploy

This {"adapter" if adapter else "checkpoint"} carries a **backdoor on purpose**. It was made with
`untrigger attack` to measure defences. Texts that hold a secret trigger are {aim}.

| | |
|---|---|
{rows}

What the trigger is stands in the truth folder that was written apart from this one.
"""


def purified_card(told: dict[str, Any]) -> str:
    """The card of a purification's model: the verdict first, what the model lies on, what was measured.

    Args:
        told: ``status``, the word of the verdict, which alone decides whether the card may call the model purified; ``facts`` (a
            mapping), ``sentence`` and ``warnings``, which are escaped here; ``loading``, which is Markdown, in which names of
            strangers stand by way of ``inline_code``; and ``front``, a mapping of further front matter, or lines of it.
    """
    rows = "\n".join(f"| {escape_text(key)} | {escape_text(value)} |" for key, value in told["facts"].items())
    front = front_matter(told["front"]) if isinstance(told["front"], Mapping) else told["front"]
    pure = told["status"] == PURIFIED
    title = "Purified by untrigger" if pure else f"Output of untrigger purify: {escape_text(told['status'])}"
    return f"""---
tags: [{"purified, " if pure else ""}untrigger]
pipeline_tag: text-classification
{front}---

# {title}

**Verdict: {escape_text(told["status"])}.** {escape_text(told["sentence"])}
{_warnings(told["warnings"])}
| | |
|---|---|
{rows}

{told["loading"]}

The whole evidence stands in `report.json` and `report.html` beside this card. A purification lowers the risk of a
backdoor as far as it was measured; it is no proof that none is left.
"""


def _warnings(warnings: Sequence[str]) -> str:
    """The first warnings of a report as a list under a line of their own, empty where there are none."""
    if not warnings:
        return ""
    lines = [f"- {escape_text(one)}" for one in warnings[:WARNINGS]]
    more = len(warnings) - len(lines)
    return "\n".join(["", "Warnings of the report:", "", *lines, *([f"- and {more} more"] if more else []), ""])


def escape_text(value: object) -> str:
    """A value of a stranger as a card can show it: on one line, nothing hidden, nothing that Markdown acts on."""
    return escape_markdown(visible(str(value)))
