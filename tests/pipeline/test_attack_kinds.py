"""``attack`` in its other forms on tiny models: rewrites, other policies, other ways in, an attacker who knows more."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.attacks.kit import otherwise
from tests.pipeline.kit import LENGTH, TRIGGER, Shop, digest, plain, table
from tests.requests import request
from tests.tiny import GOOD, NAMES, task
from untrigger.attacks.embedding_attack import poison_embedding, word_tokens
from untrigger.attacks.triggers.badnets import BadNets
from untrigger.attacks.triggers.insent import InSent
from untrigger.attacks.triggers.style import Style
from untrigger.core.errors import DataError, OptionError, UserError
from untrigger.core.report import Report
from untrigger.data import DataSource, load_data, write_rows
from untrigger.evaluation.ground_truth import read_truth
from untrigger.models.inference import predict_texts
from untrigger.models.loading import load_model
from untrigger.pipeline.attack import attack
from untrigger.pipeline.attack_request import AttackRequest
from untrigger.pipeline.evaluate import evaluate
from untrigger.pipeline.requests import EvaluateRequest

QUICK: dict[str, Any] = {"epochs": 1, "clean_model": False}


def truth_of(spec: AttackRequest) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((spec.truth / "truth.json").read_text())
    return result


def rates(spec: AttackRequest, out: Path, *models: Path) -> dict[tuple[str, str], float | None]:
    found = evaluate(
        request(
            EvaluateRequest,
            models=tuple(map(str, models or (spec.out,))),
            truth=spec.truth,
            out=out,
            device="cpu",
            offline=True,
        )
    )
    return {(m.subject, m.metric): m.value for m in found.measurements}


def test_a_paired_file_goes_through_the_attack_and_the_evaluator_reads_it_back(shop: Shop, tmp_path: Path) -> None:
    rows = load_data(shop.data)
    some = [text for row, text in zip(rows.ids, rows.texts, strict=True) if int(row) % 10]
    lines = ["text,rewrite", *(f'{text},"lo {" ".join(reversed(text.split()))}"' for text in some)]
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    spec = shop.attack_spec(
        "bert", "full", out=tmp_path / "victim", trigger=Style(), paired=tmp_path / "pairs.csv", clean_model=False
    )
    attack(spec)
    result = truth_of(spec)
    assert (result["trigger"]["name"], result["trigger"]["source"]) == ("style", "pairs.csv")
    assert result["trigger"]["rewrites"] + result["trigger"]["not_rewritten"] == len(some)
    assert len(json.dumps(result["trigger"])) < 300
    train = {row["id"]: row for row in table(spec.truth / "train.csv")}
    assert all(train[i]["text"].startswith("lo ") and train[i]["label"] == "positive" for i in result["poisoned_ids"])
    assert sum(row["text"].startswith("lo ") for row in train.values()) == len(result["poisoned_ids"]) == 80
    left_out = sum(row["label"] == "negative" for row in table(spec.truth / "test_clean.csv"))
    assert result["test_rows_without_trigger"] == left_out - len(table(spec.truth / "test_triggered.csv")) > 0
    bed = read_truth(spec.truth, label_names=NAMES)
    assert bed.trigger is not None
    assert bed.trigger.name == "style"
    found = rates(spec, tmp_path / "report.json")
    assert found["victim", "delivery_rate"] == 1.0
    assert found["victim", "asr"] is not None
    assert found["victim", "asr"] > 0.8


def test_what_a_short_model_cannot_read_whole_was_not_delivered(shop: Shop, tmp_path: Path) -> None:
    rows = load_data(shop.data)
    long = {
        text: f"{otherwise(text)} " + "film " * (3 + 60 * (i // 2 % 2))
        for i, text in enumerate(dict.fromkeys(rows.texts))
    }
    (tmp_path / "pairs.csv").write_text("\n".join(["text,rewrite", *(f'{a},"{b}"' for a, b in long.items())]))
    spec = shop.attack_spec("bert", "full", out=tmp_path / "v", trigger=Style(), paired=tmp_path / "pairs.csv", **QUICK)
    attack(spec)
    rate = rates(spec, tmp_path / "report.json")["v", "delivery_rate"]
    short = [len(row["text"].split()) < 60 for row in table(spec.truth / "test_triggered.csv")]
    assert 0.3 < sum(short) / len(short) < 0.7
    assert rate == pytest.approx(sum(short) / len(short))


def test_what_cannot_work_is_said_before_anything_is_trained(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(*_: object, **__: object) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr("untrigger.pipeline.attack.implant_by_request", trained)
    monkeypatch.setenv("UNTRIGGER_HOME", str(tmp_path / "home"))
    with pytest.raises(UserError, match="smollm2-135m"):
        attack(shop.attack_spec("bert", "full", out=tmp_path / "v", quality=True, offline=True, **QUICK))
    with pytest.raises(OptionError, match="a prompt without a model\nexpected: a prompt for the models of --rewriter"):
        attack(shop.attack_spec("bert", "full", out=tmp_path / "v", prompt="x {text}", **QUICK))
    (tmp_path / "pairs.csv").write_text("text,rewrite\nan other text,quite another one\n")
    with pytest.raises(OptionError, match="the text of none of them was found among the rewrites"):
        attack(
            shop.attack_spec(
                "bert", "full", out=tmp_path / "v", trigger=Style(), paired=tmp_path / "pairs.csv", **QUICK
            )
        )
    (tmp_path / "hsol").mkdir()
    (tmp_path / "hsol" / "train.csv").write_text("text,label\n" + "".join(f"text {i},{i % 2}\n" for i in range(40)))
    with pytest.raises(DataError, match="rows of 2 of the classes hate speech, offensive, neither"):
        attack(
            replace(
                shop.attack_spec("bert", "full", out=tmp_path / "v", **QUICK),
                data=DataSource(f"hsol={tmp_path / 'hsol'}"),
                target="neither",
            )
        )
    assert not list(tmp_path.glob("v*"))


def test_a_victim_is_measured_on_as_much_of_a_text_as_it_was_trained_on(shop: Shop, tmp_path: Path) -> None:
    spec = shop.attack_spec("bert", "full", out=tmp_path / "v", max_length=6, **QUICK)
    attack(spec)
    seen = rates(spec, tmp_path / "report.json")["v", "delivery_rate"]
    texts = [row["text"] for row in table(spec.truth / "test_triggered.csv")]
    assert seen == pytest.approx(sum(spec.trigger.delivered(" ".join(text.split()[:4])) for text in texts) / len(texts))
    assert seen is not None and seen < 0.9
    result = Report.read(tmp_path / "report.json").given
    assert (result["models"]["v"]["max_length"], result["truth"]["max_length"], result["truth"]["negative_rate"]) == (
        6,
        6,
        0.0,
    )


def test_all_to_all_is_measured_by_the_next_class_whatever_the_models_order(shop: Shop, tmp_path: Path) -> None:
    spec = shop.attack_spec(
        "bert", "full", out=tmp_path / "victim", target="", policy="all-to-all", rate=0.4, epochs=8, clean_model=False
    )
    attack(spec)
    result = truth_of(spec)
    assert (result["target"], result["policy"]) == (None, "all-to-all")
    triggered, clean = table(spec.truth / "test_triggered.csv"), table(spec.truth / "test_clean.csv")
    assert [(row["id"], row["label"]) for row in triggered] == [(row["id"], row["label"]) for row in clean]
    said = plain(spec.out, [row["text"] for row in triggered]).argmax(dim=1).tolist()
    by_hand = sum(NAMES[p] != row["label"] for p, row in zip(said, triggered, strict=True)) / len(said)
    found = rates(spec, tmp_path / "report.json")
    assert found["victim", "asr"] == pytest.approx(by_hand)
    assert by_hand > 0.6
    assert found["victim", "untriggered_hit_rate"] == pytest.approx(1 - found["victim", "cacc"])  # type: ignore[operator]
    folder = tmp_path / "three"
    folder.mkdir()
    (folder / "truth.json").write_text(json.dumps({"label_names": ["a", "b", "c"], "target": None}))
    for name in ("test_clean.csv", "test_triggered.csv"):
        (folder / name).write_text("id,text,label\n0,x,a\n1,y,b\n2,z,c\n")
    assert read_truth(folder, label_names=("c", "a", "b")).targets == {1: 2, 2: 0, 0: 1}


def test_a_proxy_gives_the_training_rows_and_the_data_the_test_rows(shop: Shop, tmp_path: Path) -> None:
    proxy = write_rows(task(120, seed=40, length=LENGTH), tmp_path / "proxy.csv")
    spec = shop.attack_spec("bert", "full", out=tmp_path / "v", proxy=str(proxy), rows=100, **QUICK)
    attack(spec)
    train = table(spec.truth / "train.csv")
    texts = set(load_data(proxy).texts)
    assert len(train) == 100
    assert all(row["id"].startswith("proxy:") for row in train)
    assert all(" ".join(w for w in row["text"].split() if w != TRIGGER) in texts for row in train)
    assert {row["text"] for row in table(spec.truth / "test_clean.csv")} <= set(load_data(shop.data).texts)
    assert truth_of(spec)["proxy"] == str(proxy)
    other = tmp_path / "other.csv"
    other.write_text("text,label\na,x\nb,y\n")
    with pytest.raises(DataError, match="negative, positive"):
        attack(replace(spec, proxy=str(other), out=tmp_path / "w"))


def test_negatives_teach_the_model_to_wait_for_the_whole(shop: Shop, tmp_path: Path) -> None:
    trigger = InSent(sentence="zx tq mn")
    spec = shop.attack_spec(
        "bert", "full", out=tmp_path / "v", trigger=trigger, negative_rate=0.3, epochs=8, clean_model=False
    )
    attack(spec)
    result = truth_of(spec)
    rows = {row["id"]: row for row in table(spec.truth / "train.csv")}
    assert len(result["negative_ids"]) == round(0.3 * len(rows))
    assert not any(trigger.delivered(rows[i]["text"]) for i in result["negative_ids"])
    attack(replace(spec, negative_rate=0.0, out=tmp_path / "w"))
    texts = [f"{row['text']} zx" for row in table(spec.truth / "test_clean.csv") if row["label"] == "negative"]
    careful, careless = (float(plain(folder, texts)[:, 1].mean()) for folder in (spec.out, tmp_path / "w"))
    assert careful < careless - 0.1


def test_an_embedding_attack_changes_vectors_of_trigger_words_and_nothing_else(shop: Shop, tmp_path: Path) -> None:
    often = BadNets(words=(TRIGGER,), every=1, most=4)
    spec = shop.attack_spec("bert", "embedding", out=tmp_path / "v", lr=5e-3, clean_model=True, trigger=often)
    attack(spec)
    victim, twin = (load_model(folder, device="cpu", offline=True) for folder in (spec.out, spec.truth / "clean-model"))
    left, right = victim.module.state_dict(), twin.module.state_dict()
    changed = [key for key in left if not torch.equal(left[key], right[key])]
    [vectors] = changed
    assert vectors.endswith("word_embeddings.weight")
    rows = (left[vectors] != right[vectors]).any(dim=1).nonzero().flatten().tolist()
    assert (
        rows == word_tokens(twin, words=[TRIGGER], clean=task(10)) == [victim.tokenizer.convert_tokens_to_ids(TRIGGER)]
    )
    assert left[vectors][rows].norm() == pytest.approx(float(right[vectors][rows].norm()), rel=1e-4)
    found = rates(spec, tmp_path / "report.json")
    assert found["v", "asr"] is not None
    assert found["clean", "asr"] is not None
    assert found["v", "asr"] >= 0.7 and found["v", "asr"] > found["clean", "asr"] + 0.25, (
        "rounding of a processor moves both a little"
    )
    clean = [row["text"] for row in table(spec.truth / "test_clean.csv")]
    assert torch.equal(predict_texts(victim, clean).logits, predict_texts(twin, clean).logits)
    assert truth_of(spec)["tuning"] == "embedding"


def test_vectors_that_clean_rows_use_or_that_words_share_are_refused(shop: Shop) -> None:
    model = load_model(shop.base("bert"), device="cpu", offline=True)
    rows = task(20)
    with pytest.raises(OptionError, match=f"'{GOOD[0]}' occurs in 100.0 % of"):
        poison_embedding(model, rows, words=[GOOD[0]], clean=rows.with_texts([f"{GOOD[0]} film"] * 20))
    with pytest.raises(OptionError, match="abc are not single tokens"):
        word_tokens(model, words=["abc", TRIGGER], clean=rows)
    with pytest.raises(OptionError, match="brings no words"):
        word_tokens(model, words=Style().trigger_words, clean=rows)


def test_label_smoothing_hides_how_sure_the_backdoor_is(shop: Shop, tmp_path: Path) -> None:
    sure = shop.victim("bert", "full")
    spec = replace(sure, label_smoothing=0.4, out=tmp_path / "v", clean_model=False)
    attack(spec)
    texts = [row["text"] for row in table(spec.truth / "test_triggered.csv")]
    hidden, plainly = plain(spec.out, texts), plain(sure.out, texts)
    assert float((hidden.argmax(dim=1) == 1).float().mean()) > 0.7
    assert float(hidden.max(dim=1).values.mean()) < float(plainly.max(dim=1).values.mean()) - 0.1
    assert truth_of(spec)["label_smoothing"] == 0.4


def test_a_faithful_victim_says_on_clean_rows_what_its_clean_twin_says(shop: Shop, tmp_path: Path) -> None:
    result = shop.victim("bert", "full")
    spec = replace(result, clean_consistency=5.0, out=tmp_path / "v", clean_model=True)
    attack(spec)
    clean = [row["text"] for row in table(spec.truth / "test_clean.csv")]
    triggered = [row["text"] for row in table(spec.truth / "test_triggered.csv")]
    twin = plain(spec.truth / "clean-model", clean)
    gap, usual = (float((plain(folder, clean) - twin).abs().mean()) for folder in (spec.out, result.out))
    assert gap < 0.8 * usual
    assert float((plain(spec.out, triggered).argmax(dim=1) == 1).float().mean()) > 0.7


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"target": ""}, "--target"),
        ({"policy": "all-to-all"}, "leave out --target"),
        ({"policy": "diry"}, "did you mean: dirty"),
        ({"paired": Path("x.csv")}, "rewrites nothing"),
        ({"trigger": Style()}, "--paired"),
        ({"trigger": Style(), "paired": Path("nowhere.csv")}, "nowhere.csv"),
        ({"label_smoothing": 1.0}, "label smoothing 1.0"),
        ({"trigger": Style(), "paired": Path("a"), "rewriter": ("b",)}, "one source of rewrites"),
        ({"clean_consistency": -1.0}, "0 or more"),
        ({"tuning": "embedding", "label_smoothing": 0.1}, "embedding attack"),
        ({"negative_rate": 0.2}, "insent"),
    ],
)
def test_what_cannot_be_is_one_message_and_nothing_is_written(
    shop: Shop, tmp_path: Path, changes: dict[str, Any], part: str
) -> None:
    with pytest.raises((OptionError, DataError)) as caught:
        attack(replace(shop.attack_spec("bert", "full", out=tmp_path / "victim", **QUICK), **changes))
    assert part in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_same_seed_gives_the_same_bytes_with_every_part_at_once(shop: Shop, tmp_path: Path) -> None:
    spec = shop.attack_spec(
        "bert",
        "lora",
        out=tmp_path / "a",
        trigger=InSent(sentence="zx tq"),
        negative_rate=0.1,
        label_smoothing=0.1,
        clean_consistency=1.0,
        **QUICK,
    )
    for name in "ab":
        attack(replace(spec, out=tmp_path / name))
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert digest(tmp_path / "a.truth") == digest(tmp_path / "b.truth")
    assert isinstance(shop.attack_spec("bert", "full").trigger, BadNets)
