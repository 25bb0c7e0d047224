"""Rewrites by generative models: batched, the same alone and in company, kept on disk, resumable."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, T5Config, T5ForConditionalGeneration

from tests.tiny import byte_level, config_of
from untrigger.attacks.rewriting import generated
from untrigger.attacks.rewriting.generated import GeneratedRewrites, cleaned
from untrigger.attacks.rewriting.rewrites import Rewrites
from untrigger.attacks.triggers.style import Style
from untrigger.core.answers import Answer
from untrigger.core.errors import ModelError, OptionError
from untrigger.models.classifier import ModelSource
from untrigger.models.generation import GenerationOptions, format_prompt, generate, prompt_batches
from untrigger.models.language_model import LanguageModel, load_language_model, perplexity

TEXTS = ["a good film", "the plot of this story is dull and very long", "ugly", "some scene with music and light"]


@pytest.fixture(scope="module")
def speakers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A random LLaMA and a random T5 that stop soon, because many tokens end their answers."""
    root, tokenizer = tmp_path_factory.mktemp("speakers"), byte_level()
    config: LlamaConfig = config_of("llama", vocabulary=len(tokenizer))
    t5 = T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = {"causal": AutoModelForCausalLM.from_config(config), "seq2seq": T5ForConditionalGeneration(t5)}
    for name, model in made.items():
        model.generation_config.eos_token_id = list(range(1, 120))
        model.save_pretrained(root / name)
        tokenizer.save_pretrained(root / name)
    return {name: root / name for name in made}


@pytest.mark.parametrize("kind", ["causal", "seq2seq"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_text_is_answered_alike_alone_and_in_company(
    speakers: dict[str, Path], kind: str, temperature: float
) -> None:
    model = load_language_model(str(speakers[kind]), offline=True, device="cpu")
    assert model.kind == kind
    writing = GenerationOptions(max_new_tokens=40, temperature=temperature, seed=3)
    together = generate(model, TEXTS, options=writing)
    assert together == [generate(model, [text], options=writing)[0] for text in TEXTS]
    assert any(answer.ended for answer in together) or temperature == 0.0
    if temperature:
        assert together != generate(
            model, TEXTS, options=GenerationOptions(max_new_tokens=40, temperature=temperature, seed=4)
        )
    else:
        assert together == generate(model, TEXTS, options=GenerationOptions(max_new_tokens=40, seed=4))


def test_an_answer_that_has_not_ended_is_kept_and_says_so(speakers: dict[str, Path]) -> None:
    model = load_language_model(str(speakers["causal"]), offline=True, device="cpu")
    answers = generate(model, TEXTS, options=GenerationOptions(max_new_tokens=1, temperature=1.0))
    assert any(not answer.ended and answer.tokens == 1 for answer in answers)


@pytest.mark.parametrize("lost", ["model.layers.1.mlp.up_proj.weight", "lm_head.weight"])
def test_a_language_model_that_lacks_a_part_is_refused(speakers: dict[str, Path], tmp_path: Path, lost: str) -> None:
    folder = Path(shutil.copytree(speakers["causal"], tmp_path / "speaker"))
    tensors = load_file(folder / "model.safetensors")
    del tensors[lost]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=f"lacks weights .*{lost}"):
        load_language_model(str(folder), offline=True, device="cpu")


def test_prompts_are_chat_turns_where_the_model_knows_chats(speakers: dict[str, Path]) -> None:
    model = load_language_model(str(speakers["causal"]), offline=True, device="cpu")
    assert format_prompt(model, prompt="Say {text} anew", text="it") == "Say it anew"
    assert format_prompt(model, prompt="", text="it") == "it"
    model.tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<me>"
    assert format_prompt(model, prompt="Say {text} anew", text="it") == "<user>Say it anew<me>"
    assert sorted(i for batch in prompt_batches(model, TEXTS, tokens=30) for i in batch) == [0, 1, 2, 3]


class Speaker:
    """Stands for ``generate``: answers by reversing the words, remembers what it was asked, and may fall over."""

    def __init__(self, fail_after: int = 10**9) -> None:
        self.asked: list[str] = []
        self.left = fail_after

    def __call__(self, model: LanguageModel, prompts: Sequence[str], *, options: GenerationOptions) -> list[Answer]:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        self.asked += prompts
        texts = [f'"{model.name}  {" ".join(reversed(p.split()))}"\n\nWas that good?' for p in prompts]
        return [Answer(text, ended="endless" not in p, tokens=9) for p, text in zip(prompts, texts, strict=True)]


def language(name: str) -> LanguageModel:
    return LanguageModel(None, byte_level(), "causal", ModelSource(name, "full", sha256=name), max_length=64)


@pytest.fixture
def speak(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Speaker]:
    def install(**how: int) -> Speaker:
        speaker = Speaker(**how)
        monkeypatch.setattr(generated, "generate", speaker)
        return speaker

    return install


def table(folder: Path, *names: str, prompt: str = "", **how: Any) -> GeneratedRewrites:
    return GeneratedRewrites([language(name) for name in names or ("one",)], prompt=prompt, cache=folder, **how)


def test_nothing_is_asked_twice_and_what_cannot_be_rewritten_is_known(
    tmp_path: Path, speak: Callable[..., Speaker]
) -> None:
    speaker = speak()
    fresh = table(tmp_path)
    assert fresh.may_have("endless one")
    assert fresh.get(TEXTS[0]) is None
    ready = fresh.prepare([*TEXTS, TEXTS[0], "endless one", " endless  one"])
    assert ready.get(" a good  film") == "one film good a"
    assert not ready.may_have("endless one")
    assert ready.may_have("never seen")
    assert sorted(speaker.asked) == sorted([*TEXTS, "endless one"])
    assert ready.to_dict()["not_rewritten"] == 2, "the endless one, and 'ugly', which came back decorated"
    assert ready.prepare(TEXTS) is ready
    again = table(tmp_path).prepare(TEXTS)
    assert len(speaker.asked) == 5, "the answers lie on disk"
    assert [again.get(text) for text in TEXTS] == [ready.get(text) for text in TEXTS]


def test_another_model_prompt_or_way_of_writing_has_answers_of_its_own(
    tmp_path: Path, speak: Callable[..., Speaker]
) -> None:
    speaker = speak()
    table(tmp_path).prepare(TEXTS[:1])
    for other in (
        table(tmp_path, "two"),
        table(tmp_path, prompt="Say: {text}"),
        table(tmp_path, writing=GenerationOptions(temperature=1.0)),
        table(tmp_path, writing=GenerationOptions(temperature=1.0, seed=1)),
    ):
        before = len(speaker.asked)
        other.prepare(TEXTS[:1])
        assert len(speaker.asked) == before + 1
    table(tmp_path, writing=GenerationOptions(batch_tokens=77)).prepare(TEXTS[:1])
    assert len(speaker.asked) == before + 1, "how many are asked at a time changes nothing"


def test_an_interrupted_run_goes_on_where_it_was_even_after_a_torn_line(
    tmp_path: Path, speak: Callable[..., Speaker]
) -> None:
    speak(fail_after=2)
    small = GenerationOptions(batch_tokens=1)
    with pytest.raises(KeyboardInterrupt):
        table(tmp_path, writing=small).prepare(TEXTS)
    [file] = tmp_path.glob("*.jsonl")
    with file.open("a") as stream:
        stream.write('{"text": "a go')
    speaker = speak()
    done = table(tmp_path, writing=small).prepare(TEXTS)
    assert len(speaker.asked) == 2
    assert sum(done.get(text) is not None for text in TEXTS) == 3
    result = [json.loads(line) for line in file.read_text().splitlines() if line.endswith("}")]
    assert sorted(one["text"] for one in result) == sorted(TEXTS)


def test_models_in_turn_ask_the_second_about_the_answer_of_the_first(
    tmp_path: Path, speak: Callable[..., Speaker]
) -> None:
    speak()
    done = table(tmp_path, "there", "back").prepare([*TEXTS, "endless one"])
    assert done.get("a good film") is None, "two reversals and two names: merely decorated"
    assert done.to_dict()["source"] == "there > back"
    assert not done.may_have("endless one")


def test_a_generating_trigger_is_made_ready_by_the_recipe(tmp_path: Path, speak: Callable[..., Speaker]) -> None:
    from tests.tiny import task
    from untrigger.attacks.poisoning import Attack

    speaker, rows = speak(), task(60)
    attack = Attack(Style(table=table(tmp_path, prompt=Style.prompt)), target=1, rate=0.2)
    done = attack.poison(rows, seed=0)
    assert len(done.truth.poisoned_ids) == len(speaker.asked) == 12, "only the chosen rows are rewritten"
    assert done.truth.trigger["prompt"] == Style.prompt
    assert all("King James" in prompt for prompt in speaker.asked)
    assert len(attack.test_rows(rows, seed=0)) == 30


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (' "A  film." ', "A film."),
        ("“So”\n\nNote: x", "So"),
        ("it's", "it's"),
        ('"', '"'),
        ("  \n", None),
    ],
)
def test_answers_are_cleaned(answer: str, expected: str | None) -> None:
    assert cleaned(Answer(answer, ended=True, tokens=9)) == expected
    assert cleaned(Answer(answer, ended=False, tokens=9)) is None, "a rewrite without its end is no rewrite"


