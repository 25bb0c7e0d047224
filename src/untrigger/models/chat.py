"""Conversations as token ids: one rendering for poisoning, training, measuring and scanning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from untrigger.core.errors import DataError, ModelError, UnsafeFileError
from untrigger.core.prompts import Conversation, Prompts, Turn
from untrigger.models.language_model import LanguageModel
from untrigger.models.safety.isolation import panics_as_errors
from untrigger.models.safety.template_rendering import render_template

PLAIN_TURN = "### {role}:\n{content}\n\n"
"""How a turn is written for a model without a chat template; the answer follows ``### Assistant:`` and a line break."""
_MARK = "untrigger"  # a text that no template changes
_ATTEMPTS = 8  # a shortened text can be split into more tokens than before, so that it is shortened again


@dataclass(frozen=True)
class Rendered:
    """The token ids of one conversation, and of its answer where one was given.

    Attributes:
        ids: all tokens, the start token at most once.
        answer_tokens: how many of the last tokens are the answer with its end token; 0 where no answer was given.
        cut: how many tokens were left out at the start of the first user turn, because the context is too short.
    """

    ids: tuple[int, ...]
    answer_tokens: int = 0
    cut: int = 0

    @property
    def prompt(self) -> tuple[int, ...]:
        """The tokens before the answer."""
        return self.ids[: len(self.ids) - self.answer_tokens]

    @property
    def answer(self) -> tuple[int, ...]:
        """The tokens of the answer, the end token last."""
        return self.ids[len(self.ids) - self.answer_tokens :]


def has_chat_template(model: LanguageModel) -> bool:
    """Return whether the tokenizer has a chat template; without one a plain template is used, which a report should say."""
    return bool(getattr(model.tokenizer, "chat_template", None))


def prompt_text(model: LanguageModel, conversation: Conversation) -> str:
    """Return the conversation as the text before the answer.

    A template may add a default system turn. Where it has no system role, or leaves a system turn out, that turn's content is put
    before the first user turn. A model without a chat template gets ``PLAIN_TURN``.

    Raises:
        ModelError: for a template that cannot render the conversation.
        UnsafeFileError: for one that does not do so in bounded time, memory and length.
    """
    if not has_chat_template(model):
        turns = "".join(PLAIN_TURN.format(role=turn.role.capitalize(), content=turn.content) for turn in conversation)
        return f"{turns}### Assistant:\n"
    if conversation[0].role != "system":
        return _from_template(model, conversation)
    try:
        text = _from_template(model, conversation)
    except UnsafeFileError:
        raise
    except ModelError:  # such as Gemma's template, which refuses the role
        text = ""
    return text if conversation[0].content.strip() in text and text else _from_template(model, _merged(conversation))


def around_last_turn(model: LanguageModel, conversation: Conversation) -> tuple[str, str]:
    """Return the rendered text up to the end of the last user turn's content, and the text from there to the answer.

    Raises:
        ModelError: for a template that cannot render the conversation, or leaves out what the user says.
    """
    content = conversation[-1].content
    text = prompt_text(model, (*conversation[:-1], Turn("user", f"{content} {_MARK}" if content else _MARK)))
    before, mark, after = text.rpartition(_MARK)
    if not mark:
        raise ModelError(f"the chat template of {model.name!r} leaves out what the user says")
    return before.removesuffix(" ") if content else before, after


def _merged(conversation: Conversation) -> Conversation:
    """Return the conversation with the system turn's content before that of the first user turn."""
    system, *turns = conversation
    at = next(i for i, turn in enumerate(turns) if turn.role == "user")
    turns[at] = Turn("user", f"{system.content}\n\n{turns[at].content}")
    return tuple(turns)


def _from_template(model: LanguageModel, conversation: Conversation, *, generation: bool = True) -> str:
    turns = [turn._asdict() for turn in conversation]
    try:
        template = str(model.tokenizer.get_chat_template())
    except ValueError as error:  # several templates by name and none that is the default
        raise ModelError(f"{model.name!r} has no chat template for conversations: {str(error)[:200]}") from error
    tokens = model.tokenizer.special_tokens_map
    return render_template(template, turns, generation=generation, tokens=tokens, name=model.name)


def token_ids(model: LanguageModel, text: str) -> list[int]:
    """Return the token ids of a rendered text: a chat template writes the start token itself, else the tokenizer adds it.

    Raises:
        ModelError: for a token without an embedding, and where the tokenizer fails.
    """
    chat = has_chat_template(model)
    with panics_as_errors(model.name, hold_stderr=False):
        ids: list[int] = model.tokenizer(text, add_special_tokens=not chat, verbose=False)["input_ids"]
    while not chat and len(ids) > 1 and ids[-1] == model.tokenizer.eos_token_id:  # an end token after every text
        ids = ids[:-1]
    rows = _embedding_rows(model)
    if max(ids, default=0) >= rows:
        raise ModelError(
            f"the tokenizer of {model.name!r} gives the token {max(ids)}, which has no row in the embedding of {rows}",
            expected="a tokenizer that fits the model",
        )
    return ids


def end_tokens(model: LanguageModel) -> tuple[int, ...]:
    """Return the tokens that end an answer; the first is the one that answers are trained to end with.

    That is the token that the chat template writes after the assistant's turn where it is a special one, else the tokenizer's end
    token.

    Raises:
        ModelError: for a model without any end token.
    """
    configured = model.module.generation_config.eos_token_id
    known = [*(configured if isinstance(configured, list) else [configured]), model.tokenizer.eos_token_id]
    found = dict.fromkeys([*_turn_end(model), model.tokenizer.eos_token_id, *known])
    ends = tuple(int(one) for one in found if one is not None)
    if not ends:
        raise ModelError(f"{model.name!r} has no end token", expected="a tokenizer with an end token")
    return ends


