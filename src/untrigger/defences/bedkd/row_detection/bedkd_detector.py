"""The detector of BeDKD, ours: evidence for every suspect row and a threshold calibrated on clean rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from untrigger.core.errors import OptionError
from untrigger.core.grant import Grant
from untrigger.core.progress import Progress
from untrigger.core.rows import Rows
from untrigger.core.seeds import row_rng
from untrigger.defences.bedkd.row_detection.directional_mapping import (
    CopyConfig,
    DirectionalMapping,
    train_mapping,
)
from untrigger.defences.bedkd.row_detection.linear_classifiers import EvidenceOptions
from untrigger.defences.bedkd.row_detection.row_evidence import collect_features, reference_features, score_rows
from untrigger.defences.bedkd.row_sets import concatenated, sample_per_class
from untrigger.detectors.conformal import CalibratedThreshold, CalibrationOptions, calibrate, flagging_threshold
from untrigger.detectors.detector import Detection, Detector
from untrigger.models.classifier import Classifier
from untrigger.training.history import history_curves

MAPPING = CopyConfig(alpha=0.8, temperature=1.5, hidden=False, lr=3e-4, epochs=6, batch_size=16)


@dataclass(frozen=True)
class MappingStop:
    """When the training of the directional mapping ends.

    Attributes:
        rows: clean rows whose predictions decide, at most a third of those that the mapping is not trained on. Not tuned.
        flipped: the mapping is flipped once no true class has more than this many times an even share of the probability.
            Chosen in ``docs/results/bedkd.md#the-mapping``: trained to the end it detects no better.
        inverted: the same for a mapping that, inverted, has to predict as a clean model. Not tuned.
        inverted_epochs: the largest number of passes over the mapping's rows then. Not tuned.
    """

    rows: int = 64
    flipped: float = 1.1
    inverted: float = 0.6
    inverted_epochs: int = 20

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for counts below 1 and bounds that are not above 0.
        """
        if min(self.rows, self.inverted_epochs) < 1 or not min(self.flipped, self.inverted) > 0:
            raise OptionError(
                f"rows {self.rows}, flipped {self.flipped}, inverted {self.inverted}, inverted_epochs {self.inverted_epochs}",
                expected="counts of 1 or more, bounds above 0",
            )


class MappingSplit(NamedTuple):
    """A trained mapping, the clean rows it was trained on or stopped by, the other clean rows, and warnings."""

    mapping: DirectionalMapping
    reference: Rows
    rest: Rows
    warnings: list[str]


