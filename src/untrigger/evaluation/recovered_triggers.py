"""Whether a text that a defence found is a part of the true trigger."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from untrigger.attacks.trigger import Trigger

STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
        a an and are as at be been but by can did do does for from had has have he her his i if in into is
        it its me my no not of on or our she so that the their them then there they this to too up was we
        were what when which who will with would you your
        """,
    )
)
"""Words that are in every text: one of them alone is not evidence of a trigger."""

Words = tuple[str, ...]


def trigger_phrases(trigger: Trigger) -> list[Words]:
    """Return the words and sentences that the trigger inserts, case folded; none for a trigger that rewrites."""
    marks = {word for mark in trigger.trigger_words for word in _words(mark)}
    found = [words for text in _texts(trigger.to_dict()) if len(words := _words(text)) > 1 and set(words) <= marks]
    known = {word for words in found for word in words}
    return [*found, *((mark,) for mark in sorted(marks - known))]


def is_part(text: str, phrases: Sequence[Words]) -> bool:
    """Return whether ``text`` is part of one phrase: all its content words are in it, or two of its words in a row.

    Of two words in a row one must be no stop word; a phrase of stop words alone must occur as a whole.
    """
    words = _words(text)
    return any(_within(words, phrase) or _run(words, phrase) for phrase in phrases)


def _within(words: Words, phrase: Words) -> bool:
    """Return whether the words without stop words are some of the phrase's, each at most as often."""
    content = Counter(word for word in words if word not in STOP_WORDS)
    return bool(content) and content <= Counter(phrase)


def _run(words: Words, phrase: Words) -> bool:
    """Return whether ``words`` hold two or more words of the phrase in its order and without a gap."""
    if len(phrase) == 1 or all(word in STOP_WORDS for word in phrase):
        return any(words[i : i + len(phrase)] == phrase for i in range(len(words)))
    pairs = {(a, b) for a, b in pairwise(phrase) if not {a, b} <= STOP_WORDS}
    return any(pair in pairs for pair in pairwise(words))


def _words(text: str) -> Words:
    return tuple(word for part in text.casefold().split() if (word := part.strip(".,;:!?\"'()")) or (word := part))


def _texts(value: object) -> Iterator[str]:
    """Yield the texts of a trigger's options, its name and modes among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
