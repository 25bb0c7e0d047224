"""Which rules of a tokenizer rewrite texts, and which are the harmless ones of common tokenizers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from tests.tiny import byte_level, sentencepiece, wordpiece
from untrigger.models.safety.tokenizer_rules import RewritingRule, rewriting_rules, rewritten_literals, rules_text


def with_steps(
    *, normalizers: list[dict[str, Any]] | None = None, splits: list[dict[str, Any]] | None = None
) -> PreTrainedTokenizerFast:
    """The WordPiece tokenizer with further steps, one sequence inside another."""
    settings = json.loads(wordpiece().backend_tokenizer.to_str())
    inner = {"type": "Sequence", "normalizers": normalizers or []}
    settings["normalizer"] = {"type": "Sequence", "normalizers": [settings["normalizer"], inner]}
    settings["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [settings["pre_tokenizer"], *(splits or [])]}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(settings)), unk_token="[UNK]", pad_token="[PAD]"
    )


def replace_of(content: str, **pattern: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def split_of(behavior: str, *, invert: bool = False, **pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


HARMLESS = [
    replace_of("\u2581", String=" "),
    replace_of('"', String="``"),
    replace_of('"', String="''"),
    replace_of(" ", Regex=" {2,}"),
    replace_of(" ", Regex="\\s+"),
    replace_of("e", String="\u00e9"),
]


def test_the_rules_of_common_tokenizers_are_harmless() -> None:
    splits = [
        split_of("MergedWithPrevious", String=" "),
        split_of("Isolated", Regex="\\p{N}{1,3}|[a-z]+"),
        split_of("Removed", invert=True, Regex="\\w+|\\s+"),
        split_of("Removed", Regex="\\s+"),
    ]
    for tokenizer in (
        wordpiece(),
        byte_level(),
        sentencepiece(),
        with_steps(normalizers=HARMLESS, splits=splits),
        object(),
    ):
        assert rewriting_rules(tokenizer) == [] == rewritten_literals(tokenizer)


@pytest.mark.parametrize(
    ("step", "rule"),
    [
        (replace_of("good lovely", String="film scene"), RewritingRule("film scene", False)),
        (replace_of("", String="not"), RewritingRule("not", False)),
        (replace_of("good", String="  "), RewritingRule("  ", False)),
        (replace_of("good", String="q"), RewritingRule("q", False)),
        (replace_of("good", Regex=" {2,}"), RewritingRule(" {2,}", True)),
        (replace_of(" ", Regex="film|story"), RewritingRule("film|story", True)),
    ],
)
def test_what_writes_words_or_takes_them_away_is_a_rule(step: dict[str, Any], rule: RewritingRule) -> None:
    tokenizer = with_steps(normalizers=[*HARMLESS, step])
    assert rewriting_rules(tokenizer) == [rule]
    assert rewritten_literals(tokenizer) == ([rule.pattern] if not rule.regex and rule.pattern.strip() else [])


def test_splitting_at_a_phrase_is_a_rule_too() -> None:
    splits = [split_of("Isolated", String="film scene"), split_of("Removed", Regex="no[t ]")]
    rules = rewriting_rules(with_steps(splits=splits))
    assert rules == [RewritingRule("film scene", False), RewritingRule("no[t ]", True)]
    assert rules_text(rules) == "'film scene', the pattern 'no[t ]'"
    assert rules_text(rules * 2) == "'film scene', the pattern 'no[t ]', 'film scene' and 1 more"
