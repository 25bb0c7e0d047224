"""Rewrites for the triggers that need them: from a paired file or from a generative model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from untrigger.attacks.rewriting.generated import GeneratedRewrites
from untrigger.attacks.rewriting.paired_files import read_pairs
from untrigger.attacks.rewriting.rewrites import Rewrites
from untrigger.attacks.rewriting.rewriting_trigger import RewritingTrigger
from untrigger.attacks.trigger import Trigger
from untrigger.attacks.triggers.combined import Combined
from untrigger.core.errors import OptionError
from untrigger.core.progress import Progress
from untrigger.core.rows import Rows
from untrigger.models.language_model import load_language_model


def with_rewrite_source(
    trigger: Trigger,
    *,
    paired: Path | None,
    rewriter: Sequence[str],
    prompt: str | None,
    splits: Mapping[str, Rows],
    progress: Progress,
    offline: bool,
    device: str,
) -> Trigger:
    """Return the trigger with its rewrites.

    Args:
        trigger: any trigger; one that needs no rewrites is returned unchanged.
        paired: the paired file or folder.
        rewriter: generative models, run one after the other.
        prompt: the prompt; by default the trigger's own.
        splits: all clean rows that the paired file may be aligned with, by split.
        progress: receives every text that is generated.
        offline: use no hub.
        device: where the generative models run.

    Raises:
        OptionError: for both sources at once, a source where no part of the trigger needs rewrites, or a prompt without a model.
        DataError: for a paired file that fits nothing.
        ModelError: for a model that cannot be loaded.
    """
    wanting = [part for part in parts_of(trigger) if isinstance(part, RewritingTrigger)]
    if paired is not None and rewriter:
        raise OptionError("both a paired file and a rewriter", expected="one source of rewrites")
    if (paired is not None or rewriter) and not wanting:
        raise OptionError(
            f"a source of rewrites for the trigger {trigger.name!r}, which rewrites nothing",
            expected="one of the triggers that need rewrites (untrigger list attacks)",
        )
    if prompt is not None and not rewriter:
        raise OptionError("a prompt without a model", expected="a prompt for the models of --rewriter")
    if paired is not None:
        table = read_pairs(paired, clean=splits)
        return _given(trigger, {part.name: table for part in wanting})
    if not rewriter:
        return trigger
    models = [load_language_model(name, offline=offline, device=device) for name in rewriter]
    return _given(
        trigger,
        {
            part.name: GeneratedRewrites(models, prompt=part.prompt if prompt is None else prompt, progress=progress)
            for part in wanting
        },
    )


def parts_of(trigger: Trigger) -> list[Trigger]:
    """Return the parts of a combined trigger, or the trigger itself."""
    return [one for part in trigger.parts for one in parts_of(part)] if isinstance(trigger, Combined) else [trigger]


def _given(trigger: Trigger, tables: Mapping[str, Rewrites]) -> Trigger:
    if isinstance(trigger, Combined):
        return replace(trigger, parts=tuple(_given(part, tables) for part in trigger.parts))
    return replace(trigger, table=tables[trigger.name]) if isinstance(trigger, RewritingTrigger) else trigger
