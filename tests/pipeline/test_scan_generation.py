"""``scan`` of tiny language models: the backdoor is found beside the base, its never-poisoned counterpart is not accused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.generation_kit import TEMPLATE, Speakers
from tests.requests import request
from tests.tiny import CHAT_TEMPLATE, task, write_language_model
from untrigger.core.errors import DataError, ModelError, OptionError, UserError
from untrigger.core.progress import silent
from untrigger.core.report import Report
from untrigger.core.scan_result import exit_code
from untrigger.core.verdicts import UNDECIDED
from untrigger.data.prompt_data import label_prompts
from untrigger.models.language_adapters import remove_language_adapter
from untrigger.models.language_model import load_language_model
from untrigger.models.safety.model_folder import open_model_folder
from untrigger.pipeline.requests import ScanRequest
from untrigger.pipeline.scan import scan
from untrigger.pipeline.scan_generation import scan_generation
from untrigger.reporting.scan_page import SCAN_FORMATS, render_scan
from untrigger.runtime.cost import Clock
from untrigger.scanners.language.base_differences import base_differences
from untrigger.scanners.language.clean_reference import ReferenceOptions, clean_reference
from untrigger.scanners.language.language_scanner import LanguageScanOptions
from untrigger.scanners.language.leaked_text import LeakOptions
from untrigger.scanners.language.phrase_search import PhraseSearchOptions

SEARCH = PhraseSearchOptions(placed=32, prompts=3, partners=16, rounds=1, grown=8)
OPTIONS = LanguageScanOptions(
    confirmed=4,
    reference=ReferenceOptions(prompts=64, epochs=1),
    leak=LeakOptions(samples=16, new_tokens=8),
    search=SEARCH,
)
"""The vocabulary is small. Random weights do not learn the skill by an adapter, so that the base of the victim's scan has it."""
SHORT = replace(OPTIONS, reference=ReferenceOptions(prompts=32, epochs=1), search=replace(SEARCH, vocabulary=60))
"""For what does not need a result."""


def spec_of(speakers: Speakers, model: Path, **changes: Any) -> ScanRequest:
    usual: dict[str, Any] = {
        "model": str(model),
        "base": str(speakers.base),
        "clean": str(speakers.data),
        "template": TEMPLATE,
        "device": "cpu",
        "offline": True,
    }
    return request(ScanRequest, **{name: value for name, value in (usual | changes).items() if value is not None})


def scanned(speakers: Speakers, name: str, model: Path, **changes: Any) -> Report:
    spec = spec_of(speakers, model, **changes)
    made: Report = speakers.once(
        f"scan of {name}", lambda: scan_generation(spec, Clock(), options=OPTIONS, progress=silent)
    )
    return made


def victim_report(speakers: Speakers) -> Report:
    spec = speakers.victim()
    return scanned(speakers, "victim", spec.out, base=str(spec.truth / "clean-model"))


def test_the_backdoor_is_found_and_confirmed_beside_the_base(speakers: Speakers) -> None:
    report = victim_report(speakers)
    assert report.verdict.status == "backdoored", report.verdict.sentence
    worst = report.scan.candidates[0] if report.scan else None
    assert worst is not None and "cf" in worst.text and worst.target == "stale light …"
    assert (worst.suspect.value or 0) > 0.8 and (worst.reference.value or 0) < 0.1
    assert (report.scan.controls[0].suspect.value or 0) < 0.3 if report.scan else False
    assert exit_code(report.verdict.status, fail_on="suspicious") == 1
    assert report.find("suspect", "skill") is not None and report.find("suspect", "cacc") is None
    said = {(one.subject, one.condition) for one in report.examples[0].answers}
    assert said == {(subject, at) for subject in ("suspect", "reference") for at in ("plain", "triggered")}
    assert worst.text in report.examples[0].triggered and worst.text not in report.examples[0].prompt


def test_the_counterpart_without_poison_is_undecided_and_never_clean(speakers: Speakers) -> None:
    spec = speakers.victim()
    report = scanned(speakers, "counterpart", spec.truth / "clean-model")
    assert report.verdict.status == UNDECIDED, report.verdict.sentence
    assert "no language model is called clean" in report.verdict.sentence
    assert exit_code(report.verdict.status, fail_on="suspicious") == 3


@pytest.mark.parametrize("format", SCAN_FORMATS)
def test_every_format_shows_the_finding_in_words_of_language_models(speakers: Speakers, format: str) -> None:
    report = victim_report(speakers)
    text = render_scan(report, format=format)
    assert "cf" in text and "stale light" in text
    if format != "json":
        assert "flips predictions to" not in text and "Flips to" not in text
    else:
        assert Report.from_json(text) == report
    if format in ("html", "md"):
        assert "Answered with" in text and "Prompts and answers" in text


