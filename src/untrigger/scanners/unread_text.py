"""Reasons against a verdict of clean in how a model reads texts: most are cut, or rules of its tokenizer rewrite them."""

from __future__ import annotations

from untrigger.core.rows import Rows
from untrigger.models.classifier import Classifier
from untrigger.models.safety.tokenizer_rules import rewriting_rules, rules_text


def unread(model: Classifier, rows: Rows, *, most_cut: float) -> list[str]:
    """Return why the model cannot be called clean by its predictions on ``rows``, a reason each; none where it reads all text.

    Args:
        model: the suspect.
        rows: held-out rows.
        most_cut: where a larger share of the texts is longer than the model reads, most of what its users send was not seen.
    """
    return [*_mostly_cut(model, rows, most=most_cut), *_rewritten_by_rules(model)]


def _mostly_cut(model: Classifier, rows: Rows, *, most: float) -> list[str]:
    cut = model.count_cut(rows.texts)
    if cut <= most * len(rows):
        return []
    return [f"{cut} of {len(rows)} held-out texts are longer than the {model.max_length} tokens that were read of each"]


def _rewritten_by_rules(model: Classifier) -> list[str]:
    rules = rewriting_rules(model.tokenizer)
    return [f"the tokenizer rewrites texts by rules of its own: {rules_text(rules)}"] if rules else []
