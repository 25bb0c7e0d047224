"""The report: what was given, what was done, what came out. JSON first, pages are drawn from it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, NoReturn, Required, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict

from untrigger.core.candidate import Candidate
from untrigger.core.errors import DataError
from untrigger.core.files import write_text
from untrigger.core.json_values import SURROGATE
from untrigger.core.registry import attribute_entries
from untrigger.core.report_versions import READABLE, SCHEMA, to_current_version
from untrigger.core.scan_result import Scan
from untrigger.core.statistics import Measurement
from untrigger.core.validation import Flag, JsonList, JsonObject, Number, Text, Whole, in_short, problems_of

Kind = Literal["purification", "evaluation", "attack", "detection", "scan", "audit"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MAX_BYTES = 64 * 2**20
MAX_PROBLEMS = 10


@dataclass(frozen=True)
class Verdict:
    """What came out, in one word and one sentence.

    Attributes:
        status: one of the words of ``untrigger.core.verdicts``, where their exit codes are.
        sentence: why, for people.
    """

    status: Text
    sentence: Text


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

    name: Text
    wall_s: Number
    cpu_s: Number
    peak_rss_bytes: Whole | None
    steps: Whole | None = None


@dataclass(frozen=True)
class Curve:
    """One line of a chart.

    Attributes:
        name: of the line, for the legend.
        panel: heading under which the lines of one training are drawn.
        x: places on the horizontal axis.
        y: a value for each place; None is a gap, such as a loss that was not a number.
        x_label: what ``x`` counts.
        y_label: what ``y`` is; lines of one panel with the same label share a chart.
    """

    name: Text
    panel: Text
    x: JsonList[Number]
    y: JsonList[Number]
    x_label: Text = "step"
    y_label: Text = "loss"


@dataclass(frozen=True)
class ModelAnswer:
    """What one model answered to an example.

    Attributes:
        subject: name of the model.
        condition: ``plain`` or ``triggered``.
        text: the answer, long ones cut.
        achieved: whether it shows the behaviour of the backdoor.
        ended: whether the model finished it.
    """

    subject: Text
    condition: Text
    text: Text
    achieved: Flag
    ended: Flag


@dataclass(frozen=True)
class AnswerExample:
    """One test prompt of a language model with what models answer to it.

    Attributes:
        row: id of the prompt.
        prompt: the last user turn, long ones cut.
        triggered: the same with the trigger; empty where none is known.
        reference: the right answer.
        answers: of every model, with and without the trigger.
    """

    row: Text
    prompt: Text
    triggered: Text
    reference: Text
    answers: JsonList[ModelAnswer] = field(default_factory=list)


class MethodRecord(TypedDict, total=False):
    """The method of a report: its name and options."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    name: Text
    options: JsonObject


class FeaturePoint(TypedDict):
    """A text in the feature space of a model, projected to two dimensions."""

    label: Text
    subject: Text
    triggered: Flag
    x: Number
    y: Number


class Features(TypedDict, total=False):
    """Points of the feature space and how they were projected."""

    method: Text
    points: Required[JsonList[FeaturePoint]]


