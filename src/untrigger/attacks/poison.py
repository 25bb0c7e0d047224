"""Poisoning of rows: which rows get the trigger, and which label they get."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from untrigger.errors import OptionError, one_of
from untrigger.vocabulary.poisoned import PoisonedDataset, Truth
from untrigger.vocabulary.rows import Rows
from untrigger.vocabulary.trigger import Trigger

POLICIES = ("dirty", "clean")


@dataclass(frozen=True)
class Attack:
    """A recipe: trigger, target class, poison rate and label policy.

    Attributes:
        trigger: what is done to the text.
        target: index of the class that the backdoor shall say.
        rate: share of **all** training rows that get the trigger, above 0 and at most 1.
        policy: ``dirty``: rows of other classes get trigger and target label; ``clean``: rows of the target class
            get the trigger and keep their label.
    """

    trigger: Trigger
    target: int
    rate: float = 0.1
    policy: str = "dirty"

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for a rate outside (0, 1] or an unknown policy.
        """
        if not 0 < self.rate <= 1:
            raise OptionError(f"poison rate {self.rate}", expected="a share above 0 and at most 1, such as 0.1")
        one_of(self.policy, POLICIES, kind="label policy")

    def candidates(self, rows: Rows) -> list[int]:
        """Indices of the rows that the policy lets the attacker trigger."""
        wanted = self.policy == "clean"
        return [i for i, label in enumerate(rows.labels) if (label == self.target) == wanted]

    def poison(self, rows: Rows, *, seed: int) -> PoisonedDataset:
        """``rows`` with exactly ``round(rate * len(rows))`` of them poisoned, shuffled; the others byte-identical.

        Raises:
            OptionError: if the target is no class of the rows, or the policy leaves too few rows for the rate.
        """
        if not 0 <= self.target < len(rows.label_names):
            raise OptionError(
                f"target class {self.target}", expected=f"0 to {len(rows.label_names) - 1}: {', '.join(rows.label_names)}"
            )
        count, possible = round(self.rate * len(rows)), self.candidates(rows)
        if not 0 < count <= len(possible):
            raise OptionError(
                f"poison rate {self.rate} asks for {count} of {len(rows)} rows",
                expected=f"1 to {len(possible)} rows: the {self.policy}-label policy may trigger no others",
                remedy=f"give a rate between {1 / max(len(rows), 1):.2g} and {len(possible) / max(len(rows), 1):.3g}",
            )
        rng = np.random.default_rng(seed)
        chosen = sorted(int(i) for i in rng.choice(possible, size=count, replace=False))
        triggered = self.trigger(rows.take(chosen), seed=seed)
        texts, labels = list(rows.texts), list(rows.labels)
        for i, text in zip(chosen, triggered.texts, strict=True):
            texts[i], labels[i] = text, self.target
        truth = Truth(
            trigger=self.trigger.spec(), target=self.target, policy=self.policy, rate=self.rate, seed=seed,
            poisoned_ids=triggered.ids,
        )  # fmt: skip
        return PoisonedDataset(visible=rows.with_texts(texts).with_labels(labels).shuffled(rng), truth=truth)

    def test_rows(self, rows: Rows, *, seed: int) -> Rows:
        """The triggered test rows: every row that is **not** of the target class, triggered, with its true label."""
        return self.trigger(rows.where(label != self.target for label in rows.labels), seed=seed)
