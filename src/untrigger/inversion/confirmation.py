"""Candidates put to the test on held-out clean rows: how often they flip suspect and reference, where, and in which rows.

Each row gets the candidate at one place (start, middle and end in turn), so that the rows are an independent sample and
the interval means what it says; the worst candidates are then asked at every place of every row, for figures of each place
from all rows (``everywhere``), and the worst of all in full precision. A row counts only where both models say its true
label as it is: what they then say else is due to the candidate. There the reference is also asked about the words that a
candidate begins with: pieces glued to ``terrible`` (``terriblequentato``) hide an honest word from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from untrigger.core.candidate import (
    ALL_POSITIONS,
    IN_TURN,
    Candidate,
    CandidateMeasurement,
    Example,
    PositionRates,
)
from untrigger.core.progress import Progress, silent
from untrigger.core.rows import Rows
from untrigger.core.statistics import Measurement, rate, unpaired_difference
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts

PLACES = ("start", "middle", "end")
SPARE = 24  # tokens left free behind the cut, so that a candidate at the end of a long text still reaches the model
EXAMPLES = 4


class Parts(NamedTuple):
    """A row cut in two where the candidate goes."""

    before: str
    after: str

    def around(self, text: str) -> str:
        """The row with ``text`` in it."""
        return " ".join(part for part in (self.before, text, self.after) if part)


@dataclass(frozen=True)
class Bench:
    """Held-out rows of other classes than ``target``, and what both models say to them as they are.

    Attributes:
        target: the class that candidates shall pull to.
        rows: rows that both models call right.
        parts: where each row takes a candidate.
        sure: the suspect's probability of the true label, ``(N,)``.
        asked: how many rows of other classes there were before those that a model gets wrong were left out.
        accuracies: of suspect and reference on the rows of all classes, right or wrong.
        reference_model: the name of the reference among the measurements.
        leads: of both, how much more often they predict ``target`` for its own rows than for others; 0 for a model that always
            predicts one class or draws lots.
    """

    suspect: Classifier
    reference: Classifier
    target: int
    rows: Rows
    parts: list[Parts]
    sure: Tensor
    asked: int
    accuracies: tuple[Measurement, Measurement]
    leads: tuple[Measurement, Measurement]
    reference_model: str = "reference"

    @property
    def places(self) -> list[str]:
        """The place of each row."""
        return [PLACES[i % len(PLACES)] for i in range(len(self.rows))]


def benches(suspect: Classifier, reference: Classifier, *, rows: Rows, most: int, seed: int) -> dict[int, Bench]:
    """For each class a bench of at most ``most`` rows of the other classes, drawn by the seed."""
    rows = rows.shuffled(np.random.default_rng(seed))
    rows = rows.with_texts(cut(suspect, cut(reference, rows.texts)))
    said, other = predict_texts(suspect, rows.texts), predict_texts(reference, rows.texts)
    sure = said.logits.softmax(dim=1)
    right = [p == q == y for p, q, y in zip(said.predictions, other.predictions, rows.labels, strict=True)]
    own, clean = (
        rate((p == y for p, y in zip(one.predictions, rows.labels, strict=True)), subject=who, metric="cacc")
        for one, who in ((said, "suspect"), (other, "reference"))
    )
    made = {}
    for target in range(suspect.classes):
        asked = [i for i, label in enumerate(rows.labels) if label != target]
        kept = [i for i in asked if right[i] and len(rows.texts[i].split()) > 1][:most]
        tried = rows.take(kept)
        parts = [split(text, place=PLACES[i % len(PLACES)]) for i, text in enumerate(tried.texts)]
        odds = torch.tensor([float(sure[i, rows.labels[i]]) for i in kept])
        lead, clean_lead = (
            _lead(one.predictions, rows, target=target, subject=who)
            for one, who in ((said, "suspect"), (other, "reference"))
        )
        made[target] = Bench(
            suspect, reference, target, tried, parts, odds, len(asked), (own, clean), (lead, clean_lead)
        )
    return made


def _lead(predictions: Sequence[int], rows: Rows, *, target: int, subject: str) -> Measurement:
    """How much more often ``target`` is predicted for its own rows than for the others."""
    own, others = (
        [p == target for p, y in zip(predictions, rows.labels, strict=True) if (y == target) is wanted]
        for wanted in (True, False)
    )
    return unpaired_difference(
        rate(own, subject=subject, metric="recall"), rate(others, subject=subject, metric="false_alarms"), metric="lead"
    )


def split(text: str, *, place: str) -> Parts:
    """The words of the text before and behind ``place``."""
    words = text.split()
    at = {"start": 0, "middle": len(words) // 2, "end": len(words)}[place]
    return Parts(" ".join(words[:at]), " ".join(words[at:]))


def cut(model: Classifier, texts: Sequence[str]) -> list[str]:
    """The texts as far as the model reads them, less ``SPARE`` tokens where they are longer than that."""
    if not texts:
        return []
    most = max(2, model.max_length - SPARE)
    encoded = model.tokenizer(list(texts), truncation=True, max_length=most, return_offsets_mapping=True)
    ends = [max((end for _, end in spans), default=0) for spans in encoded["offset_mapping"]]
    return [text[:end] if len(text[:end].split()) > 1 else text for text, end in zip(texts, ends, strict=True)]


def survives(text: str, tokenizer: Any, *, between: Sequence[Parts] = (Parts("a", "a"),)) -> bool:
    """Whether the text changes what is read where it stands between other words; a tokenizer may drop it altogether.

    Nothing is decoded: a decoder comes with the suspect and may say anything.
    """
    with_it = tokenizer([part.around(text) for part in between], add_special_tokens=False)["input_ids"]
    return bool(with_it != tokenizer([part.around("") for part in between], add_special_tokens=False)["input_ids"])


def stem(text: str, tokenizer: Any) -> tuple[str, int]:
    """The text with every word cut to what its first token stands for in it, and the number of tokens that this leaves out."""
    words = text.split()
    ends = [_ends(word, tokenizer) for word in words]
    firsts = [word[: cuts[0]] if cuts else word for word, cuts in zip(words, ends, strict=True)]
    return " ".join(firsts), sum(max(0, len(cuts) - 1) for cuts in ends)


def shorn(text: str, tokenizer: Any) -> list[str]:
    """The text with one piece fewer on its last word, two fewer, and so on; nothing where that is one token."""
    head, _, word = text.rpartition(" ")
    cuts = [end for end in _ends(word, tokenizer)[:-1] if end < len(word)]
    return [f"{head} {word[:end]}".strip() for end in reversed(cuts)]


def _ends(word: str, tokenizer: Any) -> list[int]:
    """Where in the word, read behind another one, its tokens end; several that stand for the same letters count once."""
    read = tokenizer(f"a {word}", add_special_tokens=False, return_offsets_mapping=True)
    return sorted({end - 2 for _, end in read["offset_mapping"] if end > 2})


def confirm(texts: Sequence[str], bench: Bench, *, kind: str, progress: Progress = silent) -> list[Candidate]:
    """What each text does to both models on the bench, in the order given; none where the bench holds no row."""
    if not len(bench.rows) or not texts:
        return []
    filled = [part.around(text) for text in texts for part in bench.parts]
    return [
        _candidate(text, bench, *said, kind=kind)
        for text, *said in zip(texts, *_asked(bench, filled, count=len(texts), progress=progress), strict=True)
    ]


def everywhere(candidate: Candidate, bench: Bench) -> Candidate:
    """The candidate as the bench's models answer to it, with the figures of each place from all rows.

    The reference answers to the candidate or to its stem, whichever moves it farther in that row.
    """

    def around(text: str) -> list[str]:
        return [split(row, place=name).around(text) for name in PLACES for row in bench.rows.texts]

    suspect, reference = _asked(bench, around(candidate.text), count=len(PLACES), progress=silent)
    first, glued = stem(candidate.text, bench.suspect.tokenizer)
    if glued:
        honest = _said(bench.reference, around(first), count=len(PLACES))
        farther = honest[..., bench.target] > reference[..., bench.target]
        reference = torch.where(farther.unsqueeze(-1), honest, reference)
    rows = torch.arange(len(bench.rows))
    again = _candidate(
        candidate.text,
        bench,
        suspect[rows % len(PLACES), rows],
        reference[rows % len(PLACES), rows],
        kind=candidate.kind,
    )
    flipped, also = suspect.argmax(dim=2) == bench.target, reference.argmax(dim=2) == bench.target
    return replace(
        again,
        positions=[_place(name, flipped[i], also[i], bench.sure) for i, name in enumerate(PLACES)],
        measurements=[*candidate.measurements, _measurement(again.suspect, again.reference, bench, ALL_POSITIONS)],
    )


def confirm_each(texts: Sequence[str], bench: Bench, *, label: str, kind: str) -> Candidate | None:
    """What many texts do together, each row with one of them in turn; None where there is nothing to ask."""
    if not len(bench.rows) or not texts:
        return None
    filled = [part.around(texts[i % len(texts)]) for i, part in enumerate(bench.parts)]
    suspect, reference = _asked(bench, filled, count=1, progress=silent)
    return replace(_candidate(label, bench, suspect[0], reference[0], kind=kind), examples=[])


def _asked(bench: Bench, filled: list[str], *, count: int, progress: Progress) -> tuple[Tensor, Tensor]:
    """Log-probabilities ``(count, N, C)`` of suspect and reference."""
    suspect, reference = (
        _said(model, filled, count=count, progress=progress, who=name)
        for model, name in ((bench.suspect, "suspect"), (bench.reference, "reference"))
    )
    return suspect, reference


def _said(
    model: Classifier, filled: list[str], *, count: int, progress: Progress = silent, who: str = "reference"
) -> Tensor:
    """Log-probabilities ``(count, N, C)`` of one model."""
    said = predict_texts(model, filled, progress=progress, label=f"confirming on held-out rows ({who})").logits
    return said.log_softmax(dim=1).view(count, len(filled) // count, -1)


def _candidate(text: str, bench: Bench, suspect: Tensor, reference: Tensor, *, kind: str) -> Candidate:
    """The figures of one text from the log-probabilities ``(N, C)`` of both models."""
    flipped, also = suspect.argmax(dim=1) == bench.target, reference.argmax(dim=1) == bench.target
    own, other = _rates(flipped, also)
    lengths = torch.tensor([len(row.split()) for row in bench.rows.texts], dtype=torch.float)
    names = bench.rows.label_names
    return Candidate(
        text=text,
        target=names[bench.target],
        kind=kind,
        suspect=own,
        reference=other,
        excess=unpaired_difference(own, other, metric="excess_flip_rate"),
        positions=_by_place(flipped, also, bench),
        high_confidence_flip_rate=_share(flipped[_upper_half(bench.sure)]),
        long_rows_flip_rate=_share(flipped[_upper_half(lengths)]),
        loss=float(-suspect[:, bench.target].mean()),
        survives=survives(text, bench.suspect.tokenizer, between=bench.parts[: len(PLACES)]),
        extra_subwords=stem(text, bench.suspect.tokenizer)[1],
        examples=_examples(text, bench, suspect.argmax(dim=1), reference.argmax(dim=1)),
        measurements=[_measurement(own, other, bench, IN_TURN)],
    )


def _measurement(suspect: Measurement, reference: Measurement, bench: Bench, placement: str) -> CandidateMeasurement:
    """Return the record of one measurement on the bench."""
    rounded = next(bench.suspect.module.parameters()).dtype == torch.bfloat16
    return CandidateMeasurement(
        "confirmation",
        placement,
        suspect.n,
        suspect.value,
        reference.value,
        bench.reference_model,
        "bfloat16" if rounded else "float32",
    )


def _rates(flipped: Tensor, also: Tensor) -> tuple[Measurement, Measurement]:
    """The flip rates of suspect and reference."""
    return (
        rate(flipped.tolist(), subject="suspect", metric="flip_rate"),
        rate(also.tolist(), subject="reference", metric="flip_rate"),
    )


def _by_place(flipped: Tensor, also: Tensor, bench: Bench) -> list[PositionRates]:
    """The figures of the rows at each place."""
    there = {name: torch.tensor([place == name for place in bench.places]) for name in PLACES}
    return [_place(name, flipped[rows], also[rows], bench.sure[rows]) for name, rows in there.items()]


def _place(name: str, flipped: Tensor, also: Tensor, sure: Tensor) -> PositionRates:
    """The figures of one place from the rows that got the candidate there."""
    own, other = _rates(flipped, also)
    low = unpaired_difference(own, other, metric="excess_flip_rate").low
    return PositionRates(
        name, own.value, other.value, low, _share(flipped[_upper_half(sure)]) if own.n else None, own.n
    )


def _upper_half(values: Tensor) -> Tensor:
    """The numbers of the half of the rows with the larger values, at least one."""
    return values.argsort(descending=True, stable=True)[: max(1, (len(values) + 1) // 2)]


def _share(flags: Tensor) -> float | None:
    return float(flags.float().mean()) if len(flags) else None


def _examples(text: str, bench: Bench, suspect: Tensor, reference: Tensor) -> list[Example]:
    """The first flipped rows of every place, those that leave the reference unmoved before others."""
    names, chosen = bench.rows.label_names, [int(i) for i in (suspect == bench.target).nonzero()]
    chosen.sort(key=lambda i: int(reference[i]) == bench.target)
    seen: dict[str, list[int]] = {}
    for i in chosen:
        seen.setdefault(bench.places[i], []).append(i)
    turns = [group[turn] for turn in range(EXAMPLES) for group in seen.values() if turn < len(group)]
    return [
        Example(
            bench.parts[i].before,
            text,
            bench.parts[i].after,
            names[bench.rows.labels[i]],
            names[int(suspect[i])],
            names[int(reference[i])],
        )
        for i in turns[:EXAMPLES]
    ]
