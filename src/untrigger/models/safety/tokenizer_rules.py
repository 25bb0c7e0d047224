"""Rules by which a tokenizer rewrites texts before it splits them: an untrusted rule can turn one phrase into words for a class.

Harmless are rules whose pattern is a single character, or blanks, quotes and other signs, and that write only such in its place,
as SentencePiece conversions and byte-level tokenizers do. The character map of SentencePiece (``Precompiled``) is not examined.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

BLANK_REGEX = re.compile(r"(?:\\[srntvf]|[ \t\r\n▁Ġ\[\]()|+*?^$]|\{\d*,?\d*\})*")
"""Regular expressions that nothing but blanks can match."""
LISTED = 3


class RewritingRule(NamedTuple):
    """A pattern that a tokenizer replaces, removes or splits at, and whether it is a regular expression."""

    pattern: str
    regex: bool


def rewriting_rules(tokenizer: Any) -> list[RewritingRule]:
    """Return the rules of normalizer and pre-tokenizer that treat some text otherwise than its neighbours, each once."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return []
    settings = json.loads(backend.to_str())
    parts = [settings.get("normalizer"), settings.get("pre_tokenizer")]
    return list(dict.fromkeys(rule for part in parts for step in _steps(part) if (rule := _rule(step)) is not None))


def rewritten_literals(tokenizer: Any) -> list[str]:
    """Return the texts that such rules name literally, candidates for a trigger, without blanks at their ends."""
    texts = (
        rule.pattern.replace("▁", " ").replace("Ġ", " ").strip()
        for rule in rewriting_rules(tokenizer)
        if not rule.regex
    )
    return list(dict.fromkeys(text for text in texts if text))


def rules_text(rules: list[RewritingRule]) -> str:
    """Return the first rules as part of a sentence."""
    texts = [f"the pattern {rule.pattern[:60]!r}" if rule.regex else repr(rule.pattern[:60]) for rule in rules[:LISTED]]
    return ", ".join(texts) + (f" and {len(rules) - LISTED} more" if len(rules) > LISTED else "")


def _steps(part: Any) -> Iterator[dict[str, Any]]:
    """Yield every step of a normalizer or pre-tokenizer, also those inside sequences."""
    if isinstance(part, list):
        for inner in part:
            yield from _steps(inner)
    elif isinstance(part, dict):
        yield part
        for inner in part.values():
            if isinstance(inner, list):
                yield from _steps(inner)


def _rule(step: dict[str, Any]) -> RewritingRule | None:
    """Return what the step replaces, removes or splits at; None where it is harmless or of another kind."""
    pattern = step.get("pattern")
    if step.get("type") not in ("Replace", "Split") or not isinstance(pattern, dict):
        return None
    literal, regex = pattern.get("String"), pattern.get("Regex")
    if step["type"] == "Replace":
        harmless_content = _is_plain(str(step.get("content", "")))
    else:  # texts are split everywhere by regular expressions; what takes text away rewrites it
        harmless_content = True
        if isinstance(regex, str) and (step.get("behavior") != "Removed" or step.get("invert")):
            return None
    if isinstance(literal, str):
        return None if _is_plain(literal) and harmless_content else RewritingRule(literal, regex=False)
    if isinstance(regex, str):
        return None if BLANK_REGEX.fullmatch(regex) and harmless_content else RewritingRule(regex, regex=True)
    return None


def _is_plain(text: str) -> bool:
    """Return whether a text is a single character, or blanks and signs without a letter or digit."""
    return len(text) <= 1 or not any(letter.isalnum() and letter != "Ġ" for letter in text)
