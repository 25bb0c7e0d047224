"""A purifier of language models never sees the truth: not in its grant, not in its weights."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.generation_kit import Speakers
from tests.pipeline.test_no_oracle import holds, weights
from tests.pipeline.test_purify_generation import spec_of
from untrigger.core.registry import methods_of
from untrigger.defences.language.language_purifier import LanguagePurifier, PromptGrant, PurifiedLanguageModel
from untrigger.evaluation.prompt_truth import PromptTruth, read_prompt_truth
from untrigger.models.language_model import LanguageModel
from untrigger.pipeline.purify_generation import purify_generation


class HandedOverError(Exception):
    """Raised where a method would begin."""


def test_a_grant_of_prompts_has_no_field_for_what_only_the_attacker_knows() -> None:
    assert {one.name for one in fields(PromptGrant)} == {"clean", "unlabelled", "base", "teacher", "seed"}


@pytest.mark.parametrize("method", sorted(methods_of("language_defences")))
def test_a_method_gets_model_grant_and_progress_and_no_triggered_prompt(
    speakers: Speakers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    spec = speakers.adapter()
    triggered = set(read_prompt_truth(spec.truth).triggered.conversations)

    def watched(self: LanguagePurifier, model: LanguageModel, grant: PromptGrant, **more: Any) -> PurifiedLanguageModel:
        assert self.name == method and set(more) == {"progress"}
        assert type(grant) is PromptGrant and grant.clean is not None
        assert grant.has() <= {"clean"} | self.needs | self.uses
        assert not set(grant.clean.conversations) & triggered
        assert not any("cf" in text.split() for text in grant.clean.user_texts)
        assert not any(holds(one, (PromptTruth,)) for one in (self, model, grant))
        assert str(spec.truth) not in repr((self, model.source, grant))
        raise HandedOverError

    monkeypatch.setattr(LanguagePurifier, "purify", watched)
    with pytest.raises(HandedOverError):
        purify_generation(spec_of(speakers, spec.out, tmp_path / "out", truth=spec.truth, method=method, options={}))


def test_grant_and_weights_are_the_same_with_and_without_truth(speakers: Speakers, tmp_path: Path) -> None:
    spec, given = speakers.adapter(), list[dict[str, Any]]()
    for name, truth in (("with", spec.truth), ("without", None)):
        given.append(purify_generation(spec_of(speakers, spec.out, tmp_path / name, truth=truth, control=False)).given)
    assert given[0]["defender"] == given[1]["defender"] and given[0]["held_out"] == given[1]["held_out"]
    left, right = weights(tmp_path / "with"), weights(tmp_path / "without")
    assert left.keys() == right.keys() and all(bool((left[key] == right[key]).all()) for key in left)