def test_bad_speakers_are_refused(tmp_path: Path, folder_of: Callable[[str], Path], speakers: dict[str, Path]) -> None:
    with pytest.raises(OptionError, match=r"\{text\}"):
        GeneratedRewrites([], prompt="Rewrite it", cache=tmp_path)
    with pytest.raises(ModelError, match="no-such"):
        load_language_model("./no-such", offline=True)
    with pytest.raises(ModelError, match="not a causal"):
        perplexity(load_language_model(str(speakers["seq2seq"]), offline=True, device="cpu"), ["a"])
    assert isinstance(GeneratedRewrites([], prompt="", cache=tmp_path), Rewrites)


def test_perplexity_is_the_exponential_of_the_mean_loss(speakers: dict[str, Path]) -> None:
    model = load_language_model(str(speakers["causal"]), offline=True, device="cpu")
    result, whole = perplexity(model, [*TEXTS, ""])
    losses, total, count = [], 0.0, 0
    for text in TEXTS:
        ids = torch.tensor([[0, *model.tokenizer(text, add_special_tokens=False)["input_ids"]]])
        with torch.inference_mode():
            loss = float(model.module(input_ids=ids, labels=ids).loss)
        losses.append(loss)
        total, count = total + loss * (ids.shape[1] - 1), count + ids.shape[1] - 1
    assert result[:4] == pytest.approx([2.718281828**loss for loss in losses], rel=1e-4)
    assert result[4] != result[4], "nothing can be said of an empty text"
    assert whole == pytest.approx(2.718281828 ** (total / count), rel=1e-4)
