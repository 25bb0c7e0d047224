"""The policy of a pipeline: when a scan fails, from which score, and which findings were reviewed and are allowed."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from untrigger.core.errors import OptionError, nearest
from untrigger.core.json_values import LARGEST
from untrigger.core.scan_result import FAIL_ON, exit_code
from untrigger.core.thresholds import SCAN_SCORE
from untrigger.core.validation import in_short
from untrigger.scanners.weights.weight_evidence import CALIBRATED_LIMITS, LIMITED

MAX_BYTES = 2**20
_DIGEST = re.compile("[0-9a-fA-F]{64}")
_ISO_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TABLES = {
    "": ("fail_on", "allow_undecided", "thresholds", "limits", "allow"),
    "thresholds": ("suspicious", "backdoored"),
    "limits": LIMITED,
    "allow": ("text", "target", "reason", "digest", "expires"),
}


@dataclass(frozen=True)
class Allowed:
    """A finding that was reviewed: not counted, but reported with its reason.

    An entry that has expired, or that was reviewed for another model, does not apply.

    Attributes:
        text: the candidate, compared without regard to case and white space.
        reason: why it is allowed.
        target: the label that it may flip predictions to; empty: any.
        digest: the SHA-256 of the model that it was reviewed for, as reports have it in ``given.model.sha256``; empty: any model.
        expires: the last day, in UTC, on which the entry applies; None: it always applies.
    """

    text: str
    reason: str
    target: str = ""
    digest: str = ""
    expires: date | None = None

    def covers(self, text: str, *, target: str, model: str = "") -> bool:
        """Return whether this entry is about that candidate in the model of that SHA-256, and has not expired."""
        about_it = _folded(self.text) == _folded(text) and self.target in ("", target)
        return about_it and self.digest in ("", model) and not self.expired

    @property
    def expired(self) -> bool:
        """Whether the last day is over."""
        return self.expires is not None and today() > self.expires

    def __str__(self) -> str:
        """Return the entry in one line, for a report."""
        line = f"{self.text}: {self.reason}"
        line += f"; only for the model {self.digest}" if self.digest else ""
        return line + (f"; until {self.expires.isoformat()}" if self.expires else "")


@dataclass(frozen=True)
class Policy:
    """How scores are turned into a verdict and a verdict into an exit code.

    Attributes:
        fail_on: the mildest verdict that ends with exit code 1: ``undecided``, ``suspicious`` or ``backdoored``.
        suspicious: score from which a model is suspicious, above 0 and at most 1.
        backdoored: score from which it is backdoored, at least ``suspicious``.
        limits: values from which weight evidence counts as unusual, by its name.
        allow: findings that are not counted.
        allow_undecided: whether a scan that could give no verdict ends with 0. Otherwise it ends with 3, or with 1 where
            ``fail_on`` names it: what could not be examined passes no gate unless the policy says so.
    """

    fail_on: str = "suspicious"
    suspicious: float = SCAN_SCORE.suspicious
    backdoored: float = SCAN_SCORE.certain
    limits: dict[str, float] = field(default_factory=lambda: dict(CALIBRATED_LIMITS))
    allow: tuple[Allowed, ...] = ()
    allow_undecided: bool = False

    def __post_init__(self) -> None:
        """Raise OptionError unless every value is in its range."""
        if self.fail_on not in FAIL_ON:
            raise OptionError(
                f"fail on {self.fail_on!r}",
                expected="one of " + ", ".join(FAIL_ON),
                nearest=nearest(self.fail_on, FAIL_ON),
            )
        if self.allow_undecided and self.fail_on == "undecided":
            raise OptionError(
                "undecided scans both fail and are allowed", expected="fail_on undecided, or allow_undecided"
            )
        if not 0 < self.suspicious <= self.backdoored <= 1:
            raise OptionError(
                f"thresholds suspicious {self.suspicious}, backdoored {self.backdoored}",
                expected="0 < suspicious <= backdoored <= 1",
            )

    def exit_code(self, status: str) -> int:
        """Return the exit code of a command whose verdict has that status."""
        return exit_code(status, fail_on=self.fail_on, allow_undecided=self.allow_undecided)

    def reason(self, text: str, *, target: str, model: str = "") -> str:
        """Return why that finding is allowed in the model of that SHA-256, empty where it is not."""
        return next((one.reason for one in self.allow if one.covers(text, target=target, model=model)), "")

    def warnings(self) -> list[str]:
        """Return a line for each entry that has expired."""
        return [
            f"the policy no longer allows {one.text!r}: its entry expired on {one.expires}; review the finding again"
            for one in self.allow
            if one.expired
        ]


def today() -> date:
    """Return the day in UTC."""
    return datetime.now(UTC).date()


def read_policy(path: Path) -> Policy:
    """Return the policy in a TOML file.

    Raises:
        OptionError: if it cannot be read, is not TOML, or holds unknown names or values: one message for all problems.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise OptionError(
                f"the policy {str(path)!r} is larger than {MAX_BYTES:,} bytes", expected="a small TOML file"
            )
        content = tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        raise OptionError(
            f"cannot read the policy {str(path)!r}: {error.strerror or error}", expected="a TOML file"
        ) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise OptionError(
            f"the policy {str(path)!r} is not TOML: {error}", remedy="see the README for an example"
        ) from error
    problems = _problems(content)
    if problems:
        raise OptionError(f"the policy {str(path)!r} cannot be used\n" + "\n".join(f"- {one}" for one in problems))
    try:
        return Policy(
            fail_on=content.get("fail_on", "suspicious"),
            **content.get("thresholds", {}),
            allow_undecided=content.get("allow_undecided", False),
            limits={**CALIBRATED_LIMITS, **content.get("limits", {})},
            allow=tuple(_allowed(one) for one in content.get("allow", [])),
        )
    except OptionError as error:
        raise OptionError(
            f"the policy {str(path)!r}: {error.what}", expected=error.expected, nearest=error.nearest
        ) from error


