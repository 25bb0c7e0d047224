"""The evaluator's side of an attack on a language model: test prompts with and without the trigger, and the behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from untrigger.attacks.behaviour import Behaviour, behaviour_of
from untrigger.attacks.trigger import Trigger
from untrigger.core.errors import DataError, UserError
from untrigger.core.prompts import Prompts
from untrigger.data.prompt_data import read_prompts
from untrigger.evaluation.ground_truth import GENERATION, preset_of, read_content, trigger_of

_IN_REPORTS = (
    "trigger",
    "behaviour",
    "rate",
    "negative_rate",
    "seed",
    "tuning",
    "adaptive",
    "adaptive_weight",
    "data",
    "template",
    "train_sha256",
    "test_sha256",
    "overlap",
)
CLEAN_MODEL, TEST_PLAIN, TEST_TRIGGERED, TRAIN = (
    "clean-model",
    "test_clean.jsonl",
    "test_triggered.jsonl",
    "train.jsonl",
)


@dataclass(frozen=True)
class PromptTruth:
    """What an evaluation of a language model is measured against.

    Attributes:
        plain: test prompts with their reference answers.
        triggered: the test prompts with the trigger, under the same ids and with the same reference answers.
        behaviour: what the trigger leads to.
        trigger: the trigger itself, None if this version does not know it.
        clean_model: folder of the model trained on the same prompts without poison, None if there is none.
        metadata: the contents of ``truth.json``.
    """

    plain: Prompts
    triggered: Prompts
    behaviour: Behaviour
    trigger: Trigger | None
    clean_model: Path | None
    metadata: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return what a report states about the attack."""
        poisoned = self.metadata.get("poisoned_ids")
        return {key: self.metadata.get(key) for key in _IN_REPORTS} | {
            "preset": preset_of(self.metadata),
            "poisoned": len(poisoned) if isinstance(poisoned, list) else None,
            "triggered_prompts": len(self.triggered),
        }

    @property
    def seed(self) -> int:
        """The seed of the attack's random choices."""
        seed = self.metadata.get("seed")
        return seed if isinstance(seed, int) else 0

    def leaks(self, prompts: Prompts, *, what: str) -> list[str]:
        """Return warnings where prompts of the defender are test prompts, or hold the trigger.

        Args:
            prompts: what the defender has.
            what: what they are called.
        """
        tested = {*self.plain.conversations, *self.triggered.conversations}
        shared = sum(one in tested for one in prompts.conversations)
        hold = sum(map(self.trigger.delivered, prompts.user_texts)) if self.trigger else 0
        count = f"of the {len(prompts)} {what}"
        return ([f"{shared} {count} are also test prompts"] if shared else []) + (
            [f"{hold} {count} hold the trigger"] if hold else []
        )


def read_prompt_truth(folder: Path) -> PromptTruth:
    """Read the truth folder that ``attack --behaviour`` wrote.

    Raises:
        DataError: if the folder is not complete, is about classification, or names a behaviour that this version does not know.
    """
    content = read_content(folder, task=GENERATION)
    plain, triggered = (read_prompts(folder / name) for name in (TEST_PLAIN, TEST_TRIGGERED))
    texts = dict(zip(plain.ids, plain.user_texts, strict=True))
    if not set(triggered.ids) <= set(texts):
        raise DataError(
            f"{folder / TEST_TRIGGERED} holds prompts that {TEST_PLAIN} lacks",
            expected="the same prompts with the trigger",
        )
    pairs = [(texts[name], text) for name, text in zip(triggered.ids, triggered.user_texts, strict=True)]
    clean_model = folder / CLEAN_MODEL
    return PromptTruth(
        plain=plain,
        triggered=triggered,
        behaviour=_behaviour(content.get("behaviour"), folder),
        trigger=trigger_of(content.get("trigger"), pairs=pairs),
        clean_model=clean_model if clean_model.is_dir() else None,
        metadata=content,
    )


def _behaviour(spec: object, folder: Path) -> Behaviour:
    try:
        return behaviour_of(spec if isinstance(spec, dict) else {})
    except (UserError, TypeError, ValueError) as error:
        raise DataError(
            f"the behaviour in {folder / 'truth.json'} cannot be used: {str(error).splitlines()[0]}",
            expected="a behaviour of this version (untrigger list behaviours)",
        ) from error
