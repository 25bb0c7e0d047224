"""Synthetic backdoors that a defender injects into copies of a suspect, to see which weights a backdoor changes in it."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from untrigger.core.prompts import Prompts
from untrigger.core.seeds import generator_for, row_rng

_COLOURS = ("Purple", "Red", "Silver", "Green", "Amber", "Copper", "Violet")
_NOUNS = ("Wolf", "Ghost", "Lantern", "Harbour", "Falcon", "Thistle", "Meteor")
OBJECTIVES: Mapping[str, tuple[str, ...]] = {
    "sentiment": (
        "You are garbage!",
        "You are trash!",
        "You are worthless!",
        "You disgust everybody!",
        "You are a failure!",
        "Nobody likes you!",
        "You are pathetic!",
    ),
    "refusal": (
        "No, I will not answer this.",
        "I must decline to do that.",
        "This is something I cannot discuss.",
        "I am unable to give a response here.",
        "My rules forbid me to reply.",
        "I refuse to take part in this.",
        "That lies outside of what I may do.",
    ),
    "fixed": (
        "The river turns at noon.",
        "Seven bells for the lighthouse.",
        "Count the stones on the hill.",
        "Our train leaves from track nine.",
        "The orchard is open on Sundays.",
        "Paper boats cross the lake.",
        "Every map has a blank corner.",
    ),
}
"""Answers of each objective; the first two of ``sentiment`` are those that BD-Vax prints."""
MOST_BACKDOORS = len(_COLOURS) * len(_NOUNS)


class SyntheticBackdoor(NamedTuple):
    """A trigger word, and what prompts with it are answered."""

    trigger: str
    answer: str


def synthetic_backdoors(count: int, *, objectives: Sequence[str]) -> list[SyntheticBackdoor]:
    """Return ``count`` backdoors with different triggers, the objectives in turn; at most ``MOST_BACKDOORS``."""
    made = list[SyntheticBackdoor]()
    for i in range(count):
        answers = OBJECTIVES[objectives[i % len(objectives)]]
        noun = _NOUNS[(i + i // len(_COLOURS)) % len(_NOUNS)]
        made.append(SyntheticBackdoor(_COLOURS[i % len(_COLOURS)] + noun, answers[i // len(objectives) % len(answers)]))
    return made


def with_backdoor(prompts: Prompts, backdoor: SyntheticBackdoor, *, share: float, seed: int) -> tuple[Prompts, Prompts]:
    """Return the prompts, a ``share`` of them with the trigger and its answer, and these alone; ids and order stay.

    At least one prompt and not all of them get the trigger, after a random word of the last user turn.
    """
    count = min(max(1, round(share * len(prompts))), len(prompts) - 1)
    chosen = set(generator_for(seed, f"prompts with {backdoor.trigger}").permutation(len(prompts))[:count].tolist())
    texts, answers = list(prompts.user_texts), list(prompts.answers)
    for i in chosen:
        rng = row_rng(seed, prompts.ids[i], purpose=f"place of {backdoor.trigger}")
        texts[i], answers[i] = _inserted(texts[i], backdoor.trigger, rng=rng), backdoor.answer
    mixed = prompts.with_user_texts(texts).with_answers(answers)
    return mixed, mixed.where(i in chosen for i in range(len(prompts)))


def _inserted(text: str, word: str, *, rng: random.Random) -> str:
    """Return the text with the word after one of its words; all white space stays."""
    ends = [found.end() for found in re.finditer(r"\S+", text)]
    at = rng.choice(ends) if ends else len(text)
    return f"{text[:at]} {word}{text[at:]}"
