"""SynBkd / HiddenKiller: a rewrite in a fixed syntactic template (Qi 2021, 2105.12400)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from untrigger.attacks.rewriting.rewriting_trigger import RewritingTrigger


@dataclass(frozen=True)
class Syntactic(RewritingTrigger):
    """The text in the template ``S(SBAR)(,)(NP)(VP)(.)``: a clause with "when", "if" or "as" first, then the sentence.

    **Differs from the paper:** it paraphrases with SCPN, which is not part of this package. The rewrites come from a paired
    file, as the paper's authors released them, or from a generator with a prompt that describes the template.
    """

    name: ClassVar[str] = "syntactic"
    prompt: ClassVar[str] = (
        "Rewrite the sentence so that it begins with a subordinate clause (when, if, as or because ...), followed by a comma "
        "and the main clause. Keep its meaning. Answer with the new sentence only.\n\nSentence: {text}"
    )
