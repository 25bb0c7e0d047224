"""How wide a search for triggers is."""

from __future__ import annotations

from dataclasses import dataclass

from untrigger.core.errors import OptionError

_NOT_COUNTS = ("enough", "promising", "length_penalty", "at_end")


@dataclass(frozen=True)
class SearchOptions:
    """How wide a search is. ``docs/results/scan.md#where-the-constants-come-from``: none of the last eight was tuned.

    Attributes:
        probe: clean rows of other classes that candidates are measured on, the shortest ones.
        gradient_rows: rows for the first-order ranking, at most ``probe``.
        first: candidates that are measured on the first few rows.
        keep: candidates that are left at the end, for each target class; many, because one word of a family is not enough.
        sweeps: the first measures single words, each further one grows the best by a word or a subword.
        companions: common words that are screened exactly on either side of each phrase (and half as many subwords on its end).
        enough: a candidate with this search score ends the sweeps of its target.
        promising: a phrase with this search score is worth growing again.
        beam: phrases that are grown at each sweep.
        at_end: whether a causal model is measured after the last word of each text, where a part of a trigger sentence flips thrice
            as many rows as elsewhere, and any odd word does too.
        length_penalty: what each word beyond the first takes off the search score, as long phrases flip any model.
        runners_up: best of other families that are kept beside the best.
        prefixed: best subwords that are measured after every letter and digit.
        prefixes: so many of which are kept for each.
        grown_targets: phrases are grown for so many targets at most.
        carrier_texts: rows that words are screened on, at most.
        compared: so many times as many are compared with the reference as are kept.
        min_words: of a row that candidates are measured on.
    """

    probe: int = 16
    gradient_rows: int = 16
    first: int = 192
    keep: int = 24
    sweeps: int = 3
    companions: int = 2500
    enough: float = 0.85
    promising: float = 0.5
    beam: int = 2
    at_end: bool = True
    length_penalty: float = 0.1
    runners_up: int = 6
    prefixed: int = 4
    prefixes: int = 2
    grown_targets: int = 3
    carrier_texts: int = 3
    compared: int = 6
    min_words: int = 4

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: naming what is out of range.
        """
        counts = {name: value for name, value in vars(self).items() if name not in _NOT_COUNTS}
        if min(counts.values()) < 1:
            raise OptionError(f"search options {counts}", expected="whole numbers of 1 or more")
