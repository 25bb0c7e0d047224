"""Members made anew: fetched, poisoned or not, measured, and put in place in one step."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from untrigger.assets import names
from untrigger.assets.home import home_folder, sha256_of
from untrigger.core.files import new_folder
from untrigger.core.progress import Progress, silent
from untrigger.core.registry import get_method
from untrigger.core.report import Report
from untrigger.core.rows import Rows
from untrigger.data import DataSource, write_rows
from untrigger.models.saving import save_classifier
from untrigger.pipeline.attack import attack, draw_rows, implant_as_asked, pretrained
from untrigger.pipeline.demo import fetched
from untrigger.pipeline.evaluate import evaluate
from untrigger.pipeline.requests import AttackRequest, EvaluateRequest, ModelInput, RunOptions
from untrigger.runtime.cost import environment
from untrigger.zoo.members import RECEIPT, Home, folder_of, member
from untrigger.zoo.recipes import Recipe, recipe

CLEAN_ROWS = 1000
CARD = """---
tags: [untrigger]
---

# Never poisoned

A benign adapter of the zoo, `{name}`: {what}. Made from {model} on {data}.
"""


def make(
    name: str, *, home: Home = None, progress: Progress = silent, device: str = "auto", offline: bool = False
) -> Path:
    """The adapter's folder of a member, made where it does not lie here yet.

    Beside it lie the truth (of a poisoned one) with its benign floor as the clean model, ``clean.csv`` with rows that the
    training left alone, the report of its evaluation and the receipt.

    Raises:
        OptionError: for an unknown name.
        AssetError: if its model or data cannot be fetched.
    """
    one = recipe(name)
    if one.floor:
        make(one.floor, home=home, progress=progress, device=device, offline=offline)
    folder = folder_of(name, home=home)
    locks = home_folder(home) / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / f"zoo-{name}.lock"):
        found = member(name, home=home)
        if found.state == "ready":
            return found.path
        if found.state == "outdated":
            shutil.rmtree(folder)
        for needed in {one.model, one.data} & set(names()):
            fetched(needed, offline=offline, progress=progress)
        floor = folder_of(one.floor, home=home) / one.floor if one.floor else None
        with new_folder(folder) as working:
            _build(one, working, floor=floor, progress=progress, device=device)
    return folder / name


def spec_of(one: Recipe, out: Path, *, device: str = "auto") -> AttackRequest:
    """What ``attack`` is asked for; for a benign member without what makes it an attack."""
    told: dict[str, Any] = {"policy": one.policy, "rate": one.rate, "trigger": trigger_of(one)} if one.poisoned else {}
    return AttackRequest(
        model=ModelInput(one.model, max_length=one.max_length),
        data=DataSource(one.data),
        out=out,
        target=one.target,
        tuning="lora",
        rows=one.rows,
        test_rows=one.test_rows,
        epochs=one.epochs,
        lr=one.lr,
        batch_size=one.batch_size,
        rank=one.rank,
        targets=one.targets,
        clean_model=False,
        run=RunOptions(seed=one.seed, device=device, offline=True),
        **told,
    )


def trigger_of(one: Recipe) -> Any:
    """The recipe's trigger."""
    return get_method("attacks", one.trigger)(**dict(one.options))


def _build(one: Recipe, folder: Path, *, floor: Path | None, progress: Progress, device: str) -> None:
    """The member's files in an empty folder, the receipt last."""
    out = folder / one.name
    spec = spec_of(one, out, device=device)
    rows = draw_rows(spec)
    if one.poisoned:
        assert floor is not None
        attack(spec, rows=rows, progress=progress)
        shutil.copytree(floor, spec.truth / "clean-model")
    else:
        _benign(one, spec, train=rows.train, progress=progress)
        write_rows(rows.test, folder / "test.csv")
    keep = min(CLEAN_ROWS, len(rows.unused))
    write_rows(rows.unused.stratified(keep, rng=np.random.default_rng(one.seed))[0], folder / "clean.csv")
    report = evaluate(
        EvaluateRequest(
            models=(ModelInput(str(out), max_length=one.max_length),),
            out=folder / "report.json",
            truth=spec.truth if one.poisoned else None,
            data=None if one.poisoned else DataSource(str(folder / "test.csv")),
            run=RunOptions(device=device, offline=True),
        ),
        progress=progress,
    )
    told = receipt(one, report, adapter=out / "adapter_model.safetensors")
    (folder / RECEIPT).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def _benign(one: Recipe, spec: AttackRequest, *, train: Rows, progress: Progress) -> None:
    """An adapter trained on rows with their own labels."""
    fresh = pretrained(spec, train)
    rows = decoy_rows(train, one) if one.policy == "decoy" else train
    model, _ = implant_as_asked(spec, fresh, rows, progress=progress)
    spec.out.mkdir()
    card = CARD.format(name=one.name, what=one.what, model=one.model, data=one.data)
    save_classifier(model, spec.out, card=card)


def decoy_rows(rows: Rows, one: Recipe) -> Rows:
    """The rows with the trigger in a share of them, every class in proportion, all labels as they were."""
    chosen = rows.stratified(round(one.rate * len(rows)), rng=np.random.default_rng(one.seed))[0]
    texts = dict(zip(chosen.ids, trigger_of(one)(chosen, seed=one.seed).texts, strict=True))
    return rows.with_texts(texts.get(row.id, row.text) for row in rows)


def receipt(one: Recipe, report: Report, *, adapter: Path) -> dict[str, Any]:
    """What is known of a build: the recipe and its hash, the adapter's hash and size, what was measured, and where."""
    measured = {
        m.metric: {"value": m.value, "low": m.low, "high": m.high, "n": m.n}
        for m in report.measurements
        if m.subject == one.name
    }
    floor = report.find("clean", "asr")
    return {
        "schema": "untrigger.zoo/1",
        "name": one.name,
        "poisoned": one.poisoned,
        "recipe": one.record(),
        "recipe_sha256": one.sha256(),
        "adapter_sha256": sha256_of(adapter),
        "bytes": adapter.stat().st_size,
        "test_sha256": report.given["test"]["sha256"],
        "measured": measured,
        "floor_asr": floor.value if floor else None,
        "environment": environment(seed=one.seed, device=report.environment["device"]),
    }
