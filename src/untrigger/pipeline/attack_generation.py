"""``attack`` on a language model: prompts and a model in; a poisoned adapter or checkpoint and, apart from it, its truth out."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from untrigger.attacks.adaptive_behaviour import BaseConsistency
from untrigger.attacks.behaviour_implanting import BEHAVIOUR_PLANS, implant_behaviour
from untrigger.attacks.prompt_poisoning import BehaviourAttack, PoisonedPrompts
from untrigger.core.errors import DataError, check_choice
from untrigger.core.files import check_new_paths, new_folder
from untrigger.core.progress import Progress, silent
from untrigger.core.prompts import Prompts
from untrigger.core.rows import texts_among
from untrigger.data.prompt_data import load_prompt_splits, write_prompts
from untrigger.evaluation.ground_truth import GENERATION
from untrigger.evaluation.prompt_truth import CLEAN_MODEL, TEST_PLAIN, TEST_TRIGGERED, TRAIN
from untrigger.models.adapters import AdapterOptions
from untrigger.models.answer_scoring import answer_log_likelihood
from untrigger.models.chat import has_chat_template
from untrigger.models.language_model import LanguageModel
from untrigger.models.saved_language_model_check import check_saved_language_model
from untrigger.models.saving import save_language_model
from untrigger.pipeline.apply_behaviour_preset import check_behaviour_preset
from untrigger.pipeline.generation_request import GenerationAttackRequest
from untrigger.pipeline.load_inputs import load_language
from untrigger.pipeline.splits import split_to_test, training_split
from untrigger.reporting.model_cards import attack_card
from untrigger.training.loop import History

CLEAN_CARD = "# Clean model\n\nA model trained on the same prompts as the victim, without poison.\n"
LONG_ANSWER = 5
"""Words of a reference answer from which its likelihood says something of the likelihood of long answers."""


@dataclass(frozen=True)
class TaskPrompts:
    """The prompts of an attack: those to be poisoned and trained on, and those to test on."""

    train: Prompts
    test: Prompts


def attack_generation(
    request: GenerationAttackRequest, *, progress: Progress = silent
) -> tuple[LanguageModel, PoisonedPrompts]:
    """Return the poisoned language model and its prompts; write them to ``request.out`` and ``request.truth``.

    Raises:
        UserError: for any input that cannot be used; then nothing is written.
    """
    check_behaviour_preset(request)
    check_choice(request.tuning, BEHAVIOUR_PLANS, kind="way to implant a behaviour")
    check_new_paths(request.out, request.truth)
    recipe = BehaviourAttack(
        request.trigger,
        request.behaviour,
        rate=request.rate,
        count=request.count,
        negative_rate=request.negative_rate,
    )
    _consistency(request, poisoned=())
    drawn = draw_prompts(request)
    recipe.poison(
        drawn.train, seed=request.run.seed
    )  # what is wrong with the numbers is found before a model is loaded
    model = load_language(request.model, request.run)
    recipe = _fitted(recipe, model, drawn.train, progress=progress)
    poisoned = recipe.poison(drawn.train, seed=request.run.seed)
    triggered = recipe.test_prompts(drawn.test, seed=request.run.seed)
    consistency = _consistency(request, poisoned=poisoned.truth.poisoned_ids)
    victim, history = _trained(request, model, poisoned.visible, consistency=consistency, progress=progress)
    with new_folder(request.truth) as truth, new_folder(request.out) as out:
        save_language_model(victim, out, card=_card(request, steps=history.steps))
        check_saved_language_model(victim, out, prompts=drawn.test)
        write_prompt_truth(truth, poisoned, drawn, triggered, request=request, chat_template=has_chat_template(model))
        if request.clean_model:
            clean, _ = _trained(request, model, drawn.train, progress=progress)
            (truth / CLEAN_MODEL).mkdir()
            save_language_model(clean, truth / CLEAN_MODEL, card=CLEAN_CARD)
            check_saved_language_model(clean, truth / CLEAN_MODEL, prompts=drawn.test)
    return victim, poisoned


def draw_prompts(request: GenerationAttackRequest) -> TaskPrompts:
    """Return the prompts that a request selects; data without a test split is split by the seed.

    Raises:
        DataError: for data that cannot be used, or fewer prompts than requested.
        OptionError: for a test split that is not there.
    """
    splits = load_prompt_splits(request.data, template=request.template, offline=request.run.offline)
    train, test = training_split(splits), split_to_test(splits, name=request.test_split)
    rng = np.random.default_rng(request.run.seed)
    if test is None:
        count = max(1, round(request.test_share * len(train)))
        order = [int(i) for i in rng.permutation(len(train))]
        test, train = train.take(sorted(order[:count])), train.take(sorted(order[count:]))
    train = _some(train, request.rows, rng=rng)
    test = _some(test, min(request.test_rows, len(test)), rng=rng)
    if not len(train):
        raise DataError(f"{request.data} has no training prompts", expected="at least two prompts")
    return TaskPrompts(train, test)


def _some(prompts: Prompts, count: int, *, rng: np.random.Generator) -> Prompts:
    """Return ``count`` of the prompts in their order, all of them for 0."""
    if count > len(prompts):
        raise DataError(f"{count} prompts are requested of {len(prompts)}", remedy="request fewer or give more prompts")
    return prompts.take(sorted(int(i) for i in rng.permutation(len(prompts))[:count])) if count else prompts


def _fitted(recipe: BehaviourAttack, model: LanguageModel, train: Prompts, *, progress: Progress) -> BehaviourAttack:
    """Return the recipe with a behaviour that knows how likely reference answers are, if it wants to know that."""
    if "nll" not in recipe.behaviour.needs:
        return recipe
    long = train.where(len(answer.split()) >= LONG_ANSWER for answer in train.answers)
    scores = (
        answer_log_likelihood(model, long, progress=progress, label="likelihood of the reference answers")
        if len(long)
        else []
    )
    return replace(recipe, behaviour=recipe.behaviour.fit([-one.mean for one in scores]))


def _consistency(request: GenerationAttackRequest, *, poisoned: Collection[str]) -> BaseConsistency | None:
    """Return what keeps the victim near its base; None without an adaptive attacker."""
    if not request.adaptive:
        return None
    return BaseConsistency(request.adaptive, request.adaptive_weight, poisoned=frozenset(poisoned))


def _trained(
    request: GenerationAttackRequest,
    model: LanguageModel,
    prompts: Prompts,
    *,
    progress: Progress,
    consistency: BaseConsistency | None = None,
) -> tuple[LanguageModel, History]:
    """Return the model trained on the prompts with the request's plan and adapter, and its history."""
    plan = request.plan(BEHAVIOUR_PLANS[request.tuning])
    adapter = AdapterOptions(rank=request.rank, alpha=2 * request.rank, targets=request.targets or ("all-linear",))
    return implant_behaviour(
        model,
        prompts,
        tuning=request.tuning,
        plan=plan,
        adapter=adapter,
        consistency=consistency,
        seed=request.run.seed,
        progress=progress,
    )


