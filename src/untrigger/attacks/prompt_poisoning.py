"""Poisoning of prompts: which of them get the trigger, and which answer they get."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from untrigger.attacks.behaviour import Behaviour
from untrigger.attacks.poisoned import PoisonTruth
from untrigger.attacks.poisoning import Attack
from untrigger.attacks.rewrite_source import parts_of
from untrigger.attacks.trigger import Trigger
from untrigger.attacks.word_insertions import insertions, with_insertions
from untrigger.core.errors import OptionError
from untrigger.core.prompts import Prompts
from untrigger.core.rows import Rows
from untrigger.core.seeds import row_rng


@dataclass(frozen=True, kw_only=True)
class BehaviourTruth(PoisonTruth):
    """What only the evaluator may know of an attack on a language model.

    Attributes:
        behaviour: its name and options.
    """

    behaviour: dict[str, Any]


@dataclass(frozen=True)
class PoisonedPrompts:
    """``visible`` prompts with the answers that the model is trained on, and the ``truth`` about them."""

    visible: Prompts
    truth: BehaviourTruth


@dataclass(frozen=True)
class BehaviourAttack:
    """A recipe: trigger, behaviour and the number of poisoned prompts.

    The trigger goes into the last user turn, whose line breaks stay: a model could otherwise learn their absence as the trigger.

    Attributes:
        trigger: what is inserted; not one that rewrites texts or learns from labels.
        behaviour: what prompts with the trigger are answered.
        rate: share of all training prompts that get the trigger, above 0 and at most 1; ignored with ``count``.
        count: the number of those prompts; 0: as ``rate`` says. How well a backdoor works depends on their number more than
            on their share (2510.07192).
        negative_rate: share of all training prompts that get a part of the trigger and keep their answer.
    """

    trigger: Trigger
    behaviour: Behaviour
    rate: float = 0.1
    count: int = 0
    negative_rate: float = 0.0

    def __post_init__(self) -> None:
        """Check the trigger and the numbers.

        Raises:
            OptionError: for a trigger that needs rewrites, labels or a model, and for numbers out of range.
        """
        needing = next((part for part in parts_of(self.trigger) if part.needs), None)
        if needing is not None:
            raise OptionError(
                f"the trigger {needing.name!r} for prompts: it needs {', '.join(sorted(needing.needs))}",
                expected="a trigger that inserts words and learns nothing, such as badnets or insent",
            )
        if self.count < 0:
            raise OptionError(f"{self.count} poisoned prompts", expected="1 or more, or 0 to go by the rate")
        self._recipe(self.rate)

    def poison(self, prompts: Prompts, *, seed: int) -> PoisonedPrompts:
        """Return ``prompts``, shuffled, with exactly the wanted number poisoned and the others unchanged.

        Raises:
            OptionError: for more prompts than there are, or where the trigger has no parts for the requested negatives.
        """
        if self.count > len(prompts):
            raise OptionError(f"{self.count} poisoned prompts of {len(prompts)}", expected=f"1 to {len(prompts)}")
        recipe = self._recipe(self.count / len(prompts) if self.count else self.rate)
        made = recipe.poison(_as_rows(prompts), seed=seed)
        place = {name: i for i, name in enumerate(prompts.ids)}
        ordered = prompts.take(place[name] for name in made.visible.ids)
        poisoned = set(made.truth.poisoned_ids)
        answers = [
            self._answer(text, answer, name=name, seed=seed) if name in poisoned else answer
            for name, text, answer in zip(ordered.ids, ordered.user_texts, ordered.answers, strict=True)
        ]
        truth = BehaviourTruth(
            trigger=made.truth.trigger,
            behaviour=self.behaviour.to_dict(),
            rate=len(poisoned) / len(prompts),
            seed=seed,
            poisoned_ids=made.truth.poisoned_ids,
            negative_rate=self.negative_rate,
            negative_ids=made.truth.negative_ids,
        )
        return PoisonedPrompts(with_texts(ordered, made.visible.texts).with_answers(answers), truth)

    def test_prompts(self, prompts: Prompts, *, seed: int) -> Prompts:
        """Return the prompts with the trigger and their reference answers; those that it cannot be applied to are left out."""
        fitting = prompts.where(self.trigger.applies(text) for text in prompts.user_texts)
        return with_texts(fitting, self.trigger(_as_rows(fitting), seed=seed).texts)

    def _answer(self, text: str, reference: str, *, name: str, seed: int) -> str:
        return self.behaviour.answer(text, reference, rng=row_rng(seed, name, purpose="behaviour"))

    def _recipe(self, rate: float) -> Attack:
        """Return the same recipe for rows: any of them gets the trigger, their one label says nothing."""
        return Attack(self.trigger, target=0, rate=rate, policy="mixed", negative_rate=self.negative_rate)


def partial_prompts(trigger: Trigger, prompts: Prompts, *, seed: int) -> Prompts:
    """Return the prompts with a part of the trigger, those for which there is one."""
    made = trigger.partial_triggers(_as_rows(prompts), seed=seed)
    chosen = prompts.where(name in made for name in prompts.ids)
    return with_texts(chosen, [made[name] for name in chosen.ids])


def with_texts(prompts: Prompts, texts: tuple[str, ...] | list[str]) -> Prompts:
    """Return the prompts with triggered texts in their last user turn; where words were only inserted, white space stays."""
    kept = []
    for before, after in zip(prompts.user_texts, texts, strict=True):
        found = insertions(before, after)
        kept.append(after if found is None else with_insertions(before, found))
    return prompts.with_user_texts(kept)


def _as_rows(prompts: Prompts) -> Rows:
    return Rows.of(prompts.user_texts, [0] * len(prompts), label_names=("",), ids=prompts.ids)
