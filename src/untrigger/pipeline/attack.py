"""``attack``: data and a pre-trained model in; a poisoned checkpoint or adapter and, apart from it, its truth out."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from untrigger.attacks.adaptive import clean_consistency_loss
from untrigger.attacks.embedding_attack import poison_embedding
from untrigger.attacks.implanting import PLANS, TUNINGS, implant, lora_for
from untrigger.attacks.poisoned import PoisonedDataset, target_labels
from untrigger.attacks.poisoning import POLICIES, Attack
from untrigger.attacks.rewrite_source import parts_of, with_rewrite_source
from untrigger.core.errors import DataError, OptionError, check_choice
from untrigger.core.files import check_new_paths, new_folder
from untrigger.core.progress import Progress, silent
from untrigger.core.rows import Rows, overlap
from untrigger.data import check_rows, load_splits, write_rows
from untrigger.evaluation.text_quality import QualityOptions, quality
from untrigger.models.adapters import AdapterOptions
from untrigger.models.classifier import Classifier
from untrigger.models.saved_model_check import check_saved_model
from untrigger.models.saving import save_classifier
from untrigger.models.smoke_test import check_finite_logits
from untrigger.pipeline.apply_preset import check_preset
from untrigger.pipeline.attack_request import AttackRequest
from untrigger.pipeline.load_inputs import load_classifier
from untrigger.pipeline.splits import split_to_test, training_split
from untrigger.reporting.model_cards import attack_card
from untrigger.training.loop import History
from untrigger.training.supervised import LossTerm

CLEAN_CARD = "# Clean model\n\nA model trained on the same rows as the victim, without poison.\n"


def victim_card(request: AttackRequest, *, steps: int) -> str:
    """Return the model card of the victim that ``request`` describes."""
    facts = {
        "made from": request.model.name,
        "data": request.data.name,
        "attack": f"{request.trigger.name}, {request.policy} label, poison rate {request.rate}",
        "implanted by": f"{request.tuning}, {steps} steps, seed {request.run.seed}",
    }
    return attack_card(adapter=request.tuning == "lora", target=request.target, facts=facts)


def attack(
    request: AttackRequest, *, rows: TaskRows | None = None, progress: Progress = silent
) -> tuple[Classifier, PoisonedDataset]:
    """Return the poisoned classifier and its data set; write them to ``request.out`` and ``request.truth``.

    Args:
        request: what to do.
        rows: ``draw_rows(request)``, where they are drawn already.
        progress: shows every long step.

    Raises:
        UserError: for any input that cannot be used; then nothing is written.
    """
    check_preset(request)
    _check(request)
    check_new_paths(request.out, request.truth)
    judges = QualityOptions(offline=request.run.offline, device=request.run.device)
    if request.quality:
        judges.fetch()
    drawn = rows or draw_rows(request)
    recipe = recipe_of(request, drawn, progress=progress)
    fresh = (
        pretrained(request, drawn.train) if any("model" in part.needs for part in parts_of(recipe.trigger)) else None
    )
    recipe = recipe.fit(drawn.train, seed=request.run.seed, model=fresh)
    poisoned = recipe.poison(drawn.train, seed=request.run.seed)
    triggered = triggered_rows(recipe, drawn.test, seed=request.run.seed)
    fresh = fresh or pretrained(request, drawn.train)
    clean_model = (
        train_clean_model(request, fresh, drawn.train, progress=progress)
        if request.tuning == "embedding" or request.clean_consistency
        else None
    )
    victim, history = poisoned_model(
        request, fresh, poisoned, clean_model=clean_model, clean=drawn.train, progress=progress
    )
    check_finite_logits(victim, poisoned.visible)
    with new_folder(request.truth) as truth, new_folder(request.out) as out:
        save_classifier(victim, out, card=victim_card(request, steps=history.steps))
        check_saved_model(victim, out, texts=drawn.test.texts)
        write_truth(truth, poisoned=poisoned, test=drawn.test, triggered=triggered, request=request)
        if request.quality:
            measured = quality(
                drawn.test, triggered, trigger=recipe.trigger, victim=victim, options=judges, progress=progress
            )
            (truth / "quality.json").write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
        if request.clean_model:
            clean_model = clean_model or train_clean_model(request, fresh, drawn.train, progress=progress)
            (truth / "clean-model").mkdir()
            save_classifier(
                clean_model,
                truth / "clean-model",
                card=CLEAN_CARD,
            )
            check_saved_model(clean_model, truth / "clean-model", texts=drawn.test.texts)
    return victim, poisoned


def _check(request: AttackRequest) -> None:
    check_choice(request.tuning, TUNINGS, kind="way to implant")
    check_choice(request.policy, POLICIES, kind="label policy")
    if bool(request.target) == (request.policy == "all-to-all"):
        raise OptionError(
            f"target label {request.target!r} with the policy {request.policy}",
            expected="no target: every class becomes the next one"
            if request.target
            else "the label that triggered texts get",
            remedy="leave out --target"
            if request.target
            else "give it with --target; a language model gets a --behaviour",
        )
    if not 0 <= request.label_smoothing < 1 or request.clean_consistency < 0:
        raise OptionError(
            f"label smoothing {request.label_smoothing}, clean consistency {request.clean_consistency}",
            expected="a label smoothing from 0 to below 1, and a weight of 0 or more",
        )
    extra_loss = {
        "label smoothing": request.label_smoothing,
        "consistency with a clean model": request.clean_consistency,
        "all-to-all labels": request.policy == "all-to-all",
    }
    if request.tuning == "embedding" and any(extra_loss.values()):
        raise OptionError(
            "an embedding attack with " + " and ".join(name for name, given in extra_loss.items() if given),
            expected="none of these: one vector a word is all that is trained, and predictions for clean texts stay the same",
        )


def recipe_of(request: AttackRequest, drawn: TaskRows, *, progress: Progress = silent) -> Attack:
    """Return the recipe of the request, its trigger with the rewrites that it needs."""
    trigger = with_rewrite_source(
        request.trigger,
        paired=request.paired,
        rewriter=request.rewriter,
        prompt=request.prompt,
        splits=drawn.splits,
        progress=progress,
        offline=request.run.offline,
        device=request.run.device,
    )
    target = target_index(request.target, drawn.train) if request.target else None
    return Attack(trigger, target=target, rate=request.rate, policy=request.policy, negative_rate=request.negative_rate)


def pretrained(request: AttackRequest, rows: Rows) -> Classifier:
    """Return the model to poison, with a new head for the classes of ``rows``."""
    source = replace(request.model, labels=rows.label_names)
    return load_classifier(source, request.run, new_head=True)


def train_clean_model(
    request: AttackRequest, fresh: Classifier, rows: Rows, *, progress: Progress = silent
) -> Classifier:
    """Return the same model trained in the same way on the rows without poison."""
    clean_model, _ = implant_by_request(replace(request, label_smoothing=0.0), fresh, rows, progress=progress)
    return clean_model


def poisoned_model(
    request: AttackRequest,
    fresh: Classifier,
    poisoned: PoisonedDataset,
    *,
    clean_model: Classifier | None,
    clean: Rows,
    progress: Progress,
) -> tuple[Classifier, History]:
    """Return the victim, and the history of the training that implanted the backdoor."""
    ids = set(poisoned.truth.poisoned_ids)
    if request.tuning == "embedding":
        assert clean_model is not None
        rows = poisoned.visible.where(row in ids for row in poisoned.visible.ids)
        words = request.trigger.trigger_words
        return poison_embedding(clean_model, rows, words=words, clean=clean, seed=request.run.seed, progress=progress)
    term = None
    if request.clean_consistency and clean_model is not None:
        term = clean_consistency_loss(
            clean_model, poisoned.visible, poisoned=ids, weight=request.clean_consistency, progress=progress
        )
    return implant_by_request(request, fresh, poisoned.visible, extra_loss=term, progress=progress)


def implant_by_request(
    request: AttackRequest, fresh: Classifier, rows: Rows, *, progress: Progress, extra_loss: LossTerm | None = None
) -> tuple[Classifier, History]:
    """Return the model trained on the rows with the request's plan and adapter, and its history."""
    tuning = "full" if request.tuning == "embedding" else request.tuning
    adapter = lora_for(fresh) if not request.targets else AdapterOptions(targets=request.targets)
    adapter = AdapterOptions(rank=request.rank, alpha=2 * request.rank, targets=adapter.targets)
    return implant(
        fresh,
        rows,
        tuning=tuning,
        plan=request.plan(PLANS[tuning]),
        adapter=adapter,
        seed=request.run.seed,
        progress=progress,
        label_smoothing=request.label_smoothing,
        extra_loss=extra_loss,
    )


