"""The report: what was given, what was done, what came out. JSON first, pages are drawn from it."""

from __future__ import annotations

import json
import os
import sys
import types
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, NoReturn, get_args, get_origin, get_type_hints

from untrigger.core.candidate import Candidate
from untrigger.core.errors import DataError, nearest
from untrigger.core.files import write_text
from untrigger.core.plain import LARGEST, SURROGATE, bounded, plain, tidy
from untrigger.core.scan_result import Scan
from untrigger.core.statistics import Measurement

SCHEMA = "untrigger.report/1"
KINDS = ("purification", "evaluation", "attack", "detection", "scan", "audit")
MAX_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Verdict:
    """What came out, in one word and one sentence. The words and their exit codes stand in ``untrigger.core.verdicts``."""

    status: str
    sentence: str

    def __post_init__(self) -> None:
        """Keep plain values only."""
        tidy(self)


@dataclass(frozen=True)
class Stage:
    """What one stage of a run cost.

    Attributes:
        name: of the stage.
        wall_s: seconds by the clock.
        cpu_s: seconds of all cores together.
        peak_rss_bytes: the most memory that it took; None where it took no more than an earlier stage of the process.
        steps: optimiser steps.
    """

    name: str
    wall_s: float | None
    cpu_s: float | None
    peak_rss_bytes: int | None
    steps: int | None = None

    def __post_init__(self) -> None:
        """Keep plain values only."""
        tidy(self)


@dataclass(frozen=True)
class Curve:
    """One line of a chart. Curves of one ``panel`` stand together; those with one ``y_label`` share an axis."""

    name: str
    panel: str
    x: list[float | None]
    y: list[float | None]
    x_label: str = "step"
    y_label: str = "loss"

    def __post_init__(self) -> None:
        """Keep plain values only; a loss that is not a number becomes a gap."""
        tidy(self)


@dataclass(frozen=True)
class Report:
    """What was given, what was done, what came out. Reading back what was written gives an equal report.

    Values are made plain when the report is made: numbers that JSON cannot hold (NaN, infinities) become None, paths
    become text, tuples become lists.

    Attributes:
        kind: one of ``KINDS``.
        given: what the defender was granted, with content hashes.
        method: ``{"name": ..., "options": {...}}``.
        environment: versions, machine, seed.
        outcomes: name of the file with one row per text.
        findings: candidate triggers that a defence, an audit or a scan found.
        features: ``{"method": "PCA", "points": [{"subject", "x", "y", "label", "triggered"}, ...]}``.
        scan: what a scan found; None for every other kind.
    """

    kind: str
    title: str
    verdict: Verdict
    given: dict[str, Any] = field(default_factory=dict)
    method: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    stages: list[Stage] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    outcomes: str | None = None
    warnings: list[str] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    features: dict[str, Any] | None = None
    findings: list[Candidate] = field(default_factory=list)
    scan: Scan | None = None

    def __post_init__(self) -> None:
        """Keep plain values only.

        Raises:
            DataError: if the kind is unknown or the points of ``features`` lack something.
        """
        tidy(self)
        measured = [_read(Measurement, bounded(plain(asdict(m))), at="measurements") for m in self.measurements]
        object.__setattr__(self, "measurements", measured)
        if self.kind not in KINDS:
            raise DataError(
                f"unknown kind of report {self.kind!r}",
                expected="one of " + ", ".join(KINDS),
                nearest=nearest(self.kind, KINDS),
            )
        _read(_Method, self.method, at="method")
        _read(_Features | None, self.features, at="features")

    def find(self, subject: str, metric: str) -> Measurement | None:
        """The measurement of ``metric`` on ``subject``, or None where the report has none."""
        return next((m for m in self.measurements if (m.subject, m.metric) == (subject, metric)), None)

    def to_json(self) -> str:
        """The report as JSON text: the same report gives the same text."""
        told = {"schema": SCHEMA, **asdict(self)}
        text = json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False)
        return SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, *, source: str = "the report") -> Report:
        """The report that ``text`` holds; fields that this version does not know are left out.

        Args:
            text: JSON as ``to_json`` writes it.
            source: how messages call it.

        Raises:
            DataError: if it is larger than 64 MiB, no JSON, of another schema, or lacks something.
        """
        if len(text) > MAX_BYTES:
            _too_large(source, size=len(text))
        told = _parse(text, source=source)
        schema = told.get("schema")
        if schema != SCHEMA:
            raise DataError(
                f"{source} has the schema {_short(schema)}",
                expected=SCHEMA,
                remedy="give a report.json written by this version of untrigger, or update untrigger",
            )
        try:
            report: Report = _read(cls, told, at="")
        except RecursionError as error:
            raise DataError(f"{source} is nested too deeply", expected="a report.json as untrigger wrote it") from error
        except DataError as error:
            raise DataError(f"{source}: {error.what}", expected=error.expected, nearest=error.nearest) from error
        return report

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Report:
        """The report in the file ``path``.

        Raises:
            DataError: if it cannot be opened or is no report.
        """
        try:
            size = os.stat(path).st_size
            if size > MAX_BYTES:
                _too_large(os.fspath(path), size=size)
            with open(path, "rb") as stream:
                content = stream.read(MAX_BYTES + 1)
        except OSError as error:
            raise DataError(
                f"cannot read {os.fspath(path)}: {error.strerror or error}",
                expected="a report.json file",
                remedy="name the report.json that purify, evaluate or attack has written",
            ) from error
        return cls.from_json(content, source=os.fspath(path))

    def write(self, path: str | os.PathLike[str]) -> Path:
        """The JSON file written, whole or not at all.

        Raises:
            OutputError: if the folder cannot be written to.
        """
        return write_text(path, text=self.to_json())


