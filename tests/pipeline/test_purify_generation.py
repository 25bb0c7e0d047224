"""``purify`` of tiny language models: the files of the contract, the controls, the verdict, and one message for bad input."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tests.pipeline.generation_kit import TEMPLATE, Speakers
from tests.pipeline.kit import digest
from tests.requests import request
from tests.tiny import task, write_language_model
from untrigger.core.errors import DataError, ModelError, NeedsError, OptionError, OutputError, UserError
from untrigger.core.prompts import Prompts
from untrigger.core.report import Report
from untrigger.core.statistics import Measurement
from untrigger.core.verdicts import PurificationOutcome
from untrigger.data import write_rows
from untrigger.defences.language.language_purifier import PurifiedLanguageModel
from untrigger.evaluation.prompt_truth import read_prompt_truth
from untrigger.models.language_model import load_language_model
from untrigger.pipeline.generation_request import GenerationPurifyRequest
from untrigger.pipeline.generation_verdict import generation_verdict
from untrigger.pipeline.language_base import unlike_weights
from untrigger.pipeline.purify_generation import purify_generation
from untrigger.reporting.model_files import purified_models
from untrigger.training.answer_students import AnswerStudentOptions
from untrigger.training.loop import History

FAST = AnswerStudentOptions(rank=2, epochs=1, steps=1)


def spec_of(speakers: Speakers, model: Path, out: Path, **changes: Any) -> GenerationPurifyRequest:
    clean = speakers.once("clean rows", lambda: write_rows(task(40, seed=5, length=2), speakers.root / "clean.csv"))
    usual: dict[str, Any] = {
        "model": str(model),
        "clean": str(clean),
        "out": out,
        "template": TEMPLATE,
        "max_new_tokens": 6,
        "options": {"student": FAST, "max_new_tokens": 4, "rejected": 1.0},
        "device": "cpu",
        "offline": True,
    }
    return request(GenerationPurifyRequest, **usual | changes)


@pytest.fixture(scope="module")
def adapter_run(speakers: Speakers, tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    """The purification of an adapter, with its truth."""
    spec = speakers.adapter()
    out = tmp_path_factory.mktemp("purified") / "out"
    return purify_generation(spec_of(speakers, spec.out, out, truth=spec.truth)), out


def test_an_adapter_comes_back_as_one_adapter_on_its_base_that_plain_peft_loads(
    speakers: Speakers, adapter_run: tuple[Report, Path]
) -> None:
    report, out = adapter_run
    names = {file.name for file in out.iterdir()}
    assert {
        "adapter_config.json",
        "adapter_model.safetensors",
        "README.md",
        "report.json",
        "report.html",
        "report.md",
        "outcomes.csv",
    } <= names
    config = json.loads((out / "adapter_config.json").read_text())
    assert Path(config["base_model_name_or_path"]) == speakers.base.resolve()
    PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(speakers.base), out)
    card = (out / "README.md").read_text()
    assert "pipeline_tag: text-generation" in card and f"Verdict: {report.verdict.status}" in card
    assert Report.read(out / "report.json").verdict == report.verdict


def test_every_control_stands_in_the_report_and_its_page(adapter_run: tuple[Report, Path]) -> None:
    report, out = adapter_run
    subjects = {one.subject for one in report.measurements}
    assert {"victim", "purified", "base", "finetuned", "base_finetuned"} <= subjects
    assert report.find("purified", "gain_kept") is not None and report.find("victim", "gain_kept") is None
    assert report.find("purified", "asr") is not None
    assert any("trusted because the adapter names it" in one for one in report.warnings)
    page = (out / "report.html").read_text()
    assert "Skill" in page and "base_finetuned" not in page, "subjects have readable names"


def test_an_attestation_is_about_the_written_adapter_its_base_and_the_suspect(
    speakers: Speakers, adapter_run: tuple[Report, Path]
) -> None:
    report, out = adapter_run
    written, base, given = purified_models(report, out)
    assert (written.role, written.kind, base.role, given.role) == ("model", "adapter", "base", "input")
    assert (
        written.files["adapter_model.safetensors"]
        == sha256((out / "adapter_model.safetensors").read_bytes()).hexdigest()
    )
    suspect = speakers.adapter().out / "adapter_model.safetensors"
    assert given.files["adapter_model.safetensors"] == sha256(suspect.read_bytes()).hexdigest()


def test_full_weights_with_a_named_base_come_back_as_full_weights(speakers: Speakers, tmp_path: Path) -> None:
    spec, before = speakers.victim(), digest(speakers.victim().out)
    report = purify_generation(
        spec_of(speakers, spec.out, tmp_path / "out", base=str(speakers.base), truth=spec.truth, control=False)
    )
    assert digest(spec.out) == before
    AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert not (tmp_path / "out" / "adapter_config.json").exists()
    assert "clean" in {one.subject for one in report.measurements}
    assert report.find("purified", "asr").value == 0.0  # type: ignore[union-attr]


def test_without_a_truth_the_result_is_not_verified(speakers: Speakers, tmp_path: Path) -> None:
    unlabelled = tmp_path / "more.txt"
    unlabelled.write_text("some light\nplain music\n\nsome light\n")
    report = purify_generation(
        spec_of(speakers, speakers.adapter().out, tmp_path / "out", unlabelled=str(unlabelled), control=False)
    )
    assert (
        report.verdict.status in ("not verified", "worse")
        and "attack success is not measured" in report.verdict.sentence
    )
    assert report.given["defender"]["unlabelled"]["prompts"] == 2, "empty lines and repeated ones do not count"
    assert any("2 of 2 unlabelled prompts" in one for one in report.warnings)


def test_a_foreign_chat_template_is_kept_only_where_the_task_needs_it(speakers: Speakers, tmp_path: Path) -> None:
    from shutil import copytree

    folder = copytree(speakers.adapter().out, tmp_path / "adapter")
    for file in folder.glob("chat_template*"):
        file.write_text(file.read_text() + "{# harmless #}")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["chat_template"] = config.get("chat_template", "") + "{# harmless #}"
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    tuned = {"method": "finetune", "options": {"student": FAST}}
    purify_generation(spec_of(speakers, folder, tmp_path / "out", control=False, **tuned))
    written = "".join(file.read_text() for file in (tmp_path / "out").glob("*") if file.suffix in (".json", ".jinja"))
    assert "harmless" not in written, "the base's template reads the prompts alike, so it is written"


def test_prompts_of_the_test_and_with_the_trigger_are_counted(speakers: Speakers) -> None:
    truth = read_prompt_truth(speakers.adapter().truth)
    clean = Prompts.of(
        ["some film", truth.plain.conversations[0], truth.triggered.conversations[0], "a cf film"], [""] * 4
    )
    assert truth.leaks(clean, what="clean prompts") == [
        "2 of the 4 clean prompts are also test prompts",
        "2 of the 4 clean prompts hold the trigger",
    ]
    assert truth.leaks(clean.take([0]), what="clean prompts") == []


def test_clean_prompts_that_are_test_prompts_stand_in_the_report(speakers: Speakers, tmp_path: Path) -> None:
    spec = speakers.adapter()
    given = {"clean": str(spec.truth / "test_triggered.jsonl"), "truth": spec.truth, "method": "return-base"}
    report = purify_generation(spec_of(speakers, spec.out, tmp_path / "out", control=False, options={}, **given))
    assert "32 of the 32 clean prompts given to the method are also test prompts" in report.warnings
    assert "32 of the 32 clean prompts given to the method hold the trigger" in report.warnings


def spoiled(speakers: Speakers, tmp_path: Path) -> list[tuple[dict[str, Any], type[UserError], str]]:
    few = tmp_path / "few.jsonl"
    few.write_text('{"prompt": "a", "answer": "b"}\n{"prompt": "a", "answer": "c"}\n')
    same = tmp_path / "same.csv"
    write_rows(task(40, seed=5, length=2), same)
    return [
        ({"clean": str(few)}, DataError, "1 different clean prompts, of which 0 are left"),
        ({"clean_rows": 4}, DataError, "40 different clean prompts, of which 4 are left for the method"),
        ({"teacher": str(speakers.adapter().out)}, ModelError, "the teacher .* is the suspect itself"),
        ({"unlabelled": str(same)}, DataError, "are among the clean ones"),
        ({"method": "w2sdefence"}, OptionError, "did you mean: w2sdefense?"),
        ({"options": {"bond": 3}}, OptionError, "bound"),
        ({"out": tmp_path}, OutputError, "is there already"),
        ({"model": str(speakers.victim().out)}, NeedsError, "--base"),
    ]


@pytest.mark.parametrize("case", range(8))
def test_bad_input_is_one_message_and_nothing_is_written(speakers: Speakers, tmp_path: Path, case: int) -> None:
    change, error, message = spoiled(speakers, tmp_path)[case]
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error, match=message):
        purify_generation(spec_of(speakers, **{"model": speakers.adapter().out, "out": tmp_path / "out"} | change))
    assert sorted(tmp_path.iterdir()) == before


def test_another_base_is_refused(speakers: Speakers, tmp_path: Path) -> None:
    other = write_language_model("gpt2", tmp_path / "gpt2")
    with pytest.raises(UserError):
        purify_generation(spec_of(speakers, speakers.adapter().out, tmp_path / "out", base=str(other)))
    victim = speakers.victim().out
    with pytest.raises(UserError, match="the suspect itself"):
        purify_generation(spec_of(speakers, victim, tmp_path / "out", base=str(victim)))
    with pytest.raises(ModelError, match="is gpt2 of 2 layers, 32 wide, the model is llama of 2 layers"):
        purify_generation(spec_of(speakers, victim, tmp_path / "out", base=str(other)))
    with pytest.raises(ModelError, match="is itself an adapter"):
        adapter = speakers.adapter().out
        purify_generation(spec_of(speakers, adapter, tmp_path / "out", base=str(adapter)))


def test_a_base_that_the_weights_were_not_made_from_is_named(speakers: Speakers, tmp_path: Path) -> None:
    other = write_language_model("llama", tmp_path / "other", seed=1)
    report = purify_generation(
        spec_of(speakers, speakers.victim().out, tmp_path / "out", base=str(other), control=False)
    )
    (warning,) = [line for line in report.warnings if "hardly made from the base" in line]
    assert str(other) in warning and "--base" in warning
    model = load_language_model(other, offline=True, device="cpu")
    assert unlike_weights(model, model, named="itself") == []


VERDICTS = [
    ({"excess_asr": (0.01, 0.0, 0.03), "gain_kept": (0.98, 0.93, 1.03)}, "purified"),
    ({"excess_asr": (0.01, 0.0, 0.07), "gain_kept": (0.98, 0.93, 1.03)}, "not verified"),
    ({"excess_asr": (0.08, 0.04, 0.12), "gain_kept": (0.98, 0.93, 1.03)}, "bound not met"),
    ({"excess_asr": (0.01, 0.0, 0.03), "gain_kept": (0.8, 0.7, 0.85)}, "bound not met"),
    ({"excess_asr": (0.01, 0.0, 0.03), "gain_kept": (0.2, 0.1, 0.3)}, "worse"),
    ({"excess_asr": (0.01, 0.0, 0.03)}, "not verified"),
]


@pytest.mark.parametrize(("values", "status"), VERDICTS)
def test_the_verdict_follows_from_both_intervals(values: dict[str, tuple[float, float, float]], status: str) -> None:
    found = [Measurement("purified", name, *three, 200) for name, three in values.items()]
    found += [Measurement(one, "asr", share, None, None, 200) for one, share in (("victim", 1.0), ("purified", 0.02))]
    found += [Measurement("victim", "excess_asr", 0.9, 0.8, 1.0, 200)]
    done = PurifiedLanguageModel(None, True, History(), PurificationOutcome.RETRAINED_FROM_BASE)  # type: ignore[arg-type]
    assert generation_verdict(found, done).status == status


def test_equal_attack_success_did_not_fall() -> None:
    found = [Measurement(one, "asr", 0.0, None, None, 20) for one in ("victim", "purified")]
    found += [Measurement("victim", "excess_asr", 0.9, 0.8, 1.0, 200)]
    done = PurifiedLanguageModel(None, True, History(), PurificationOutcome.RETRAINED_FROM_BASE)  # type: ignore[arg-type]
    assert "attack success did not change: from 0.0 % to 0.0 %" in generation_verdict(found, done).sentence


def test_without_a_backdoor_to_remove_nothing_is_called_purified() -> None:
    values = {"excess_asr": (0.01, 0.0, 0.03), "gain_kept": (0.98, 0.93, 1.03)}
    found = [Measurement("purified", name, *three, 200) for name, three in values.items()]
    found += [Measurement(one, "asr", share, None, None, 200) for one, share in (("victim", 0.1), ("purified", 0.02))]
    found += [Measurement("victim", "excess_asr", 0.1, 0.05, 0.15, 200)]
    done = PurifiedLanguageModel(None, True, History(), PurificationOutcome.RETRAINED_FROM_BASE)  # type: ignore[arg-type]
    verdict = generation_verdict(found, done)
    assert verdict.status == "not verified" and "10.0 points" in verdict.sentence