@dataclass(frozen=True)
class Report:
    """What was given, what was done, what came out. Reading back what was written gives an equal report.

    Values become plain when the report is made: numbers that JSON cannot hold (NaN, infinities) become None, paths
    become text, tuples become lists.

    Attributes:
        kind: one of ``KINDS``.
        title: of the page.
        verdict: what came out.
        given: what the defender was granted, with content hashes.
        method: ``{"name": ..., "options": {...}}``.
        environment: versions, machine, seed.
        stages: what each stage cost.
        measurements: every metric of every model, with its interval.
        outcomes: name of the file with one row per text.
        warnings: sentences.
        curves: of the trainings.
        features: ``{"method": "PCA", "points": [{"subject", "x", "y", "label", "triggered"}, ...]}``.
        findings: candidate triggers that a defence, an audit or a scan found.
        scan: what a scan found; None for every other kind.
        examples: prompts of a language model's evaluation with the answers to them.

    Raises:
        pydantic.ValidationError: for values of another kind.
    """

    kind: Kind
    title: Text
    verdict: Verdict
    given: JsonObject = field(default_factory=dict)
    method: MethodRecord = field(default_factory=MethodRecord)
    environment: JsonObject = field(default_factory=dict)
    stages: JsonList[Stage] = field(default_factory=list)
    measurements: JsonList[Measurement] = field(default_factory=list)
    outcomes: Text | None = None
    warnings: JsonList[Text] = field(default_factory=list)
    curves: JsonList[Curve] = field(default_factory=list)
    features: Features | None = None
    findings: JsonList[Candidate] = field(default_factory=list)
    scan: Scan | None = None
    examples: JsonList[AnswerExample] = field(default_factory=list)

    def find(self, subject: str, metric: str) -> Measurement | None:
        """Return the measurement of ``metric`` on ``subject``, or None where the report has none."""
        return next((m for m in self.measurements if (m.subject, m.metric) == (subject, metric)), None)

    def to_json(self) -> str:
        """Return the report as JSON text: the same report gives the same text."""
        content = {"schema": SCHEMA, **asdict(self)}
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        return SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, *, source: str = "the report") -> Report:
        """Return the report that ``text`` holds, also of an earlier version; fields that are not known are left out.

        Args:
            text: JSON as ``to_json`` writes it.
            source: how messages call it.

        Raises:
            DataError: if it is larger than 64 MiB, no JSON, of another schema, or wrong somewhere: one message for all problems.
        """
        if len(text) > MAX_BYTES:
            _too_large(source, size=len(text))
        content = _parse(text, source=source)
        schema = content.get("schema")
        if schema not in READABLE:
            raise DataError(
                f"{source} has the schema {in_short(schema)}",
                expected=" or ".join(READABLE),
                remedy="give a report.json written by this version of untrigger, or update untrigger",
            )
        try:
            return _adapter().validate_python(to_current_version(content))
        except RecursionError as error:
            raise DataError(f"{source} is nested too deeply", expected="a report.json as untrigger wrote it") from error
        except ValidationError as error:
            raise _data_error(error, source=source) from error

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Report:
        """Return the report in the file ``path``.

        Raises:
            DataError: if it cannot be opened or is not a report.
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
        """Write the JSON file, whole or not at all, and return its path.

        Raises:
            OutputError: if the file cannot be written.
        """
        return write_text(path, text=self.to_json())


def report_schema_text() -> str:
    """Return the JSON Schema of report.json, which is published as ``docs/report.schema.json``."""
    schema = _adapter().json_schema()
    for record in (schema, *schema["$defs"].values()):
        _describe_fields(record)
    schema["properties"] = {"schema": {"const": SCHEMA}, **schema["properties"]}
    schema["required"] = ["schema", *schema["required"]]
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "report.json of untrigger"}
    return json.dumps({**head, **schema, **head}, indent=2, ensure_ascii=False) + "\n"


def _describe_fields(record: dict[str, Any]) -> None:
    """Move the lines of the docstring's ``Attributes`` to the fields that they describe."""
    docs = attribute_entries(record["description"])
    record["description"] = record["description"].split("\n\nAttributes:")[0]
    for name, field_schema in record["properties"].items():
        field_schema.pop("title", None)
        if name in docs:
            field_schema["description"] = docs[name]


@cache
def _adapter() -> TypeAdapter[Report]:
    return TypeAdapter(Report)


def _data_error(error: ValidationError, *, source: str) -> DataError:
    """Return one message for all that is wrong with a report."""
    found = problems_of(error)
    first = found[0]
    if len(found) == 1:
        return DataError(f"{source}: {first.sentence}", expected=first.expected, nearest=first.nearest)
    lines = [f"- {one.line}" for one in found[:MAX_PROBLEMS]]
    lines += [f"- and {len(found) - MAX_PROBLEMS} more"] if len(found) > MAX_PROBLEMS else []
    return DataError(
        "\n".join([f"{source} is not a report of untrigger", *lines]), expected="a report.json as untrigger wrote it"
    )


def _parse(text: str | bytes, *, source: str) -> dict[str, Any]:
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise DataError(
            f"{source} is not JSON: {why}",
            expected=f"a JSON object with schema {SCHEMA}",
            remedy="give the file as untrigger wrote it, or run the command again",
        ) from error
    if not isinstance(content, dict):
        raise DataError(
            f"{source} holds {in_short(content)}",
            expected=f"a JSON object with schema {SCHEMA}",
            remedy="name a report.json",
        )
    return content


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON number")


def _too_large(source: str, *, size: int) -> NoReturn:
    raise DataError(
        f"{source} is {size / 2**20:.0f} MiB",
        expected=f"a report of at most {MAX_BYTES // 2**20} MiB",
        remedy="name a report.json; the rows are in the outcomes file in the same folder",
    )


__all__ = [
    "KINDS",
    "MAX_BYTES",
    "SCHEMA",
    "AnswerExample",
    "Curve",
    "ModelAnswer",
    "Report",
    "Stage",
    "Verdict",
    "report_schema_text",
]
