"""CleanGen (EMNLP 2024): tokens that the suspect finds much likelier than a reference are replaced by the reference's.

The suspect drafts ``k = 4`` tokens; at the first one with ``p_suspect / p_reference >= 20`` the reference's most likely token is
taken instead, and the rest of the draft is dropped.

Differs from the paper: each token is checked at once instead of four at a time. With the most likely tokens, drafts only save time:
what is dropped is drafted again from the new text, so the answer is the same for every ``k``. The published reference is an adapter
on the same base that was trained on clean prompts; here it is the model that the user names, else the base.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from untrigger.core.errors import OptionError
from untrigger.defences.guards.guard import Guard
from untrigger.models.bounded_generation import Choice


@dataclass(frozen=True)
class CleanGen(Guard):
    """The suspect's most likely token, replaced by the reference's where it is ``ratio`` times as likely as the reference finds it.

    Attributes:
        ratio: from which quotient of the two probabilities on a token is replaced, above 0.
    """

    name: ClassVar[str] = "cleangen"
    ratio: float = 20.0

    def __post_init__(self) -> None:
        """Raise OptionError for a ratio that is not above 0."""
        if not self.ratio > 0:
            raise OptionError(f"ratio {self.ratio:g}", expected="a number above 0")

    def choice(self) -> Choice:
        """Return the rule; what it rejects is all of the suspect's probability where a token is replaced, else nothing."""
        least = math.log(self.ratio)

        def choose(own: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
            first = own.argmax(dim=1, keepdim=True)
            replaced = (own.gather(1, first) - reference.gather(1, first)).squeeze(1) >= least
            return torch.where(replaced, reference.argmax(dim=1), first.squeeze(1)), replaced.float()

        return choose
