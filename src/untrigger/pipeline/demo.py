"""``demo``: the main job on real input. A poisoned LLM adapter goes in, a clean one comes out, with evidence."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np

from untrigger import assets
from untrigger.attacks.poisoning import Attack
from untrigger.core.errors import AssetError
from untrigger.core.files import check_new_paths, new_folder
from untrigger.core.progress import Progress, silent
from untrigger.core.report import Report
from untrigger.data import DataSource, write_rows
from untrigger.defences.w2s.retrain_from_base import RetrainOptions
from untrigger.models.saving import name_base
from untrigger.pipeline.attack import TaskRows, attack, draw_rows, target_index, write_truth
from untrigger.pipeline.attack_request import AttackRequest
from untrigger.pipeline.poisoning_request import PoisoningRequest
from untrigger.pipeline.purify import purify
from untrigger.pipeline.requests import DemoRequest, ModelInput, PurifyRequest

RECIPE = AttackRequest(
    model=ModelInput("smollm2-135m"),
    data=DataSource("rotten-tomatoes"),
    out=Path("victim"),
    target="positive",
    rate=0.2,
    tuning="lora",
    rows=2000,
    test_rows=400,
    epochs=2,
    lr=2e-3,
    batch_size=16,
)
CLEAN_ROWS = 1000
STEPS = 40  # fewer than the default of the method, which keeps more accuracy: the demo is to end within eight minutes
TEACHERS = 1  # of the three that the method asks by default, for the same reason
SHIPPED = "demo_assets/classifier"


def demo(request: DemoRequest, *, progress: Progress = silent) -> Report:
    """Return the report of the purification; write victim, truth, clean rows and purified adapter to ``request.out``.

    Raises:
        UserError: if an asset cannot be fetched or the folder exists.
    """
    check_new_paths(request.out)
    for name in ("smollm2-135m", "minilm-l6", "rotten-tomatoes"):
        fetched(name, offline=request.run.offline, progress=progress)
    with new_folder(request.out) as folder:
        recipe = replace(RECIPE, out=folder / "victim", run=replace(request.run, seed=RECIPE.run.seed))
        if request.from_scratch:
            recipe = replace(recipe, run=request.run)
        rows = draw_rows(recipe)
        if request.from_scratch:
            attack(recipe, rows=rows, progress=progress)
        else:
            unpack(recipe, rows=rows)
        clean = rows.unused.stratified(CLEAN_ROWS, rng=np.random.default_rng(request.run.seed))[0]
        write_rows(clean, folder / "clean.csv")
        return purify(
            PurifyRequest(
                model=ModelInput(str(recipe.out), base=str(assets.path("smollm2-135m"))),
                clean=DataSource(str(folder / "clean.csv")),
                out=folder / "purified",
                truth=recipe.truth,
                run=request.run,
                base_control=False,  # three minutes more
                options={"retrain": RetrainOptions(steps=STEPS, teachers=TEACHERS)},
            ),
            progress=progress,
        )


def fetched(name: str, *, offline: bool, progress: Progress) -> Path:
    """Return the folder of an embedded asset, fetched with a progress bar if it is not there yet."""
    done = 0
    with progress.task(f"fetching {name}", total=100) as tick:

        def advance(read: int, total: int | None, _text: str = "") -> None:
            nonlocal done
            share = int(100 * read / total) if total else 0
            tick(max(0, share - done))
            done = max(done, share)

        place = assets.fetch(name, offline=offline, progress=advance)
        tick(100 - done)
    return place


def unpack(recipe: AttackRequest, *, rows: TaskRows) -> None:
    """Write the shipped victim and its truth as ``attack`` would, with the rows drawn from the recipe.

    Raises:
        AssetError: if a shipped file is not what its recipe says.
    """
    unpack_models(SHIPPED, recipe)
    target = target_index(recipe.target, rows.train)
    what = Attack(recipe.trigger, target=target, rate=recipe.rate, policy=recipe.policy)
    poisoned = what.poison(rows.train, seed=recipe.run.seed)
    write_truth(
        recipe.truth,
        poisoned=poisoned,
        test=rows.test,
        triggered=what.test_rows(rows.test, seed=recipe.run.seed),
        request=recipe,
    )


def is_shipped(place: str) -> bool:
    """Return whether the package holds a victim in that folder."""
    return (resources.files("untrigger") / place / "recipe.json").is_file()


def unpack_models(place: str, recipe: PoisoningRequest) -> None:
    """Write a shipped victim to ``recipe.out`` and its clean model to ``recipe.truth``.

    Args:
        place: folder in the package.
        recipe: how they were made; its base must be on this machine.

    Raises:
        AssetError: if a shipped file is not what ``recipe.json`` beside it says.
    """
    base = str(assets.path(recipe.model.name))
    with resources.as_file(resources.files("untrigger") / place) as shipped:
        pinned: dict[str, str] = json.loads((shipped / "recipe.json").read_text(encoding="utf-8"))["sha256"]
        for name, want in pinned.items():
            if hashlib.sha256((shipped / name).read_bytes()).hexdigest() != want:
                raise AssetError(
                    f"the shipped file {name!r} is not the one of the recipe", remedy="install untrigger again"
                )
        shutil.copytree(shipped / "victim", recipe.out)
        recipe.truth.mkdir()
        shutil.copytree(shipped / "clean-model", recipe.truth / "clean-model")
    for folder in (recipe.out, recipe.truth / "clean-model"):
        name_base(folder, base)