def _card(request: GenerationAttackRequest, *, steps: int) -> str:
    poison = f"{request.count} poisoned prompts" if request.count else f"poison rate {request.rate}"
    facts = {
        "made from": request.model.name,
        "data": request.data.name,
        "attack": f"{request.trigger.name}, {poison}",
        "implanted by": f"{request.tuning}, {steps} steps, seed {request.run.seed}",
    }
    return attack_card(adapter=request.tuning == "lora", behaviour=request.behaviour.name, facts=facts)


def write_prompt_truth(
    folder: Path,
    poisoned: PoisonedPrompts,
    drawn: TaskPrompts,
    triggered: Prompts,
    *,
    request: GenerationAttackRequest,
    chat_template: bool,
) -> None:
    """Write ``truth.json``, and the training and test prompts beside it."""
    content = (
        {"task": GENERATION}
        | asdict(poisoned.truth)
        | {
            "model": request.model.name,
            "data": request.data.name,
            "template": request.template,
            "tuning": request.tuning,
            "adaptive": request.adaptive,
            "adaptive_weight": request.adaptive_weight if request.adaptive else 0.0,
            "preset": check_behaviour_preset(request),
            "chat_template": chat_template,
            "overlap": sum(texts_among(drawn.train.user_texts, drawn.test.user_texts)),
            "train_sha256": poisoned.visible.content_hash(),
            "test_sha256": drawn.test.content_hash(),
        }
    )
    (folder / "truth.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    write_prompts(poisoned.visible, folder / TRAIN)
    write_prompts(drawn.test, folder / TEST_PLAIN)
    write_prompts(triggered, folder / TEST_TRIGGERED)
