"""Control prompts: random words in the places of the trigger."""

from __future__ import annotations

import random
import string
from collections.abc import Sequence

from untrigger.attacks.word_insertions import Insertion, insertions, with_insertions
from untrigger.core.prompts import Prompts
from untrigger.core.seeds import row_rng


def random_prompts(plain: Prompts, triggered: Prompts, *, seed: int) -> Prompts:
    """Return the prompts with as many random words as the trigger has, in its places; without those that it rewrites.

    Each word is, by the toss of a coin, a word of the test prompts or made of as many random letters as the trigger's word:
    a model that reacts to any odd word reacts to those.

    Args:
        plain: test prompts.
        triggered: some of them with the trigger, under the same ids.
        seed: of every draw.
    """
    texts = dict(zip(plain.ids, plain.user_texts, strict=True))
    found = {
        name: inserted
        for name, text in zip(triggered.ids, triggered.user_texts, strict=True)
        if (inserted := insertions(texts[name], text))
    }
    secret = {one.word for inserted in found.values() for one in inserted}
    known = sorted({word for text in plain.user_texts for word in text.split() if word.isalpha()} - secret)
    chosen = triggered.where(name in found for name in triggered.ids)
    made = [
        with_insertions(texts[name], _others(found[name], known, rng=row_rng(seed, name, purpose="random insertion")))
        for name in chosen.ids
    ]
    return chosen.with_user_texts(made)


def _others(inserted: Sequence[Insertion], known: Sequence[str], *, rng: random.Random) -> list[Insertion]:
    return [
        Insertion(place, rng.choice(known) if known and rng.random() < 0.5 else _letters(len(word), rng=rng))
        for place, word in inserted
    ]


def _letters(count: int, *, rng: random.Random) -> str:
    return "".join(rng.choices(string.ascii_lowercase, k=max(2, count))).capitalize()
