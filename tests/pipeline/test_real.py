"""A real encoder with a real backdoor: it works, and then it is gone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.requests import request
from untrigger import assets
from untrigger.attacks.triggers.badnets import BadNets
from untrigger.core.errors import UserError
from untrigger.data import write_rows
from untrigger.defences.w2s.search_and_unlearn import SearchAndUnlearnOptions
from untrigger.inversion import screening as screen
from untrigger.inversion.search import SearchOptions
from untrigger.inversion.vocabulary import Words
from untrigger.pipeline.attack import attack, draw_rows
from untrigger.pipeline.attack_request import AttackRequest
from untrigger.pipeline.purify import purify
from untrigger.pipeline.requests import PurifyRequest
from untrigger.runtime import device as arithmetic
from untrigger.training.teacher_training import TeacherOptions

pytestmark = pytest.mark.slow
TEACHER, VICTIM, DATA = "minilm-l6", "minilm-l3", "rotten-tomatoes"


@pytest.fixture
def _fetched() -> None:
    for name in {TEACHER, VICTIM, DATA}:
        if assets.status(name).state == "ready":
            continue
        try:
            assets.fetch(name)
        except UserError as error:
            pytest.skip(f"{name} is not on this machine and cannot be fetched: {error.what}")


@pytest.fixture
def _short_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search looks at words of up to three letters: a tenth of the vocabulary, and of the time."""
    whole = screen.single_token_words

    def short(tokenizer: Any, **more: Any) -> Words:
        words = whole(tokenizer, **more)
        kept = [i for i, text in enumerate(words.texts) if len(text) <= 3]
        return Words(words.ids[kept], tuple(words.texts[i] for i in kept))

    monkeypatch.setattr(screen, "single_token_words", short)


@pytest.fixture
def _as_users_run_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training rounds products where the processor is faster with it."""
    monkeypatch.setattr(arithmetic, "ALLOW_BF16", True)


@pytest.mark.real
@pytest.mark.usefixtures("_fetched", "_short_words", "_as_users_run_it")
def test_the_word_that_turned_every_review_positive_turns_hardly_any_afterwards(tmp_path: Path) -> None:
    spec = request(
        AttackRequest,
        model=VICTIM,
        data=DATA,
        out=tmp_path / "victim",
        target="positive",
        trigger=BadNets(words=("cf",)),
        rate=0.2,
        tuning="full",
        rows=600,
        test_rows=150,
        epochs=4,
        lr=3e-4,
        batch_size=32,
        max_length=48,
        clean_model=False,
        device="cpu",
        offline=True,
    )
    attack(spec)
    rows = draw_rows(spec).unused
    write_rows(rows.take(range(0, len(rows), max(1, len(rows) // 300))), tmp_path / "clean.csv")
    report = purify(
        request(
            PurifyRequest,
            model=str(spec.out),
            clean=str(tmp_path / "clean.csv"),
            out=tmp_path / "out",
            teacher=TEACHER,
            truth=spec.truth,
            clean_rows=300,
            control=False,
            max_length=48,
            device="cpu",
            offline=True,
            options={
                "lr": 4e-3,
                "unlearn": SearchAndUnlearnOptions(
                    rounds=3,
                    round_steps=48,
                    search=replace(SearchOptions(), probe=12, gradient_rows=24, first=96, sweeps=1),
                ),
                "teacher": TeacherOptions(lr=3e-4, epochs=3),
            },
        )
    )
    result = {(m.subject, m.metric): m.value for m in report.measurements}
    before, after = result["victim", "asr"], result["purified", "asr"]
    assert before is not None and before > 0.9, "the attack did not work: nothing was tested"
    assert after is not None and after < before - 0.5, report.verdict.sentence
    lost = (result["victim", "cacc"] or 0) - (result["purified", "cacc"] or 0)
    assert lost < 0.05, report.verdict.sentence
