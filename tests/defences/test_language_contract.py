"""What every purifier of language models promises. A new file in ``untrigger.defences.language`` is tested without a line here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.models.language_kit import load_speaker, save_adapter
from tests.tiny import task, write_language_model
from untrigger.core.errors import NeedsError
from untrigger.core.prompts import Prompts
from untrigger.core.registry import get_method, methods_of
from untrigger.core.verdicts import PurificationOutcome
from untrigger.data.prompt_data import label_prompts
from untrigger.defences.language.language_purifier import LanguagePurifier, PromptGrant, PurifiedLanguageModel
from untrigger.methods.untouched import fingerprint
from untrigger.models.adapter_merging import is_adapted
from untrigger.models.answer_scoring import answer_log_likelihood
from untrigger.models.chat import render
from untrigger.models.language_adapters import merge_language_adapter, remove_language_adapter
from untrigger.models.language_model import LanguageModel
from untrigger.models.saving import save_language_model
from untrigger.training.answer_students import AnswerStudentOptions

CLEAN = label_prompts(task(10, length=3, seed=31), template="Is this {labels}? {text}")
UNLABELLED = Prompts.of(["Is this negative or positive? the plot", "a scene"], ["", ""], ids=["u0", "u1"])
QUICK = {
    "student": AnswerStudentOptions(rank=2, epochs=1, steps=1),
    "max_new_tokens": 3,
    "mixtures": 0.5,
    "dummies": 2,
    "injection_steps": 1,
}
EVERY = pytest.mark.parametrize("name", sorted(methods_of("language_defences")))
KINDS = pytest.mark.parametrize("kind", ["adapter", "full"])


@dataclass(frozen=True)
class Given:
    """A suspect and a grant that holds all that any method may use; three blocks, the fewest that every method works on."""

    suspect: LanguageModel
    grant: PromptGrant

    def state(self) -> list[Any]:
        """Everything that a method must leave as it was."""
        models = [one for one in (self.suspect, self.grant.base, self.grant.teacher) if one is not None]
        flags = [[(name, one.requires_grad) for name, one in model.module.named_parameters()] for model in models]
        return [[fingerprint(model) for model in models], flags, list(map(hooks, models)), self.grant.describe()]


@dataclass(frozen=True)
class Run:
    """A purification, and what was there before and after it; without a result the method's message, as it refused the suspect."""

    given: Given
    done: PurifiedLanguageModel | None
    refusal: str
    states: tuple[list[Any], list[Any]]
    streams: tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Given]:
    """A function from the kind of suspect to one with its grant."""
    root = tmp_path_factory.mktemp("models")
    base = write_language_model("llama", root / "base", num_hidden_layers=3)
    suspects = {
        "adapter": save_adapter(load_speaker(base), root / "adapter"),
        "full": write_language_model("llama", root / "full", num_hidden_layers=3, seed=1),
    }
    teacher = write_language_model("llama", root / "teacher", num_hidden_layers=3, seed=2)

    trusted, small = load_speaker(base), load_speaker(teacher)

    @cache
    def load(kind: str) -> Given:
        suspect = load_speaker(suspects[kind])
        below = remove_language_adapter(suspect) if kind == "adapter" else trusted
        return Given(suspect, PromptGrant(CLEAN, UNLABELLED, base=below, teacher=small, seed=3))

    return load


@pytest.fixture(scope="module")
def first(given: Callable[[str], Given]) -> Callable[[str, str], Run]:
    """A function from the kind of suspect and the method to a purification that the tests share."""

    @cache
    def run(kind: str, name: str) -> Run:
        one, done, refusal = given(kind), None, ""
        before = one.state()
        torch.manual_seed(1)
        stream = torch.get_rng_state()
        try:
            done = quick(name).purify(one.suspect, one.grant)
        except NeedsError as error:
            refusal = str(error)
        return Run(one, done, refusal, (before, one.state()), (stream, torch.get_rng_state()))

    return run


def hooks(model: LanguageModel) -> int:
    """How many forward hooks the layers carry, without those of transformers for hidden states, which are inert between calls."""
    layers = list(model.module.modules())
    every = [hook for one in layers for hook in (*one._forward_hooks.values(), *one._forward_pre_hooks.values())]
    return sum("output_capturing" not in str(getattr(hook, "__module__", "")) for hook in every)


def quick(name: str) -> LanguagePurifier:
    """The method as it is, but short."""
    kind = get_method("language_defences", name)
    method: LanguagePurifier = kind(
        **{key: value for key, value in QUICK.items() if key in {f.name for f in fields(kind)}}
    )
    return method


def scores(model: LanguageModel) -> list[float]:
    return [one.total for one in answer_log_likelihood(model, CLEAN)]


