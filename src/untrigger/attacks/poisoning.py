"""Poisoning of rows: which rows get the trigger, and which label they get."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from untrigger.attacks.poisoned import PoisonedDataset, Truth, target_labels
from untrigger.attacks.trigger import Trigger
from untrigger.core.errors import OptionError, check_choice
from untrigger.core.rows import Rows

if TYPE_CHECKING:
    from untrigger.models.classifier import Classifier

POLICIES = ("dirty", "clean", "mixed", "all-to-all")


@dataclass(frozen=True)
class Attack:
    """A recipe: trigger, target class, poison rate and label policy.

    Attributes:
        trigger: how a text is changed.
        target: index of the target class; None for ``all-to-all``.
        rate: share of **all** training rows that get the trigger, above 0 and at most 1.
        policy: ``dirty``: rows of other classes get trigger and target label; ``clean``: rows of the target class
            get the trigger and keep their label; ``mixed``: rows of any class get trigger and target label, as the public
            releases of HiddenKiller and StyleAttack; ``all-to-all``: rows of any class get the trigger and the next
            label, ``(y + 1) mod C`` (Gu 2017).
        negative_rate: share of all training rows that get a part of the trigger which is not the trigger, and keep their
            label, so that only the whole trigger flips the prediction: negative data augmentation (SOS, Yang 2021, 2106.02361).
    """

    trigger: Trigger
    target: int | None = None
    rate: float = 0.1
    policy: str = "dirty"
    negative_rate: float = 0.0

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for a rate outside (0, 1], a share of negatives outside [0, 1), an unknown policy, or a target
                where there can be none or no target where there must be one.
        """
        if not 0 < self.rate <= 1:
            raise OptionError(f"poison rate {self.rate}", expected="a share above 0 and at most 1, such as 0.1")
        if not 0 <= self.negative_rate < 1:
            raise OptionError(f"negative rate {self.negative_rate}", expected="a share from 0 to below 1, such as 0.1")
        check_choice(self.policy, POLICIES, kind="label policy")
        if (self.target is None) != (self.policy == "all-to-all"):
            given = "no target class" if self.target is None else f"target class {self.target}"
            raise OptionError(
                f"{given} with the policy {self.policy}", expected="a target, or the policy all-to-all without one"
            )

    def fit(self, rows: Rows, *, seed: int, model: Classifier | None = None) -> Attack:
        """Return the same recipe with its trigger fitted to the training rows (see ``Trigger.fit``)."""
        return replace(self, trigger=self.trigger.fit(rows, target=self.target, seed=seed, model=model))

    def candidates(self, rows: Rows) -> list[int]:
        """Return the indices of the rows that the policy allows and that the trigger can be applied to."""
        wanted = {"dirty": (False,), "clean": (True,)}.get(self.policy, (False, True))
        return [
            i
            for i, (text, label) in enumerate(zip(rows.texts, rows.labels, strict=True))
            if (label == self.target) in wanted and self.trigger.applies(text)
        ]

    def poison(self, rows: Rows, *, seed: int) -> PoisonedDataset:
        """Return ``rows``, shuffled, with exactly ``round(rate * len(rows))`` poisoned and the others byte-identical.

        Raises:
            OptionError: if the target is not a class of the rows, the policy and the trigger leave too few rows for the rate,
                or the trigger has no parts for the requested negatives.
        """
        self._check(rows)
        rng = np.random.default_rng(seed)
        trigger, chosen = self._chosen(rows, rng=rng)
        triggered = trigger(rows.take(chosen), seed=seed)
        target_of = target_labels(self.target, classes=len(rows.label_names))
        texts, labels = list(rows.texts), list(rows.labels)
        for i, text in zip(chosen, triggered.texts, strict=True):
            texts[i], labels[i] = text, target_of[rows.labels[i]]
        negative_ids = self._negatives(rows, texts, trigger=trigger, rng=rng, seed=seed, taken=chosen)
        truth = Truth(
            trigger=trigger.to_dict(),
            target=self.target,
            policy=self.policy,
            rate=self.rate,
            seed=seed,
            poisoned_ids=triggered.ids,
            negative_rate=self.negative_rate,
            negative_ids=negative_ids,
        )
        return PoisonedDataset(visible=rows.with_texts(texts).with_labels(labels).shuffled(rng), truth=truth)

    def test_rows(self, rows: Rows, *, seed: int) -> Rows:
        """Return the triggered test rows with their true labels: every row whose target label differs from its true label.

        Rows that the trigger cannot be applied to are left out.
        """
        self._check(rows)
        target_of = target_labels(self.target, classes=len(rows.label_names))
        others = rows.where(target_of[label] != label for label in rows.labels)
        trigger = self.trigger.prepare([text for text in others.texts if self.trigger.applies(text)])
        return trigger(others.where(trigger.applies(text) for text in others.texts), seed=seed)

    def _check(self, rows: Rows) -> None:
        names = rows.label_names
        if self.target is not None and not 0 <= self.target < len(names):
            raise OptionError(f"target class {self.target}", expected=f"0 to {len(names) - 1}: {', '.join(names)}")
        if self.trigger.missing_requirements():
            raise OptionError(
                f"the trigger {self.trigger.name!r} cannot be applied yet", expected=self.trigger.missing_requirements()
            )

    def _chosen(self, rows: Rows, *, rng: np.random.Generator) -> tuple[Trigger, list[int]]:
        """Return the prepared trigger and the rows that get it; rows that turn out to be impossible are replaced by others."""
        count, possible, trigger = round(self.rate * len(rows)), self.candidates(rows), self.trigger
        chosen: list[int] = []
        while 0 < count - len(chosen) <= len(possible):
            drawn = [int(i) for i in rng.choice(possible, size=count - len(chosen), replace=False)]
            trigger = trigger.prepare([rows.texts[i] for i in drawn])
            chosen += [i for i in drawn if trigger.applies(rows.texts[i])]
            possible = sorted(set(possible).difference(drawn))
        most = len(chosen) + len(possible)
        if not 0 < count <= most:
            raise OptionError(
                f"poison rate {self.rate} is {count} of {len(rows)} rows",
                expected=f"{f'1 to {most}' if most else 'no'} rows: the {self.policy}-label policy and the trigger allow no others",
                remedy=_possible_rates(most, len(rows)) if most else self._rows_wanted(),
            )
        return trigger, sorted(chosen)

    def _rows_wanted(self) -> str:
        """Return the remedy for a trigger that can be applied to no row."""
        if "rewrites" in self.trigger.needs:
            return "give rewrites of these rows: the text of none of them was found among the rewrites"
        return "give rows that the policy allows and that the trigger can be applied to"

    def _negatives(
        self, rows: Rows, texts: list[str], *, trigger: Trigger, rng: np.random.Generator, seed: int, taken: list[int]
    ) -> tuple[str, ...]:
        """Return the ids of the rows that get a part of the trigger; ``texts`` is changed in place."""
        count = round(self.negative_rate * len(rows))
        if not count:
            return ()
        rest = np.setdiff1d(np.arange(len(rows)), taken)
        order = [int(i) for i in rng.permutation(rest)]
        made = trigger.partial_triggers(rows.take(order), seed=seed)
        chosen = sorted([i for i in order if rows.ids[i] in made][:count])
        if len(chosen) < count:
            raise OptionError(
                f"negative rate {self.negative_rate} is {count} rows with a part of the trigger {trigger.name!r}",
                expected=f"at most {len(chosen)} rows",
                remedy="lower it, or take a trigger with parts: insent, or several combined with mode=all",
            )
        for i in chosen:
            texts[i] = made[rows.ids[i]]
        return tuple(rows.ids[i] for i in chosen)


def _possible_rates(most: int, rows: int) -> str:
    low, high = 1 / max(rows, 1), int(1000 * most / max(rows, 1)) / 1000
    return f"give a rate between {low:.2g} and {high:.3g}"
