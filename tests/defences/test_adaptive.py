"""Attackers who know the tool: each of their ways round it must fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.scanners.kit import CLEAN, QUICK
from tests.tiny import BAD, GOOD, task
from untrigger.attacks.poisoning import Attack
from untrigger.attacks.triggers.badnets import BadNets
from untrigger.core.grant import Grant
from untrigger.core.rows import Rows
from untrigger.core.scan_result import FOUND
from untrigger.models.classifier import Classifier
from untrigger.models.inference import accuracy, predict_texts
from untrigger.pipeline.agreement import notes_of
from untrigger.scanners.scanner import ScanContext
from untrigger.training.loop import Plan
from untrigger.training.supervised import fine_tune

Load = Callable[[str], Classifier]


def poisoned(model: Classifier, attack: Attack) -> Classifier:
    """The model trained on rows that the attack poisoned."""
    fine_tune(
        model,
        attack.poison(task(384, seed=1), seed=0).visible,
        plan=Plan(lr=5e-3, epochs=10, batch_size=32, warmup=0.1),
        seed=0,
    )
    return model


def rate(model: Classifier, attack: Attack) -> float:
    """Attack success on rows that nobody trained on."""
    rows = attack.test_rows(task(100, seed=77), seed=5)
    return accuracy(predict_texts(model, rows.texts).predictions, [attack.target] * len(rows))


@pytest.mark.parametrize("word", [BAD[2], GOOD[3]], ids=["a word of the other class", "a word of the target's class"])
def test_a_trigger_made_of_a_content_word_is_found(load: Load, twin: Load, word: str) -> None:
    """A clean reference is moved by such a word too, or sees it every day; what counts is what it does beyond that."""
    attack = Attack(BadNets(words=(word,)), target=1, rate=0.15)
    victim, clean = poisoned(load("bert"), attack), twin("bert")
    assert rate(victim, attack) > rate(clean, attack) + 0.5, "there must be something to find"
    done = QUICK.scan(victim, Grant(clean=CLEAN, seed=0), context=ScanContext(clean))
    assert done.verdict.status in FOUND, done.verdict.sentence
    assert done.scan.target == "positive"


def test_a_trigger_behind_the_cut_is_counted_as_unseen_and_read_where_the_model_has_positions(load: Load) -> None:
    model = load("bert")
    long = [f"{text} {'the ' * 60}cf" for text in task(6, seed=3).texts]
    rows = Rows.of([*long, "good film"], [0] * 6 + [1], label_names=model.label_names)
    short = replace(model, max_length=32)
    assert any(
        "6 of 7 texts are longer than 32 tokens" in note and "trigger" in note for note in notes_of(rows, model=short)
    )
    assert any("--max-length reads more" in note for note in notes_of(rows, model=short))
    assert not any("--max-length" in note for note in notes_of(rows, model=model)), "all its positions are read"
    assert any("6 of 7 texts are longer than 64 tokens" in note for note in notes_of(rows, model=model))
    assert not notes_of(rows.take([6]), model=short)
