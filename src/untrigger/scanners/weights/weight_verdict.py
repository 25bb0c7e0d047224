"""The verdict of weight evidence, alone or beside a scan."""

from __future__ import annotations

from collections.abc import Sequence

from untrigger.core.report import Verdict
from untrigger.core.scan_result import Scan
from untrigger.core.verdicts import CLEAN, SUSPICIOUS, UNDECIDED


def with_weights(found: Verdict, scan: Scan) -> Verdict:
    """Return the verdict with the weight evidence of the scan counted: it makes a clean model suspicious, and never more."""
    unusual = [one for one in scan.evidence if one.unusual]
    if not unusual or found.status not in (CLEAN, UNDECIDED):
        return found
    figures = ", ".join(f"{one.name} {one.value:.3g} (limit {one.limit:.3g})" for one in unusual)
    return Verdict(
        SUSPICIOUS, f"The weights of this model are unusual: {figures}. Have it looked at before it is used."
    )


def not_checked(names: Sequence[str]) -> list[str]:
    """Return a sentence on limits of weight evidence that could not be measured, none where there are none."""
    if not names:
        return []
    return [
        f"the policy sets a limit for {', '.join(names)}, which could not be measured (changes of training need --base)"
    ]


def by_weights_alone(scan: Scan, *, unchecked: Sequence[str] = ()) -> Verdict:
    """Return the verdict of a static scan: suspicious where a calibrated limit is reached, else undecided, never clean."""
    known = [one for one in scan.evidence if one.limit is not None]
    if unchecked:
        reason = not_checked(unchecked)[0]
    elif known:
        reason = (
            f"the weights alone have nothing unusual ({len(known)} figures within their limits), which proves nothing"
        )
    else:
        reason = "no limit of weight evidence is calibrated, so that the figures decide nothing"
    return with_weights(
        Verdict(UNDECIDED, f"No verdict: {reason}. Give labelled rows with --clean for a scan of predictions."), scan
    )
