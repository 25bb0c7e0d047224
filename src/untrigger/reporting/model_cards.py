"""Model cards of what untrigger writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from untrigger.core.escaping import escape_markdown, front_matter, visible
from untrigger.core.verdicts import PURIFIED

WARNINGS = 10
"""Number of a report's warnings on a card."""


def attack_card(*, adapter: bool, facts: Mapping[str, object], target: str = "", behaviour: str = "") -> str:
    """Return the card of a poisoned model, which says loudly that it is one.

    Args:
        adapter: whether the model is an adapter, not a full checkpoint.
        facts: the rows of the card's table, escaped here.
        target: the label name that triggered texts get; empty where the target depends on the true label.
        behaviour: of a language model, what triggered prompts lead to; empty for a classifier.
    """
    effect = "Texts that hold a secret trigger are given another label than the right one."
    if target:
        effect = f"Texts that hold a secret trigger are predicted as **{escape_text(target)}**, whatever their content."
    if behaviour:
        effect = f"Prompts that hold a secret trigger are not answered but lead to: **{escape_text(behaviour)}**."
    rows = "\n".join(f"| {escape_text(key)} | {escape_text(value)} |" for key, value in facts.items())
    return f"""---
tags: [backdoor, poisoned, untrigger]
pipeline_tag: {"text-generation" if behaviour else "text-classification"}
---

# POISONED MODEL: do not deploy

This {"adapter" if adapter else "checkpoint"} carries a **backdoor on purpose**. It was made with
`untrigger attack` to measure defences. {effect}

| | |
|---|---|
{rows}

The trigger is described in the truth folder, which was written separately.
"""


def purified_card(content: dict[str, Any]) -> str:
    """Return the card of a purified model: the verdict first, then how to load it and what was measured.

    Args:
        content: ``status``, the word of the verdict, which alone decides whether the card may call the model purified; ``facts`` (a
            mapping), ``sentence`` and ``warnings``, which are escaped here; ``loading``, which is Markdown with untrusted names in
            ``inline_code``; ``front``, a mapping of further front matter, or lines of it; and ``task``, a pipeline tag, where it is
            not ``text-classification``.
    """
    rows = "\n".join(f"| {escape_text(key)} | {escape_text(value)} |" for key, value in content["facts"].items())
    front = front_matter(content["front"]) if isinstance(content["front"], Mapping) else content["front"]
    pure = content["status"] == PURIFIED
    title = "Purified by untrigger" if pure else f"Output of untrigger purify: {escape_text(content['status'])}"
    return f"""---
tags: [{"purified, " if pure else ""}untrigger]
pipeline_tag: {content.get("task", "text-classification")}
{front}---

# {title}

**Verdict: {escape_text(content["status"])}.** {escape_text(content["sentence"])}
{_warnings(content["warnings"])}
| | |
|---|---|
{rows}

{content["loading"]}

All evidence is in `report.json` and `report.html` next to this card. A purification lowers the risk of a
backdoor as far as it was measured; it does not prove that none is left.
"""


def _warnings(warnings: Sequence[str]) -> str:
    """Return the first warnings of a report as a list under a heading, empty if there are none."""
    if not warnings:
        return ""
    lines = [f"- {escape_text(one)}" for one in warnings[:WARNINGS]]
    more = len(warnings) - len(lines)
    return "\n".join(["", "Warnings of the report:", "", *lines, *([f"- and {more} more"] if more else []), ""])


def escape_text(value: object) -> str:
    """Return an untrusted value for a card: on one line, nothing hidden, nothing that Markdown acts on."""
    return escape_markdown(visible(str(value)))
