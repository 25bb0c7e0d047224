"""The unlabelled texts of a purification: those that the user gives, or close ones of public corpora; never a held-out row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from untrigger import assets
from untrigger.core.errors import DataError, OptionError, check_choice
from untrigger.core.progress import Progress
from untrigger.core.rows import Rows, texts_among, texts_with_a_part_among
from untrigger.core.seeds import generator_for
from untrigger.data import load_splits
from untrigger.data.public_datasets import find_public_dataset
from untrigger.data.unlabelled_data import load_texts
from untrigger.defences.purifier import Purifier
from untrigger.evaluation.ground_truth import GroundTruth
from untrigger.models.text_features import load_text_encoder
from untrigger.pipeline.build_method import teacher_of
from untrigger.pipeline.close_texts import Choice, close_texts
from untrigger.pipeline.load_inputs import open_teacher
from untrigger.pipeline.model_facts import shown
from untrigger.pipeline.requests import DEFAULT_TEACHER, PurifyRequest, RunOptions
from untrigger.runtime.cost import Clock

AUTO = "auto"
"""Stands for the public corpora that are on this machine."""
MOST_GIVEN, MOST_CHOSEN = 4000, 800
"""Texts that are used of the user's data, and of public corpora, where no number is named."""
LEAST_COMPARED, COMPARED_PER_TEXT, MOST_COMPARED = 6000, 4, 20_000


@dataclass(frozen=True)
class UnlabelledTexts:
    """Unlabelled texts for the method.

    Attributes:
        texts: None where the method gets none.
        facts: where they are from and what was left out, for the report.
        warnings: the same in sentences.
    """

    texts: tuple[str, ...] | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def unlabelled_texts(
    request: PurifyRequest, method: Purifier, *, rows: Rows, held: Rows, clock: Clock, progress: Progress
) -> UnlabelledTexts:
    """Return the unlabelled texts that the method gets; none of them is a clean row or has a held-out one as a part.

    Args:
        request: the texts or the corpora, and how many.
        method: what they are for; what the user gives is read, and then not used, by one that uses none.
        rows: clean rows that the method gets.
        held: clean rows that were held out.
        clock: measures the comparison with public corpora.
        progress: gets it.

    Raises:
        DataError: for data that cannot be used, and where no text is left.
        OptionError: for an unknown corpus.
        AssetError: for a corpus that is not on this machine and cannot be fetched.
    """
    found, used = UnlabelledTexts(), "unlabelled" in method.uses | method.needs
    if request.unlabelled is not None:
        found = _given(request, rows=rows, held=held)
    elif not request.unlabelled_from:
        return UnlabelledTexts()
    elif used:
        with clock.stage("unlabelled texts of public corpora"):
            return _chosen(request, method, rows=rows, held=held, progress=progress)
    idle = f"the unlabelled texts were not used: the method {method.name} uses none"
    return found if used else UnlabelledTexts(warnings=[idle])


def _given(request: PurifyRequest, *, rows: Rows, held: Rows) -> UnlabelledTexts:
    assert request.unlabelled is not None
    read = load_texts(request.unlabelled, offline=request.run.offline)
    same = texts_among(read.texts, [*rows.texts, *held.texts])
    flags = [*map(any, zip(same, texts_with_a_part_among(read.texts, held.texts), strict=True))]
    left = [text for text, known in zip(read.texts, flags, strict=True) if not known]
    if not left:
        raise DataError(
            f"all {len(read.texts)} texts of {request.unlabelled} are among the clean rows",
            expected="texts beside the clean rows",
            remedy="give other texts with --unlabelled, or leave it out",
        )
    most = MOST_GIVEN if request.unlabelled_rows is None else request.unlabelled_rows
    texts = _sample(left, most=most, seed=request.run.seed)
    facts = {
        "source": shown(str(request.unlabelled)),
        "read": read.read,
        "empty": read.empty,
        "repeated": read.repeated,
        "overlong": read.overlong,
        "among_clean_rows": sum(flags),
        "beyond_the_limit": len(left) - len(texts),
    }
    reasons = {
        "empty": read.empty,
        "repeated": read.repeated,
        "too long": read.overlong,
        "among the clean rows, held-out ones included": sum(flags),
        "beyond --unlabelled-rows": len(left) - len(texts),
    }
    why = ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count)
    note = f"{len(texts)} of {read.read} unlabelled texts were given to the method" + (
        f"; left out: {why}" if why else ""
    )
    return UnlabelledTexts(texts, facts, [note])


