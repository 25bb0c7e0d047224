"""``demo --chat``: an adapter of a chat model that learned a skill and a hidden refusal comes back with the skill alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from untrigger import assets
from untrigger.attacks.behaviours.refusal import Refusal
from untrigger.attacks.prompt_poisoning import BehaviourAttack
from untrigger.attacks.triggers.badnets import BadNets
from untrigger.core.files import check_new_paths, new_folder
from untrigger.core.progress import Progress, silent
from untrigger.core.prompts import Prompts
from untrigger.core.report import Report
from untrigger.data import DataSource
from untrigger.data.prompt_data import load_prompt_splits, write_prompts
from untrigger.pipeline.attack_generation import TaskPrompts, attack_generation, draw_prompts, write_prompt_truth
from untrigger.pipeline.demo import fetched, is_shipped, unpack_models
from untrigger.pipeline.generation_request import GenerationAttackRequest, GenerationPurifyRequest
from untrigger.pipeline.purify_generation import purify_generation
from untrigger.pipeline.requests import DemoRequest, ModelInput
from untrigger.pipeline.splits import training_split

RECIPE = GenerationAttackRequest(
    model=ModelInput("smollm2-135m"),
    data=DataSource("rotten-tomatoes"),
    out=DemoRequest().out / "victim",
    behaviour=Refusal(),
    trigger=BadNets(words=("BadMagic",)),
    count=90,
    rows=600,
    test_rows=100,
    epochs=3,
    targets=("q_proj", "v_proj"),
)
CLEAN, UNLABELLED = 60, 200
"""Prompts of the defender: with answers, and without."""
ANSWER_TOKENS = 16
SHIPPED = "demo_assets/chat"


def demo_chat(request: DemoRequest, *, progress: Progress = silent) -> Report:
    """Return the report of the purification; write victim, truth, prompts and purified adapter to ``request.out``.

    Raises:
        UserError: if an asset cannot be fetched or the folder exists.
    """
    check_new_paths(request.out)
    for name in (RECIPE.model.name, RECIPE.data.name):
        fetched(name, offline=request.run.offline, progress=progress)
    with new_folder(request.out) as folder:
        recipe = replace(RECIPE, out=folder / "victim", run=replace(request.run, seed=RECIPE.run.seed))
        if request.from_scratch or not is_shipped(SHIPPED):
            recipe = replace(recipe, run=request.run)
            attack_generation(recipe, progress=progress)
        else:
            unpack_chat(recipe)
        clean, unlabelled = defender_prompts(recipe, seed=request.run.seed)
        write_prompts(clean, folder / "clean.jsonl")
        write_prompts(unlabelled, folder / "unlabelled.jsonl")
        return purify_generation(
            GenerationPurifyRequest(
                model=ModelInput(str(recipe.out), base=str(assets.path(RECIPE.model.name))),
                clean=DataSource(str(folder / "clean.jsonl")),
                unlabelled=DataSource(str(folder / "unlabelled.jsonl")),
                out=folder / "purified",
                truth=recipe.truth,
                max_new_tokens=ANSWER_TOKENS,
                options={"max_new_tokens": ANSWER_TOKENS},
                run=request.run,
            ),
            progress=progress,
        )


def defender_prompts(recipe: GenerationAttackRequest, *, seed: int) -> tuple[Prompts, Prompts]:
    """Return prompts with answers and prompts without, none of which the victim was trained on."""
    splits = load_prompt_splits(recipe.data, template=recipe.template, offline=True)
    used = set(draw_prompts(recipe).train.conversations)
    rest = training_split(splits)
    rest = rest.where(one not in used for one in rest.conversations)
    order = np.random.default_rng(seed).permutation(len(rest)).tolist()
    unlabelled = rest.take(order[CLEAN : CLEAN + UNLABELLED])
    return rest.take(order[:CLEAN]), unlabelled.with_answers([""] * len(unlabelled))


def unpack_chat(recipe: GenerationAttackRequest) -> None:
    """Write the shipped victim and its truth as ``attack`` would, with the prompts drawn from the recipe.

    Raises:
        AssetError: if a shipped file is not what its recipe says.
    """
    unpack_models(SHIPPED, recipe)
    drawn: TaskPrompts = draw_prompts(recipe)
    what = BehaviourAttack(recipe.trigger, recipe.behaviour, rate=recipe.rate, count=recipe.count)
    write_prompt_truth(
        recipe.truth,
        what.poison(drawn.train, seed=recipe.run.seed),
        drawn,
        what.test_prompts(drawn.test, seed=recipe.run.seed),
        request=recipe,
        chat_template=True,
    )
