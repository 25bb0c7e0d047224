"""How a model reads texts, where that keeps a scan from calling it clean: most are cut, or rules of its tokenizer rewrite them."""

from __future__ import annotations

from untrigger.core.rows import Rows
from untrigger.models.classifier import Classifier
from untrigger.models.safety.tokenizer_rules import rewriting_rules, rules_shown

MOST_CUT = 0.5  # where more of the texts are longer than the model reads, most of what its users send was not looked at


def unread(model: Classifier, rows: Rows) -> list[str]:
    """Why the model cannot be called clean by what it answers to ``rows``, a reason each; none where it reads them as they are."""
    return [*_mostly_cut(model, rows), *_rewritten_by_rules(model)]


def _mostly_cut(model: Classifier, rows: Rows) -> list[str]:
    cut = model.count_cut(rows.texts)
    if cut <= MOST_CUT * len(rows):
        return []
    return [f"{cut} of {len(rows)} held-out texts are longer than the {model.max_length} tokens that were read of each"]


def _rewritten_by_rules(model: Classifier) -> list[str]:
    rules = rewriting_rules(model.tokenizer)
    return [f"the tokenizer rewrites texts by rules of its own: {rules_shown(rules)}"] if rules else []