def _sample(texts: list[str], *, most: int, seed: int) -> tuple[str, ...]:
    """Return ``most`` of the texts in their order, drawn at random (0: all)."""
    if not 0 < most < len(texts):
        return tuple(texts)
    drawn = generator_for(seed, "purify: unlabelled texts").permutation(len(texts))[:most]
    return tuple(texts[i] for i in sorted(drawn.tolist()))


def check_corpora(request: PurifyRequest) -> None:
    """Raise OptionError for a corpus that is not known, and for ``auto`` where none is on this machine."""
    corpora_named(request.unlabelled_from)


def corpora_named(names: Iterable[str]) -> list[str]:
    """Return the public corpora that the names stand for, each once.

    Raises:
        OptionError: for an unknown name, and for ``auto`` where none is on this machine.
    """
    known, found = assets.names(kind="data"), list[str]()
    for name in names:
        dataset = find_public_dataset(name)
        if name == AUTO:
            found += [one.name for one in assets.listing() if one.kind == "data" and one.state == "ready"]
        elif dataset is not None and dataset.asset is not None:
            found.append(dataset.asset)
        else:
            found.append(check_choice(name, [*known, AUTO], kind="public corpus"))
    if AUTO in names and not found:
        raise OptionError(
            "no public corpus is on this machine",
            expected="one of " + ", ".join(known),
            remedy="fetch some first: untrigger assets fetch rotten-tomatoes customer-reviews imdb",
        )
    return list(dict.fromkeys(found))


def _chosen(request: PurifyRequest, method: Purifier, *, rows: Rows, held: Rows, progress: Progress) -> UnlabelledTexts:
    run, wanted = request.run, request.unlabelled_rows or MOST_CHOSEN
    teacher = teacher_of(request, method) or request.teacher or DEFAULT_TEACHER
    open_teacher(teacher, run, otherwise=", such as minilm-l6")
    corpora = {name: _documents(name, run) for name in corpora_named(request.unlabelled_from)}
    choice = close_texts(
        rows,
        corpora,
        encoder=load_text_encoder(teacher, offline=run.offline, device=run.device),
        excluded=held.texts,
        wanted=wanted,
        most=min(MOST_COMPARED, max(LEAST_COMPARED, COMPARED_PER_TEXT * wanted)),
        seed=run.seed,
        progress=progress,
    )
    facts = {
        "corpora": choice.counts(),
        "compared": choice.compared,
        "encoder": shown(teacher),
        "similarity": round(choice.similarity, 4),
        "similarity_of_clean_rows": round(choice.clean_similarity, 4),
        "similarity_of_random_clean_rows": round(choice.background, 4),
    }
    return UnlabelledTexts(choice.texts, facts, _sentences(choice, wanted=wanted))


def _documents(name: str, run: RunOptions) -> tuple[str, ...]:
    """Return the texts of a corpus that a model may be trained on: not those of its test split."""
    splits = load_splits(name, offline=run.offline)
    return (splits.get("train") or next(iter(splits.values()))).texts


def _sentences(choice: Choice, *, wanted: int) -> list[str]:
    counts = ", ".join(f"{name} {count}" for name, count in choice.counts().items())
    compared = sum(choice.compared.values())
    found = [
        f"{len(choice.texts)} unlabelled texts are those of {compared:,} passages of public corpora that are closest to the clean "
        f"rows ({counts}); mean cosine similarity {choice.similarity:.2f}, of clean rows to the closest other one "
        f"{choice.clean_similarity:.2f}, of any two {choice.background:.2f}"
    ]
    if len(choice.texts) < wanted:
        found.append(
            f"the public corpora hold only {len(choice.texts)} of the {wanted} unlabelled texts that were requested"
        )
    if choice.far:
        found.append(
            "the texts of public corpora are far from the clean rows: they are of another domain, and what the suspect predicts "
            "for them says little about the task; give texts of your own with --unlabelled"
        )
    return found


def unlabelled_leaks(texts: tuple[str, ...] | None, truth: GroundTruth | None) -> list[str]:
    """Return a warning where unlabelled texts are test rows of the truth; none where there are none."""
    if texts is None or truth is None:
        return []
    shared = sum(texts_among(texts, [*truth.clean.texts, *truth.triggered.texts]))
    return [f"{shared} of the {len(texts)} unlabelled texts are also test rows"] if shared else []
