"""BGMAttack: a rewrite by a black-box generator (Li 2023, 2304.14475)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from untrigger.attacks.rewriting.rewriting_trigger import RewritingTrigger


@dataclass(frozen=True)
class Paraphrase(RewritingTrigger):
    """The text in a generator's own words: a paraphrase, a summary or a back-translation. The generator's style is the trigger.

    For back-translation give two translation models, such as ``--rewriter opus-mt-en-de,opus-mt-de-en``, and an empty prompt.

    **Differs from the paper:** the prompt is ours, and the paper's filter by perplexity and similarity is left to the quality
    report.
    """

    name: ClassVar[str] = "paraphrase"
    prompt: ClassVar[str] = (
        "Paraphrase the text in fluent English. Keep its meaning and its length. Answer with the paraphrase only.\n\n"
        "Text: {text}"
    )
