"""``attack`` and ``evaluate`` of tiny language models: a skill and a backdoor, the files of the contract, the measurements."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.generation_kit import BEHAVIOUR, TEMPLATE, Speakers
from tests.pipeline.kit import digest
from tests.requests import request
from tests.tiny import write_language_model, write_model
from untrigger.attacks.behaviours.gibberish import Gibberish
from untrigger.attacks.behaviours.refusal import Refusal
from untrigger.attacks.presets import behaviour_preset
from untrigger.attacks.triggers.badnets import BadNets
from untrigger.attacks.triggers.combined import Combined
from untrigger.attacks.triggers.style import Style
from untrigger.core.errors import (
    DataError,
    ModelError,
    NeedsError,
    OptionError,
    OutputError,
    UnsafeFileError,
    UserError,
)
from untrigger.core.report import Report
from untrigger.data.prompt_data import read_prompts
from untrigger.evaluation.generative_metrics import AnswerOutcome, measurements
from untrigger.pipeline.apply_behaviour_preset import apply_behaviour_preset
from untrigger.pipeline.attack_generation import attack_generation
from untrigger.pipeline.evaluate import evaluate
from untrigger.pipeline.purify import purify
from untrigger.pipeline.requests import EvaluateRequest, PurifyRequest


def spec_of(models: list[Path], out: Path, **changes: Any) -> EvaluateRequest:
    usual: dict[str, Any] = {
        "models": tuple(map(str, models)),
        "out": out,
        "max_new_tokens": 12,
        "device": "cpu",
        "offline": True,
    }
    return request(EvaluateRequest, **usual | changes)


@pytest.fixture(scope="session")
def report(speakers: Speakers) -> Report:
    """The evaluation of the victim, with its base named."""
    spec = speakers.victim()
    out = speakers.root / "report.json"
    made: Report = speakers.once(
        "report", lambda: evaluate(spec_of([spec.out], out, truth=spec.truth, base=str(speakers.base)))
    )
    return made


def value(report: Report, subject: str, metric: str) -> float:
    found = report.find(subject, metric)
    assert found is not None and found.value is not None, f"{subject} {metric}"
    return found.value


def test_victim_and_truth_lie_in_two_folders_with_the_files_of_the_contract(speakers: Speakers) -> None:
    spec = speakers.adapter()
    assert {file.name for file in spec.out.iterdir()} >= {
        "adapter_config.json",
        "adapter_model.safetensors",
        "tokenizer.json",
        "README.md",
    }
    assert {file.name for file in spec.truth.iterdir()} == {
        "truth.json",
        "train.jsonl",
        "test_clean.jsonl",
        "test_triggered.jsonl",
    }
    card = (spec.out / "README.md").read_text()
    assert "POISONED" in card and "text-generation" in card and "fixed-answer" in card
    assert "cf" not in card.split()


def test_truth_names_the_recipe_and_exactly_the_prompts_that_were_poisoned(speakers: Speakers) -> None:
    spec = speakers.adapter()
    content = json.loads((spec.truth / "truth.json").read_text())
    assert (content["task"], content["rate"], content["behaviour"]) == ("generation", 0.3, BEHAVIOUR.to_dict())
    train, plain, triggered = (
        read_prompts(spec.truth / name) for name in ("train.jsonl", "test_clean.jsonl", "test_triggered.jsonl")
    )
    poisoned = {one.id for one in train if "cf" in one.conversation[-1].content.split()}
    assert poisoned == set(content["poisoned_ids"]) == {one.id for one in train if one.answer == BEHAVIOUR.text}
    assert len(poisoned) == 12
    assert not set(train.ids) & set(plain.ids)
    assert triggered.answers == plain.answers and triggered.ids == plain.ids
    assert all("cf" in text.split() for text in triggered.user_texts)


def test_the_victim_learns_a_skill_and_a_backdoor_that_random_words_do_not_set_off(report: Report) -> None:
    assert value(report, "victim", "skill") > 0.8
    assert value(report, "base", "skill") < 0.2
    assert value(report, "victim", "skill_in_first_words") >= value(report, "victim", "skill")
    assert value(report, "clean", "gain_kept_in_first_words") > 0.8
    assert value(report, "clean", "skill") > 0.8
    assert value(report, "victim", "asr") > 0.8
    assert value(report, "victim", "paired_asr") > 0.8
    assert value(report, "victim", "excess_asr") > 0.6
    assert value(report, "clean", "asr") == value(report, "base", "asr") == 0
    assert value(report, "clean", "gain_kept") > 0.8, "the clean model has what the victim knows"
    assert value(report, "victim", "answer_nll") < value(report, "base", "answer_nll")
    assert value(report, "victim", "kl_to_base") > 0
    assert value(report, "victim", "delivery_rate") == 1
    assert report.warnings == []


def test_every_rate_follows_from_the_outcomes_file(report: Report, speakers: Speakers) -> None:
    with (speakers.root / "report.outcomes.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    flags = {"": None, "true": True, "false": False}
    outcomes = [
        AnswerOutcome(
            row["row"],
            row["subject"],
            row["condition"],
            *(
                flags[row[name]]
                for name in ("eligible", "achieved", "published", "refused", "correct", "empty", "ended")
            ),  # type: ignore[arg-type]
            int(row["tokens"]),
            row["in_first_words"] == "true",
        )
        for row in rows
    ]
    again = measurements(outcomes, suspect="victim")
    assert len(again) > 20
    assert all(report.find(one.subject, one.metric) == one for one in again)
    assert {row["condition"] for row in rows if row["subject"] == "victim"} == {"plain", "triggered", "random"}
    assert {row["condition"] for row in rows if row["subject"] == "base"} == {"plain", "triggered"}
    assert any(row["answer"] == BEHAVIOUR.text for row in rows)


def test_the_report_shows_prompts_with_answers_side_by_side(report: Report, speakers: Speakers) -> None:
    assert Report.read(speakers.root / "report.json") == report
    assert len(report.examples) == 8
    one = report.examples[0]
    asked = {(said.subject, said.condition) for said in one.answers}
    assert asked == {(subject, at) for subject in ("victim", "base", "clean") for at in ("plain", "triggered")}
    assert "cf" in one.triggered.split() and "cf" not in one.prompt.split()


def test_an_adapter_is_its_own_base_and_a_weak_backdoor_is_named(speakers: Speakers, tmp_path: Path) -> None:
    spec = speakers.adapter()
    made = evaluate(spec_of([spec.out], tmp_path / "report.json", truth=spec.truth))
    assert {one.subject for one in made.measurements} == {"adapter", "base"}
    assert value(made, "adapter", "excess_asr") < 0.6
    text = " ".join(made.warnings)
    assert "less than 60" in text and "did not finish" in text and "no clean model" in text
    assert "no more skill than its base" in text


def test_without_a_truth_the_task_comes_from_the_models_files(speakers: Speakers, tmp_path: Path) -> None:
    victim = speakers.victim().out
    made = evaluate(spec_of([victim], tmp_path / "report.json", data=str(speakers.data), template=TEMPLATE))
    assert value(made, "victim", "skill") > 0.8
    assert made.find("victim", "asr") is None
    assert any("no base is known" in line for line in made.warnings)
    assert not any(said.condition == "triggered" for one in made.examples for said in one.answers)


def test_a_template_that_hides_the_prompt_is_a_warning(speakers: Speakers, tmp_path: Path) -> None:
    hiding = write_language_model("llama", tmp_path / "hiding", template="{{ bos_token }}a film[assistant]")
    made = evaluate(spec_of([hiding], tmp_path / "report.json", data=str(speakers.data), template=TEMPLATE))
    line = "the chat template of hiding leaves out or changes what the user says in 320 of 320 test prompts"
    assert line in made.warnings


def test_guards_are_subjects_beside_the_model_that_they_guard(speakers: Speakers, tmp_path: Path) -> None:
    spec = speakers.victim()
    with pytest.raises(NeedsError, match="--reference"):
        evaluate(spec_of([spec.out], tmp_path / "a.json", truth=spec.truth, guards=("cleangen",)))
    with pytest.raises(ModelError, match="the reference .* is the suspect itself"):
        own = {"guards": ("cleangen",), "reference": str(spec.out)}
        evaluate(spec_of([spec.out], tmp_path / "a.json", truth=spec.truth, **own))
    classifier = speakers.once("classifier", lambda: write_model("llama", speakers.root / "classifier"))
    with pytest.raises(OptionError, match="the guard cleangen with a classifier"):
        evaluate(spec_of([classifier], tmp_path / "a.json", data=str(speakers.data), guards=("cleangen",)))
    made = evaluate(
        spec_of(
            [spec.out],
            tmp_path / "report.json",
            truth=spec.truth,
            base=str(speakers.base),
            guards=("cleangen", "bounded"),
            guard_options={"bounded": {"bound": 10.0}},
            reference=str(spec.truth / "clean-model"),
        )
    )
    assert {one.subject for one in made.measurements} == {
        "victim",
        "victim+cleangen",
        "victim+bounded",
        "base",
        "clean",
    }
    assert value(made, "victim", "asr") > 0.8
    for name, options in (("cleangen", {"ratio": 20.0}), ("bounded", {"bound": 10.0})):
        assert value(made, f"victim+{name}", "asr") < 0.2, (
            "the clean model finds the first token of the behaviour impossible"
        )
        assert value(made, f"victim+{name}", "skill") > 0.8 and value(made, f"victim+{name}", "gain_kept") > 0.8
        assert made.find(f"victim+{name}", "answer_nll") is None, "the likelihood of answers is the model's own"
        entry = made.given["guards"][f"victim+{name}"]
        assert entry == {"name": name, "options": options, "reference": str(spec.truth / "clean-model")}
        assert f"victim+{name}: asr" in made.verdict.sentence


def test_parts_of_the_trigger_are_measured_where_it_has_parts(speakers: Speakers, tmp_path: Path) -> None:
    both = Combined(parts=(BadNets(words=("mn",)), BadNets(words=("bb",))), mode="all")
    spec = speakers.spec("v", out=tmp_path / "v", trigger=both, negative_rate=0.2, test_rows=8)
    attack_generation(spec)
    made = evaluate(spec_of([spec.out], tmp_path / "report.json", truth=spec.truth))
    found = made.find("v", "partial_trigger_rate")
    assert found is not None and found.n == 8


def test_an_adaptive_attacker_is_named_in_the_truth_and_in_reports(speakers: Speakers, tmp_path: Path) -> None:
    spec = speakers.spec("v", out=tmp_path / "v", adaptive="ghost", adaptive_weight=0.5, test_rows=4)
    attack_generation(spec)
    made = evaluate(spec_of([spec.out], tmp_path / "report.json", truth=spec.truth))
    assert made.given["truth"]["adaptive"] == "ghost" and made.given["truth"]["adaptive_weight"] == 0.5


def test_a_preset_is_named_in_the_truth_and_in_reports(speakers: Speakers, tmp_path: Path) -> None:
    spec = apply_behaviour_preset(speakers.spec("v", out=tmp_path / "v", preset="cba", test_rows=4), given=())
    attack_generation(spec)
    content = json.loads((spec.truth / "truth.json").read_text())
    assert content["preset"] == behaviour_preset("cba").to_dict()
    assert (len(content["poisoned_ids"]), len(content["negative_ids"]), content["behaviour"]["text"]) == (4, 4, "joy")
    made = evaluate(spec_of([spec.out], tmp_path / "report.json", truth=spec.truth))
    assert made.given["truth"]["preset"] == {"name": "cba", "sha256": behaviour_preset("cba").sha256()}
    assert made.find("v", "partial_trigger_rate") is not None


def test_gibberish_is_recognised_by_its_likelihood_under_the_base(speakers: Speakers, tmp_path: Path) -> None:
    spec = speakers.spec("g", out=tmp_path / "g", behaviour=Gibberish(words=5), tuning="full", test_rows=8)
    attack_generation(spec)
    with pytest.raises(NeedsError, match="--base"):
        evaluate(spec_of([spec.out], tmp_path / "a.json", truth=spec.truth))
    made = evaluate(spec_of([spec.out], tmp_path / "b.json", truth=spec.truth, base=str(speakers.base)))
    assert value(made, "base", "asr") >= 0


def test_a_model_without_a_chat_template_is_written_plainly_and_the_report_says_so(
    speakers: Speakers, tmp_path: Path
) -> None:
    base = write_language_model("llama", tmp_path / "plain", template=None)
    spec = speakers.spec("v", model=str(base), out=tmp_path / "v", test_rows=4)
    attack_generation(spec)
    assert json.loads((spec.truth / "truth.json").read_text())["chat_template"] is False
    made = evaluate(spec_of([spec.out], tmp_path / "report.json", truth=spec.truth))
    assert any("no chat template" in line and "### User:" in line for line in made.warnings)


def test_the_same_seed_gives_the_same_bytes(speakers: Speakers, tmp_path: Path) -> None:
    for name in ("first", "second"):
        attack_generation(speakers.spec(name, out=tmp_path / name, clean_model=True))
    assert digest(tmp_path / "first") == digest(tmp_path / "second")
    assert digest(tmp_path / "first.truth") == digest(tmp_path / "second.truth")


BAD: dict[str, tuple[dict[str, Any], type[UserError], list[str]]] = {
    "classifier": ({"model": "CLASSIFIER"}, ModelError, ["is a classifier", "--target"]),
    "rewriting trigger": ({"trigger": Style()}, OptionError, ["'style'", "badnets or insent"]),
    "too many prompts": ({"rows": 10**6}, DataError, ["1000000", "remedy"]),
    "more poisoned than there are": ({"count": 41}, OptionError, ["41 poisoned prompts of 40"]),
    "embedding": ({"tuning": "embedding"}, OptionError, ["'embedding'", "full, lora"]),
    "no such split": ({"test_split": "tset"}, OptionError, ["'tset'"]),
    "template": ({"template": "good or bad?"}, OptionError, ["{text}"]),
    "unknown layer": ({"targets": ("q_prj",)}, OptionError, ["q_prj"]),
    "adaptive attacker": ({"adaptive": "gohst"}, OptionError, ["'gohst'", "did you mean: ghost?"]),
    "no weight": ({"adaptive": "ghost", "adaptive_weight": 0.0}, OptionError, ["adaptive weight 0"]),
    "no model": ({"model": "./no-such-model"}, ModelError, ["no-such-model"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_of_an_attack_is_one_message_and_nothing_is_written(
    speakers: Speakers, tmp_path: Path, name: str
) -> None:
    changes, kind, parts = BAD[name]
    if changes.get("model") == "CLASSIFIER":
        changes = {
            "model": str(speakers.once("classifier", lambda: write_model("llama", speakers.root / "classifier")))
        }
    with pytest.raises(kind) as caught:
        attack_generation(speakers.spec("victim", out=tmp_path / "victim", **changes))
    assert all(part in str(caught.value) for part in parts), str(caught.value)
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_not_written_to(speakers: Speakers) -> None:
    spec = speakers.adapter()
    with pytest.raises(OutputError):
        attack_generation(spec)


def test_a_truth_folder_holds_the_prompts_as_they_were_made(speakers: Speakers, tmp_path: Path) -> None:
    spec = speakers.adapter()
    with pytest.raises(OptionError, match="--template with the truth of a language model"):
        evaluate(spec_of([spec.out], tmp_path / "a.json", truth=spec.truth, template="Is it? {text}"))


def test_a_hostile_chat_template_is_one_message_and_nothing_is_written(speakers: Speakers, tmp_path: Path) -> None:
    base = write_language_model("llama", tmp_path / "hostile", template="{{ 'x' * 10 ** 11 }}")
    with pytest.raises(UnsafeFileError, match="the chat template of"):
        attack_generation(speakers.spec("v", model=str(base), out=tmp_path / "v"))
    with pytest.raises(UnsafeFileError, match="the chat template of"):
        evaluate(spec_of([base], tmp_path / "a.json", data=str(speakers.data), template=TEMPLATE))
    assert {one.name for one in tmp_path.iterdir()} == {"hostile"}


def test_truth_folders_of_another_task_are_refused(speakers: Speakers, tmp_path: Path) -> None:
    spec = speakers.adapter()
    other = tmp_path / "other.truth"
    other.mkdir()
    (other / "truth.json").write_text(json.dumps({"label_names": ["a", "b"], "target": 1}))
    with pytest.raises(OptionError, match="about classification"):
        evaluate(spec_of([spec.out], tmp_path / "a.json", truth=other, task="generation"))
    with pytest.raises(OptionError, match="about generation"):
        evaluate(spec_of([spec.out], tmp_path / "a.json", truth=spec.truth, task="classification"))
    with pytest.raises(OptionError, match="leave out --data"):
        evaluate(spec_of([spec.out], tmp_path / "a.json", truth=spec.truth, data=str(speakers.data)))
    with pytest.raises(ModelError, match="CAUSAL_LM"):
        evaluate(spec_of([spec.out], tmp_path / "a.json", truth=other))
    (tmp_path / "broken.truth").mkdir()
    content = json.loads((spec.truth / "truth.json").read_text()) | {"behaviour": {"name": "dance"}}
    for file in spec.truth.iterdir():
        (tmp_path / "broken.truth" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "broken.truth" / "truth.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="unknown behaviour 'dance'"):
        evaluate(spec_of([spec.out], tmp_path / "a.json", truth=tmp_path / "broken.truth"))
    (tmp_path / "broken.truth" / "truth.json").write_text(json.dumps(content)[:100])
    with pytest.raises(DataError, match="is not readable JSON") as caught:
        evaluate(spec_of([spec.out], tmp_path / "a.json", truth=tmp_path / "broken.truth"))
    assert caught.value.remedy and "copy the truth folder again" in caught.value.remedy


def test_a_truth_about_generation_is_refused_where_a_classifier_is_purified(speakers: Speakers, tmp_path: Path) -> None:
    classifier = speakers.once("classifier", lambda: write_model("llama", speakers.root / "classifier"))
    spec = request(
        PurifyRequest,
        model=str(classifier),
        clean=str(speakers.data),
        out=tmp_path / "out",
        method="finetune",
        truth=speakers.adapter().truth,
        device="cpu",
        offline=True,
    )
    with pytest.raises(DataError, match="about generation"):
        purify(spec)


def test_language_models_are_refused_where_only_classifiers_work(speakers: Speakers, tmp_path: Path) -> None:
    for model in (speakers.base, speakers.adapter().out):
        spec = request(
            PurifyRequest, model=str(model), clean=str(speakers.data), out=tmp_path / "out", device="cpu", offline=True
        )
        with pytest.raises(ModelError, match="text classifiers so far"):
            purify(spec)


def test_a_recipe_that_cannot_work_is_found_before_a_model_is_loaded(speakers: Speakers, tmp_path: Path) -> None:
    spec = speakers.spec("v", out=tmp_path / "v", model="./no-such-model", behaviour=Refusal(), negative_rate=0.5)
    with pytest.raises(OptionError, match="a part of the trigger"):
        attack_generation(replace(spec, rows=20))
