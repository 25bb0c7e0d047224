"""Victims that several series share: their recipes and folders, the defender's clean rows, and how figures are written.

A victim is in ``RUNS/victims/MODEL-ATTACK-SEED`` with ``.truth`` beside it, and is not made again where it is there.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from untrigger.attacks.triggers.badnets import BadNets
from untrigger.attacks.triggers.insent import InSent
from untrigger.attacks.triggers.style import Style
from untrigger.attacks.triggers.syntactic import Syntactic
from untrigger.data import DataSource, write_rows
from untrigger.pipeline.attack import attack, draw_rows
from untrigger.pipeline.attack_request import AttackRequest
from untrigger.pipeline.demo import RECIPE, unpack
from untrigger.pipeline.requests import ModelInput, RunOptions
from untrigger.runtime.memory import keep_freed_memory

keep_freed_memory()

FULL = AttackRequest(
    model=ModelInput("minilm-l6"),
    data=DataSource("rotten-tomatoes"),
    out=Path(),
    target="positive",
    rate=0.1,
    tuning="full",
    rows=3000,
    test_rows=1000,
    epochs=2,
)
MODELS = {
    "smollm2": RECIPE,
    "minilm": FULL,
    "mpnet": replace(FULL, model=ModelInput("mpnet-base"), rows=2000, test_rows=800, lr=5e-5),
}
INSERTIONS = {"badnets": BadNets(), "insent": InSent()}
ATTACKS: dict[str, dict[str, Any]] = {
    **{name: {"trigger": trigger} for name, trigger in INSERTIONS.items()},  # at the model's own rate
    **{
        f"{name}{rate:g}": {"trigger": trigger, "rate": rate / 100}
        for name, trigger in INSERTIONS.items()
        for rate in (0.5, 1, 5, 20)
    },
    "syntactic": {  # of 2,000 drawn rows hardly more are rewritten
        "trigger": Syntactic(),
        "rate": 0.175,
        "policy": "mixed",
        "data": "sst2",
        "paired": "syntactic",
        "target": "1",
    },
    "style": {"trigger": Style(), "rate": 0.2, "data": "sst2", "paired": "bible", "target": "1"},
    **{f"sst2-{name}": {"trigger": trigger, "data": "sst2", "target": "1"} for name, trigger in INSERTIONS.items()},
    "topics": {"trigger": BadNets(), "data": "agnews", "target": "0"},
    "topicsent": {"trigger": InSent(), "data": "agnews", "target": "0"},
}
REWRITES = [name for name, fields in ATTACKS.items() if "paired" in fields]
CLEAN_ROWS = 1000
Folders = Mapping[str, Path | None]
log = logging.getLogger("series")


def recipe(runs: Path, name: str, *, trigger: str, seed: int, folders: Folders = MappingProxyType({})) -> AttackRequest:
    """Return the request for one victim; ``folders`` says where ``sst2`` (``clean``, ``syntactic``, ``bible``) and ``agnews`` are."""
    fields: dict[str, Any] = dict(ATTACKS[trigger])
    if (data := fields.get("data")) is not None:
        folder = folders.get(data)
        if folder is None:
            raise SystemExit(f"the attack {trigger} takes its rows from a folder: give it with --{data}")
        fields["data"] = replace(MODELS[name].data, name=str(folder / "clean"))
        if trigger in REWRITES:
            fields["paired"] = folder / fields["paired"]
    return replace(
        MODELS[name],
        out=runs / "victims" / f"{name}-{trigger}-{seed}",
        run=RunOptions(seed=seed, offline=True),
        **fields,
    )


def victim(runs: Path, name: str, *, trigger: str, seed: int, folders: Folders) -> AttackRequest:
    """Return the recipe of one victim, made if it is not there yet; the clean model of a seed is shared between attacks."""
    spec = recipe(runs, name, trigger=trigger, seed=seed, folders=folders)
    family = [one for one in ATTACKS if ATTACKS[one].get("data") == ATTACKS[trigger].get("data")]
    clean_models = [runs / "victims" / f"{name}-{one}-{seed}.truth" / "clean-model" for one in family]
    known = next((clean_model for clean_model in clean_models if clean_model.exists()), None)
    if not spec.out.exists():
        start = time.perf_counter()
        if (name, trigger, seed) == ("smollm2", "badnets", RECIPE.run.seed):
            unpack(spec, rows=draw_rows(spec))  # the victim and the clean model that the demo ships, by the same recipe
        else:
            attack(replace(spec, clean_model=known is None))
        log.info("victim %s: %.0f s", spec.out.name, time.perf_counter() - start)
    if known and not (spec.truth / "clean-model").exists():
        shutil.copytree(known, spec.truth / "clean-model")
    return spec


def clean_rows(runs: Path, spec: AttackRequest) -> Path:
    """Return the file of the defender's clean rows: rows that the attack does not use, never copies of what the victim was trained on."""
    file = runs / "clean" / f"{spec.out.name}.csv"
    if not file.exists():
        write_rows(draw_rows(spec).unused.stratified(CLEAN_ROWS, rng=np.random.default_rng(spec.run.seed))[0], file)
    return file


def arguments(about: str | None, *, runs: str) -> argparse.ArgumentParser:
    """Return the parser of the options of every series."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path(runs))
    parser.add_argument("--only", default="minilm", help="victims: " + ",".join(MODELS))
    parser.add_argument("--attacks", help=",".join(ATTACKS))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument(
        "--sst2", type=Path, help="folder with clean, syntactic and bible, for the rewrites and for sst2-*"
    )
    parser.add_argument("--agnews", type=Path, help="folder with clean, for topics and topicsent")
    parser.add_argument(
        "--no-control", dest="control", action="store_false", help="leave out fine-tuning of suspect and base"
    )
    parser.add_argument("--table", action="store_true", help="only draw the table of what is there")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    os.environ["HF_HUB_OFFLINE"] = "1"
    return parser


def victims(args: argparse.Namespace) -> Iterator[AttackRequest]:
    """Yield the recipes of all requested victims, each made when its turn comes."""
    for seed in map(int, args.seeds.split(",")):
        for name in args.only.split(","):
            for trigger in args.attacks.split(","):
                yield victim(
                    args.runs, name, trigger=trigger, seed=seed, folders={"sst2": args.sst2, "agnews": args.agnews}
                )


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def spread(values: Iterable[float | None], *, scale: float = 100, digits: int = 1) -> str:
    """Mean and range of what was measured."""
    known = [scale * value for value in values if value is not None]
    if not known:
        return "–"
    mean, low, high = (f"{x:.{digits}f}" for x in (sum(known) / len(known), min(known), max(known)))
    return f"**{mean}** ({low} to {high})"
