"""``attack``: data and a pre-trained model in; a poisoned checkpoint or adapter and, apart from it, its truth out."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from untrigger.attacks.adaptive import faithful
from untrigger.attacks.embedding_attack import poison_embedding
from untrigger.attacks.implanting import PLANS, VIAS, implant, lora_for
from untrigger.attacks.poisoned import PoisonedDataset, target_labels
from untrigger.attacks.poisoning import POLICIES, Attack
from untrigger.attacks.rewrite_source import parts_of, with_rewrite_source
from untrigger.core.errors import DataError, OptionError, check_choice
from untrigger.core.files import check_new_paths, new_folder
from untrigger.core.progress import Progress, silent
from untrigger.core.rows import Rows, overlap
from untrigger.data import DataSource, check_rows, load_splits, write_rows
from untrigger.evaluation.text_quality import QualityOptions, quality
from untrigger.models.adapters import AdapterOptions
from untrigger.models.classifier import Classifier
from untrigger.models.inference import check_answers
from untrigger.models.loading import load_model
from untrigger.models.proof import prove
from untrigger.models.saving import save_classifier
from untrigger.pipeline.attack_spec import AttackSpec
from untrigger.pipeline.preset_check import held
from untrigger.reporting.model_cards import attack_card
from untrigger.training.loop import History, Plan
from untrigger.training.supervised import LossTerm

TEST_SHARE = 0.2


def victim_card(spec: AttackSpec, *, steps: int) -> str:
    """Return the model card of the victim that ``spec`` describes."""
    facts = {
        "made from": spec.model,
        "data": spec.data,
        "attack": f"{spec.trigger.name}, {spec.policy} label, poison rate {spec.rate}",
        "implanted by": f"{spec.via}, {steps} steps, seed {spec.seed}",
    }
    return attack_card(adapter=spec.via == "lora", target=spec.target, facts=facts)


def attack(spec: AttackSpec, *, progress: Progress = silent) -> tuple[Classifier, PoisonedDataset]:
    """The poisoned classifier and its data set, written to ``spec.out`` and ``spec.truth``.

    Raises:
        UserError: for any input that cannot be used; then nothing is written.
    """
    held(spec)
    _check(spec)
    check_new_paths(spec.out, spec.truth)
    judges = QualityOptions(offline=spec.offline, device=spec.device)
    if spec.quality:
        judges.fetch()
    drawn = _drawn(spec)
    recipe = recipe_of(spec, drawn, progress=progress)
    fresh = pretrained(spec, drawn.train) if any("model" in part.needs for part in parts_of(recipe.trigger)) else None
    recipe = recipe.fit(drawn.train, seed=spec.seed, model=fresh)
    poisoned = recipe.poison(drawn.train, seed=spec.seed)
    triggered = triggered_rows(recipe, drawn.test, seed=spec.seed)
    fresh = fresh or pretrained(spec, drawn.train)
    twin = clean_twin(spec, fresh, drawn.train, progress=progress) if spec.via == "embedding" or spec.faithful else None
    victim, history = poisoned_model(spec, fresh, poisoned, twin=twin, clean=drawn.train, progress=progress)
    check_answers(victim, poisoned.visible)
    with new_folder(spec.truth) as truth, new_folder(spec.out) as out:
        save_classifier(victim, out, card=victim_card(spec, steps=history.steps))
        prove(victim, out, texts=drawn.test.texts)
        write_truth(truth, poisoned=poisoned, test=drawn.test, triggered=triggered, spec=spec)
        if spec.quality:
            told = quality(
                drawn.test, triggered, trigger=recipe.trigger, victim=victim, options=judges, progress=progress
            )
            (truth / "quality.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        if spec.twin:
            twin = twin or clean_twin(spec, fresh, drawn.train, progress=progress)
            (truth / "clean-model").mkdir()
            save_classifier(
                twin, truth / "clean-model", card="# Never poisoned\n\nThe clean twin of a poisoned model.\n"
            )
            prove(twin, truth / "clean-model", texts=drawn.test.texts)
    return victim, poisoned


def _check(spec: AttackSpec) -> None:
    check_choice(spec.via, VIAS, kind="way to implant")
    check_choice(spec.policy, POLICIES, kind="label policy")
    if bool(spec.target) == (spec.policy == "all-to-all"):
        raise OptionError(
            f"target label {spec.target!r} with the policy {spec.policy}",
            expected="no target: every class becomes the next one"
            if spec.target
            else "the label that the backdoor shall say",
            remedy="leave out --target" if spec.target else "give it with --target",
        )
    if not 0 <= spec.label_smoothing < 1 or spec.faithful < 0:
        raise OptionError(
            f"label smoothing {spec.label_smoothing}, faithful {spec.faithful}",
            expected="a label smoothing from 0 to below 1, and a weight of 0 or more",
        )
    besides = {
        "label smoothing": spec.label_smoothing,
        "a clean twin to be faithful to": spec.faithful,
        "all-to-all labels": spec.policy == "all-to-all",
    }
    if spec.via == "embedding" and any(besides.values()):
        raise OptionError(
            "an embedding attack with " + " and ".join(name for name, asked in besides.items() if asked),
            expected="none of these: one vector a word is all that is trained, and clean answers stay what they are",
        )


def recipe_of(spec: AttackSpec, drawn: Drawn, *, progress: Progress = silent) -> Attack:
    """The recipe that the spec asks for, its trigger with the rewrites that it needs."""
    trigger = with_rewrite_source(
        spec.trigger,
        paired=spec.paired,
        rewriter=spec.rewriter,
        prompt=spec.prompt,
        splits=drawn.splits,
        progress=progress,
        offline=spec.offline,
        device=spec.device,
    )
    target = target_index(spec.target, drawn.train) if spec.target else None
    return Attack(trigger, target=target, rate=spec.rate, policy=spec.policy, negatives=spec.negatives)


def pretrained(spec: AttackSpec, rows: Rows) -> Classifier:
    """The model to be poisoned, with a new head for the classes of ``rows``."""
    return load_model(
        spec.model,
        label_names=rows.label_names,
        new_head=True,
        allow_pickle=spec.allow_pickle,
        offline=spec.offline,
        device=spec.device,
        max_length=spec.max_length,
        seed=spec.seed,
    )


def clean_twin(spec: AttackSpec, fresh: Classifier, rows: Rows, *, progress: Progress = silent) -> Classifier:
    """The same model trained in the same way on the rows without poison."""
    twin, _ = implant_as_asked(replace(spec, label_smoothing=0.0), fresh, rows, progress=progress)
    return twin


def poisoned_model(
    spec: AttackSpec,
    fresh: Classifier,
    poisoned: PoisonedDataset,
    *,
    twin: Classifier | None,
    clean: Rows,
    progress: Progress,
) -> tuple[Classifier, History]:
    """The victim, and the history of the training that implanted the backdoor."""
    ids = set(poisoned.truth.poisoned_ids)
    if spec.via == "embedding":
        assert twin is not None
        rows = poisoned.visible.where(row in ids for row in poisoned.visible.ids)
        words = spec.trigger.trigger_words
        return poison_embedding(twin, rows, words=words, clean=clean, seed=spec.seed, progress=progress)
    term = None
    if spec.faithful and twin is not None:
        term = faithful(twin, poisoned.visible, poisoned=ids, weight=spec.faithful, progress=progress)
    return implant_as_asked(spec, fresh, poisoned.visible, besides=term, progress=progress)


def implant_as_asked(
    spec: AttackSpec, fresh: Classifier, rows: Rows, *, progress: Progress, besides: LossTerm | None = None
) -> tuple[Classifier, History]:
    """``implant`` with the spec's plan and adapter."""
    via = "full" if spec.via == "embedding" else spec.via
    usual = PLANS[via]
    plan = Plan(
        lr=spec.lr or usual.lr,
        epochs=spec.epochs or usual.epochs,
        batch_size=spec.batch_size or usual.batch_size,
        warmup=usual.warmup,
    )
    adapter = lora_for(fresh) if not spec.targets else AdapterOptions(targets=spec.targets)
    adapter = AdapterOptions(rank=spec.rank, alpha=2 * spec.rank, targets=adapter.targets)
    return implant(
        fresh,
        rows,
        via=via,
        plan=plan,
        adapter=adapter,
        seed=spec.seed,
        progress=progress,
        label_smoothing=spec.label_smoothing,
        besides=besides,
    )


