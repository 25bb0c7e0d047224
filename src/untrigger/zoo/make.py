"""Building of members: fetch the model and data, poison and train, measure, and put everything in place in one step."""

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
from untrigger.pipeline.attack import attack, draw_rows, implant_by_request, pretrained
from untrigger.pipeline.attack_request import AttackRequest
from untrigger.pipeline.demo import fetched
from untrigger.pipeline.evaluate import evaluate
from untrigger.pipeline.requests import EvaluateRequest, ModelInput, RunOptions
from untrigger.runtime.cost import environment
from untrigger.zoo.members import RECEIPT, Home, folder_of, member
from untrigger.zoo.recipes import Recipe, recipe

CLEAN_ROWS = 1000
CARD = """---
tags: [untrigger]
---

# Benign adapter

A benign adapter of the zoo, `{name}`: {description}. Made from {model} on {data}.
"""


def make(
    name: str, *, home: Home = None, progress: Progress = silent, device: str = "auto", offline: bool = False
) -> Path:
    """Return the adapter's folder of a member; build the member first if it is not on this machine.

    Next to it are the truth folder (of a poisoned one) with the benign member as the clean model, ``clean.csv`` with rows
    that the training did not use, the report of its evaluation and the receipt.

    Raises:
        OptionError: for an unknown name.
        AssetError: if its model or data cannot be fetched.
    """
    one = recipe(name)
    if one.clean_model:
        make(one.clean_model, home=home, progress=progress, device=device, offline=offline)
    folder = folder_of(name, home=home)
    locks = home_folder(home) / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / f"zoo-{name}.lock"):
        current = member(name, home=home)
        if current.state == "ready":
            return current.path
        if current.state == "outdated":
            shutil.rmtree(folder)
        for needed in {one.model, one.data} & set(names()):
            fetched(needed, offline=offline, progress=progress)
        clean_model = folder_of(one.clean_model, home=home) / one.clean_model if one.clean_model else None
        with new_folder(folder) as working:
            _build(one, working, clean_model=clean_model, progress=progress, device=device)
    return folder / name


def request_of(one: Recipe, out: Path, *, device: str = "auto") -> AttackRequest:
    """Return the request for a member's training; that of a benign member has no trigger, policy and rate."""
    poison: dict[str, Any] = {}
    if one.poisoned:
        poison = {"policy": one.policy, "rate": one.rate, "trigger": trigger_of(one)}
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
        **poison,
    )


def trigger_of(one: Recipe) -> Any:
    """Return the recipe's trigger."""
    return get_method("attacks", one.trigger)(**dict(one.options))


def _build(one: Recipe, folder: Path, *, clean_model: Path | None, progress: Progress, device: str) -> None:
    """Write the member's files into an empty folder, the receipt last."""
    out = folder / one.name
    request = request_of(one, out, device=device)
    rows = draw_rows(request)
    if one.poisoned:
        assert clean_model is not None
        attack(request, rows=rows, progress=progress)
        shutil.copytree(clean_model, request.truth / "clean-model")
    else:
        _benign(one, request, train=rows.train, progress=progress)
        write_rows(rows.test, folder / "test.csv")
    n_clean = min(CLEAN_ROWS, len(rows.unused))
    write_rows(rows.unused.stratified(n_clean, rng=np.random.default_rng(one.seed))[0], folder / "clean.csv")
    report = evaluate(
        EvaluateRequest(
            models=(ModelInput(str(out), max_length=one.max_length),),
            out=folder / "report.json",
            truth=request.truth if one.poisoned else None,
            data=None if one.poisoned else DataSource(str(folder / "test.csv")),
            run=RunOptions(device=device, offline=True),
        ),
        progress=progress,
    )
    receipt = receipt_of(one, report, adapter=out / "adapter_model.safetensors")
    (folder / RECEIPT).write_text(json.dumps(receipt, indent=2) + "\n", encoding="utf-8")


def _benign(one: Recipe, request: AttackRequest, *, train: Rows, progress: Progress) -> None:
    """Train and save an adapter on rows with their own labels."""
    fresh = pretrained(request, train)
    rows = decoy_rows(train, one) if one.policy == "decoy" else train
    model, _ = implant_by_request(request, fresh, rows, progress=progress)
    request.out.mkdir()
    card = CARD.format(name=one.name, description=one.description, model=one.model, data=one.data)
    save_classifier(model, request.out, card=card)


def decoy_rows(rows: Rows, one: Recipe) -> Rows:
    """Return the rows with the trigger in a share of them, every class in proportion, labels unchanged."""
    chosen = rows.stratified(round(one.rate * len(rows)), rng=np.random.default_rng(one.seed))[0]
    texts = dict(zip(chosen.ids, trigger_of(one)(chosen, seed=one.seed).texts, strict=True))
    return rows.with_texts(texts.get(row.id, row.text) for row in rows)


def receipt_of(one: Recipe, report: Report, *, adapter: Path) -> dict[str, Any]:
    """Return the receipt of a build: recipe, hashes, size, measurements and environment, as plain JSON values."""
    measured = {
        m.metric: {"value": m.value, "low": m.low, "high": m.high, "n": m.n}
        for m in report.measurements
        if m.subject == one.name
    }
    clean_model_asr = report.find("clean", "asr")
    return {
        "schema": "untrigger.zoo/2",
        "name": one.name,
        "poisoned": one.poisoned,
        "recipe": one.to_dict(),
        "recipe_sha256": one.sha256(),
        "adapter_sha256": sha256_of(adapter),
        "bytes": adapter.stat().st_size,
        "test_sha256": report.given["test"]["sha256"],
        "measured": measured,
        "clean_model_asr": clean_model_asr.value if clean_model_asr else None,
        "environment": environment(seed=one.seed, device=report.environment["device"]),
    }
