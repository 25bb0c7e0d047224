"""Training the word embeddings of the tokens that are read, and no others, changes nothing but the time that it takes."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from tests.tiny import same, task, weights
from untrigger.core.errors import ModelError
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts
from untrigger.training.embedding_subset import EmbeddingSubset, embedding_subset
from untrigger.training.loop import Plan
from untrigger.training.supervised import fine_tune

Load = Callable[[str], Classifier]
ROWS = task(48, seed=3)
KINDS = pytest.mark.parametrize("kind", ["bert", "llama"])


class Tiny(nn.ModuleDict):
    """Layers that say, as transformers' models do, which of them holds the words."""

    def get_input_embeddings(self) -> nn.Module:
        return self["words"]


def words_of(model: Classifier) -> torch.Tensor:
    table: torch.Tensor = model.module.get_input_embeddings().weight  # type: ignore[operator]
    return table


@KINDS
def test_the_rows_that_are_read_are_trained_as_ever_and_no_other_is_touched(victim: Load, kind: str) -> None:
    model, other = victim(kind), victim(kind)
    before = words_of(model).detach().clone()
    used = sorted(
        {token for row in model.encode(ROWS.texts) for token in row}
        | set(model.padding_candidates(model.encode(ROWS.texts)))
    )
    plan = Plan(lr=1e-3, epochs=2, batch_size=16, weight_decay=0.1)
    history = fine_tune(model, ROWS, plan=plan, seed=1)
    words_of(other).register_hook(lambda gradient: gradient)  # with a hook on it the whole table is trained
    plain = fine_tune(other, ROWS, plan=plan, seed=1)
    assert history.losses == pytest.approx(plain.losses, rel=1e-4)
    torch.testing.assert_close(words_of(model)[used], words_of(other)[used], atol=1e-5, rtol=1e-3)
    assert not torch.equal(words_of(model)[used], before[used])
    left = [i for i in range(len(before)) if i not in used]
    assert left and torch.equal(words_of(model)[left], before[left])
    assert not torch.equal(words_of(other)[left], before[left]), "decay shrinks what nobody reads"


@KINDS
def test_the_table_comes_back_whole_even_after_an_error(victim: Load, kind: str) -> None:
    model = victim(kind)
    before, said = weights(model), predict_texts(model, ROWS.texts[:4]).logits
    ids = [*model.encode(ROWS.texts[:4]), model.padding_candidates(model.encode(ROWS.texts[:4]))]
    with pytest.raises(ZeroDivisionError), embedding_subset(model.module, ids):
        assert any(isinstance(layer, EmbeddingSubset) for layer in model.module.modules())
        torch.testing.assert_close(predict_texts(model, ROWS.texts[:4]).logits, said)
        with pytest.raises(ModelError, match="out of range"):
            predict_texts(model, ["a token that nobody announced zz"])
        raise ZeroDivisionError
    assert same(weights(model), before)
    assert not any(isinstance(layer, EmbeddingSubset) for layer in model.module.modules())


def test_frozen_and_shared_tables_are_left_alone(victim: Load) -> None:
    frozen = victim("bert")
    frozen.module.requires_grad_(False)
    with embedding_subset(frozen.module, [[1, 2]]):
        assert not any(isinstance(layer, EmbeddingSubset) for layer in frozen.module.modules())
    shared = Tiny({"words": nn.Embedding(5, 3), "out": nn.Linear(3, 5, bias=False)})
    shared["out"].weight = shared["words"].weight
    kept = copy.deepcopy(shared)
    with embedding_subset(shared, [[1, 2]]):
        assert type(shared["words"]) is nn.Embedding
    assert torch.equal(shared["words"].weight, kept["words"].weight)


def test_a_padding_token_gets_no_gradient() -> None:
    module = Tiny({"words": nn.Embedding(6, 2, padding_idx=0), "places": nn.Embedding(9, 2)})
    with embedding_subset(module, [[0, 3, 5]]):
        few = module["words"]
        few(torch.tensor([[0, 3, 5]])).sum().backward()
        assert few.weight.grad.tolist() == [[0, 0], [1, 1], [1, 1]]
