"""Outcomes of purifiers, statuses of verdicts, and exit codes."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class ExitCode(IntEnum):
    """Exit code of a command."""

    DONE = 0
    FOUND = 1
    INPUT = 2
    UNDECIDED = 3
    FAULT = 70
    INTERRUPTED = 130


class PurificationOutcome(StrEnum):
    """What a purifier knows about the model that it returns. Every purifier states one; none is a verdict."""

    NOTHING_FOUND = "nothing found"
    """Nothing to remove was found; the model is unchanged."""
    GIVEN_UP = "given up"
    """Something was found that could not be removed; an earlier model is returned."""
    RETRAINED_FROM_BASE = "retrained from a trusted base"
    """The model was reset to a trusted base, and the task trained again on it."""
    SEARCH_FINDS_NOTHING = "last search finds nothing"
    """The model was trained, and a search of the result found nothing that calls for more."""
    SEARCH_STILL_FINDS = "last search still finds something"
    """The model was trained, and the last search still found something."""
    ROWS_NO_LONGER_FOLLOWED = "suspect rows no longer followed"
    """The model was trained, and predicts the labels of suspect rows no more often than a clean model would."""
    ROWS_STILL_FOLLOWED = "suspect rows still followed"
    """The model was trained, and still predicts the labels of suspect rows."""
    NOT_DECIDED = "not decided"
    """The method could not decide whether there is something to remove."""
    TRAINED_ON_CLEAN_ROWS = "trained on clean rows alone"
    """Plain fine-tuning, which is known to leave backdoors in place: no evidence makes it *purified*."""
    NOT_CHECKED = "not checked"
    """The model was trained, and the result was not checked."""

    @property
    def still_there(self) -> bool:
        """Whether the method itself states that the backdoor, or a part of it, may still be there."""
        return self in (self.GIVEN_UP, self.SEARCH_STILL_FINDS, self.ROWS_STILL_FOLLOWED)

    def fits(self, *, changed: bool) -> bool:
        """Return whether the outcome can be true of a model that was changed, or of one that was not."""
        if self in (self.GIVEN_UP, self.NOT_DECIDED):
            return True
        return changed != (self is self.NOTHING_FOUND)


PURIFIED, UNCHANGED, NOT_VERIFIED, NOT_MET, WORSE, STILL_FOUND = (
    "purified",
    "unchanged",
    "not verified",
    "bound not met",
    "worse",
    "still found",
)
CLEAN, SUSPICIOUS, BACKDOORED, UNDECIDED = "clean", "suspicious", "backdoored", "undecided"
HELD, CAME_BACK, NOT_CLEAN = "held", "came back", "not clean"
NOTHING_FOUND = "nothing found"

EXIT_CODES = {
    CLEAN: ExitCode.DONE,
    PURIFIED: ExitCode.DONE,
    UNCHANGED: ExitCode.DONE,
    HELD: ExitCode.DONE,
    NOTHING_FOUND: ExitCode.DONE,
    SUSPICIOUS: ExitCode.FOUND,
    BACKDOORED: ExitCode.FOUND,
    STILL_FOUND: ExitCode.FOUND,
    NOT_MET: ExitCode.FOUND,
    WORSE: ExitCode.FOUND,
    CAME_BACK: ExitCode.FOUND,
    NOT_CLEAN: ExitCode.FOUND,
    UNDECIDED: ExitCode.UNDECIDED,
    NOT_VERIFIED: ExitCode.UNDECIDED,
}
"""The exit code of every verdict; for scans ``Policy.exit_code`` may soften it."""


def exit_code(status: str) -> int:
    """Return the exit code of a verdict; an unknown status counts as undecided, never as passed."""
    return int(EXIT_CODES.get(status, ExitCode.UNDECIDED))
