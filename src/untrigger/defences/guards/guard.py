"""The family of guards: a suspect and a trusted reference in, answers of the suspect under a rule of decoding out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, final

from untrigger.core.answers import Answer
from untrigger.core.progress import Progress, silent
from untrigger.core.prompts import Prompts
from untrigger.models.bounded_generation import Choice, generate_compared
from untrigger.models.generation import GenerationOptions
from untrigger.models.language_model import LanguageModel


@dataclass(frozen=True)
class Guard(ABC):
    """A rule of decoding that compares the suspect with a trusted reference. An author writes ``choice``.

    Every public field is an option. The rule sees the next token's probabilities under both models and nothing else.
    """

    name: ClassVar[str]

    @abstractmethod
    def choice(self) -> Choice:
        """Return the rule that takes the next token."""

    def options(self) -> dict[str, Any]:
        """Return every option with its value."""
        return asdict(self)

    @final
    def answers(
        self,
        model: LanguageModel,
        prompts: Prompts,
        *,
        reference: LanguageModel,
        options: GenerationOptions,
        progress: Progress = silent,
        label: str = "generating",
    ) -> list[Answer]:
        """Return the suspect's answer to each conversation under the guard, in the order given.

        Args:
            model: the suspect; its template renders the prompts.
            prompts: their reference answers are not used.
            reference: a model that the defender trusts, with the same vocabulary: the base, or a clean adapter on it.
            options: of the generation; the temperature must be 0.
            progress: gets every prompt.
            label: of the progress.

        Raises:
            ModelError: for models with different vocabularies.
            OptionError: for a temperature.
        """
        made = generate_compared(
            model, reference, prompts, choose=self.choice(), options=options, progress=progress, label=label
        )
        return [one.answer for one in made]
