"""Further prompts without answers, made of parts of the clean ones where these share a frame, such as one question before each."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

from untrigger.core.prompts import Prompts, Turn
from untrigger.training.mixtures import mix_texts

LEAST_FRAME = 2
"""Fewest words that all prompts must share at their start or end to count as a frame (not tuned)."""
LEAST_WORDS = 6
"""Texts with fewer words are cropped and never joined to another (as in ``RetrainOptions``)."""
CROP_SHARE = 1 / 3
"""Share of crops (as in ``RetrainOptions``)."""


def mix_prompts(prompts: Prompts, *, count: int, rng: random.Random) -> Prompts:
    """Return ``count`` prompts whose last user turn is a mixture of those of ``prompts``; none where these share no frame.

    The words that all last user turns begin and end with stay as they are; what lies between is mixed. Other turns are those of
    one of the prompts. The answers are empty.
    """
    head, tail = frame_of(prompts)
    bodies = [text[len(head) : len(text) - len(tail)] for text in prompts.user_texts]
    texts = [body for body in bodies if body.split()]
    if not count or not (head or tail) or len(texts) < 2:
        return prompts.take([])
    chosen = [rng.randrange(len(prompts)) for _ in range(count)]
    mixed = (mix_texts(texts, min_joined_words=LEAST_WORDS, crop_share=CROP_SHARE, rng=rng) for _ in range(count))
    talks = [prompts.conversations[i] for i in chosen]
    made = Prompts.of(talks, [""] * count, ids=[f"mixture-{i}" for i in range(count)])
    return made.with_user_texts(f"{head}{body}{tail}" for body in mixed)


def framed_prompts(texts: Sequence[str], like: Prompts) -> Prompts:
    """Return texts as prompts without answers, in the words that all prompts ``like`` these begin and end with.

    A text that begins with these words already stays as it is. A system turn that all of ``like`` share is added.
    """
    head, tail = frame_of(like)
    systems = {talk[:-1] for talk in like.conversations}
    before = systems.pop() if len(systems) == 1 else ()
    full = (text if head and text.startswith(head.strip()) else f"{head}{text}{tail}" for text in texts)
    return Prompts.of([(*before, Turn("user", text)) for text in full], [""] * len(texts))


def frame_of(prompts: Prompts) -> tuple[str, str]:
    """Return what every last user turn begins and ends with: by the template, else the words that all share; empty for none."""
    if prompts.frame is not None:
        return prompts.frame
    head, tail = shared_frame(prompts.user_texts)
    return (head, tail) if len((head + tail).split()) >= LEAST_FRAME else ("", "")


def shared_frame(texts: Sequence[str]) -> tuple[str, str]:
    """Return what all texts begin with and what the rest of them all ends with, both cut between words."""
    head = _shared_start(texts)
    return head, _shared_start([text[len(head) :][::-1] for text in texts])[::-1]


def _shared_start(texts: Sequence[str]) -> str:
    """Return what all texts begin with, without a last word that is not the whole word in every text."""
    shared = os.path.commonprefix(list(texts))  # noqa: RUF071  # characters are compared, as wanted
    if all(len(text) == len(shared) or text[len(shared)].isspace() for text in texts) or not shared:
        return shared
    end = max((i + 1 for i, letter in enumerate(shared) if letter.isspace()), default=0)
    return shared[:end]