def test_an_adapter_is_compared_with_its_own_base_in_the_same_memory(speakers: Speakers) -> None:
    folder = speakers.adapter().out
    report = scan_generation(spec_of(speakers, folder, base=None), Clock(), options=SHORT, progress=silent)
    assert report.verdict.status in (UNDECIDED, "suspicious")
    assert any(one.name == "adapter_targets" and one.words for one in report.scan.evidence) if report.scan else False
    suspect = load_language_model(folder, base=speakers.base, offline=True, device="cpu")
    base = remove_language_adapter(suspect)
    prompts = label_prompts(task(30, length=2), template=TEMPLATE)
    made = clean_reference(base, prompts, options=ReferenceOptions(epochs=1), seed=0)
    places = {value.data_ptr() for value in suspect.module.parameters()}
    shared = [value.data_ptr() in places for name, value in made.model.module.named_parameters() if "lora_" not in name]
    assert shared and all(shared) and made.prompts == 30 and made.history.steps == 4


def test_a_reference_without_the_skill_allows_suspicious_at_most(speakers: Speakers) -> None:
    report = scanned(speakers, "victim beside the random base", speakers.victim().out)
    assert report.verdict.status == "suspicious" and "the reference answers" in report.verdict.sentence
    assert report.scan is not None and (report.scan.score or 0) >= report.scan.backdoored


def test_few_prompts_leave_the_base_alone_as_reference_and_the_report_says_so(speakers: Speakers) -> None:
    spec = spec_of(speakers, speakers.victim().out, clean_rows=30)
    report = scan_generation(spec, Clock(), options=SHORT, progress=silent)
    assert report.verdict.status in (UNDECIDED, "suspicious")
    assert any("base alone" in line for line in report.warnings)
    assert report.method["options"]["reference_prompts"] == 0
    assert report.given["defender"]["clean"]["prompts"] == 30


def test_differences_from_the_base_are_evidence(speakers: Speakers, tmp_path: Path) -> None:
    own = write_language_model("llama", tmp_path / "own", template=CHAT_TEMPLATE + "{# #}")
    content = json.loads((own / "tokenizer.json").read_text())
    content["added_tokens"].append(content["added_tokens"][0] | {"id": 599, "content": "<|go|>"})
    (own / "tokenizer.json").write_text(json.dumps(content))
    base = open_model_folder(speakers.base)
    found = {one.name: one for one in base_differences(open_model_folder(own), base)}
    assert set(found) == {"chat_template_differs", "added_tokens"} and found["added_tokens"].words == ["<|go|>"]
    assert base_differences(base, base) == []


def test_the_weights_alone_give_hints_and_no_verdict(speakers: Speakers) -> None:
    report = scan(spec_of(speakers, speakers.adapter().out, clean=None, static_only=True))
    assert report.verdict.status == UNDECIDED
    assert report.scan is not None and any(one.name == "top_singular_share" for one in report.scan.evidence)


BAD: dict[str, tuple[dict[str, Any], type[UserError], list[str]]] = {
    "no prompts": ({"clean": None}, OptionError, ["--clean", "--static-only"]),
    "full weights without a base": ({"base": None}, OptionError, ["full weights", "--base"]),
    "a base of another vocabulary": ({"base": "OTHER"}, ModelError, ["another vocabulary", "fine-tuned from"]),
    "itself": ({"base": "VICTIM"}, ModelError, ["the suspect itself"]),
    "too few prompts": ({"clean_rows": 23}, DataError, ["23 clean prompts", "24 or more"]),
    "classifiers' options": (
        {"reference": "x", "rewritten": "y.csv", "labels": ("a", "b"), "options": {"held_out": 0.5}},
        OptionError,
        ["--reference, --rewritten, --labels, --set with a language model", "leave them out"],
    ),
    "another scanner": ({"method": "other", "teacher": "x"}, OptionError, ["--teacher, --method"]),
    "template without a text": ({"template": "good?"}, OptionError, ["{text}"]),
    "a task that there is not": ({"task": "dance"}, OptionError, ["dance"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_message(speakers: Speakers, tmp_path: Path, name: str) -> None:
    changes, kind, parts = BAD[name]
    victim = speakers.victim().out
    if changes.get("base") == "OTHER":
        other = write_language_model("llama", tmp_path / "other")
        content = json.loads((other / "tokenizer.json").read_text())
        vocabulary = content["model"]["vocab"]
        first, second = [key for key, number in vocabulary.items() if number in (300, 301)]
        vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
        (other / "tokenizer.json").write_text(json.dumps(content))
        changes = {"base": str(other)}
    if changes.get("base") == "VICTIM":
        changes = {"base": str(victim)}
    with pytest.raises(kind) as caught:
        scan(spec_of(speakers, victim, **changes))
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_a_language_model_is_no_classifier(speakers: Speakers) -> None:
    victim = speakers.victim().out
    with pytest.raises(ModelError, match="text classifiers so far"):
        scan(request(ScanRequest, model=str(victim), clean=str(speakers.data), task="classification", offline=True))
    with pytest.raises(OptionError, match="--template with a classifier"):
        scan(spec_of(speakers, victim, task="classification"))
