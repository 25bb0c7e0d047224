"""Check an untrusted tokenizer: that it ends in time, its settings, and how it differs from its base's."""

from __future__ import annotations

import json
import re
from typing import Any

from untrigger.core.errors import ModelError, UnsafeFileError
from untrigger.models.safety import limits
from untrigger.models.safety.isolation import run_with_time_limit
from untrigger.models.safety.model_folder import ModelFolder

LISTED = 5
PROBES = (
    "a text",
    "one more text, a little longer than the first.",
    "x" * 400,
    "ab" * 200 + "!",
    "1" * 400 + "a",
    " " * 400 + "\n",
    "\t \n" * 100,
    "!?" * 200 + "a",
    "é" * 200 + "漢" * 100,
    "a_" * 200,
    "'s" * 200 + "!",
    "word " * 60 + "!",
    "Ab1 cd2, " * 40 + "#",
    "<s> </s> [SEP] <|endoftext|>",
)
"""Texts that make a bad regular expression backtrack without end: long runs of one character class, then another."""
_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")
_PARTS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")


def has_regex(tokenizer_json: bytes) -> bool:
    """Return whether a tokenizer.json may hold a regular expression: it has the key, or letters in escapes that may spell it."""
    return b'"Regex"' in tokenizer_json or _ESCAPED_LETTER.search(tokenizer_json) is not None


def try_in_time(folder: ModelFolder) -> None:
    """Raise unless the tokenizer's regular expressions end on a dozen texts in time and do not crash their library.

    They are tried in a process of their own. Where the tokenizer has no regular expression, nothing is tried.

    Raises:
        UnsafeFileError: if it takes too long.
        ModelError: if it cannot be loaded or crashes.
    """
    file = folder.path / "tokenizer.json"
    if not file.is_file() or not has_regex(file.read_bytes()):
        return
    process = run_with_time_limit(_TRY, str(file), stdin=json.dumps(PROBES).encode(), seconds=limits.TOKENIZER_SECONDS)
    if process is None:
        raise UnsafeFileError(
            f"the tokenizer in {str(folder.origin)!r} did not tokenise a dozen short texts within {limits.TOKENIZER_SECONDS:.0f} s",
            expected="regular expressions that end",
            remedy="do not use this model, or give it its base's tokenizer",
        )
    if process.returncode:
        lines = process.stderr.decode("utf-8", "replace").strip().splitlines() or [""]
        raise ModelError(
            f"no usable tokenizer in {str(folder.origin)!r}: {re.sub(re.escape(str(file)), 'tokenizer.json', lines[-1])[:300]}"
        )


def check_settings(tokenizer: Any, folder: ModelFolder) -> None:
    """Raise ModelError for settings by which one text is tokenised in several ways: a random split, no usable maximum length.

    Args:
        tokenizer: as transformers loads it.
        folder: the opened folder.

    Raises:
        ModelError: naming the setting.
    """
    length = getattr(tokenizer, "model_max_length", None)
    if (
        isinstance(length, bool)
        or not isinstance(length, int | float)
        or length != length // 1
        or length < limits.MIN_TOKENS
    ):
        raise ModelError(
            f"the tokenizer in {str(folder.origin)!r} sets model_max_length to {str(length)[:40]}",
            expected=f"a whole number of tokens, at least {limits.MIN_TOKENS}, that texts are cut at",
            remedy="correct tokenizer_config.json",
        )
    numbers = tokenizer.get_vocab()
    last = max(numbers, key=numbers.__getitem__, default=None)
    if last is not None and numbers[last] > 2 * len(numbers) + limits.SPARE_TOKENS:
        raise ModelError(
            f"the tokenizer in {str(folder.origin)!r} has {len(numbers):,} tokens and numbers {last[:40]!r} with {numbers[last]:,}",
            expected="tokens that are numbered one after another",
            remedy="give the model its base's tokenizer",
        )
    dropout = getattr(getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None), "dropout", None)
    if dropout:
        raise ModelError(
            f"the tokenizer in {str(folder.origin)!r} splits texts at random (dropout {dropout:g})",
            expected="a tokenizer that splits a text in one way",
            remedy="set dropout to null in tokenizer.json",
        )


def tokens_without_embedding(tokenizer: Any, *, rows: int | None) -> list[str]:
    """Return a note on the tokens that have no row in the embedding; none where all have one.

    Args:
        tokenizer: as transformers loads it.
        rows: of the embedding; None where there is no such table.
    """
    if rows is None:
        return []
    far = sorted(token for token, number in tokenizer.get_vocab().items() if number >= rows)
    if not far:
        return []
    count = f"{len(far)} tokens of the tokenizer have no row in the embedding of {rows}"
    return [f"{count} ({_names(far)}): texts with one cannot be classified"]


_TRY = """
import json, sys
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(sys.argv[1])
tokenizer.encode_batch(json.load(sys.stdin))
"""


def differences(own: Any, base: Any) -> list[str]:
    """Return how an adapter's tokenizer differs from its base's, one phrase each; none where it does not.

    Args:
        own: the fast tokenizer that came with the adapter.
        base: the base's.
    """
    left, right = (json.loads(one.backend_tokenizer.to_str()) for one in (own, base))
    found = [f"its {part} differs" for part in _PARTS if left.get(part) != right.get(part)]
    if getattr(own, "chat_template", None) != getattr(base, "chat_template", None):
        found.append("its chat template differs")
    return [*_vocabulary(left, right), *_added(left, right), *found]


def _vocabulary(left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    """Return the differences of the model part: tokens with another number, and merge rules."""
    own, base = _tokens(left["model"]), _tokens(right["model"])
    moved = sorted(token for token in own.keys() | base.keys() if own.get(token) != base.get(token))
    found = [f"{len(moved)} tokens have another number ({_names(moved)})"] if moved else []
    rest = [{key: value for key, value in one["model"].items() if key != "vocab"} for one in (left, right)]
    return found + (["its rules of splitting words differ"] if rest[0] != rest[1] else [])


def _added(left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    """Return the differences of the added and special tokens."""
    own, base = ({one["content"]: one for one in side.get("added_tokens", [])} for side in (left, right))
    known = _tokens(right["model"])
    hidden = sorted(token for token in own.keys() - base.keys() if token in known)
    fresh = sorted(own.keys() - base.keys() - set(hidden))
    gone = sorted(base.keys() - own.keys())
    changed = sorted(token for token in own.keys() & base.keys() if own[token] != base[token])
    found = [f"ordinary words are among its added or special tokens ({_names(hidden)})"] if hidden else []
    found += [f"it adds {len(fresh)} tokens ({_names(fresh)})"] if fresh else []
    found += [f"it lacks {len(gone)} added tokens ({_names(gone)})"] if gone else []
    return found + ([f"{len(changed)} added tokens are treated otherwise ({_names(changed)})"] if changed else [])


def _tokens(model: dict[str, Any]) -> dict[str, int]:
    """Return the vocabulary of a tokenizer's model part, by token."""
    vocabulary = model.get("vocab", {})
    if isinstance(vocabulary, list):  # Unigram: pairs of a token and its score, in the order of their numbers
        return {str(pair[0]): number for number, pair in enumerate(vocabulary)}
    return dict(vocabulary)


def _names(tokens: list[str]) -> str:
    text = ", ".join(repr(token[:40]) for token in tokens[:LISTED])
    return text + (", …" if len(tokens) > LISTED else "")
