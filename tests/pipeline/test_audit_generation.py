"""``audit`` of tiny language models: every treatment is measured beside the clean model's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.models.language_kit import PROMPTS, load_speaker, with_random_adapter
from tests.pipeline.generation_kit import TEMPLATE, Speakers
from tests.requests import request
from tests.tiny import write_language_model
from untrigger.core.errors import OptionError
from untrigger.core.report import Report
from untrigger.evaluation.language_robustness import language_model_in_int8
from untrigger.models.answer_scoring import answer_kl
from untrigger.pipeline.audit_generation import GenerationAuditRequest, audit_generation


def spec_of(speakers: Speakers, out: Path, **changes: Any) -> GenerationAuditRequest:
    usual: dict[str, Any] = {
        "model": str(speakers.victim().out),
        "clean": str(speakers.data),
        "truth": speakers.victim().truth,
        "out": out,
        "template": TEMPLATE,
        "steps": 2,
        "clean_rows": 40,
        "max_new_tokens": 12,
        "device": "cpu",
        "offline": True,
    }
    return request(GenerationAuditRequest, **usual | changes)


def test_a_backdoor_that_is_still_there_is_seen_before_and_after_each_treatment(
    speakers: Speakers, tmp_path: Path
) -> None:
    report = audit_generation(spec_of(speakers, tmp_path / "audit.json"))
    assert report.verdict.status == "not clean" and "still there" in report.verdict.sentence
    names = ["purified", "purified, fine-tuned", "purified, in int8", "purified, poisoned a little again"]
    for name in names:
        excess, skill = report.find(name, "excess_asr"), report.find(name.replace("purified", "clean model"), "skill")
        assert excess is not None and excess.value is not None and excess.value > 0.3, name
        assert skill is not None and skill.n == 40
    assert any("purified, merged: full weights have nothing to merge" in one for one in report.warnings)
    assert Report.read(tmp_path / "audit.json").verdict == report.verdict
    assert (tmp_path / "audit.outcomes.csv").is_file()


def test_without_a_clean_model_nothing_is_decided(speakers: Speakers, tmp_path: Path) -> None:
    spec, treatments = speakers.adapter(), ("merge", "repoison")
    given = {"model": str(spec.out), "truth": spec.truth, "treatments": treatments, "clean_rows": 8, "poisoned": 5}
    report = audit_generation(spec_of(speakers, tmp_path / "audit.json", **given))
    assert report.verdict.status == "undecided"
    assert report.verdict.sentence == "Attack success above that of a clean model treated alike is not measured."
    assert "2 poisoned prompts instead of 5: a quarter of the 8 clean ones at most" in report.warnings


def test_int8_is_close_to_the_model_and_not_the_same(tmp_path: Path) -> None:
    model = with_random_adapter(load_speaker(write_language_model("llama", tmp_path / "base")))
    small, layers = language_model_in_int8(model)
    assert layers == 14, "seven linear layers in each of two blocks, the head is left out"
    gap = sum(one.total for one in answer_kl(small, model, PROMPTS))
    assert 0 < gap < 0.1
    assert type(small.module.get_output_embeddings()) is torch.nn.Linear


@pytest.mark.parametrize("wrong", [{"treatments": ("merg",)}, {"steps": 0}, {"poisoned": 0}])
def test_wrong_options_are_refused(speakers: Speakers, tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        spec_of(speakers, tmp_path / "audit.json", **wrong)