@dataclass(frozen=True)
class _Method:
    """The shape of ``Report.method``."""

    name: str = ""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Point:
    """The shape of one point of ``Report.features``."""

    subject: str
    x: float | None
    y: float | None
    label: str
    triggered: bool


@dataclass(frozen=True)
class _Features:
    """The shape of ``Report.features``."""

    points: list[_Point]
    method: str = ""


def _parse(text: str | bytes, *, source: str) -> dict[str, Any]:
    try:
        told = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise DataError(
            f"{source} is not JSON: {why}",
            expected=f"a JSON object with schema {SCHEMA}",
            remedy="give the file as untrigger wrote it, or run the command again",
        ) from error
    if not isinstance(told, dict):
        raise DataError(
            f"{source} holds {_short(told)}",
            expected=f"a JSON object with schema {SCHEMA}",
            remedy="name a report.json",
        )
    return told


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON number")


def _too_large(source: str, *, size: int) -> NoReturn:
    raise DataError(
        f"{source} is {size / 2**20:.0f} MiB",
        expected=f"a report of at most {MAX_BYTES // 2**20} MiB",
        remedy="name a report.json; rows stand in the outcomes file beside it",
    )


def _read(kind: Any, value: Any, *, at: str) -> Any:
    """``value`` as the type ``kind``, or a DataError that names the place ``at``."""
    if kind is Any:
        return value
    if isinstance(kind, types.UnionType):
        if value is None:
            return None
        return _read(next(part for part in get_args(kind) if part is not types.NoneType), value, at=at)
    if is_dataclass(kind):
        return _read_record(kind, value, at=at)
    shape = get_origin(kind) or kind
    if not _fits(shape, value):
        words = {list: "a list", dict: "an object", str: "text", float: "a number", int: "a whole number of 64 bits"}
        raise DataError(f"{at or 'the report'} is {_short(value)}", expected=words.get(shape, "true or false"))
    if shape is list:
        return [_read(get_args(kind)[0], item, at=f"{at}[{i}]") for i, item in enumerate(value)]
    return value


def _read_record(kind: Any, value: Any, *, at: str) -> Any:
    told = _read(dict[str, Any], value, at=at)
    hints, given = get_type_hints(kind), {}
    for each in fields(kind):
        place = f"{at}.{each.name}" if at else each.name
        if each.name in told:
            given[each.name] = _read(hints[each.name], told[each.name], at=place)
        elif each.default is MISSING and each.default_factory is MISSING:
            raise DataError(f"{place} is missing", expected="every field of " + kind.__name__.strip("_").lower())
    return kind(**given)


def _fits(shape: Any, value: Any) -> bool:
    if shape is float:
        return not isinstance(value, bool) and isinstance(value, int | float) and abs(value) <= sys.float_info.max
    if shape is int and isinstance(value, int) and abs(value) >= 2**63:
        return False
    return isinstance(value, shape) and (shape is bool or not isinstance(value, bool))


def _short(value: Any) -> str:
    told = repr(value)
    return told if len(told) <= 60 else told[:57] + "..."


__all__ = ["KINDS", "LARGEST", "MAX_BYTES", "SCHEMA", "Curve", "Report", "Stage", "Verdict"]