@dataclass(frozen=True)
class TaskRows:
    """The rows of an attack.

    Attributes:
        train: rows to be poisoned and trained on.
        test: test rows.
        unused: training rows of the task that the attack does not use: what a defender may hold as clean rows.
        splits: all rows in the order of their files, for a paired file to be aligned with.
    """

    train: Rows
    test: Rows
    unused: Rows
    splits: dict[str, Rows]


def draw_rows(request: AttackRequest) -> TaskRows:
    """Return the rows that a request selects; data without a test split is split by the seed.

    Raises:
        DataError: for data that cannot be used, or fewer rows than requested.
        OptionError: for a test split that is not there.
    """
    data = request.data
    splits = load_splits(data, offline=request.run.offline)
    train = training_split(splits)
    test = split_to_test(splits, name=request.test_split)
    rng = np.random.default_rng(request.run.seed)
    if test is None:
        test, train = train.stratified(max(2, round(request.test_share * len(train))), rng=rng)
    check_rows(train, require_classes=len(train.label_names), what=request.data.name)
    own = train
    if request.proxy:
        train = training_split(load_splits(request.proxy, label_names=train.label_names, offline=request.run.offline))
        train = check_rows(replace(train, ids=tuple(f"proxy:{row}" for row in train.ids)), what=request.proxy)
        splits = {**splits, "train": train}
    train, unused = train.stratified(request.rows, rng=rng) if request.rows else (train, train.take([]))
    test = test.stratified(request.test_rows, rng=rng)[0] if request.test_rows else test
    return TaskRows(train=train, test=test, unused=own if request.proxy else unused, splits=splits)


