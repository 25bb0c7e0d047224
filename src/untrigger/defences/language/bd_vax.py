"""BD-Vax (arXiv 2603.13461, ICLR 2026) for LoRA suspects: inject backdoors, reset what they change, fine-tune on clean prompts.

N copies of the suspect learn a synthetic backdoor each, and N more the same prompts without it. With ``D_ij`` the difference of
the two in channel ``j``, its score is ``mean over i of |D_ij| * mean over pairs of max(0, cos(D_ij, D_kj))``: how much, and how
alike, backdoors change it. The updates of the channels with the largest scores are reset, and the suspect is fine-tuned.

Differs from the paper: of it, a page and a table could be read, no code. A channel is one output of a linear layer of an MLP, and
its update is a row of ``B A``; resetting it means 0, where LoRA starts. All MLP layers share one threshold. How the backdoors are
injected is ours: share of the prompts, place of the trigger, steps, rate. Two of the seven published triggers and answers are used,
the others are ours. Full weights, of which the paper resets 8 % of the channels, are not supported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from untrigger.core.errors import ModelError, NeedsError, OptionError, check_choice
from untrigger.core.progress import Progress
from untrigger.core.prompts import Prompts
from untrigger.core.seeds import derived_seed
from untrigger.core.verdicts import PurificationOutcome
from untrigger.defences.language.language_purifier import LanguagePurifier, PromptGrant, PurifiedLanguageModel
from untrigger.defences.language.synthetic_backdoors import (
    MOST_BACKDOORS,
    OBJECTIVES,
    SyntheticBackdoor,
    synthetic_backdoors,
    with_backdoor,
)
from untrigger.models.adapter_merging import is_adapted, lora_updates
from untrigger.models.answer_scoring import answer_log_likelihood
from untrigger.models.language_adapters import trainable_adapter
from untrigger.models.language_model import LanguageModel
from untrigger.training.answer_students import AnswerStudentOptions
from untrigger.training.answer_training import fine_tune_answers
from untrigger.training.history import history_curves
from untrigger.training.loop import Plan

Update = tuple[Tensor, Tensor]
"""A low-rank change of a layer's weight, ``A (r, in)`` and ``B (out, r)``; the change is ``B A``."""
MLP_NAMES = frozenset({"mlp", "feed_forward", "feedforward", "ffn", "fc1", "fc2"})
"""Parts of the names of layers in an MLP."""
CHECKED, IMPLANTED = 8, 0.5
"""Prompts on which a synthetic backdoor is checked, and the probability of a token of its answer below which there is a warning."""


