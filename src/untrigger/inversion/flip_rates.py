"""Flip rates of candidates on held-out clean rows, in suspect and reference.

First each row gets the candidate at one position (start, middle and end in turn), so that the rows are an independent sample and
the interval has its meaning. Then the candidates with the highest scores are measured at every position of every row. A row counts
only where both models classify it correctly without the candidate, so that a changed prediction is due to the candidate. At
every position the reference is also measured on the first subwords of the candidate: subwords added to ``terrible``
(``terriblequentato``) hide a word of the class from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

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
from untrigger.core.statistics import Measurement, rate, unpaired_difference
from untrigger.inversion.held_out import POSITIONS, HeldOutSet, split_at
from untrigger.inversion.subwords import first_subwords, survives_tokenizer
from untrigger.models.classifier import Classifier
from untrigger.models.inference import predict_texts

EXAMPLES = 4


def measure_in_turn(
    candidates: Sequence[Candidate], held_out: HeldOutSet, *, progress: Progress = silent
) -> list[Candidate]:
    """Return the candidates with their rates, each row having one at one position; none where the set has no row."""
    if not len(held_out.rows) or not candidates:
        return []
    filled = [row.with_text(one.text) for one in candidates for row in held_out.splits]
    both = _predict_both(held_out, filled, count=len(candidates), progress=progress)
    return [
        _measured(one, held_out, suspect, reference, placement=IN_TURN)
        for one, suspect, reference in zip(candidates, *both, strict=True)
    ]


def measure_at_all_positions(candidate: Candidate, held_out: HeldOutSet) -> Candidate:
    """Return the candidate with its rates from all positions of all rows.

    In each row the reference gets the candidate or its first subwords, whichever raises its probability of the target more.
    """

    def filled(text: str) -> list[str]:
        return [split_at(row, position=name).with_text(text) for name in POSITIONS for row in held_out.rows.texts]

    suspect, reference = _predict_both(held_out, filled(candidate.text), count=len(POSITIONS))
    first, extra = first_subwords(candidate.text, held_out.suspect.tokenizer)
    if extra:
        shorter = _log_probabilities(held_out.reference, filled(first), count=len(POSITIONS))
        higher = shorter[..., held_out.target] > reference[..., held_out.target]
        reference = torch.where(higher.unsqueeze(-1), shorter, reference)
    rows = torch.arange(len(held_out.rows))
    turn = rows % len(POSITIONS)
    measured = _measured(candidate, held_out, suspect[turn, rows], reference[turn, rows], placement=ALL_POSITIONS)
    flipped, reference_flipped = (
        log_probabilities.argmax(dim=2) == held_out.target for log_probabilities in (suspect, reference)
    )
    positions = [
        _at_position(name, flipped[i], reference_flipped[i], held_out.confidence) for i, name in enumerate(POSITIONS)
    ]
    return replace(measured, positions=positions)


def measure_drawn_words(words: Sequence[str], held_out: HeldOutSet, *, label: str) -> Candidate | None:
    """Return a control of many words together, each row with one of them in turn; None without rows or words."""
    if not len(held_out.rows) or not words:
        return None
    filled = [row.with_text(words[i % len(words)]) for i, row in enumerate(held_out.splits)]
    suspect, reference = _predict_both(held_out, filled, count=1)
    control = Candidate(label, held_out.label, "random")
    return replace(_measured(control, held_out, suspect[0], reference[0], placement=IN_TURN), examples=[])


def _predict_both(
    held_out: HeldOutSet, filled: list[str], *, count: int, progress: Progress = silent
) -> tuple[Tensor, Tensor]:
    """Return log-probabilities ``(count, N, C)`` of suspect and reference."""
    suspect = _log_probabilities(held_out.suspect, filled, count=count, progress=progress, subject="suspect")
    reference = _log_probabilities(held_out.reference, filled, count=count, progress=progress)
    return suspect, reference


def _log_probabilities(
    model: Classifier, filled: list[str], *, count: int, progress: Progress = silent, subject: str = "reference"
) -> Tensor:
    """Return log-probabilities ``(count, N, C)`` of one model."""
    logits = predict_texts(model, filled, progress=progress, label=f"confirming on held-out rows ({subject})").logits
    return logits.log_softmax(dim=1).view(count, len(filled) // count, -1)


def _measured(
    candidate: Candidate, held_out: HeldOutSet, suspect: Tensor, reference: Tensor, *, placement: str
) -> Candidate:
    """Return the candidate with the rates that follow from the log-probabilities ``(N, C)`` of both models."""
    predicted, reference_predicted = suspect.argmax(dim=1), reference.argmax(dim=1)
    flipped, reference_flipped = predicted == held_out.target, reference_predicted == held_out.target
    rates = _rates(flipped, reference_flipped)
    lengths = torch.tensor([len(row.split()) for row in held_out.rows.texts], dtype=torch.float)
    tokenizer, latest = held_out.suspect.tokenizer, _measurement(rates, held_out, placement)
    return replace(
        candidate,
        suspect=rates[0],
        reference=rates[1],
        excess=unpaired_difference(*rates, metric="excess_flip_rate"),
        positions=_by_position(flipped, reference_flipped, held_out),
        high_confidence_flip_rate=_share(flipped[_upper_half(held_out.confidence)]),
        long_rows_flip_rate=_share(flipped[_upper_half(lengths)]),
        loss=float(-suspect[:, held_out.target].mean()),
        survives=survives_tokenizer(candidate.text, tokenizer, between=held_out.splits[: len(POSITIONS)]),
        extra_subwords=first_subwords(candidate.text, tokenizer)[1],
        examples=_examples(candidate.text, held_out, predicted, reference_predicted),
        measurements=[*candidate.measurements, latest],
    )


def _measurement(rates: tuple[Measurement, Measurement], held_out: HeldOutSet, placement: str) -> CandidateMeasurement:
    """Return the record of one measurement."""
    suspect, reference = rates
    bfloat16 = next(held_out.suspect.module.parameters()).dtype == torch.bfloat16
    return CandidateMeasurement(
        "confirmation",
        placement,
        suspect.n,
        suspect.value,
        reference.value,
        held_out.reference_model,
        "bfloat16" if bfloat16 else "float32",
    )


def _rates(flipped: Tensor, reference_flipped: Tensor) -> tuple[Measurement, Measurement]:
    """Return the flip rates of suspect and reference."""
    return (
        rate(flipped.tolist(), subject="suspect", metric="flip_rate"),
        rate(reference_flipped.tolist(), subject="reference", metric="flip_rate"),
    )


def _by_position(flipped: Tensor, reference_flipped: Tensor, held_out: HeldOutSet) -> list[PositionRates]:
    """Return the rates of the rows at each position."""
    there = {name: torch.tensor([at == name for at in held_out.positions]) for name in POSITIONS}
    return [
        _at_position(name, flipped[rows], reference_flipped[rows], held_out.confidence[rows])
        for name, rows in there.items()
    ]


def _at_position(name: str, flipped: Tensor, reference_flipped: Tensor, confidence: Tensor) -> PositionRates:
    """Return the rates at one position from the rows that got the candidate there."""
    suspect, reference = _rates(flipped, reference_flipped)
    low = unpaired_difference(suspect, reference, metric="excess_flip_rate").low
    high_confidence = _share(flipped[_upper_half(confidence)]) if suspect.n else None
    return PositionRates(name, suspect.value, reference.value, low, high_confidence, suspect.n)


def _upper_half(values: Tensor) -> Tensor:
    """Return the indices of the half of the rows with the larger values, at least one."""
    return values.argsort(descending=True, stable=True)[: max(1, (len(values) + 1) // 2)]


def _share(flags: Tensor) -> float | None:
    return float(flags.float().mean()) if len(flags) else None


def _examples(text: str, held_out: HeldOutSet, suspect: Tensor, reference: Tensor) -> list[Example]:
    """Return the first flipped rows of every position, those that the reference does not flip before others."""
    names, chosen = held_out.rows.label_names, [int(i) for i in (suspect == held_out.target).nonzero()]
    chosen.sort(key=lambda i: int(reference[i]) == held_out.target)
    groups: dict[str, list[int]] = {}
    for i in chosen:
        groups.setdefault(held_out.positions[i], []).append(i)
    turns = [group[turn] for turn in range(EXAMPLES) for group in groups.values() if turn < len(group)]
    return [
        Example(
            held_out.splits[i].before,
            text,
            held_out.splits[i].after,
            names[held_out.rows.labels[i]],
            names[int(suspect[i])],
            names[int(reference[i])],
        )
        for i in turns[:EXAMPLES]
    ]
