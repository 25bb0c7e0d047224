"""A scan or purification as a CycloneDX 1.6 bill of materials of machine-learning models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from untrigger.core.escaping import visible
from untrigger.core.report import Report
from untrigger.core.statistics import Measurement
from untrigger.reporting.checks import SKIPPED, checks
from untrigger.reporting.formats_extra import check_installed
from untrigger.reporting.model_files import ModelFiles
from untrigger.reporting.scan_view import inner

if TYPE_CHECKING:
    from cyclonedx.model import HashType, Property
    from cyclonedx.model.component import Component
    from cyclonedx.model.tool import ToolRepository

_EXAMINED = ("suspect", "purified")
"""The subject of a report's measurements that the bill of materials is about."""
TASK = "text-classification"


def to_bom(report: Report, models: Sequence[ModelFiles]) -> str:
    """Return the bill of materials as JSON: the model with its verdict, its base, and of both the hash of every opened file.

    A model with the role ``input`` is an ancestor of the first one, or its base if the first one is an adapter on it. The library
    has no class for a model card yet, so the cards are added to its JSON.

    Raises:
        NeedsError: if the extra ``formats`` is not installed.
    """
    check_installed("cyclonedx", what="a bill of materials")
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Pedigree
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion

    subject, adapter = _component(models[0]), models[0].kind == "adapter"
    bases = [one for one in models if one.role == "base"]
    inputs = [one for one in models if one.role == "input"]
    if adapter and not bases:
        bases, inputs = inputs, []  # full weights were purified by an adapter on them
    others = [_component(one) for one in bases]
    subject.properties.update(_properties(report))
    if inputs:
        subject.pedigree = Pedigree(ancestors=[_component(one) for one in inputs])
    bom = Bom(metadata=BomMetaData(component=subject, tools=_tools(report)), components=others)
    bom.register_dependency(subject, others if adapter else [])
    content = json.loads(make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string())
    content["metadata"]["component"]["modelCard"] = _card(models[0], report)
    for component in content.get("components", []):
        component["modelCard"] = {"modelParameters": _architecture(models[0])}
    return json.dumps(content, indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def _tools(report: Report) -> ToolRepository:
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.tool import ToolRepository

    versions = report.environment.get("versions")
    version = versions.get("untrigger") if isinstance(versions, dict) else None
    tool = Component(type=ComponentType.APPLICATION, name="untrigger", version=visible(str(version or "unknown")))
    return ToolRepository(components=[tool])


def _component(model: ModelFiles) -> Component:
    """Return a model with its opened files as components of it, each with its hash."""
    from cyclonedx.model import Property
    from cyclonedx.model.component import Component, ComponentType

    files = [
        Component(
            type=ComponentType.FILE, name=visible(name), bom_ref=f"{model.role}/{visible(name)}", hashes=_hashes(digest)
        )
        for name, digest in model.files.items()
    ]
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=visible(model.name),
        bom_ref=model.role,
        hashes=_hashes(model.sha256),
        components=files,
        properties=[Property(name="untrigger:kind", value=model.kind)],
    )


def _hashes(digest: str) -> list[HashType]:
    from cyclonedx.model import HashAlgorithm, HashType

    return [HashType(alg=HashAlgorithm.SHA_256, content=digest)] if digest else []


def _properties(report: Report) -> list[Property]:
    """Return the verdict, and how it was reached, as properties of the model."""
    from cyclonedx.model import Property

    policy = inner(report, "policy")
    values = {
        "verdict": report.verdict.status,
        "verdict:sentence": report.verdict.sentence,
        "report:kind": report.kind,
        "method": report.method.get("name"),
        "seed": report.environment.get("seed"),
        "score": report.scan.score if report.scan else None,
        "threshold:suspicious": policy.get("suspicious"),
        "threshold:backdoored": policy.get("backdoored"),
    }
    return [Property(name=f"untrigger:{name}", value=visible(str(v))) for name, v in values.items() if v is not None]


def _card(model: ModelFiles, report: Report) -> dict[str, Any]:
    """Return the model card: task, architecture, rates with intervals, and what was not looked for."""
    parameters = {"approach": {"type": "supervised"}, "task": TASK, **_architecture(model)}
    card: dict[str, Any] = {"modelParameters": parameters}
    if metrics := [_metric(one) for one in report.measurements if one.subject in _EXAMINED and one.value is not None]:
        card["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    if limits := [visible(line) for line in _not_looked_for(report)]:
        card["considerations"] = {"technicalLimitations": limits}
    return card


def _architecture(model: ModelFiles) -> dict[str, str]:
    return {"architectureFamily": visible(model.architecture)} if model.architecture else {}


def _metric(one: Measurement) -> dict[str, Any]:
    metric: dict[str, Any] = {"type": visible(one.metric), "value": str(one.value), "slice": f"n = {one.n}"}
    if one.low is not None and one.high is not None:
        metric["confidenceInterval"] = {"lowerBound": str(one.low), "upperBound": str(one.high)}
    return metric


def _not_looked_for(report: Report) -> list[str]:
    return [f"{one.name.partition(':')[0]}: {one.lines[0]}" for one in checks(report) if one.kind == SKIPPED]
