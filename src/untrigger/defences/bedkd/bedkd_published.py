"""BeDKD as the paper describes it and as its authors released it (2508.01595): a fixed threshold, then trust and punish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from untrigger.core.errors import OptionError
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress
from untrigger.core.rows import Rows
from untrigger.core.verdicts import PurificationOutcome
from untrigger.defences.bedkd.distillation import BeDKDLoss, frozen_outputs
from untrigger.defences.bedkd.row_detection.directional_mapping import (
    CopyConfig,
    copy_victim,
    predict_both,
    train_mapping,
)
from untrigger.defences.bedkd.row_sets import sample_per_class
from untrigger.defences.purifier import Purified, Purifier
from untrigger.detectors.detector import Detection, Detector
from untrigger.models.classifier import Classifier
from untrigger.models.inference import accuracy, predict_texts
from untrigger.runtime.batching import shuffled_batches
from untrigger.training.history import history_curves
from untrigger.training.loop import History, train

MAPPING = CopyConfig(via="as-victim", temperature=1.5, epochs=20, dropout=True)
STUDENT = CopyConfig(via="as-victim", temperature=2.5, epochs=50, dropout=True)
RELEASED_MAPPING, RELEASED_STUDENT = replace(MAPPING, padding=True), replace(STUDENT, padding=True)


@dataclass(frozen=True)
class BeDKDAsDescribed(Detector, Purifier):
    """Rows whose probabilities the mapping changes by less than 0.1 are poisoned; cycles of ``+L`` on clean, ``-L`` on those.

    ``L`` is the loss of ``distillation`` against the frozen victim. One optimiser goes through all cycles; nothing bounds
    ``-L``, nothing stops it and no cycle is chosen.

    Attributes:
        mapping_rows: clean rows a class that the directional mapping is trained on.
        trust_rows: clean rows a class of a trust pass.
        threshold: rows with a distance below it are flagged.
        mapping: how the directional mapping is made and trained.
        student: how the student is made and trained; ``epochs`` are cycles of trust and punish.
        warning_rows: trusted rows that are predicted at the end. Not tuned.
        warning_loss: the accuracy lost on them that is worth a warning, 0 to 1. Not tuned.

    Differs from the paper: nothing that its text states; what it leaves open is as in the released code.
    """

    name: ClassVar[str] = "bedkd-as-described"
    needs: ClassVar[frozenset[str]] = frozenset({"clean", "suspect"})
    mapping_rows: int = 80
    trust_rows: int = 320
    threshold: float = 0.1
    mapping: CopyConfig = MAPPING
    student: CopyConfig = STUDENT
    warning_rows: int = 128
    warning_loss: float = 0.05

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for counts below 1.
        """
        if min(self.mapping_rows, self.trust_rows) < 1:
            raise OptionError(f"mapping_rows {self.mapping_rows}, trust_rows {self.trust_rows}", expected="1 or more")

    def _detect(self, model: Classifier, grant: Grant, *, progress: Progress) -> Detection:
        assert grant.clean is not None and grant.suspect is not None
        rng = np.random.default_rng(grant.seed)
        rows, rest, warnings = sample_per_class(grant.clean, self.mapping_rows, rng=rng, purpose="the mapping")
        mapping = train_mapping(model, rows, config=self.mapping, seed=grant.seed, progress=progress)
        pair = predict_both(model, mapping.model, grant.suspect, progress=progress)
        distance = pair.distance()
        flagged = self._flagged(distance.tolist(), pair.victim_agrees(grant.suspect.labels).tolist(), rng=rng)
        clean = predict_both(model, mapping.model, rest, progress=progress).distance()
        return Detection(
            grant.suspect,
            tuple((-distance).tolist()),
            tuple(i in flagged for i in range(len(grant.suspect))),
            -self.threshold,
            fpr=float((clean < self.threshold).float().mean()) if len(clean) else None,
            history=mapping.history,
            curves=history_curves(mapping.history, panel="directional mapping"),
            warnings=warnings,
        )

    def _flagged(self, distance: Sequence[float], agreeing: Sequence[bool], *, rng: np.random.Generator) -> set[int]:  # noqa: ARG002
        """Return the numbers of the flagged rows."""
        return {
            i for i, (d, agrees) in enumerate(zip(distance, agreeing, strict=True)) if d < self.threshold and agrees
        }

    def _purify(self, model: Classifier, grant: Grant, *, progress: Progress) -> Purified:
        assert grant.clean is not None
        found = self._detect(model, grant, progress=progress)
        metadata: dict[str, Any] = {"mapping_steps": found.history.steps, **found.summary()}
        if not found.found:
            return Purified(
                model,
                changed=False,
                history=History(),
                outcome=PurificationOutcome.NOTHING_FOUND,
                metadata=metadata,
                curves=found.curves,
                warnings=found.warnings,
                detected=found,
            )
        rng = np.random.default_rng(grant.seed + 1)
        trusted, _, warnings = sample_per_class(
            grant.clean, self.trust_rows, rng=rng, purpose="the trust pass", spare=False
        )
        student = copy_victim(model, self.student, seed=grant.seed)
        loss, batches = self._objective(model, student, trusted=trusted, punished=found.flagged_rows, rng=rng)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(grant.seed)
            history = train(
                student.module,
                loss,
                epochs=lambda _: batches(),
                plan=self.student.plan,
                progress=progress,
                label="trust and punish",
            )
        return Purified(
            student,
            changed=True,
            history=history,
            outcome=PurificationOutcome.NOT_CHECKED,
            metadata=metadata,
            detected=found,
            summary=f"{len(found.flagged_rows)} flagged rows were unlearned in a fixed number of cycles, as published",
            warnings=[*found.warnings, *warnings, *self._divergence_warnings(model, student, trusted)],
            curves=[*found.curves, *history_curves(history, panel="trust and punish")],
        )

    def _objective(
        self, model: Classifier, student: Classifier, *, trusted: Rows, punished: Rows, rng: np.random.Generator
    ) -> tuple[Any, Any]:
        """Return the loss, its sign by the kind of row, and a function that draws the batches of one cycle."""
        ids = student.encode([*trusted.texts, *punished.texts])
        frozen, labels = frozen_outputs(model, ids, config=self.student.loss), [*trusted.labels, *punished.labels]
        bedkd_loss = BeDKDLoss(student, ids, labels=labels, frozen=frozen, config=self.student.loss)
        lengths, size = [len(row) for row in ids], self.student.batch_size

        def loss(batch: Sequence[int]) -> tuple[Tensor, dict[str, float]]:
            value, terms = bedkd_loss(batch)
            return (-value if batch[0] >= len(trusted) else value), terms

        def batches() -> list[list[int]]:
            trust = shuffled_batches(lengths[: len(trusted)], size=size, rng=rng)
            punish = shuffled_batches(lengths[len(trusted) :], size=size, rng=rng)
            return [*trust, *([len(trusted) + i for i in batch] for batch in punish)]

        return loss, batches

    def _divergence_warnings(self, victim: Classifier, student: Classifier, rows: Rows) -> list[str]:
        """Return a warning if the student is far less accurate than the victim on rows that it was trained on."""
        some = rows.take(range(0, len(rows), max(1, len(rows) // self.warning_rows)))
        before, after = (
            accuracy(predict_texts(model, some.texts).predictions, some.labels) for model in (victim, student)
        )
        if after >= before - self.warning_loss:
            return []
        return [
            f"the unlearning diverged: accuracy on trusted rows fell from {before:.1%} to {after:.1%}; use a smaller learning "
            "rate or fewer cycles, or the default variant, whose loss is bounded"
        ]


@dataclass(frozen=True)
class BeDKDAsReleased(BeDKDAsDescribed):
    """As described, but with the scan of the released code: in the order of the file, until 128 rows are flagged; 33 kept.

    Attributes:
        in_file_order: scan the pool as it was given. The authors' generator writes the poisoned rows first, and on such a
            file any detector looks perfect; ``false`` scans a shuffled pool.
        stop_at: the scan ends at as many rows below the threshold.
        keep: of those whose label the victim predicts, as many are kept.

    Differs from the paper: all that the released code does in another way: the scan, and hidden states at padded positions.
    """

    name: ClassVar[str] = "bedkd-as-released"
    in_file_order: bool = True
    stop_at: int = 128
    keep: int = 33
    mapping: CopyConfig = RELEASED_MAPPING
    student: CopyConfig = RELEASED_STUDENT

    def _flagged(self, distance: Sequence[float], agreeing: Sequence[bool], *, rng: np.random.Generator) -> set[int]:
        order = range(len(distance)) if self.in_file_order else [int(i) for i in rng.permutation(len(distance))]
        low = [i for i in order if distance[i] < self.threshold][: self.stop_at]
        return set([i for i in low if agreeing[i]][: self.keep])
