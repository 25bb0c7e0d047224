"""``untrigger purify``: the same model without its backdoor, in the same format, with evidence."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from untrigger.cli import completion
from untrigger.cli import options as o
from untrigger.cli.context import CommandContext
from untrigger.cli.evidence_files import EvidenceFiles
from untrigger.cli.option_groups import OptionGroup, with_option_groups
from untrigger.core.errors import OptionError
from untrigger.core.progress import Progress

if TYPE_CHECKING:
    from untrigger.core.report import Report

EXAMPLE = """Example: untrigger purify suspicious-adapter --clean rows.csv --out cleaned --set unlearn.rounds=2

From scan to cure: untrigger purify suspicious-model --clean rows.csv --out cleaned --scan --set rounds=4"""


@dataclass(frozen=True)
class PurifyOptions(OptionGroup):
    """The method, and what it is given."""

    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="NAME[,NAME]",
            autocompletion=completion.purifiers,
            help="See untrigger list defences, several in turn; of a language model list language-defences. Usually w2sdefense.",
        ),
    ] = ""
    scan: Annotated[
        bool,
        typer.Option(
            "--scan", help="Unlearn what a scan recovers, scan again, until nothing is found: the method scancure."
        ),
    ] = False
    policy: Annotated[
        Path | None,
        typer.Option("--policy", metavar="FILE", help="With --scan: TOML file with thresholds and allowed findings."),
    ] = None
    variant: o.Variant = ""
    teacher: Annotated[
        str | None,
        typer.Option(
            "--teacher", metavar="MODEL", help="Small encoder that you trust; where one is needed, minilm-l6."
        ),
    ] = None
    suspect: Annotated[
        str | None,
        typer.Option("--suspect", metavar="DATA", help="Rows that the model may have been trained on, unmarked."),
    ] = None
    unlabelled: Annotated[
        str | None,
        typer.Option(
            "--unlabelled",
            metavar="DATA",
            autocompletion=completion.data_sets,
            help="Texts of the domain without labels: .txt or .log with one a line, or any DATA; labels are ignored.",
        ),
    ] = None
    unlabelled_from: Annotated[
        str | None,
        typer.Option(
            "--unlabelled-from",
            metavar="NAME[,NAME]",
            autocompletion=completion.corpora,
            help="Where you have none: the closest texts of public corpora; auto: those on this machine.",
        ),
    ] = None
    unlabelled_rows: Annotated[
        int | None,
        typer.Option(
            "--unlabelled-rows",
            metavar="N",
            min=0,
            help="Use at most N unlabelled texts (usually 4,000, of public corpora 800); 0: all.",
        ),
    ] = None
    onto: Annotated[
        str | None,
        typer.Option(
            "--onto",
            metavar="MODEL",
            help="Another pre-trained model that you trust: carry the suspect's skill into it, for methods that can.",
        ),
    ] = None
    settings: o.Settings = None
    clean_rows: o.CleanRows = 1000

    @property
    def corpora(self) -> tuple[str, ...]:
        """The public corpora that are named.

        Raises:
            OptionError: for an option without a name.
        """
        names = o.split_list(self.unlabelled_from)
        if self.unlabelled_from is not None and not all(names or ("",)):
            raise OptionError(
                f"--unlabelled-from {self.unlabelled_from!r}",
                expected="names with commas, such as imdb,tweets, or auto",
            )
        return names

    def settings_of(self, method: str) -> dict[str, Any]:
        """Return the further options of ``method``, the policy file among them.

        Raises:
            OptionError: for options that cannot be used, a policy for a method that does not scan, and one that is set twice.
        """
        from untrigger.cli.settings import method_settings
        from untrigger.pipeline.requests import SCANNING_PURIFIER
        from untrigger.scanners.policy import read_policy

        given = self.settings or []
        settings = method_settings(method, given=given, variant=self.variant)
        if self.policy is None:
            return settings
        if method != SCANNING_PURIFIER:
            raise OptionError(
                f"--policy with the method {method!r}, which does not scan", expected="--policy together with --scan"
            )
        if twice := [item for item in given if item.strip().startswith("policy.")]:
            raise OptionError(
                f"--policy and --set {twice[0]}", expected="one of the two", remedy="write it in the policy file"
            )
        return settings | {"policy": read_policy(self.policy)}


@dataclass(frozen=True)
class EvidenceOptions(OptionGroup):
    """What is measured of the result, and how it is written."""

    control: Annotated[
        bool,
        typer.Option(
            "--control/--no-control", help="Also fine-tune the suspect, and the trusted base, on the same clean rows."
        ),
    ] = True
    benign: Annotated[bool, typer.Option("--benign", help="Also purify the clean model of the truth folder.")] = False
    verify: Annotated[
        bool,
        typer.Option(
            "--verify/--no-verify", help="Without --truth, scan the result on held-out rows (else it is not verified)."
        ),
    ] = True
    truth: o.Truth = None
    merge: Annotated[bool, typer.Option("--merge", help="Write merged full weights instead of an adapter.")] = False


FOR_CLASSIFIERS = ("scan", "policy", "suspect", "unlabelled_from", "onto", "benign", "labels", "verify")
FOR_LANGUAGE_MODELS = ("template", "max_new_tokens")
"""Options that the purification of the other task does not have."""


@with_option_groups
def purify(
    *,
    model: o.SuspectModel,
    clean: o.CleanData,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New folder for model, card and reports.")],
    options: PurifyOptions,
    evidence: EvidenceOptions,
    statements: EvidenceFiles,
    reading: o.ModelOptions,
    rows: o.DataOptions,
    language: o.LanguageOptions,
    allow_pickle: o.AllowPickle = False,
    typer_context: typer.Context,
    context: CommandContext,
) -> int:
    """Remove a backdoor from a classifier, a language model or an adapter of one.

    An adapter in gives one adapter out, on the same base. Ends with 0 where the evidence shows a purified model, or nothing was
    found; with 1 where a stated bound was not met or something is still found; with 3 where the evidence does not suffice.
    """
    given = o.options_given(typer_context, of_trigger=(), settings=None)
    with context.running(out=out) as progress:
        from untrigger.pipeline.subjects import checked_task

        statements.check(folders=[model, reading.base, out])
        run = context.run_options()
        generation = checked_task(
            given,
            model=model,
            task=language.task,
            truth=evidence.truth,
            offline=run.offline,
            of_classifiers=FOR_CLASSIFIERS,
            of_language_models=FOR_LANGUAGE_MODELS,
        )
        fields: dict[str, Any] = {
            "model": reading.model(model, allow_pickle=allow_pickle),
            "clean": rows.source(clean),
            "out": out,
            "unlabelled": rows.whole_source(options.unlabelled) if options.unlabelled is not None else None,
            "variant": options.variant,
            "teacher": options.teacher,
            "clean_rows": options.clean_rows,
            "run": run,
        }
        purify_one = _purify_language_model if generation else _purify_classifier
        report = purify_one(fields, options, evidence, language, rows=rows, progress=progress)
        files = statements.write(report, result=out)
    from untrigger.cli.results import print_report
    from untrigger.core.verdicts import exit_code

    print_report(context, report, written=[out, out / "report.json", out / "report.html", *files])
    return exit_code(report.verdict.status)


def _purify_classifier(
    fields: dict[str, Any],
    options: PurifyOptions,
    evidence: EvidenceOptions,
    _language: o.LanguageOptions,
    *,
    rows: o.DataOptions,
    progress: Progress,
) -> Report:
    """Purify a classifier and return the report."""
    from untrigger.pipeline.purify import purify as run
    from untrigger.pipeline.requests import PurifyRequest, purifier_name

    method = purifier_name(options.method, scan=options.scan)
    request = PurifyRequest(
        **fields,
        suspect=rows.whole_source(options.suspect) if options.suspect is not None else None,
        unlabelled_from=options.corpora,
        unlabelled_rows=options.unlabelled_rows,
        onto=options.onto,
        method=method,
        scan=options.scan,
        options=options.settings_of(method),
        **asdict(evidence),
    )
    return run(request, progress=progress)


def _purify_language_model(
    fields: dict[str, Any],
    options: PurifyOptions,
    evidence: EvidenceOptions,
    language: o.LanguageOptions,
    *,
    rows: o.DataOptions,  # noqa: ARG001  # as of a classifier
    progress: Progress,
) -> Report:
    """Purify a language model and return the report."""
    from untrigger.cli.settings import method_settings
    from untrigger.pipeline.generation_request import UNLABELLED_PROMPTS, GenerationPurifyRequest
    from untrigger.pipeline.purify_generation import purify_generation
    from untrigger.pipeline.requests import DEFAULT_PURIFIER

    method, most = options.method or DEFAULT_PURIFIER, options.unlabelled_rows
    request = GenerationPurifyRequest(
        **fields,
        **language.fields(),
        unlabelled_rows=UNLABELLED_PROMPTS if most is None else most,
        method=method,
        options=method_settings(
            method, given=options.settings or [], variant=options.variant, family="language_defences"
        ),
        truth=evidence.truth,
        merge=evidence.merge,
        control=evidence.control,
    )
    return purify_generation(request, progress=progress)