@dataclass(frozen=True)
class Drawn:
    """What an attack is made of.

    Attributes:
        train: rows to be poisoned and trained on.
        test: test rows.
        unused: training rows of the task that the attack leaves alone.
        splits: all rows that there are, as they stand in their files, for a paired file to be aligned with.
    """

    train: Rows
    test: Rows
    unused: Rows
    splits: dict[str, Rows]


def task_rows(spec: AttackSpec) -> tuple[Rows, Rows]:
    """Training and test rows as asked; data without a test split is split by the seed.

    Raises:
        DataError: for data that cannot be used, or fewer rows than asked.
    """
    drawn = _drawn(spec)
    return drawn.train, drawn.test


def unused_rows(spec: AttackSpec) -> Rows:
    """The training rows that the attack leaves alone: what a defender may hold as clean rows."""
    return _drawn(spec).unused


def _drawn(spec: AttackSpec) -> Drawn:
    splits = load_splits(
        DataSource(spec.data, text_column=spec.text_column, label_column=spec.label_column), offline=spec.offline
    )
    train = _training(splits)
    test = _tested(splits, spec)
    rng = np.random.default_rng(spec.seed)
    if test is None:
        test, train = train.stratified(max(2, round(TEST_SHARE * len(train))), rng=rng)
    check_rows(train, require_classes=len(train.label_names), what=spec.data)
    own = train
    if spec.proxy:
        train = _training(load_splits(spec.proxy, label_names=train.label_names, offline=spec.offline))
        train = check_rows(replace(train, ids=tuple(f"proxy:{row}" for row in train.ids)), what=spec.proxy)
        splits = {**splits, "train": train}
    train, unused = train.stratified(spec.rows, rng=rng) if spec.rows else (train, train.take([]))
    test = test.stratified(spec.test_rows, rng=rng)[0] if spec.test_rows else test
    return Drawn(train=train, test=test, unused=own if spec.proxy else unused, splits=splits)


