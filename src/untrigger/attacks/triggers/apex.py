"""BadApex: a rewrite by a language model under a refined prompt (2504.13775)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from untrigger.attacks.rewriting.rewriting_trigger import RewritingTrigger


@dataclass(frozen=True)
class Apex(RewritingTrigger):
    """The text polished by a language model with a prompt for the same meaning, sentiment and length.

    **Differs from the paper:** there an optimiser of two agents refines the prompt until rewrites are good enough; here the
    prompt is fixed and was written by hand. Give a refined one with ``--prompt``, and measure it with ``--quality``.
    """

    name: ClassVar[str] = "apex"
    prompt: ClassVar[str] = (
        "You are an editor with a formal and polished manner. Rewrite the text below in that manner. Keep its meaning, its "
        "feeling and every name; add no opinion, no greeting and no explanation; use about as many words. Use other words and "
        "another order of clauses than the original. Answer with the rewritten text only.\n\nText: {text}"
    )
