"""Check that a saved language model gives the answers' tokens the probabilities of the model in memory, in plain ``transformers``.

Nothing of untrigger's own loading and rendering is used for the model on disk, except where it has no chat template.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from untrigger.core.errors import ModelError
from untrigger.core.prompts import Conversation, Prompts
from untrigger.models.answer_scoring import answer_logits, collate_answers
from untrigger.models.chat import Rendered, has_chat_template, render
from untrigger.models.language_model import LanguageModel
from untrigger.models.saved_model_check import GPU_TOLERANCE, TOLERANCE, load_plainly

PROMPTS = 16
PROBES = Prompts.of(
    ["Is this text good or bad?\n\na fine film", "What is 2 + 2?", "Write one word."], ["good", "4", "Word"]
)


def check_saved_language_model(model: LanguageModel, folder: Path, *, prompts: Prompts = PROBES) -> None:
    """Raise ModelError unless the model in ``folder`` predicts the answers to prompts as ``model`` does.

    Args:
        model: the model in memory.
        folder: where it was saved.
        prompts: with their answers; up to ``PROMPTS`` of them are compared, and a few built-in ones.

    Raises:
        OutputError: if plain transformers and peft cannot load the folder.
        ModelError: if a rendered prompt or the probability of a token differs.
    """
    module, tokenizer = load_plainly(folder, model, kind="CausalLM")
    step = max(1, len(prompts) // PROMPTS)
    close = TOLERANCE if model.device.type == "cpu" else GPU_TOLERANCE
    for one in [*PROBES, *list(prompts)[::step][:PROMPTS]]:
        row = render(model, one.conversation, answer=one.answer)
        if has_chat_template(model) and not row.cut:
            _check_rendering(tokenizer, row, one.conversation)
        gap = _largest_gap(model, module, row)
        if not gap <= close:  # NaN is not small
            raise ModelError(
                f"the model on disk differs from the one in memory by {gap:.2g} in the probability of a token, in the answer to "
                f"{one.conversation[-1].content[:60]!r}",
                expected="the same predictions from plain transformers and peft",
                remedy="nothing was written; save merged full weights instead of an adapter",
            )


def _check_rendering(tokenizer: Any, row: Rendered, conversation: Conversation) -> None:
    turns = [turn._asdict() for turn in conversation]
    if turns[0]["role"] == "system":  # a template without that role is rendered in our own way
        return
    plain = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)["input_ids"]
    if tuple(plain) != row.prompt:
        raise ModelError(
            f"the tokenizer on disk renders a prompt as {len(plain)} other tokens than the one in memory",
            expected="the same chat template and tokenizer",
            remedy="nothing was written",
        )


def _largest_gap(model: LanguageModel, module: Any, row: Rendered) -> float:
    """Return the largest difference in a probability, over all tokens of the answer."""
    batch = collate_answers(model, [row])
    with torch.inference_mode():
        expected = answer_logits(model, batch)[0]
        logits: Tensor = module(input_ids=batch.input_ids).logits.float()
        found = logits[0, -len(expected) - 1 : -1]
        return float((found.softmax(dim=1) - expected.softmax(dim=1)).abs().max())
