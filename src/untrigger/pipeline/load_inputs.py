"""Load what the requests name: models with their checks, and rows whose labels are checked against a model."""

from __future__ import annotations

from dataclasses import dataclass

from untrigger.core.errors import ModelError
from untrigger.core.rows import Rows, distinct
from untrigger.data import DataSource, check_rows, load_data
from untrigger.models.class_names import with_matching_names
from untrigger.models.classifier import Classifier
from untrigger.models.language_model import LanguageModel, load_language_model
from untrigger.models.loading import load_model
from untrigger.models.model_task import check_language_config
from untrigger.models.safety import model_folder
from untrigger.models.safety.hub_files import hub_name_parts
from untrigger.models.safety.model_folder import ModelFolder
from untrigger.pipeline.agreement import check_agreement
from untrigger.pipeline.requests import ModelInput, RunOptions


@dataclass(frozen=True)
class OpenedModel:
    """The folders of a model, inspected and copied once, for every step that looks at them.

    Attributes:
        source: what was requested.
        folder: the checked copy of the model or adapter.
        base: the same of ``source.base``; None where none was given.
    """

    source: ModelInput
    folder: ModelFolder
    base: ModelFolder | None


def open_model(source: ModelInput, run: RunOptions, *, task: str = "SEQ_CLS") -> OpenedModel:
    """Return the inspected folders of a model and of the base that the user named; an adapter may name the PEFT ``task``.

    Raises:
        ModelError: if one of them is missing or holds no model.
        UnsafeFileError: for files that must not be opened.
    """
    folder, base = _inspected(source.name, source, run, task=task), source.base
    if base is None:
        return OpenedModel(source, folder, None)
    revision = folder.revision if hub_name_parts(base)[0] == folder.base else None
    return OpenedModel(source, folder, _inspected(base, source, run, revision=revision))


def _inspected(
    name: str, source: ModelInput, run: RunOptions, *, revision: str | None = None, task: str = "SEQ_CLS"
) -> ModelFolder:
    return model_folder.open_model(
        name, offline=run.offline, allow_pickle=source.allow_pickle, revision=revision, task=task
    )


def open_teacher(name: str, run: RunOptions, *, otherwise: str) -> ModelFolder:
    """Return the inspected folder of a teacher.

    Args:
        name: the teacher.
        run: whether only this machine is looked at.
        otherwise: the end of the remedy, where the teacher cannot be used.

    Raises:
        ModelError: if it cannot be used.
    """
    try:
        return model_folder.open_model_folder(model_folder.resolve_model(name, offline=run.offline))
    except ModelError as error:
        raise ModelError(
            f"the teacher {name!r} cannot be used: {error.what}",
            expected=error.expected,
            nearest=error.nearest,
            remedy=f"give a small pre-trained encoder that you trust with --teacher{otherwise}",
        ) from error


def load_classifier(
    source: ModelInput, run: RunOptions, *, opened: OpenedModel | None = None, new_head: bool = False
) -> Classifier:
    """Return the classifier that a source names.

    Args:
        source: the model.
        run: device and offline; the seed draws a new head.
        opened: its folders, where they are open already.
        new_head: make a new head for ``source.labels``, to train a classifier from a pre-trained model.

    Raises:
        ModelError: for a model that cannot be used (see ``load_model``).
        UnsafeFileError: for files that must not be opened.
    """
    return load_model(
        opened.folder if opened else source.name,
        base=opened.base if opened else source.base,
        label_names=source.labels,
        new_head=new_head,
        allow_pickle=source.allow_pickle,
        offline=run.offline,
        device=run.device,
        max_length=source.max_length,
        seed=run.seed if new_head else 0,
    )


def load_language(source: ModelInput, run: RunOptions, *, opened: OpenedModel | None = None) -> LanguageModel:
    """Return the causal language model that a source names, full weights or an adapter; from ``opened`` where that is given.

    Raises:
        ModelError: for a model that cannot be used, and for a classifier.
        UnsafeFileError: for files that must not be opened.
    """
    folder = opened.folder if opened else _inspected(source.name, source, run, task="CAUSAL_LM")
    base = opened.base if opened else source.base
    check_language_config(folder.config, name=source.name)
    model = load_language_model(
        folder,
        base=base if folder.kind == "adapter" else None,
        offline=run.offline,
        allow_pickle=source.allow_pickle,
        device=run.device,
        max_length=source.max_length,
    )
    if model.kind != "causal":
        raise ModelError(
            f"{source.name!r} is a {model.kind} model", expected="a causal language model such as smollm2-135m"
        )
    return model


def load_same_classes(source: ModelInput, like: Classifier, run: RunOptions) -> Classifier:
    """Return another classifier of the same task, its classes in the order and under the names of ``like``.

    Raises:
        ModelError: for a model that cannot be used, or that has other classes.
    """
    return with_matching_names(load_classifier(source, run), like.label_names)


def load_rows(
    source: DataSource, model: Classifier, run: RunOptions, *, classes: int = 0, unique: bool = False
) -> Rows:
    """Return the rows that a source names, with the model's classes.

    Args:
        source: where they are, and how they are read.
        model: whose label names the labels are matched to.
        run: offline.
        classes: number of classes that must have rows.
        unique: keep the first row of each text.

    Raises:
        DataError: for rows that cannot be used.
    """
    rows = load_data(source, label_names=model.label_names, offline=run.offline)
    if unique:
        rows = distinct(rows)
    return check_rows(rows, require_classes=classes, what=source.name) if classes else rows


def load_clean_rows(source: DataSource, model: Classifier, run: RunOptions, *, unique: bool = False) -> Rows:
    """Return clean rows of at least two classes, whose labels mean the model's classes.

    Raises:
        DataError: for rows that cannot be used, or whose labels are exchanged (see ``check_agreement``).
    """
    rows = load_rows(source, model, run, classes=2, unique=unique)
    check_agreement(model, rows, what=source.name)
    return rows
