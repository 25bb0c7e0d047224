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
from untrigger.defences.bedkd.row_detection.phrase_trial import (
    EffectivePhrase,
    TrialOptions,
    effective_phrases,
    triggers_among,
)
from untrigger.defences.bedkd.row_detection.row_evidence import collect_features, reference_features, score_rows
from untrigger.defences.bedkd.row_detection.shared_phrases import PhraseOptions, shared_phrases
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


class JudgedPool(NamedTuple):
    """What was found in a pool.

    Attributes:
        calibrated: the threshold of the scores.
        scores: of the pool.
        followed: share of the rows above the threshold whose label the model predicts.
        phrases: number of phrases that were tried on clean rows, and of those that flip them.
        triggers: those that count as triggers.
        chance: the probability of ranks as high as those of rows with such phrases in a clean pool.
    """

    calibrated: CalibratedThreshold
    scores: list[float]
    followed: float
    phrases: tuple[int, int]
    triggers: list[EffectivePhrase]
    chance: float

    @property
    def trigger_rows(self) -> set[int]:
        """Numbers of the rows of the pool that hold a trigger and its label."""
        return {row for one in self.triggers for row in one.phrase.rows}

    @property
    def fpr(self) -> float:
        """Bound of the share of clean rows that are flagged: above the threshold, or with a trigger and its label."""
        known, n = sum(one.clean_rows for one in self.triggers), self.calibrated.clean_rows
        by_threshold = self.calibrated.found or not self.triggers
        return (self.calibrated.fpr_bound if by_threshold else 1 / (n + 1)) + known / (n + 1)

    def raised(self, options: CalibrationOptions) -> tuple[list[float], float]:
        """Return scores and the threshold of flagged rows; rows with a trigger are moved above all others together."""
        threshold = flagging_threshold(self.calibrated, self.scores, options=options)
        marked = self.trigger_rows
        if not marked:
            return self.scores, threshold
        top = max([threshold, *(score for i, score in enumerate(self.scores) if i not in marked)])
        lift = max(0.0, top + 1 - min(self.scores[i] for i in marked))
        scores = [score + lift * (i in marked) for i, score in enumerate(self.scores)]
        return scores, threshold if self.calibrated.found else top + 0.5


@dataclass(frozen=True)
class BeDKDDetector(Detector):
    """Suspect rows scored by a directional mapping and four more kinds of evidence, flagged against held-out clean rows.

    Rows that are too few for a threshold are flagged if they share a phrase that flips clean rows.

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
        phrases: which phrases of suspicious rows are tried on clean rows.
        trial: when such a phrase counts as a trigger.
    """

    fpr: float = 0.01
    false_share: float = 0.02
    least_followed: float = 0.5
    mapping_rows: int = 160
    mapping: CopyConfig = MAPPING
    mapping_stop: MappingStop = field(default_factory=MappingStop)
    evidence: EvidenceOptions = field(default_factory=EvidenceOptions)
    calibration: CalibrationOptions = field(default_factory=CalibrationOptions)
    phrases: PhraseOptions = field(default_factory=PhraseOptions)
    trial: TrialOptions = field(default_factory=TrialOptions)

    def _detect(self, model: Classifier, grant: Grant, *, progress: Progress) -> Detection:
        assert grant.suspect is not None
        split = self.train_mapping(model, grant, progress=progress)
        draws = [row_rng(grant.seed, name, purpose="detect").random() for name in grant.suspect.ids]
        order = sorted(range(len(draws)), key=draws.__getitem__)  # the order of the file must not matter
        pool = grant.suspect.take(order)
        judged = self._judge(model, split, pool, seed=grant.seed, progress=progress)
        in_drawn_order, threshold = judged.raised(self.calibration)
        found, marked = judged.calibrated.found, judged.trigger_rows
        flags = [place in marked or (found and score > threshold) for place, score in enumerate(in_drawn_order)]
        by_row = sorted(zip(order, in_drawn_order, flags, strict=True))
        return Detection(
            grant.suspect,
            tuple(score for _, score, _ in by_row),
            tuple(flag for _, _, flag in by_row),
            threshold,
            fpr=judged.fpr,
            history=split.mapping.history,
            metadata=self._metadata(judged, split.mapping, names=model.label_names),
            curves=history_curves(split.mapping.history, panel="directional mapping"),
            warnings=[*split.warnings, *self._calibration_warnings(judged.calibrated)],
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

    def _judge(
        self, model: Classifier, split: MappingSplit, pool: Rows, *, seed: int, progress: Progress
    ) -> JudgedPool:
        """Return scores and threshold of the pool, and the triggers among the phrases that its most suspicious rows share."""
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
        phrases = shared_phrases(pool.texts, pool.labels, scores, options=self.phrases)
        effective = effective_phrases(
            model, phrases, clean=split.rest, logits=rest.victim, options=self.trial, progress=progress
        )
        rare = [one for one in effective if one.clean_rows <= self.fpr * len(split.rest)]
        full = 0 < len(phrases) == self.phrases.tried
        below = phrases[-1].p_value if full else self.phrases.p_value
        triggers, chance = triggers_among(rare, below=below, options=self.trial)
        found = replace(found, found=found.found and followed >= self.least_followed)
        return JudgedPool(found, scores, followed, (len(phrases), len(effective)), triggers, chance)

    def _metadata(self, judged: JudgedPool, mapping: DirectionalMapping, *, names: Sequence[str]) -> dict[str, Any]:
        calibrated = judged.calibrated
        return {
            "calibrated_threshold": calibrated.threshold,
            "requested_fpr": self.fpr,
            "fpr_of_that_threshold": calibrated.fpr,
            "calibration_rows": calibrated.clean_rows,
            "above_threshold": calibrated.above,
            "far_above": calibrated.far_above,
            "followed": round(judged.followed, 3),
            "least_followed": self.least_followed,
            "expected_by_chance": round(calibrated.expected, 3),
            "chance": calibrated.p_value,
            "above_counts": calibrated.found,
            "phrases_tried": judged.phrases[0],
            "phrases_effective": judged.phrases[1],
            "chance_of_phrases": judged.chance,
            "triggers": [one.summary(names) for one in judged.triggers],
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
