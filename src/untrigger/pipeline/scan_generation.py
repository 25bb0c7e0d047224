"""``scan`` of a causal language model: the model, its trusted base and clean prompts in; a verdict with its evidence out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from untrigger.core.errors import ModelError, OptionError
from untrigger.core.progress import Progress
from untrigger.core.prompts import Prompts
from untrigger.core.report import Report
from untrigger.core.scan_result import Scan
from untrigger.core.seeds import generator_for
from untrigger.data.prompt_data import load_prompts
from untrigger.models.adapter_loading import open_base
from untrigger.models.chat import PLAIN_TURN, has_chat_template
from untrigger.models.language_model import LanguageModel
from untrigger.pipeline.language_base import base_of, unlike_weights
from untrigger.pipeline.load_inputs import OpenedModel, load_language, open_model
from untrigger.pipeline.model_facts import model_facts, shown
from untrigger.pipeline.requests import ScanRequest
from untrigger.pipeline.scan_inputs import policy_entry
from untrigger.runtime.cost import Clock, environment
from untrigger.scanners.language.base_differences import base_differences
from untrigger.scanners.language.language_scanner import LanguageScanOptions, LanguageScanResult, scan_language_model
from untrigger.scanners.weights.weight_evidence import Weighed, weigh
from untrigger.scanners.weights.weight_verdict import not_checked, with_weights
from untrigger.training.history import history_curves

OPTIONS = LanguageScanOptions()


def scan_generation(
    request: ScanRequest, clock: Clock, *, options: LanguageScanOptions = OPTIONS, progress: Progress
) -> Report:
    """Return the report of the scan of a language model or an adapter of one.

    Raises:
        UserError: for any input that cannot be used.
    """
    prompts = clean_prompts(request)
    with clock.stage("weights"):
        opened = open_model(request.model, request.run, task="CAUSAL_LM")
        root = _opened_base(opened, request)
        weighed = weigh(root.folder, base=root.base, limits=request.policy.limits)
    with clock.stage("load"):
        suspect = load_language(request.model, request.run, opened=root)
        base = _loaded_base(suspect, request)
    with clock.stage("scan"):
        result = scan_language_model(
            suspect, base, prompts, policy=request.policy, options=options, seed=request.run.seed, progress=progress
        )
    clock.steps(result.history.steps)
    assert root.base is not None
    evidence = [*result.scan.evidence, *base_differences(root.folder, root.base), *weighed.evidence]
    result = replace(
        result,
        scan=replace(result.scan, evidence=evidence, refused=weighed.refused),
        warnings=[*unlike_weights(suspect, base, named=request.model.base), *result.warnings],
    )
    return _report(request, result, clock, suspect=suspect, prompts=prompts, weighed=weighed)


def clean_prompts(request: ScanRequest) -> Prompts:
    """Return the clean prompts, or as many of them as the request allows.

    Raises:
        OptionError: where none were named.
        DataError: for prompts that cannot be used.
    """
    if request.clean is None:
        name = request.model.name
        raise OptionError(
            f"a scan of the language model {name!r} needs clean prompts with the answers of a model without a backdoor",
            expected="--clean DATA with prompts and answers, or labelled texts and a --template; 24 or more, better 100",
            remedy=f"untrigger scan {name} --clean prompts.jsonl, or untrigger scan {name} --static-only for hints",
        )
    prompts = load_prompts(request.clean, template=request.template, offline=request.run.offline)
    if not 0 < request.clean_rows < len(prompts):
        return prompts
    chosen = generator_for(request.run.seed, "scan: prompts that are taken").permutation(len(prompts))
    return prompts.take(sorted(chosen[: request.clean_rows].tolist()))


def _opened_base(opened: OpenedModel, request: ScanRequest) -> OpenedModel:
    """Return the opened model with the base that it is compared with.

    Raises:
        OptionError: for full weights without a base.
        ModelError: for a base that cannot be opened.
    """
    if opened.base is not None:
        return opened
    if opened.folder.kind == "full":
        raise OptionError(
            f"{request.model.name!r} has full weights, and a scan compares a language model with the base that it was made from",
            expected="--base MODEL, a base that you trust; an adapter names its own",
            remedy=f"untrigger scan {request.model.name} --clean DATA --base MODEL, or --static-only for hints",
        )
    base = open_base(opened.folder, None, allow_pickle=request.model.allow_pickle, offline=request.run.offline)
    return replace(opened, base=base)


def _loaded_base(suspect: LanguageModel, request: ScanRequest) -> LanguageModel:
    """Return the base (see ``base_of``), which reads prompts with the suspect's tokenizer.

    Raises:
        ModelError: for a base with another vocabulary or architecture, or the suspect itself.
    """
    base = base_of(suspect, request.model, request.run)
    assert base is not None
    if suspect.tokenizer.get_vocab() != base.tokenizer.get_vocab():
        raise ModelError(
            f"the base {request.model.base!r} has another vocabulary than the model",
            expected="the model that it was fine-tuned from, with the same tokenizer",
        )
    return replace(base, tokenizer=suspect.tokenizer, max_length=suspect.max_length)


def _report(
    request: ScanRequest,
    result: LanguageScanResult,
    clock: Clock,
    *,
    suspect: LanguageModel,
    prompts: Prompts,
    weighed: Weighed,
) -> Report:
    found: Scan = result.scan
    facts: dict[str, Any] = model_facts(suspect) | {"chat_template": has_chat_template(suspect)}
    if request.model.base is not None:
        facts |= {"base": shown(request.model.base)}
        facts |= {"base_sha256": weighed.base_sha256} if weighed.base_sha256 else {}
    notes = list(suspect.source.notes)
    if not has_chat_template(suspect):
        turn = PLAIN_TURN.split("\n")[0].format(role="User")
        notes.append(
            f"the model has no chat template: prompts are written plainly, the user's turn under the line {turn!r}"
        )
    return Report(
        kind="scan",
        title=f"Scan of {shown(request.model.name)}",
        verdict=with_weights(result.verdict, found),
        given={
            "task": "generation",
            "model": facts,
            "defender": {"clean": prompts.describe(), "seed": request.run.seed},
            "max_length": suspect.max_length,
            "policy": policy_entry(request.policy),
        },
        method={"name": "phrases", "options": result.metadata},
        environment=environment(seed=request.run.seed, device=str(suspect.device)),
        stages=clock.stages,
        measurements=result.measurements,
        warnings=[
            *request.policy.warnings(),
            *prompts.notes,
            *notes,
            *(f"not opened: {one}" for one in found.refused),
            *not_checked(weighed.unchecked),
            *result.warnings,
        ],
        curves=[*history_curves(result.history, panel="Training of the reference"), *weighed.curves],
        scan=found,
        findings=found.triggers(),
        examples=result.examples,
    )
