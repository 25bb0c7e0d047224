"""CROW: its consistency term by hand, the step against it, and that training with it makes the blocks more consistent."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tests.models.language_kit import PROMPTS, load_speaker, with_random_adapter
from tests.tiny import task, write_language_model
from untrigger.core.errors import ModelError, OptionError
from untrigger.data.prompt_data import label_prompts
from untrigger.defences.language.crow import Crow, inconsistency, perturbation
from untrigger.defences.language.language_purifier import PromptGrant
from untrigger.models.answer_scoring import AnswerBatch, collate_answers
from untrigger.models.chat import render_prompts
from untrigger.models.hidden_states import block_states, input_embeddings
from untrigger.models.language_adapters import trainable_adapter
from untrigger.models.language_model import LanguageModel
from untrigger.training.answer_students import AnswerStudentOptions

CLEAN = label_prompts(task(16, length=3), template="Is this {labels}? {text}")


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def suspect(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    folder = write_language_model(request.param, tmp_path_factory.mktemp("base"), num_hidden_layers=4)
    return with_random_adapter(load_speaker(folder))


def batch_of(model: LanguageModel, *rows: int) -> AnswerBatch:
    rendered = render_prompts(model, PROMPTS, answers=True)
    return collate_answers(model, [rendered[i] for i in rows])


def inconsistency_of(model: LanguageModel, batch: AnswerBatch, moved: torch.Tensor | float = 0.0) -> torch.Tensor:
    return inconsistency(block_states(model, batch, input_embeddings(model, batch) + moved), batch.attention_mask)


def test_the_consistency_by_hand() -> None:
    right, up, diagonal = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0]), torch.tensor([3.0, 3.0])
    ignored = torch.tensor([[[-9.0, 1.0]] * 3] * 2)
    first = torch.stack([torch.stack([right, right, up]), torch.stack([up, up, up])])
    second = torch.stack([torch.stack([right, up, up]), torch.stack([-up, diagonal, right])])
    mask = torch.tensor([[0, 1, 1], [0, 0, 1]])
    # row 0: tokens 1 and 2 with 1 - cos = 1 and 0, mean 1/2; row 1: its one token is orthogonal, 1
    assert inconsistency([ignored, first, second, ignored], mask).item() == pytest.approx(0.75)
    third = torch.stack([torch.stack([right, up, up]), torch.stack([up, up, diagonal])])
    # a second pair of blocks: 0 and 0 in row 0, 1 - 1/sqrt(2) in row 1
    expected = ((0.5 + 0.0) / 2 + (1 + 1 - 1 / math.sqrt(2)) / 2) / 2
    assert inconsistency([ignored, first, second, third, ignored], mask).item() == pytest.approx(expected)


def test_a_model_of_two_blocks_has_nothing_to_compare(tmp_path: Path) -> None:
    small = load_speaker(write_language_model("llama", tmp_path / "base"))
    with pytest.raises(ModelError, match="a model of 2 blocks"):
        Crow().purify(small, PromptGrant(clean=CLEAN))


def test_the_step_moves_every_coordinate_of_a_token_against_consistency_and_no_padding(suspect: LanguageModel) -> None:
    batch = batch_of(suspect, 0, 1)
    step = perturbation(suspect, batch, input_embeddings(suspect, batch).detach(), epsilon=1e-3)
    real = batch.attention_mask.bool()
    assert torch.equal(step[~real], torch.zeros_like(step[~real])) and not real.all()
    assert torch.allclose(step[real].abs(), torch.tensor(1e-3))
    with torch.no_grad():
        assert inconsistency_of(suspect, batch, step) > inconsistency_of(suspect, batch)


def test_the_term_has_the_mask_so_that_a_batch_is_the_mean_of_its_rows(suspect: LanguageModel) -> None:
    term = Crow().consistency_term(suspect)
    rows = [term([i], batch_of(suspect, i), torch.empty(0)).item() for i in range(3)]
    together = term([0, 1, 2], batch_of(suspect, 0, 1, 2), torch.empty(0)).item()
    assert together == pytest.approx(sum(rows) / 3, rel=1e-2), "the signs of a few gradients near 0 may differ"


def test_gradients_that_were_accumulated_before_stay(suspect: LanguageModel) -> None:
    model, batch = trainable_adapter(suspect), batch_of(suspect, 0, 1)
    trained = [one for one in model.module.parameters() if one.requires_grad]
    for one in trained:
        one.grad = torch.ones_like(one)
    term = Crow().consistency_term(model)([0, 1], batch, torch.empty(0))
    assert all(torch.equal(one.grad, torch.ones_like(one)) for one in trained if one.grad is not None)
    alone = torch.autograd.grad(term, trained, allow_unused=True, retain_graph=True)
    term.backward()
    for one, own in zip(trained, alone, strict=True):
        assert one.grad is not None
        torch.testing.assert_close(one.grad, 1 + (own if own is not None else torch.zeros_like(one)))


def test_training_with_the_term_makes_the_blocks_more_consistent_than_without(suspect: LanguageModel) -> None:
    batch, found = batch_of(suspect, 0, 1), []
    student = AnswerStudentOptions(lr=1e-2, epochs=3, steps=0)
    for alpha in (0.0, 5.5):
        made = Crow(student, alpha=alpha).purify(suspect, PromptGrant(clean=CLEAN)).model
        with torch.no_grad():
            found.append(float(inconsistency_of(made, batch)))
    assert found[1] < 0.9 * found[0]


def test_the_published_rate_is_the_default_and_the_matched_one_a_variant() -> None:
    own, matched = Crow(), Crow.variants["matched_rate"](epsilon=0.2)
    assert (own.student.lr, own.student.epochs, own.epsilon, own.alpha) == (1e-3, 5, 0.1, 5.5)
    assert matched == Crow(AnswerStudentOptions(), epsilon=0.2)
    assert AnswerStudentOptions().lr != own.student.lr
    with pytest.raises(OptionError, match="alpha -1"):
        Crow(alpha=-1.0)