def _training(splits: dict[str, Rows]) -> Rows:
    return splits.get("train") or splits.get("all") or next(iter(splits.values()))


def _tested(splits: dict[str, Rows], spec: AttackSpec) -> Rows | None:
    """The split that is tested on; None where one has to be drawn.

    Raises:
        OptionError: if the spec names one that is not there.
    """
    if spec.test_split:
        return splits[check_choice(spec.test_split, splits, kind="test split")]
    return splits.get("test") or splits.get("dev")


def target_index(name: str, rows: Rows) -> int:
    """The class that is called ``name``.

    Raises:
        OptionError: with the nearest label name.
    """
    return rows.label_names.index(check_choice(name, rows.label_names, kind="target label"))


def triggered_rows(recipe: Attack, test: Rows, *, seed: int) -> Rows:
    """The triggered test rows.

    Raises:
        DataError: if there are none.
    """
    rows = recipe.test_rows(test, seed=seed)
    if not len(rows) and all(label == recipe.target for label in test.labels):
        raise DataError("no test row is of another class than the target", remedy="give test rows of every class")
    if not len(rows):
        raise DataError(
            f"the trigger {recipe.trigger.name!r} can be set in none of the {len(test)} test rows",
            remedy="give rewrites of the test rows of every class but the target, or choose another target: HiddenKiller's "
            "release rewrites the rows of one class only",
        )
    return rows


def write_truth(folder: Path, *, poisoned: PoisonedDataset, test: Rows, triggered: Rows, spec: AttackSpec) -> None:
    """``truth.json``, ``train.csv``, ``test_clean.csv`` and ``test_triggered.csv`` in ``folder``."""
    aim = target_labels(poisoned.truth.target, classes=len(test.label_names))
    told = asdict(poisoned.truth) | {
        "label_names": list(test.label_names),
        "model": spec.model,
        "data": spec.data,
        "proxy": spec.proxy,
        "via": spec.via,
        "preset": held(spec),
        "overlap": overlap(poisoned.visible, test),
        "label_smoothing": spec.label_smoothing,
        "faithful": spec.faithful,
        "max_length": spec.max_length,
        "train_sha256": poisoned.visible.content_hash(),
        "test_sha256": test.content_hash(),
        "test_rows_without_trigger": sum(aim[label] != label for label in test.labels) - len(triggered),
    }
    (folder / "truth.json").write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    write_rows(poisoned.visible, folder / "train.csv")
    write_rows(test, folder / "test_clean.csv")
    write_rows(triggered, folder / "test_triggered.csv")