@dataclass(frozen=True)
class BDVax(LanguagePurifier):
    """Reset the MLP updates that synthetic backdoors change alike, then fine-tune; for a suspect with a LoRA adapter.

    Attributes:
        student: training of the suspect at the end, and rate and batch size of the injections.
        dummies: number of synthetic backdoors, from 2; each needs two short trainings.
        objectives: what they answer, in turn: ``sentiment`` (insults, as published), ``refusal``, ``fixed`` (sentences).
        injected: share of the clean prompts that hold the trigger of a synthetic backdoor (not tuned).
        injection_steps: optimiser steps of each of these trainings (not tuned).
        reset: share of the MLP channels whose update is reset.
    """

    name: ClassVar[str] = "bd-vax"
    needs: ClassVar[frozenset[str]] = frozenset({"clean"})
    student: AnswerStudentOptions = field(default_factory=AnswerStudentOptions)
    dummies: int = 7
    objectives: tuple[str, ...] = ("sentiment",)
    injected: float = 0.5
    injection_steps: int = 32
    reset: float = 0.4

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: naming what is out of range.
        """
        for one in self.objectives:
            check_choice(one, OBJECTIVES, kind="objective")
        counts = 2 <= self.dummies <= MOST_BACKDOORS and self.injection_steps >= 1 and self.objectives
        if not (counts and 0 < self.injected < 1 and 0 < self.reset < 1):
            raise OptionError(
                f"dummies {self.dummies}, objectives {list(self.objectives)}, injection_steps {self.injection_steps}, "
                f"injected {self.injected}, reset {self.reset}",
                expected=f"2 to {MOST_BACKDOORS} dummies, an objective, a step or more, shares above 0 and below 1",
            )

    def _purify(self, model: LanguageModel, grant: PromptGrant, *, progress: Progress) -> PurifiedLanguageModel:
        assert grant.clean is not None
        _mlp_updates(model)
        injected = synthetic_backdoors(self.dummies, objectives=self.objectives)
        changes, likely = list[dict[str, Update]](), dict[str, float]()
        for number, one in enumerate(injected, start=1):
            change, likely[one.trigger] = self._injected(model, grant, one, number=number, progress=progress)
            changes.append(change)
        scores = {layer: channel_scores([change[layer] for change in changes]) for layer in changes[0]}
        student = trainable_adapter(model)
        count = reset_channels(student, scores, share=self.reset)
        history = self.student.train(student, grant.clean, seed=grant.seed, progress=progress, label="fine-tuning")
        return PurifiedLanguageModel(
            student,
            changed=True,
            history=history,
            outcome=PurificationOutcome.NOT_CHECKED,
            summary=f"the updates of {count} MLP channels that {self.dummies} synthetic backdoors change most alike were reset, "
            "and the suspect was trained on the clean prompts (BD-Vax)",
            curves=history_curves(history, panel="Fine-tuning"),
            metadata=self._facts(injected, likely, channels=sum(map(len, scores.values())), count=count),
            warnings=_warnings(likely),
            budget=self.student.budget(),
        )

    def _injected(
        self, model: LanguageModel, grant: PromptGrant, backdoor: SyntheticBackdoor, *, number: int, progress: Progress
    ) -> tuple[dict[str, Update], float]:
        """Return what a backdoor changes in each MLP layer, and the probability that a token of its answer then has."""
        assert grant.clean is not None
        seed = derived_seed(grant.seed, f"injection of {backdoor.trigger}")
        mixed, triggered = with_backdoor(grant.clean, backdoor, share=self.injected, seed=seed)
        made = [
            self._trained(model, prompts, seed=seed, progress=progress, label=f"backdoor {number}, {kind}")
            for kind, prompts in (("injected", mixed), ("clean copy", grant.clean))
        ]
        with_it, without = (_mlp_updates(one) for one in made)
        scores = answer_log_likelihood(made[0], triggered.take(range(min(CHECKED, len(triggered)))))
        likely = torch.tensor([one.mean for one in scores]).mean().exp().item()
        return {layer: difference(with_it[layer], without[layer]) for layer in with_it}, likely

    def _trained(
        self, model: LanguageModel, prompts: Prompts, *, seed: int, progress: Progress, label: str
    ) -> LanguageModel:
        """Return a copy of the suspect whose adapter was trained on the prompts; the same order for both of a pair."""
        copy = trainable_adapter(model)
        fine_tune_answers(copy, prompts, plan=self._plan(len(prompts)), seed=seed, progress=progress, label=label)
        return copy

    def _plan(self, prompts: int) -> Plan:
        student = replace(self.student, epochs=1, steps=self.injection_steps)
        return replace(student.plan(prompts), max_steps=self.injection_steps)

    def _facts(
        self, injected: Sequence[SyntheticBackdoor], likely: Mapping[str, float], *, channels: int, count: int
    ) -> dict[str, Any]:
        return {
            "channels": {"reset": count, "of": channels},
            "injection_steps_in_all": 2 * self.dummies * self.injection_steps,
            "synthetic_backdoors": [
                {"trigger": one.trigger, "answer": one.answer, "probability": round(likely[one.trigger], 4)}
                for one in injected
            ],
        }


def channel_scores(changes: Sequence[Update]) -> Tensor:
    """Return ``(out,)``: ``mean |D_i| * mean over pairs of max(0, cos(D_i, D_k))`` of every row of the changes ``D = B A``.

    No product ``B A`` is formed: inner products of rows follow from the small matrices ``A_i A_k^T``.

    Args:
        changes: of one layer, by each of two or more backdoors; ranks may differ.
    """
    parts = [(a.double(), b.double()) for a, b in changes]
    inner = [[((b @ (a @ other_a.T)) * other_b).sum(dim=1) for other_a, other_b in parts] for a, b in parts]
    norms = [inner[i][i].clamp_min(0).sqrt() for i in range(len(parts))]
    pairs = [(i, k) for i in range(len(parts)) for k in range(i)]
    cosines = [(inner[i][k] / (norms[i] * norms[k]).clamp_min(1e-30)).clamp(0, 1) for i, k in pairs]
    return torch.stack(norms).mean(dim=0) * torch.stack(cosines).mean(dim=0)


def difference(first: Update, second: Update) -> Update:
    """Return ``B1 A1 - B2 A2`` as one update whose rank is the sum of both."""
    return torch.cat([first[0], second[0]]), torch.cat([first[1], -second[1]], dim=1)


def reset_channels(model: LanguageModel, scores: Mapping[str, Tensor], *, share: float) -> int:
    """Set the update of the channels with the largest scores to 0, in place, and return their number.

    Args:
        model: with a LoRA adapter of its own.
        scores: of every channel of each layer ``(out,)``, by the layer's name.
        share: of all channels of all layers, that is reset.
    """
    together = torch.cat(list(scores.values()))
    count = round(share * len(together))
    chosen = torch.zeros(len(together), dtype=torch.bool, device=together.device)
    chosen[together.argsort(descending=True, stable=True)[:count]] = True
    parts = chosen.split([len(one) for one in scores.values()])
    base, active = model.module.get_base_model(), model.module.active_adapter
    with torch.no_grad():
        for name, rows in zip(scores, parts, strict=True):
            base.get_submodule(name).lora_B[active].weight[rows] = 0.0
    return count


def _mlp_updates(model: LanguageModel) -> dict[str, Update]:
    """Return a copy of the LoRA update of each MLP layer.

    Raises:
        NeedsError: for full weights, other adapters than plain LoRA, and LoRA on attention alone.
    """
    other = "take another method, such as w2sdefense"
    if not is_adapted(model):
        raise NeedsError(f"bd-vax needs a suspect with a LoRA adapter: {model.name!r} is full weights", remedy=other)
    try:
        updates = lora_updates(model.module)
    except ModelError as error:
        raise NeedsError(f"bd-vax needs a plain LoRA adapter: {error.what}", remedy=other) from error
    found = {name: (a.clone(), b.clone()) for name, (a, b) in updates.items() if MLP_NAMES & set(name.split("."))}
    if not found:
        raise NeedsError(f"bd-vax needs LoRA updates of MLP layers: {model.name!r} has none", remedy=other)
    return found


def _warnings(likely: Mapping[str, float]) -> list[str]:
    """Return a warning where synthetic backdoors were not learned."""
    weak = [trigger for trigger, value in likely.items() if value < IMPLANTED]
    if not weak:
        return []
    return [
        f"{len(weak)} of {len(likely)} synthetic backdoors were hardly learned ({', '.join(weak)}), so their changes say little: "
        "--set injection_steps=N trains them longer"
    ]