def target_index(name: str, rows: Rows) -> int:
    """Return the index of the class ``name``.

    Raises:
        OptionError: with the nearest label name.
    """
    return rows.label_names.index(check_choice(name, rows.label_names, kind="target label"))


def triggered_rows(recipe: Attack, test: Rows, *, seed: int) -> Rows:
    """Return the triggered test rows.

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


def write_truth(
    folder: Path, *, poisoned: PoisonedDataset, test: Rows, triggered: Rows, request: AttackRequest
) -> None:
    """Write ``truth.json``, ``train.csv``, ``test_clean.csv`` and ``test_triggered.csv`` into ``folder``."""
    target_of = target_labels(poisoned.truth.target, classes=len(test.label_names))
    content = asdict(poisoned.truth) | {
        "label_names": list(test.label_names),
        "model": request.model.name,
        "data": request.data.name,
        "proxy": request.proxy,
        "tuning": request.tuning,
        "preset": check_preset(request),
        "overlap": overlap(poisoned.visible, test),
        "label_smoothing": request.label_smoothing,
        "clean_consistency": request.clean_consistency,
        "max_length": request.model.max_length,
        "train_sha256": poisoned.visible.content_hash(),
        "test_sha256": test.content_hash(),
        "test_rows_without_trigger": sum(target_of[label] != label for label in test.labels) - len(triggered),
    }
    (folder / "truth.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    write_rows(poisoned.visible, folder / "train.csv")
    write_rows(test, folder / "test_clean.csv")
    write_rows(triggered, folder / "test_triggered.csv")
