"""What a run can end with: the facts that a purifier must state, the statuses of verdicts, and the exit code of each."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class ExitCode(IntEnum):
    """How a command ends."""

    DONE = 0
    FOUND = 1
    INPUT = 2
    UNDECIDED = 3
    FAULT = 70
    INTERRUPTED = 130


class PurificationOutcome(StrEnum):
    """What a purifier knows about the model that it gives back. Every purifier states one; none of them is a verdict."""

    NOTHING_FOUND = "nothing found"
    """It looked and found nothing to remove; the model comes back as it was."""
    GIVEN_UP = "given up"
    """It found something that it could not remove, and gives an earlier model back."""
    RETRAINED_FROM_BASE = "retrained from a trusted base"
    """What was trained into a trusted base was removed, and the task trained again on that base."""
    SEARCH_FINDS_NOTHING = "last search finds nothing"
    """The model was trained, and a search of the result found nothing that calls for more."""
    SEARCH_STILL_FINDS = "last search still finds something"
    """The model was trained, and the last search still found something."""
    ROWS_NO_LONGER_FOLLOWED = "suspect rows no longer followed"
    """The model was trained, and predicts the labels of suspect rows no more often than an honest model would."""
    ROWS_STILL_FOLLOWED = "suspect rows still followed"
    """The model was trained, and still predicts the labels of suspect rows."""
    NOT_DECIDED = "not decided"
    """It looked, and could not say whether there is something."""
    TRAINED_ON_CLEAN_ROWS = "trained on clean rows alone"
    """Plain fine-tuning, which is known to leave backdoors in place: no evidence makes it *purified*."""
    NOT_CHECKED = "not checked"
    """The model was trained, and the result was not looked at."""

    @property
    def still_there(self) -> bool:
        """Whether the method itself says that the backdoor, or a part of it, may still be there."""
        return self in (self.GIVEN_UP, self.SEARCH_STILL_FINDS, self.ROWS_STILL_FOLLOWED)

    def fits(self, *, changed: bool) -> bool:
        """Whether it can be true of a model that was changed, or of one that was not."""
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
    """The exit code of a verdict; one that is not known counts as undecided, never as passed."""
    return int(EXIT_CODES.get(status, ExitCode.UNDECIDED))