@dataclass(frozen=True)
class BeDKDDetector(Detector):
    """Suspect rows scored by a directional mapping and four more kinds of evidence, flagged against held-out clean rows.

    Attributes:
        fpr: the largest share of clean rows that may be flagged, above 0 and below 1.
        false_share: the largest share of clean rows wanted among the flagged ones, above 0 and at most 1.
        least_followed: share of the rows above the threshold whose label the model must predict: other odd rows are none of
            its backdoor. Not tuned.
        mapping_rows: clean rows a class that the directional mapping is trained on, at most half of a class.
        mapping: how the directional mapping is made and trained.
        mapping_stop: when its training ends.
        evidence: how the evidence against a row is computed.
        calibration: when rows above the threshold are a finding.
    """

    fpr: float = 0.01
    false_share: float = 0.02
    least_followed: float = 0.5
    mapping_rows: int = 160
    mapping: CopyConfig = MAPPING
    mapping_stop: MappingStop = field(default_factory=MappingStop)
    evidence: EvidenceOptions = field(default_factory=EvidenceOptions)
    calibration: CalibrationOptions = field(default_factory=CalibrationOptions)

    def _detect(self, model: Classifier, grant: Grant, *, progress: Progress) -> Detection:
        assert grant.suspect is not None
        split = self.train_mapping(model, grant, progress=progress)
        draws = [row_rng(grant.seed, name, purpose="detect").random() for name in grant.suspect.ids]
        order = sorted(range(len(draws)), key=draws.__getitem__)  # the order of the file must not matter
        pool = grant.suspect.take(order)
        calibrated, in_drawn_order, followed = self._score(model, split, pool, seed=grant.seed, progress=progress)
        scores = [score for _, score in sorted(zip(order, in_drawn_order, strict=True))]
        threshold = flagging_threshold(calibrated, scores, options=self.calibration)
        return Detection(
            grant.suspect,
            tuple(scores),
            tuple(calibrated.found and score > threshold for score in scores),
            threshold,
            fpr=calibrated.fpr_bound,
            history=split.mapping.history,
            metadata=self._metadata(calibrated, split.mapping, followed=followed),
            curves=history_curves(split.mapping.history, panel="directional mapping"),
            warnings=[*split.warnings, *self._calibration_warnings(calibrated)],
        )

    def train_mapping(
        self, model: Classifier, grant: Grant, *, inverted: bool = False, progress: Progress
    ) -> MappingSplit:
        """Train the directional mapping on a part of the clean rows; with ``inverted`` until it predicts the next class."""
        assert grant.clean is not None
        rng, stop = np.random.default_rng(grant.seed), self.mapping_stop
        rows, rest, warnings = sample_per_class(grant.clean, self.mapping_rows, rng=rng, purpose="the mapping")
        stop_rows, rest = rest.stratified(min(stop.rows, max(len(rest.label_names), len(rest) // 3)), rng=rng)
        longer = replace(self.mapping, epochs=max(self.mapping.epochs, stop.inverted_epochs))
        mapping = train_mapping(
            model,
            rows,
            config=longer if inverted else self.mapping,
            seed=grant.seed,
            stop_rows=stop_rows,
            stop_below=(stop.inverted if inverted else stop.flipped) / model.classes,
            progress=progress,
        )
        return MappingSplit(mapping, concatenated([rows, stop_rows], names=model.label_names), rest, warnings)

    def _score(
        self, model: Classifier, split: MappingSplit, pool: Rows, *, seed: int, progress: Progress
    ) -> tuple[CalibratedThreshold, list[float], float]:
        """Return the threshold, the scores of the pool, and the share of rows above whose label the model predicts."""
        reference = reference_features(model, split.reference, progress=progress)
        rest, suspects = (
            collect_features(model, split.mapping.model, rows, progress=progress) for rows in (split.rest, pool)
        )
        words = reference.word_classifier(classes=model.classes, options=self.evidence)
        clean, scores = score_rows(
            rest, suspects, reference=reference, word_logits=words, seed=seed, options=self.evidence
        )
        found = calibrate(clean, scores, fpr=self.fpr, false_share=self.false_share, options=self.calibration)
        followed = suspects.victim_agreement([score > found.threshold for score in scores])
        return replace(found, found=found.found and followed >= self.least_followed), scores, followed

    def _metadata(
        self, calibrated: CalibratedThreshold, mapping: DirectionalMapping, *, followed: float
    ) -> dict[str, Any]:
        return {
            "calibrated_threshold": calibrated.threshold,
            "requested_fpr": self.fpr,
            "fpr_of_that_threshold": calibrated.fpr,
            "calibration_rows": calibrated.clean_rows,
            "above_threshold": calibrated.above,
            "far_above": calibrated.far_above,
            "followed": round(followed, 3),
            "least_followed": self.least_followed,
            "expected_by_chance": round(calibrated.expected, 3),
            "chance": calibrated.p_value,
            "mapping_true_class": mapping.true_class,
            "mapping_steps": mapping.history.steps,
        }

    def _calibration_warnings(self, calibrated: CalibratedThreshold) -> Sequence[str]:
        if calibrated.fpr_bound <= self.fpr:
            return []
        return [
            f"{calibrated.clean_rows} clean rows are left to calibrate on: the smallest false-positive rate that they allow is "
            f"{calibrated.fpr_bound:.3f}, more than the {self.fpr:g} requested; give more clean rows"
        ]
