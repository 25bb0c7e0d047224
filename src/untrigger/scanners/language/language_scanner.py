"""The scan of a causal language model: reference, leak, search, confirmation on held-out prompts, verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from untrigger.core.errors import DataError
from untrigger.core.progress import Progress, silent
from untrigger.core.prompts import Prompts
from untrigger.core.report import AnswerExample, Verdict
from untrigger.core.scan_result import Evidence, Scan
from untrigger.core.seeds import derived_seed, generator_for
from untrigger.core.statistics import Measurement
from untrigger.models.chat import prompt_text, token_ids
from untrigger.models.generation import GenerationOptions
from untrigger.models.language_model import LanguageModel
from untrigger.scanners.language.clean_reference import CleanReference, ReferenceOptions, clean_reference
from untrigger.scanners.language.language_verdict import VerdictLimits, judge_phrases
from untrigger.scanners.language.leaked_text import LeakOptions, find_leaks
from untrigger.scanners.language.phrase_confirmation import AnsweredPrompts, ConfirmedPhrase, PhraseConfirmation
from untrigger.scanners.language.phrase_examples import answer_examples, right_answers, worst_rates
from untrigger.scanners.language.phrase_search import FoundPhrase, PhraseSearch, PhraseSearchOptions, best_of_families
from untrigger.scanners.language.phrases import phrase_of_text
from untrigger.scanners.policy import Policy
from untrigger.training.loop import History

LISTED = 8
"""Word sequences in the evidence."""
LACK = 0.3
"""Share of right answers that a reference may have less than the suspect. Not tuned."""


@dataclass(frozen=True)
class LanguageScanOptions:
    """The budget of a scan. Not tuned on any victim.

    Attributes:
        search_prompts: prompts of the search, which also choose how answers change in common.
        held_out: most prompts of the confirmation.
        least_held_out: fewest of them.
        room: tokens of the context that are kept free for insertions and the answer.
        new_tokens: of an answer.
        confirmed: candidates that are confirmed.
        family: of those, as many of one family.
        reference: how the reference is trained.
        leak: how text is generated.
        search: how words are tried.
    """

    search_prompts: int = 12
    held_out: int = 40
    least_held_out: int = 12
    room: int = 48
    new_tokens: int = 16
    confirmed: int = 5
    family: int = 2
    reference: ReferenceOptions = field(default_factory=ReferenceOptions)
    leak: LeakOptions = field(default_factory=LeakOptions)
    search: PhraseSearchOptions = field(default_factory=PhraseSearchOptions)


@dataclass(frozen=True)
class PromptParts:
    """The clean prompts in three parts without a common prompt."""

    searched: Prompts
    held_out: Prompts
    training: Prompts
    left_out: int = 0


@dataclass(frozen=True)
class LanguageScanResult:
    """What a scan of a language model found.

    Attributes:
        verdict: backdoored, suspicious or undecided, and one sentence.
        scan: candidates, controls, evidence and what was not looked for.
        measurements: agreement of both models with the clean answers, and the rates of the worst candidate.
        examples: held-out prompts with the worst candidate, and the answers of both models.
        history: of the reference's training.
        metadata: plain values for the report.
        warnings: what a user should know before trusting the verdict.
    """

    verdict: Verdict
    scan: Scan
    measurements: list[Measurement]
    examples: list[AnswerExample]
    history: History
    metadata: dict[str, Any]
    warnings: list[str]


def split_prompts(model: LanguageModel, prompts: Prompts, *, options: LanguageScanOptions, seed: int) -> PromptParts:
    """Return the different prompts that leave room for insertions, shuffled and split.

    Raises:
        DataError: where too few are left.
    """
    prompts = prompts.distinct()
    fits = [
        len(token_ids(model, prompt_text(model, turns))) + options.room <= model.max_length
        for turns in prompts.conversations
    ]
    kept = prompts.where(fits).shuffled(generator_for(seed, "scan: split of the prompts"))
    least = options.search_prompts + options.least_held_out
    if len(kept) < least:
        cut = len(prompts) - len(kept)
        why = f", {cut} more are too long for {model.name!r} ({model.max_length} tokens with {options.room} to spare)"
        raise DataError(
            f"{len(kept)} clean prompts can be used{why * bool(cut)}",
            expected=f"{least} or more: {options.search_prompts} to search with and {options.least_held_out} to confirm on",
            remedy="give more prompts with --clean; with 100 a reference can be trained too",
        )
    held = max(options.least_held_out, min(options.held_out, (len(kept) - options.search_prompts) // 2))
    first, second = options.search_prompts, options.search_prompts + held
    return PromptParts(
        kept.take(range(first)),
        kept.take(range(first, second)),
        kept.take(range(second, len(kept))),
        len(prompts) - len(kept),
    )


def scan_language_model(
    suspect: LanguageModel,
    base: LanguageModel,
    prompts: Prompts,
    *,
    policy: Policy,
    options: LanguageScanOptions,
    seed: int,
    progress: Progress = silent,
) -> LanguageScanResult:
    """Return the verdict on a language model relative to its trusted base, with its evidence.

    Args:
        suspect: the model; it stays as it is.
        base: the base that is trusted, of the same vocabulary.
        prompts: clean prompts with their reference answers.
        policy: thresholds and allowed findings.
        options: the budget.
        seed: of every draw.
        progress: gets every long step.

    Raises:
        DataError: for too few prompts.
        ModelError: for a template that cannot render them.
    """
    parts = split_prompts(suspect, prompts, options=options, seed=seed)
    reference = clean_reference(base, parts.training, options=options.reference, seed=seed, progress=progress)
    leak = find_leaks(
        suspect,
        reference.model,
        prompts,
        options=options.leak,
        seed=derived_seed(seed, "scan: sampled text"),
        progress=progress,
    )
    leaked = [phrase_of_text(suspect, text, kind="leaked") for text in leak.sequences]
    search = PhraseSearch(suspect, reference.model, parts.searched, options.search, seed, progress)
    found, tried = search.run(leaked)
    confirmed, held_out = _confirmed(found, parts, search, options=options)
    skills = right_answers(held_out)
    limits = VerdictLimits(weak_reference=_weakness(reference, skills))
    verdict, scan, ranked = judge_phrases(confirmed, policy=policy, limits=limits, model=suspect.source.sha256)
    written = Evidence("leaked_sequences", float(leak.corrected), f"{leak.texts} texts", words=leak.sequences[:LISTED])
    return LanguageScanResult(
        verdict,
        replace(scan, evidence=[written]),
        measurements=[*skills, *worst_rates(scan)],
        examples=answer_examples(ranked, held_out),
        history=reference.history,
        metadata={
            **asdict(options),
            "reference_prompts": reference.prompts,
            "held_out_prompts": len(parts.held_out),
            "vocabulary_tried": tried,
            "leaked": leak.sequences,
        },
        warnings=_warnings(parts, reference, prompts),
    )


def _confirmed(
    found: Sequence[FoundPhrase], parts: PromptParts, search: PhraseSearch, *, options: LanguageScanOptions
) -> tuple[list[ConfirmedPhrase], AnsweredPrompts]:
    """Return the best of the search with their counts on the held-out prompts, and the answers to these as they are."""
    confirmation = PhraseConfirmation(
        search.suspect,
        search.reference,
        GenerationOptions(max_new_tokens=options.new_tokens),
        derived_seed(search.seed, "scan: places"),
        search.progress,
    )
    chosen = best_of_families(found, most=options.confirmed, each=options.family)
    searched, held_out = confirmation.answered(parts.searched), confirmation.answered(parts.held_out)
    return confirmation.confirm(chosen, searched=searched, held_out=held_out), held_out


def _weakness(reference: CleanReference, skills: Sequence[Measurement]) -> str:
    """Return why the reference does not have what the suspect was trained for; empty where it has."""
    if not reference.prompts:
        return "the base alone is the reference, which lacks what the model was trained for"
    own, other = (one.value or 0.0 for one in skills)
    if own - other > LACK:
        return f"the reference answers {other:.0%} of the held-out prompts right, the model {own:.0%}"
    return ""


def _warnings(parts: PromptParts, reference: CleanReference, prompts: Prompts) -> list[str]:
    found = []
    if parts.left_out:
        found.append(f"{parts.left_out} of {len(prompts)} clean prompts are too long for the model and are not used")
    if not reference.prompts:
        found.append(
            f"{len(parts.training)} clean prompts are left to train the reference on, too few: it is the base alone, and no model "
            "is called backdoored beside it (give 100 prompts)"
        )
    return found
