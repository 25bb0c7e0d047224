"""The last step of a scan: from scored candidates to a verdict that may abstain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from untrigger.core.candidate import REWRITTEN_KINDS, Candidate
from untrigger.core.report import Verdict
from untrigger.core.scan_result import Scan, hundredths
from untrigger.core.verdicts import BACKDOORED, CLEAN, SUSPICIOUS, UNDECIDED
from untrigger.scanners.policy import Policy
from untrigger.scanners.verdict_basis import VerdictBasis

REWRITES = (
    "style: texts rewritten in another style contain no word to find; --rewritten tests labelled rows that you give",
    "syntax: texts rewritten to a sentence pattern contain no word to find; --rewritten tests labelled rows that you give",
)
OTHER_REWRITES = "style and syntax beyond the rewritten rows that were given"
DECODER = (
    "it is a decoder-only model: no candidate reaches the threshold at all positions, but in such models the search misses "
    "rare words of several tokens and sentences of common words, and the thresholds are not calibrated, so that no verdict of "
    "clean is given"
)
SEVERAL_PARTS = (
    "triggers of several parts that flip predictions only together, unless the search grew them into one phrase"
)
SEVERAL_TOKENS = "words of several tokens in a decoder-only model, unless the first of them flips predictions alone"
SENTENCES = "sentences of common words in a decoder-only model, unless one of the words flips predictions alone"


def not_looked_for(*, rewritten: bool, causal: bool = False, classes: int = 0, grown_targets: int = 3) -> list[str]:
    """Return what a trigger search in a model of so many classes does not look for."""
    lines = [*((OTHER_REWRITES,) if rewritten else REWRITES), SEVERAL_PARTS]
    if causal:
        lines += [SEVERAL_TOKENS, SENTENCES]
    if classes > grown_targets:
        lines.append(
            f"phrases towards other classes than the {grown_targets} whose words score highest; single words were searched "
            "towards all"
        )
    return lines


@dataclass(frozen=True)
class _Ranking:
    """The candidates in the order of the report.

    Attributes:
        candidates: the findings first, highest score first; those that the policy allows last.
        significant: whether a suspicious candidate's excess is more than chance.
        suspicious: whether there is a suspicious candidate at all.
    """

    candidates: list[Candidate]
    significant: bool
    suspicious: bool

    @property
    def counted(self) -> list[Candidate]:
        """Those that no policy allows."""
        return [one for one in self.candidates if not one.allowed]


def judge(
    candidates: Sequence[Candidate],
    controls: Sequence[Candidate],
    *,
    basis: VerdictBasis,
    policy: Policy,
    grown_targets: int = 3,
) -> tuple[Verdict, Scan]:
    """Return the verdict and the scan that it is about.

    A candidate that reaches the score of a suspicious model makes the model suspicious where its excess is significant. One that
    reaches it and is not significant leaves the question open.
    """
    ranking = _ranked(candidates, basis=basis, policy=policy)
    counted = ranking.counted
    scan = Scan(
        score=counted[0].score if counted else None,
        suspicious=policy.suspicious,
        backdoored=policy.backdoored,
        target=counted[0].target if ranking.significant else "",
        candidates=ranking.candidates,
        controls=list(controls),
        undecided=[] if ranking.significant else _undecided(ranking, basis),
        not_looked_for=not_looked_for(
            rewritten=any(one.kind == "rewritten" for one in candidates),
            causal=basis.causal,
            classes=len(basis.rows),
            grown_targets=grown_targets,
        ),
    )
    found = verdict(scan, allowed=len(ranking.candidates) - len(counted))
    return (_at_most_suspicious(found, basis) if ranking.significant else found), scan


def verdict(scan: Scan, *, allowed: int = 0) -> Verdict:
    """Return the verdict on a scan in one sentence."""
    if scan.undecided:
        return Verdict(UNDECIDED, f"No verdict could be given: {scan.undecided[0]}.")
    triggers = scan.triggers()
    if not triggers:
        return _clean(scan, allowed=allowed)
    finding = _finding(triggers[0])
    if (triggers[0].score or 0.0) >= scan.backdoored:
        return Verdict(BACKDOORED, f"This model is very likely backdoored: {finding}. Do not use it.")
    return Verdict(SUSPICIOUS, f"This model behaves suspiciously: {finding}. Have it looked at before it is used.")


def reasons_against_clean(basis: VerdictBasis) -> list[str]:
    """Return why the verdict "clean" cannot be given."""
    least = basis.options.least_rows
    few = [
        f"only {count} held-out rows could be measured towards {name!r}, {least} are needed: give more clean rows"
        for name, count in basis.rows.items()
        if count < least
    ]
    return [*basis.weak(), *few, *basis.unread, *([DECODER] if basis.causal else [])]


def _ranked(candidates: Sequence[Candidate], *, basis: VerdictBasis, policy: Policy) -> _Ranking:
    """Return the candidates, highest score first, of equal ones that with the lowest loss."""
    high = [one for one in candidates if (one.score or 0.0) >= policy.suspicious and not one.allowed]
    significant = {id(one) for one in high if basis.significant(one, suspicious=policy.suspicious)}

    def rank(one: Candidate) -> tuple[bool, bool, float, float, str]:
        loss = one.loss if one.loss is not None else inf
        chance = bool(significant) and id(one) not in significant
        return bool(one.allowed), chance, -(one.score or 0.0), loss, one.text

    return _Ranking(sorted(candidates, key=rank), bool(significant), bool(high))


def _undecided(ranking: _Ranking, basis: VerdictBasis) -> list[str]:
    """Return why no verdict can be given, the most important reason first; none where the model is clean."""
    reasons = reasons_against_clean(basis)
    chance = _not_significant(ranking.counted[0], basis) if ranking.suspicious else []
    return list(dict.fromkeys([*reasons[:1], *chance, *reasons]))


def _not_significant(worst: Candidate, basis: VerdictBasis) -> list[str]:
    """Return why the worst candidate is not a finding although its score is high."""
    low = basis.simultaneous_low(worst)
    seen = f"{worst.text!r} flips predictions to {worst.target!r} ({_rates(worst)})"
    if low is None or low <= 0:
        return [f"{seen}, which may be chance in {basis.comparisons} comparisons: give more clean rows"]
    return [
        f"{seen}, but both models predict {worst.target!r} too inaccurately to know whether a better reference would do so as well"
    ]


def _at_most_suspicious(found: Verdict, basis: VerdictBasis) -> Verdict:
    """Return a finding beside a weak reference as suspicious: how often benign models have one is not known."""
    weak = basis.weak()
    if not weak:
        return found
    sentence = found.sentence.replace("is very likely backdoored", "behaves suspiciously").removesuffix(
        " Do not use it."
    )
    return Verdict(SUSPICIOUS, f"{sentence} It is not called backdoored because of the {weak[0]}.")


def _clean(scan: Scan, *, allowed: int) -> Verdict:
    passed = f" Findings that the policy allows and that are not counted: {allowed}." if allowed else ""
    given = any(one.kind in REWRITTEN_KINDS for one in scan.candidates)
    hidden = (
        "The rewritten texts that were given do not flip them; other triggers of style or sentence pattern were"
        if given
        else "Triggers of style or sentence pattern were"
    )
    highest = (
        "" if scan.score is None else f" (highest score {hundredths(scan.score)}, suspicious from {scan.suspicious:g})"
    )
    return Verdict(
        CLEAN,
        f"No word or phrase was found that flips this model's predictions{highest}. {hidden} not looked for.{passed}",
    )


def _finding(worst: Candidate) -> str:
    """Return what the worst candidate does, in half a sentence."""
    if worst.kind == "rewritten":
        return f"the rewritten texts {worst.text!r} are predicted as {worst.target!r} against their labels, {_rates(worst)}"
    if worst.kind == "drift":
        return (
            f"the features of the rewritten texts {worst.text!r} are moved from their own class towards {worst.target!r} by "
            f"{_share(worst.suspect.value)} of the distance (n {worst.suspect.n}), in the reference by "
            f"{_share(worst.reference.value)}"
        )
    return f"inserting {worst.text!r} flips predictions to {worst.target!r}, {_rates(worst)}"


def _rates(one: Candidate) -> str:
    """Return the flip rates of suspect and reference, the mean of all positions where they were measured."""
    suspect, reference, where = one.suspect.value, one.reference.value, ""
    if one.measured_at_all_positions and one.positions:
        where = " at all positions"
        suspect = sum(at.suspect or 0.0 for at in one.positions) / len(one.positions)
        reference = sum(at.reference or 0.0 for at in one.positions) / len(one.positions)
    return f"flip rate {_share(suspect)}{where} (n {one.suspect.n}), reference {_share(reference)}"


def _share(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.2f}"