def _problems(content: dict[str, Any]) -> list[str]:
    """Return everything that is wrong with the file, a line each."""
    problems = _unknown("", content)
    if not isinstance(content.get("fail_on", ""), str):
        problems.append("fail_on: expected " + ", ".join(FAIL_ON))
    if not isinstance(content.get("allow_undecided", False), bool):
        problems.append("allow_undecided: expected true or false")
    for table in ("thresholds", "limits"):
        inner = content.get(table, {})
        if not isinstance(inner, dict):
            problems.append(f"{table}: expected a table, as [{table}]")
            continue
        problems += _unknown(table, inner)
        problems += [
            f"{table}.{key}: expected a finite number, not {v!r}" for key, v in inner.items() if not _number(v)
        ]
    entries = content.get("allow", [])
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        return [*problems, "allow: expected a list of tables, as [[allow]]"]
    for i, one in enumerate(entries, start=1):
        problems += [f"allow {i}: {line}" for line in _unknown("allow", one)]
        problems += [f"allow {i}: {key}: expected some text" for key in ("text", "reason") if not _text(one.get(key))]
        problems += [f"allow {i}: target: expected a label name"] if not isinstance(one.get("target", ""), str) else []
        if "digest" in one and not _DIGEST.fullmatch(str(one["digest"])):
            problems.append(f"allow {i}: digest: expected the 64 hex digits that a report has in given.model.sha256")
        if "expires" in one and _day(one["expires"]) is None:
            problems.append(f"allow {i}: expires: expected a day as 2027-01-31, not {in_short(one['expires'])}")
    return problems


def _allowed(entry: dict[str, Any]) -> Allowed:
    """Return the entry of a file that has no problems."""
    made = Allowed(**entry)
    return replace(made, digest=made.digest.lower(), expires=_day(made.expires))


def _day(value: object) -> date | None:
    """Return a day as TOML has it, also as text; None for anything else."""
    if isinstance(value, str) and _ISO_DAY.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            return None
    return value if isinstance(value, date) and not isinstance(value, datetime) else None


def _unknown(table: str, content: dict[str, Any]) -> list[str]:
    known = _TABLES[table]
    where = f"{table}." if table in ("thresholds", "limits") else ""
    lines = []
    for key in content:
        if key not in known:
            close = nearest(key, known)
            suggestion = f"; did you mean {close}?" if close else ""
            lines.append(f"{where}{key} is not known (one of {', '.join(known)}){suggestion}")
    return lines


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