@EVERY
@KINDS
def test_suspect_base_teacher_and_the_global_stream_stay(
    first: Callable[[str, str], Run], kind: str, name: str
) -> None:
    run = first(kind, name)
    assert run.states[0] == run.states[1]
    if run.done is None:
        assert kind == "full" and name in run.refusal and run.given.suspect.name in run.refusal
    assert torch.equal(*run.streams), "a method draws from its own seed, never from the global one"


@EVERY
@KINDS
def test_the_result_is_one_adapter_on_the_suspects_base_or_full_weights(
    first: Callable[[str, str], Run], kind: str, name: str
) -> None:
    run = first(kind, name)
    if run.done is None:
        return
    made, suspect, trusted = run.done.model, run.given.suspect, run.given.grant.base
    assert trusted is not None
    assert made.max_length == suspect.max_length and made.tokenizer.get_vocab() == suspect.tokenizer.get_vocab()
    assert not made.module.training
    assert hooks(made) == hooks(suspect)
    if is_adapted(made):
        assert not any(one.requires_grad for one in made.module.parameters())
        assert len(made.module.peft_config) == 1
        below = fingerprint(remove_language_adapter(made))
        assert below in {fingerprint(trusted), *([] if is_adapted(suspect) else [fingerprint(suspect)])}
    else:
        assert fingerprint(made) == fingerprint(trusted), "only the base itself comes back as full weights"


@EVERY
@KINDS
def test_the_outcome_fits_what_was_done(first: Callable[[str, str], Run], kind: str, name: str) -> None:
    done = first(kind, name).done
    if done is None:
        return
    assert isinstance(done.outcome, PurificationOutcome) and done.outcome.fits(changed=done.changed)
    assert done.changed and done.summary
    assert (done.budget is not None) == (done.history.steps > 0), "what was trained, for the control of the same size"
    if done.outcome is PurificationOutcome.RETRAINED_FROM_BASE:
        assert "base" in quick(name).needs, "nobody can retrain from a base that was not given"


@EVERY
def test_the_seed_decides_and_nothing_that_is_not_declared_is_used(
    first: Callable[[str, str], Run], given: Callable[[str], Given], name: str
) -> None:
    run, again = first("adapter", name), given("adapter")
    assert run.done is not None
    method = quick(name)
    declared = method.needs | method.uses | {"seed"}
    nothing: dict[str, Any] = {one.name: None for one in fields(PromptGrant) if one.name not in declared}
    torch.manual_seed(2)
    same = method.purify(again.suspect, replace(again.grant, **nothing))
    assert scores(run.done.model) == scores(same.model)
    assert (run.done.metadata, run.done.history.losses) == (same.metadata, same.history.losses)
    if run.done.history.steps:
        other = method.purify(run.given.suspect, replace(run.given.grant, seed=4))
        assert scores(other.model) != scores(run.done.model)


@EVERY
@KINDS
def test_what_is_saved_has_the_same_probabilities_in_plain_transformers_and_peft(
    first: Callable[[str, str], Run], tmp_path: Path, kind: str, name: str
) -> None:
    run = first(kind, name)
    if run.done is None:
        return
    made = run.done.model if kind == "adapter" else merge_language_adapter(run.done.model)
    save_language_model(made, tmp_path, card="# card")
    adapter = (tmp_path / "adapter_config.json").exists()
    assert adapter == (is_adapted(made))
    plain = AutoModelForCausalLM.from_pretrained(Path(run.given.suspect.source.base or "") if adapter else tmp_path)
    plain = PeftModel.from_pretrained(plain, tmp_path) if adapter else plain
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    for one in list(CLEAN)[:3]:
        turns = [turn._asdict() for turn in one.conversation]
        prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)["input_ids"]
        row = render(made, one.conversation, answer=one.answer)
        assert tuple(prompt) == row.prompt
        ids = torch.tensor([row.ids])
        with torch.inference_mode():
            there, here = (module.eval()(input_ids=ids).logits.softmax(dim=2) for module in (plain, made.module))
        torch.testing.assert_close(there, here, atol=1e-4, rtol=1e-3)


@EVERY
def test_what_is_missing_is_said_before_anything_is_computed(name: str) -> None:
    method = get_method("language_defences", name)()
    with pytest.raises(NeedsError) as caught:
        method.purify(None, PromptGrant())
    assert all(need in str(caught.value) for need in method.needs)


@EVERY
def test_it_gets_a_model_and_a_grant_and_declares_what_it_uses_of_it(name: str) -> None:
    kind = get_method("language_defences", name)
    known = {one.name for one in fields(PromptGrant)} - {"seed"}
    assert kind.needs | kind.uses <= known and not kind.needs & kind.uses
    assert list(inspect.signature(kind._purify).parameters) == ["self", "model", "grant", "progress"]
    assert kind.purify is LanguagePurifier.purify, "the checks of the family"
    assert set(kind().options()) == {one.name for one in fields(kind)}
    for variant in kind.variants.values():
        assert isinstance(variant(), LanguagePurifier)
