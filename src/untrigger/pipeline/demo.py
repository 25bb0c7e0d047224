"""``demo``: the main job on real input. A poisoned LLM adapter goes in, a clean one comes out, with evidence."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np

from untrigger import assets
from untrigger.attacks.poisoning import Attack
from untrigger.core.errors import AssetError
from untrigger.core.files import check_new_paths, new_folder
from untrigger.core.progress import Progress, silent
from untrigger.core.report import Report
from untrigger.data import write_rows
from untrigger.defences.w2s.retraining import RelearnOptions
from untrigger.models.saving import name_base
from untrigger.pipeline.attack import attack, target_index, task_rows, unused_rows, write_truth
from untrigger.pipeline.attack_spec import AttackSpec
from untrigger.pipeline.purify import purify
from untrigger.pipeline.spec import PurifySpec

RECIPE = AttackSpec(
    model="smollm2-135m",
    data="rotten-tomatoes",
    out=Path("victim"),
    target="positive",
    rate=0.2,
    via="lora",
    rows=2000,
    test_rows=400,
    epochs=2,
    lr=2e-3,
    batch_size=16,
)
CLEAN_ROWS = 1000
STEPS = 40  # fewer than the default of the method, which keeps more accuracy: the demo is to end within eight minutes
TEACHERS = 1  # of the three that the method asks by default, for the same reason
SHIPPED = "demo_assets"


@dataclass(frozen=True)
class DemoSpec:
    """What ``demo`` is asked for.

    Attributes:
        out: the new folder that everything is written to.
        from_scratch: poison SmolLM2 anew (some ten minutes more) instead of taking the adapter that is shipped.
        seed: of the purification, and of the attack when from scratch.
    """

    out: Path = Path("untrigger-demo")
    from_scratch: bool = False
    seed: int = 0
    device: str = "auto"
    offline: bool = False


def demo(spec: DemoSpec, *, progress: Progress = silent) -> Report:
    """The report of the purification; victim, truth, clean rows and purified adapter lie in ``spec.out``.

    Raises:
        UserError: if an asset cannot be fetched or the folder exists.
    """
    check_new_paths(spec.out)
    for name in ("smollm2-135m", "minilm-l6", "rotten-tomatoes"):
        fetched(name, offline=spec.offline, progress=progress)
    with new_folder(spec.out) as folder:
        recipe = replace(RECIPE, out=folder / "victim", device=spec.device, offline=spec.offline)
        if spec.from_scratch:
            recipe = replace(recipe, seed=spec.seed)
            attack(recipe, progress=progress)
        else:
            unpack(recipe)
        clean = unused_rows(recipe).stratified(CLEAN_ROWS, rng=np.random.default_rng(spec.seed))[0]
        write_rows(clean, folder / "clean.csv")
        return purify(
            PurifySpec(
                model=str(recipe.out),
                clean=str(folder / "clean.csv"),
                out=folder / "purified",
                truth=recipe.truth,
                base=str(assets.path("smollm2-135m")),
                seed=spec.seed,
                device=spec.device,
                offline=spec.offline,
                options={"relearn": RelearnOptions(steps=STEPS), "teachers": TEACHERS},
            ),
            progress=progress,
        )


def fetched(name: str, *, offline: bool, progress: Progress) -> Path:
    """The folder of an embedded asset, fetched with a progress bar where it is not there yet."""
    done = 0
    with progress.task(f"fetching {name}", total=100) as tick:

        def told(read: int, total: int | None, _text: str = "") -> None:
            nonlocal done
            share = int(100 * read / total) if total else 0
            tick(max(0, share - done))
            done = max(done, share)

        place = assets.fetch(name, offline=offline, progress=told)
        tick(100 - done)
    return place


def unpack(recipe: AttackSpec) -> None:
    """The shipped victim and its truth laid out as ``attack`` would have, the rows made anew from the recipe.

    Raises:
        AssetError: if a shipped file is not what its recipe says.
    """
    base = str(assets.path(recipe.model))
    with resources.as_file(resources.files("untrigger") / SHIPPED) as shipped:
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
    train, test = task_rows(recipe)
    what = Attack(recipe.trigger, target=target_index(recipe.target, train), rate=recipe.rate, policy=recipe.policy)
    poisoned = what.poison(train, seed=recipe.seed)
    write_truth(
        recipe.truth, poisoned=poisoned, test=test, triggered=what.test_rows(test, seed=recipe.seed), spec=recipe
    )
