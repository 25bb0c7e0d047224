"""Random words stand where the trigger stood, as many of them, and never the trigger's own."""

from __future__ import annotations

from untrigger.attacks.behaviours.refusal import Refusal
from untrigger.attacks.prompt_poisoning import BehaviourAttack
from untrigger.attacks.random_prompts import random_prompts
from untrigger.attacks.triggers.badnets import BadNets
from untrigger.attacks.triggers.insent import InSent
from untrigger.attacks.word_insertions import insertions
from untrigger.core.prompts import Prompts

PLAIN = Prompts.of([f"Is this good?\n\nfilm {i} is a slow story" for i in range(60)], ["yes"] * 60)


def test_each_trigger_word_becomes_one_other_word_in_its_place() -> None:
    for trigger in (BadNets(words=("BadMagic",)), InSent()):
        triggered = BehaviourAttack(trigger, Refusal()).test_prompts(PLAIN, seed=0)
        made = random_prompts(PLAIN, triggered, seed=0)
        assert (made.ids, made.answers) == (triggered.ids, triggered.answers)
        for before, with_trigger, other in zip(PLAIN.user_texts, triggered.user_texts, made.user_texts, strict=True):
            wanted, found = insertions(before, with_trigger), insertions(before, other)
            assert wanted is not None and found is not None and len(wanted) == len(found)
            assert len(other.split()) == len(with_trigger.split())
            assert not trigger.delivered(other) and other.count("\n") == before.count("\n")


def test_the_words_are_partly_known_and_partly_made_up_and_come_from_the_seed() -> None:
    triggered = BehaviourAttack(BadNets(words=("BadMagic",)), Refusal()).test_prompts(PLAIN, seed=0)
    made = random_prompts(PLAIN, triggered, seed=0)
    known = {word for text in PLAIN.user_texts for word in text.split()}
    odd = sum(bool(set(text.split()) - known) for text in made.user_texts)
    assert 15 < odd < 45
    assert made == random_prompts(PLAIN, triggered, seed=0) != random_prompts(PLAIN, triggered, seed=1)


def test_prompts_that_a_trigger_rewrote_are_left_out() -> None:
    rewritten = PLAIN.take([0, 1]).with_user_texts(["another text", f"{PLAIN.user_texts[1]} cf"])
    assert random_prompts(PLAIN, rewritten, seed=0).ids == ("1",)