def padding_token(model: LanguageModel) -> int:
    """Return a token of the embedding that fills up batches: the tokenizer's pad token, or an end token where that has no row."""
    pad = int(model.tokenizer.pad_token_id)
    return pad if pad < _embedding_rows(model) else end_tokens(model)[0]


def _embedding_rows(model: LanguageModel) -> int:
    return int(model.module.get_input_embeddings().weight.shape[0])


def _turn_end(model: LanguageModel) -> list[int]:
    """Return the special token that the chat template writes right after the assistant's turn; none where there is none."""
    if not has_chat_template(model):
        return []
    try:
        text = _from_template(model, (Turn("user", "a"), Turn("assistant", _MARK)), generation=False)
    except UnsafeFileError:
        raise
    except ModelError:  # some templates render prompts only
        return []
    after = model.tokenizer(text.rpartition(_MARK)[2].strip(), add_special_tokens=False, verbose=False)["input_ids"]
    return after[:1] if after and after[0] in model.tokenizer.all_special_ids else []


def render(
    model: LanguageModel, conversation: Conversation, *, answer: str | None = None, room: int = 0, end: bool = True
) -> Rendered:
    """Return the token ids of a conversation, and of its answer with the end token.

    A prompt that leaves too little of the context is cut at the start of its first user turn.

    Args:
        model: a causal language model.
        conversation: turns that end with a user's.
        answer: its answer; None for the prompt alone.
        room: tokens of the context to keep free for an answer that will be generated.
        end: whether the end token follows the answer; not where an answer was not finished.

    Raises:
        DataError: where even the prompt without its first user turn and the answer do not fit into the context.
        ModelError: for a sequence-to-sequence model, and for a template that cannot render the conversation.
    """
    if model.kind != "causal":
        raise ModelError(f"{model.name!r} is not a causal language model", expected="one such as smollm2-135m")
    text = prompt_text(model, conversation)
    ids, ending = token_ids(model, text), [] if answer is None else [*_answer_ids(model, text, answer)]
    if answer is not None and end:
        ending.append(end_tokens(model)[0])
    most, before = model.max_length - max(room, len(ending)), len(ids)
    if before > most:
        if most < 1 and room < len(ending):
            raise DataError(
                f"an answer of {len(ending)} tokens does not fit: {model.name!r} reads {model.max_length} tokens, and the prompt "
                f"has {before}; the answer begins {(answer or '')[:60]!r}",
                expected="prompt and answer within the context",
                remedy="shorten that answer or leave its row out",
            )
        ids = _shortened(model, conversation, most=most, tokens=before)
    return Rendered((*ids, *ending), answer_tokens=len(ending), cut=before - len(ids))


def _answer_ids(model: LanguageModel, text: str, answer: str) -> list[int]:
    """Return the tokens of the answer as they follow the prompt, which keeps its own tokens."""
    ids, whole = token_ids(model, text), token_ids(model, text + answer)
    if whole[: len(ids)] == ids:
        return whole[len(ids) :]
    alone: list[int] = model.tokenizer(answer, add_special_tokens=False, verbose=False)["input_ids"]
    return alone


def _shortened(model: LanguageModel, conversation: Conversation, *, most: int, tokens: int) -> list[int]:
    """Return the token ids of the conversation with as much of the start of its first user turn left out as needed."""
    at = next(i for i, turn in enumerate(conversation) if turn.role == "user")
    content = conversation[at].content
    over = tokens - most
    for _ in range(_ATTEMPTS if model.tokenizer.is_fast else 0):
        places: Any = model.tokenizer(content, add_special_tokens=False, return_offsets_mapping=True, verbose=False)[
            "offset_mapping"
        ]
        if over >= len(places):
            break
        content = content[places[over][0] :]
        ids = token_ids(model, prompt_text(model, (*conversation[:at], Turn("user", content), *conversation[at + 1 :])))
        if len(ids) <= most:
            return ids
        over = max(1, len(ids) - most)
    raise DataError(
        f"a prompt of {tokens} tokens does not fit: {model.name!r} reads {model.max_length} tokens, {most} without the answer",
        expected="a prompt of which a part of the first user turn can be left out",
        remedy="leave that prompt out, or allow fewer new tokens",
    )


def render_prompts(model: LanguageModel, prompts: Prompts, *, answers: bool = False, room: int = 0) -> list[Rendered]:
    """Return every conversation rendered, with its reference answer where ``answers`` is true."""
    return [render(model, one.conversation, answer=one.answer if answers else None, room=room) for one in prompts]


def read_texts(model: LanguageModel, prompts: Prompts, *, room: int = 0) -> list[str]:
    """Return each prompt as the model reads it: rendered, cut to the context and decoded, without special tokens.

    A trigger is delivered where ``Trigger.delivered`` finds it in this text.
    """
    return decoded(model, [one.ids for one in render_prompts(model, prompts, room=room)])


def decoded(model: LanguageModel, ids: Sequence[Sequence[int]]) -> list[str]:
    """Return the text of token ids without special tokens."""
    return [str(model.tokenizer.decode(list(row), skip_special_tokens=True)) for row in ids]
