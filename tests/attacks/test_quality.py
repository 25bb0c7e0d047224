"""The quality report: what it says of texts that were left alone, garbled, lengthened and cut."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.attacks.kit import rows_of, table_of
from tests.attacks.test_poison import Slow
from tests.tiny import byte_level, config_of, task
from untrigger.attacks.triggers.badnets import BadNets
from untrigger.attacks.triggers.style import Style
from untrigger.core.errors import ModelError
from untrigger.core.rows import Rows
from untrigger.evaluation.text_quality import QualityOptions, quality, similarities
from untrigger.models.classifier import Classifier


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny language model that has read the task's sentences, so that their words in this order please it."""
    folder, tokenizer = tmp_path_factory.mktemp("language"), byte_level()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config_of("llama", vocabulary=len(tokenizer)))
    ids = [torch.tensor([tokenizer(f"{text}").input_ids]) for text in task(60).texts]
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(2):
        for row in ids:
            optimiser.zero_grad()
            model(input_ids=row, labels=row).loss.backward()
            optimiser.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def options(language: Path, folder_of: Callable[[str], Path]) -> QualityOptions:
    return QualityOptions(language=str(language), encoder=str(folder_of("bert")), most=40, offline=True, device="cpu")


def test_inserted_words_cost_fluency_and_length_and_are_all_delivered(
    load: Callable[[str], Classifier], options: QualityOptions
) -> None:
    rows, trigger = task(60), BadNets(words=("ZZQX",), every=1, most=3)
    result = quality(rows, trigger(rows, seed=0), trigger=trigger, victim=load("bert"), options=options)
    json.dumps(result, allow_nan=False)
    assert (result["texts"], result["of"]) == (30, 60)
    assert result["perplexity"]["triggered"] > 1.2 * result["perplexity"]["clean"]
    assert result["perplexity"]["factor_median"] > 1.2
    assert result["words"] == {"clean": 7.0, "triggered": 10.0, "factor": pytest.approx(10 / 7, abs=1e-3)}
    assert result["similarity"]["lowest_tenth"] <= result["similarity"]["median"] < 0.99999
    assert result["delivery_rate"]["value"] == 1.0
    assert result["delivery_rate"]["n"] == 60


def test_rewrites_that_are_longer_than_the_model_reads_are_not_delivered(
    load: Callable[[str], Classifier], options: QualityOptions
) -> None:
    rows = rows_of([f"text {i} " + "film " * (90 * (i % 4 == 0)) for i in range(20)])
    table = table_of(rows.texts)
    long = Rows.of(
        [f"{table.get(t)} {t.split(' ', 2)[2]}".strip() for t in rows.texts],
        rows.labels,
        label_names=("n", "p"),
        ids=rows.ids,
    )
    trigger = Style.from_dict({"source": "x"}, pairs=zip(rows.texts, long.texts, strict=True))
    result = quality(rows, long, trigger=trigger, victim=load("bert"), options=options)
    assert result["delivery_rate"]["value"] == 0.75


def test_what_a_generator_wrote_is_delivered_though_the_trigger_was_handed_over_before(
    load: Callable[[str], Classifier], options: QualityOptions
) -> None:
    rows, trigger = task(20), Style(table=Slow())
    done = trigger.prepare(rows.texts)
    some = rows.where(done.applies(text) for text in rows.texts)
    result = quality(rows, done(some, seed=0), trigger=trigger, victim=load("bert"), options=options)
    assert 0 < len(some) < 20
    assert (result["delivery_rate"]["value"], result["delivery_rate"]["n"]) == (1.0, len(some))
    assert result["trigger"]["rewrites"] == len(some)


def test_the_same_text_is_as_like_itself_as_can_be_and_order_does_not_matter(folder_of: Callable[[str], Path]) -> None:
    texts = list(task(12).texts)
    same = similarities(texts, texts, encoder=str(folder_of("bert")), offline=True, device="cpu")
    assert same == pytest.approx([1.0] * 12, abs=1e-5)
    other = similarities(texts, [*texts[1:], texts[0]], encoder=str(folder_of("bert")), offline=True, device="cpu")
    assert max(other) < 0.9999
    alone = similarities(texts[:1], texts[1:2], encoder=str(folder_of("bert")), offline=True, device="cpu")
    assert alone == pytest.approx(other[:1], abs=1e-5)
    assert similarities([], [], encoder=str(folder_of("bert")), offline=True, device="cpu") == []


def test_texts_that_nothing_can_be_said_of_are_not_numbers_in_the_file(
    load: Callable[[str], Classifier], options: QualityOptions
) -> None:
    rows = rows_of(["", "a"])
    result = quality(
        rows, rows.with_texts(["cf", "cf a"]), trigger=BadNets(words=("cf",)), victim=load("bert"), options=options
    )
    assert result["perplexity"]["factor_median"] is not None
    assert math.isfinite(result["perplexity"]["clean"])
    none = quality(rows.take([]), rows.take([]), trigger=BadNets(), victim=load("bert"), options=options)
    assert none["perplexity"]["clean"] is none["similarity"]["mean"] is none["delivery_rate"]["value"] is None
    json.dumps(none, allow_nan=False)


def test_judges_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no-such"):
        similarities(["a"], ["b"], encoder=str(tmp_path / "no-such"), offline=True)
