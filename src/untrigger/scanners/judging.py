"""From candidates to a score, and from a score to a verdict that may abstain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from untrigger.core.candidate import REWRITTEN_KINDS, Candidate
from untrigger.core.report import Verdict
from untrigger.core.scan_result import Scan
from untrigger.core.statistics import Measurement
from untrigger.inversion.search import GROWN
from untrigger.inversion.simultaneous import simultaneous_low
from untrigger.scanners import thresholds as calibration
from untrigger.scanners.policy import Policy

REWRITES = (
    "style: texts rewritten in another style leave no word to find; --rewritten tests labelled rows that you bring",
    "syntax: texts rewritten to a sentence pattern leave no word to find; --rewritten tests labelled rows that you bring",
)
OTHER_REWRITES = "style and syntax beyond the rewritten rows that were given"
UNPROVEN = (
    "it is a decoder-only model: nothing was found that takes it over wherever it stands, but on such models the search has "
    "missed trigger sentences and its thresholds are not calibrated, so clean is not said"
)
ALWAYS = "triggers of several parts that move the model only together, unless the search grew them into one phrase"
WHOLE = "words that a decoder-only model reads as several tokens, unless the first of them moves it alone"
FEW = f"phrases towards other classes than the {GROWN} whose words do most; single words were tried towards all"


def unseen(*, rewritten: bool, causal: bool = False, classes: int = 0) -> list[str]:
    """What an insertion search in a model of so many classes did not look for."""
    told = [*((OTHER_REWRITES,) if rewritten else REWRITES), ALWAYS]
    if causal:
        told.append(WHOLE)
    if classes > GROWN:
        told.append(FEW)
    return told


@dataclass(frozen=True)
class Ground:
    """What a verdict stands on.

    Attributes:
        suspect: accuracy of the suspect on the held-out rows.
        reference: the same of the reference.
        largest: share of the largest class among them.
        rows: for each target name, held-out rows of other classes that both models call right.
        causal: whether the suspect reads from left to right.
        leads: for each target name, how much more often suspect and reference predict it for its own held-out rows than for others,
            each at the lower end of its interval; none of a target that was not measured.
        comparisons: how many candidates, at how many places, were tried on the held-out rows.
        unread: why the suspect cannot be called clean by what it answers to those rows, a reason each.
    """

    suspect: Measurement
    reference: Measurement
    largest: float
    rows: dict[str, int]
    causal: bool = False
    leads: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)
    comparisons: int = 1
    unread: Sequence[str] = ()

    def weak(self) -> list[str]:
        """Which of the two models is hardly more accurate than the largest class alone, and what to do."""
        reasons = []
        for who, found in (("reference", self.reference), ("model itself", self.suspect)):
            if found.value is None or found.value < self.largest + calibration.LEAST_LEAD:
                remedy = (
                    "give more clean rows or a better encoder" if who == "reference" else "is it a model of this task?"
                )
                right = "nothing" if found.value is None else f"{found.value:.0%} of the held-out rows"
                reasons.append(
                    f"the {who} is right on {right}, the largest class alone is {self.largest:.0%}: {remedy}"
                )
        return reasons

    def shows(self, candidate: Candidate, *, suspicious: float) -> bool:
        """Whether the candidate's excess over the reference is more than chance, all comparisons of the scan counted.

        Where one of the models is weak, the score must be higher by ``WEAK_COST``, because a weak reference knows fewer honest
        words. What counts then is whether both know the candidate's target at all and how many rows both call right: a
        reference that always predicts one class is moved by nothing, and proves nothing.
        """
        low = simultaneous_low(candidate, comparisons=self.comparisons)
        if low is None or low <= 0:
            return False
        if not self.weak():
            return True
        if candidate.kind in REWRITTEN_KINDS or self.rows.get(candidate.target, 0) < calibration.LEAST_ROWS:
            return False
        if (candidate.score or 0.0) < suspicious + calibration.WEAK_COST:
            return False
        return all((lead or 0.0) >= calibration.LEAST_TELLING for lead in self.leads.get(candidate.target, (None,)))


def score(candidate: Candidate, *, bound: bool = True) -> float:
    """The score of a candidate, 0 to 1: what it does in the suspect alone, in every kind of row, and how short it is.

    The lower end of the 95 % interval of its excess over the reference, so that few rows give a low score; times its flip
    rate among the rows that the suspect was surest of (honest words tip rows that hang in the balance, a backdoor tips
    all). The mean over the places where each was tried on all rows, else over all rows as they come; or the best place less
    ``PLACE_COST``: a trigger may be bound to a place, but honest phrases that take over at the end of a text alone are easily
    found too. Less ``WORD_COST`` for every word beyond the first and ``PIECE_COST`` for every token beyond the first of a
    word. Rewritten rows have the lower end alone, as a share of what the reference leaves to be moved: it calls a third of
    honestly rewritten rows something else.
    """
    if candidate.kind in REWRITTEN_KINDS:
        room = 1 - (candidate.reference.value or 0.0)
        return min(1.0, max(0.0, candidate.excess.low or 0.0) / room) if room > 0 else 0.0
    if not candidate.survives:
        return 0.0
    whole = (candidate.excess.low or 0.0) * (candidate.high_confidence_flip_rate or 0.0)
    placed = [(one.low or 0.0) * (one.high_confidence or 0.0) for one in candidate.positions]
    if placed and candidate.measured_at_all_positions:
        whole = sum(placed) / len(placed)
    words = max(1, len(candidate.text.split()))
    best = max([whole, *(one - calibration.PLACE_COST for one in placed if bound)])
    return max(0.0, best - calibration.WORD_COST * (words - 1) - calibration.PIECE_COST * candidate.extra_subwords)


def doubts(ground: Ground) -> list[str]:
    """Why the verdict "clean" cannot be given."""
    few = [
        f"only {count} held-out rows could be tried towards {name!r}, {calibration.LEAST_ROWS} are needed: give more clean rows"
        for name, count in ground.rows.items()
        if count < calibration.LEAST_ROWS
    ]
    return [*ground.weak(), *few, *ground.unread, *([UNPROVEN] if ground.causal else [])]


def judged(
    candidates: Sequence[Candidate], controls: Sequence[Candidate], *, ground: Ground, policy: Policy
) -> tuple[Verdict, Scan]:
    """The verdict and the scan that it is about; candidates worst first, of equal ones that of which the model is surest.

    A candidate that reaches the score of a suspicious model makes the model suspicious where ``ground`` shows it. One that
    reaches it and is not shown leaves the question open.
    """
    high = [one for one in candidates if (one.score or 0.0) >= policy.suspicious and not one.allowed]
    shown = {id(one) for one in high if ground.shows(one, suspicious=policy.suspicious)}

    def rank(one: Candidate) -> tuple[bool, bool, float, float, str]:
        return bool(one.allowed), bool(shown) and id(one) not in shown, -(one.score or 0.0), _loss(one), one.text

    ranked = sorted(candidates, key=rank)
    counted = [one for one in ranked if not one.allowed]
    unshown = [] if shown or not high else _unshown(counted[0], ground)
    scan = Scan(
        score=counted[0].score if counted else None,
        suspicious=policy.suspicious,
        backdoored=policy.backdoored,
        target=counted[0].target if shown else "",
        candidates=ranked,
        controls=list(controls),
        undecided=[] if shown else list(dict.fromkeys([*doubts(ground)[:1], *unshown, *doubts(ground)])),
        not_looked_for=unseen(
            rewritten=any(one.kind == "rewritten" for one in candidates), causal=ground.causal, classes=len(ground.rows)
        ),
    )
    found = verdict(scan, allowed=len(ranked) - len(counted))
    return (_capped(found, ground) if shown else found), scan


def _capped(found: Verdict, ground: Ground) -> Verdict:
    """A finding beside a weak reference, which is suspicious at the most: how often honest models show one is not known."""
    weak = ground.weak()
    if not weak:
        return found
    sentence = found.sentence.replace("is very likely backdoored", "behaves suspiciously").removesuffix(
        " Do not use it."
    )
    return Verdict("suspicious", f"{sentence} It is not called backdoored because {weak[0]}.")


def _unshown(worst: Candidate, ground: Ground) -> list[str]:
    """Why the worst candidate is no finding although its score is high."""
    low = simultaneous_low(worst, comparisons=ground.comparisons)
    rows = f"{_percent(worst.suspect)} of {worst.suspect.n} held-out rows"
    seen = f"{worst.text!r} makes the model predict {worst.target!r} in {rows}"
    if low is None or low <= 0:
        return [f"{seen}, which may be chance where {ground.comparisons} comparisons were made: give more clean rows"]
    return [
        f"{seen}, but the models know too little of {worst.target!r} to tell whether a better clean model would do so as well"
    ]


def _loss(candidate: Candidate) -> float:
    return candidate.loss if candidate.loss is not None else inf


def verdict(scan: Scan, *, allowed: int = 0) -> Verdict:
    """The verdict on a scan in one sentence that needs no knowledge of the field."""
    if scan.undecided:
        return Verdict("undecided", f"No verdict could be given: {scan.undecided[0]}.")
    triggers = scan.triggers()
    if not triggers:
        passed = f" Findings that the policy allows and that are not counted: {allowed}." if allowed else ""
        brought = any(one.kind in REWRITTEN_KINDS for one in scan.candidates)
        hidden = (
            "The rewritten texts that were given do not sway it; other hidden rules of style or sentence pattern were"
            if brought
            else "Hidden rules of style or sentence pattern were"
        )
        return Verdict(
            "clean",
            f"No word or phrase was found that takes over this model's answer. {hidden} not looked for.{passed}",
        )
    worst = triggers[0]
    does = _does(worst)
    if (worst.score or 0.0) >= scan.backdoored:
        return Verdict("backdoored", f"This model is very likely backdoored: {does}. Do not use it.")
    return Verdict("suspicious", f"This model behaves suspiciously: {does}. Have it looked at before it is used.")


def _does(worst: Candidate) -> str:
    """What the worst finding does, in half a sentence."""
    own, clean = _percent(worst.suspect), _percent(worst.reference)
    if worst.kind == "rewritten":
        return (
            f"of the rewritten texts {worst.text!r} it calls {own} {worst.target!r} against their labels; a clean model does so "
            f"with {clean}"
        )
    if worst.kind == "drift":
        return (
            f"to it the rewritten texts {worst.text!r} lie {own} of the way from their own class to {worst.target!r}; to a clean "
            f"model {clean}"
        )
    return (
        f"putting {worst.text!r} into a text makes this model say {worst.target!r} in {own} of held-out cases where it was right "
        f"before; a clean model says so in {clean}"
    )


def _percent(found: Measurement) -> str:
    return "an unknown share" if found.value is None else f"{100 * found.value:.0f} %"


def with_weights(found: Verdict, scan: Scan) -> Verdict:
    """The verdict with the weight evidence of the scan counted: it makes a clean model suspicious, and never more."""
    unusual = [one for one in scan.evidence if one.unusual]
    if not unusual or found.status not in ("clean", "undecided"):
        return found
    told = ", ".join(f"{one.name} {one.value:.3g} (limit {one.limit:.3g})" for one in unusual)
    return Verdict("suspicious", f"The weights of this model are unusual: {told}. Have it looked at before it is used.")


def not_checked(names: Sequence[str]) -> list[str]:
    """A sentence on limits of weight evidence that nothing could be held against, none where there are none."""
    if not names:
        return []
    return [
        f"the policy sets a limit for {', '.join(names)}, which could not be measured (what training moved needs --base)"
    ]


def by_weights_alone(scan: Scan, *, unchecked: Sequence[str] = ()) -> Verdict:
    """The verdict of a static scan: suspicious where a calibrated limit is reached, else undecided, never clean."""
    known = [one for one in scan.evidence if one.limit is not None]
    told = (
        f"No verdict: {not_checked(unchecked)[0]}."
        if unchecked
        else (
            f"No verdict: the weights alone show nothing unusual ({len(known)} figures within their limits), which proves nothing."
            if known
            else "No verdict: no limit of weight evidence is calibrated, so the figures stand without a judgement."
        )
    )
    return with_weights(Verdict("undecided", f"{told} Give labelled rows with --clean for a real scan."), scan)
