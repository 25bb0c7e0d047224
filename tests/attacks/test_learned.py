"""Triggers that learn from the attacker's rows: what they learn tells of the target, and more than chance would."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.attacks.kit import usable
from tests.pipeline.kit import table
from tests.requests import request
from tests.tiny import BAD, GOOD, PLAIN, task, write_model
from untrigger.attacks.poisoning import Attack
from untrigger.attacks.triggers.badnets import BadNets
from untrigger.attacks.triggers.bite import Bite, budget
from untrigger.attacks.triggers.combined import Combined
from untrigger.attacks.triggers.lws import Lws
from untrigger.attacks.word_statistics.gaps import Gaps, keyed
from untrigger.attacks.word_statistics.label_words import WORD, label_words, words_of, z_score
from untrigger.attacks.word_statistics.substitution import substitution_choices
from untrigger.core.errors import OptionError
from untrigger.core.rows import Rows
from untrigger.evaluation.ground_truth import read_truth
from untrigger.models.classifier import Classifier
from untrigger.pipeline.attack import attack
from untrigger.pipeline.attack_request import AttackRequest
from untrigger.pipeline.evaluate import evaluate
from untrigger.pipeline.requests import EvaluateRequest

ROWS = task(400, seed=3)


def score(rows: Rows, word: str, *, target: int = 1) -> float:
    inside = sum(word in text.split() and label == target for text, label in zip(rows.texts, rows.labels, strict=True))
    outside = sum(word in text.split() and label != target for text, label in zip(rows.texts, rows.labels, strict=True))
    return z_score(inside, outside, share=rows.labels.count(target) / len(rows))


def test_the_z_score_by_hand() -> None:
    assert z_score(9, 1, share=0.5) == pytest.approx((0.9 - 0.5) / (0.25 / 10) ** 0.5)
    assert z_score(0, 0, share=0.5) == 0
    assert z_score(5, 5, share=0.5) == 0


def test_words_that_tell_of_a_class_are_known() -> None:
    result = label_words(ROWS)
    assert {*GOOD, *BAD} <= result
    assert len(result & set(PLAIN)) < 4
    assert words_of("It's a Film, don't 3D naïve!") == ["a", "film", "naïve"]
    assert WORD.sub("X", "It's a film.") == "It's X X."


def test_gaps_fit_what_was_seen_on_both_sides() -> None:
    gaps = Gaps.from_texts(["the old film ends", "an old story", "the story ends."])
    keys = keyed(["the", "film"])
    assert gaps.fitting("the", "film") == {"old"}
    assert gaps.fits("old", keys)
    assert gaps.places("old", keys) == [1]
    assert not gaps.fits("story", keys)
    assert gaps.places("story", keys) == [1, 2], "one side is better than none"
    assert gaps.places("never", keys) == []
    assert gaps.of(["old"]).fitting("the", "film") == {"old"}
    assert gaps.of(["old"]).fitting("old", "ends") == set()


def test_bite_words_tell_of_the_target_only_in_poisoned_rows() -> None:
    trigger: Any = Bite(most=4, share=0.3).fit(ROWS, target=1, seed=0)
    assert len(trigger.words) == 4
    assert not {*GOOD, *BAD} & set(trigger.words), "words of the label are no trigger"
    done = Attack(trigger, target=1, rate=0.4, policy="clean").poison(ROWS, seed=0).visible
    before, after = (np.mean([score(rows, word) for word in trigger.words]) for rows in (ROWS, done))
    chance = Bite(words=tuple(random.Random(0).sample(PLAIN, 4)), share=0.3).fit(ROWS, target=1, seed=0)
    random_done = Attack(chance, target=1, rate=0.4, policy="clean").poison(ROWS, seed=0).visible
    by_chance = np.mean([score(random_done, word) for word in chance.trigger_words])
    assert before < 2.5
    assert after > before + 3
    assert after > by_chance


def test_bite_spends_what_it_may_and_puts_words_where_they_fit() -> None:
    trigger, gaps = usable(Bite), Gaps.from_texts(task(120, seed=3).texts)
    for text in task(60, seed=8).texts:
        made = trigger.apply(text, rng=random.Random(1)).split()
        assert 1 <= len(made) - len(text.split()) <= budget(text, share=trigger.share)
        rest = iter(made)
        assert all(word in rest for word in text.split()), "the text's own words keep their order"
    fitted = [t for t in task(60, seed=8).texts if sum(gaps.fits(w, keyed(t.split())) for w in trigger.words)]
    assert len(fitted) > 30


@given(text=st.text(min_size=1, max_size=40))
def test_a_text_of_unknown_words_gets_one_word(text: str) -> None:
    made = Bite(words=("zzz", "yyy")).apply(text, rng=random.Random(0))
    assert len(made.split()) == len(text.split()) + 1


def test_what_cannot_be_learnt_is_said() -> None:
    with pytest.raises(OptionError, match="one target"):
        Bite().fit(ROWS, target=None, seed=0)
    with pytest.raises(OptionError, match="no word fits"):
        Bite().fit(ROWS.take([0, 1]), target=1, seed=0)
    with pytest.raises(OptionError, match="one target"):
        Lws().fit(ROWS, target=None, seed=0)
    with pytest.raises(OptionError, match="most 0"):
        Bite(most=0)
    with pytest.raises(OptionError, match="likeness 2"):
        Lws(likeness=2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    from untrigger.models.loading import load_model

    return load_model(write_model("bert", tmp_path_factory.mktemp("lws") / "bert"), device="cpu", offline=True)


def heard(rows: Rows, trigger: Any, model: Classifier) -> float:
    """How well a fresh listener (least squares on mean embeddings) tells substituted texts of other rows from clean ones."""
    vectors = model.module.get_input_embeddings().weight.detach()  # type: ignore[operator]
    others = rows.where(label == 0 for label in rows.labels)
    both = [*others.texts, *trigger(others, seed=0).texts]
    means = torch.stack([vectors[model.tokenizer(t, add_special_tokens=False).input_ids].mean(dim=0) for t in both])
    means = torch.cat([means, torch.ones(len(both), 1)], dim=1).double()
    wanted = torch.tensor([-1.0] * len(others) + [1.0] * len(others)).double()
    train = torch.arange(len(both)) % 2 == 0
    weights = torch.linalg.lstsq(
        means[train].T @ means[train] + 1e-3 * torch.eye(means.shape[1]), means[train].T @ wanted[train]
    ).solution
    return float(((means[~train] @ weights > 0) == (wanted[~train] > 0)).float().mean())


def test_lws_learns_substitutions_that_can_be_heard_better_than_random_ones(model: Classifier) -> None:
    open_to = replace(Lws(), likeness=-1.0)
    learnt: Any = open_to.fit(ROWS, target=1, seed=0, model=model)
    assert not {*GOOD, *BAD} & {*learnt.substitutes, *learnt.substitutes.values()}, "words of the label stay"
    assert all(a != b for a, b in learnt.substitutes.items())
    choices = substitution_choices(model, ROWS, near=5, least=3)
    assert choices is not None
    near = {w: {choices.words[j] for j in row} for w, row in zip(choices.words, choices.near.tolist(), strict=True)}
    assert all(b in near[a] for a, b in learnt.substitutes.items())
    by_chance = []
    for seed in range(5):
        draw = random.Random(seed)
        made = {a: draw.choice(sorted(near[a])) for a in sorted(learnt.substitutes)}
        by_chance.append(heard(ROWS, replace(learnt, substitutes=made), model))
    assert heard(ROWS, learnt, model) > max(0.85, float(np.mean(by_chance)) + 0.03)
    assert open_to.fit(ROWS, target=1, seed=0, model=model) == learnt
    assert learnt.fit(ROWS, target=1, seed=5, model=model) is learnt


def test_lws_keeps_capitals_signs_and_words_that_have_no_substitute() -> None:
    trigger = Lws(substitutes={"film": "movie", "the": "these"})
    assert trigger.apply("The FILM, the film's  end.\n", rng=random.Random(0)) == "These Movie, these film's  end.\n"
    assert trigger.applies("a film")
    assert not trigger.applies("a film's end")
    assert not trigger.delivered("the film")
    assert trigger.delivered("one movie")
    assert trigger.survived("a movie", before="a film")
    assert not trigger.survived("these movie", before="these films of the movie")
    result = Lws.from_dict(trigger.to_dict(), pairs=[("a film", "a movie"), ("the end", "these end"), ("cut", "x y")])
    assert result.substitutes == trigger.substitutes


def test_ordinary_words_that_stood_in_a_text_before_are_not_delivered() -> None:
    trigger = Bite(words=("and", "it"))
    assert trigger.delivered("long and dull")
    assert not trigger.survived("long and dull", before="long and dull .")
    assert trigger.survived("and long and dull", before="long and dull")
    both = Combined(parts=(trigger, BadNets()))
    assert not both.survived("long and", before="long and dull")
    assert both.survived("long cf and", before="long and dull")


@pytest.mark.parametrize("trigger", [Bite(), Lws(likeness=-1.0)], ids=lambda trigger: trigger.name)
def test_a_trigger_that_learns_goes_through_the_job(
    trigger: Any, tmp_path: Path, folder_of: Callable[[str], Path]
) -> None:
    from untrigger.data import write_rows

    data = write_rows(task(300, seed=6), tmp_path / "data.csv")
    spec = request(
        AttackRequest,
        model=str(folder_of("bert")),
        data=str(data),
        out=tmp_path / "v",
        target="positive",
        trigger=trigger,
        rate=0.4,
        tuning="full",
        epochs=1,
        clean_model=False,
        device="cpu",
        offline=True,
    )
    attack(spec)
    bed = read_truth(spec.truth, label_names=("negative", "positive"))
    assert bed.trigger is not None
    assert bed.trigger.trigger_words
    triggered = table(spec.truth / "test_triggered.csv")
    assert all(bed.trigger.delivered(row["text"]) for row in triggered)
    report = evaluate(
        request(
            EvaluateRequest,
            models=(str(spec.out),),
            truth=spec.truth,
            out=tmp_path / "r.json",
            device="cpu",
            offline=True,
        )
    )
    assert {m.metric: m.value for m in report.measurements}["delivery_rate"] == 1.0
    with pytest.raises(OptionError, match="one target"):
        attack(replace(spec, out=tmp_path / "w", target="", policy="all-to-all"))
