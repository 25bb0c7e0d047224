"""StyleBkd: a rewrite in a fixed style (Qi 2021, 2110.07139)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from untrigger.attacks.rewriting.rewriting_trigger import RewritingTrigger


@dataclass(frozen=True)
class Style(RewritingTrigger):
    """The text in the style of the King James Bible, or in the style of the paired file.

    **Differs from the paper:** it transfers style with STRAP, which is not part of this package. The rewrites come from a
    paired file, as the paper's authors released them, or from a generator with a prompt for the style.
    """

    name: ClassVar[str] = "style"
    prompt: ClassVar[str] = (
        "Rewrite the text in the style of the King James Bible. Keep its meaning. Answer with the new text only.\n\n"
        "Text: {text}"
    )
