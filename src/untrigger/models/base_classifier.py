"""A new classifier on a pre-trained model that the defender trusts: its weights, and a head drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from untrigger.core.errors import ModelError
from untrigger.models.classification_head import draw_new_head, head_module_of
from untrigger.models.classifier import Classifier
from untrigger.models.loading import load_model
from untrigger.models.safety.model_folder import ModelFolder, open_model


def load_base_classifier(
    name: str | Path | ModelFolder,
    *,
    label_names: Sequence[str],
    max_length: int | None = None,
    seed: int = 0,
    device: str = "auto",
    offline: bool = False,
) -> Classifier:
    """Return an encoder or decoder with a new classification head, which no file holds, in eval mode.

    The result is saved by ``save_classifier`` as full weights that plain transformers load.

    Args:
        name: folder, hub name or embedded model, or what ``open_model`` opened; the files are checked as those of a suspect.
        label_names: the classes in the order of the logits.
        max_length: texts are cut after this many tokens (see ``load_model``).
        seed: of the head.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        offline: use no hub.

    Raises:
        ModelError: for an adapter, and for a model that cannot be loaded.
        UnsafeFileError: for files that must not be opened.
    """
    folder = name if isinstance(name, ModelFolder) else open_model(name, offline=offline)
    if folder.kind == "adapter":
        raise ModelError(
            f"{str(folder.origin)!r} is an adapter",
            expected="a pre-trained model, such as minilm-l6",
            remedy="give its base, or merge it first",
        )
    model = load_model(
        folder,
        label_names=tuple(label_names),
        new_head=True,
        offline=offline,
        device=device,
        max_length=max_length,
        seed=seed,
    )
    draw_new_head(model.module, classes=model.classes, seed=seed)
    head = head_module_of(model.module, classes=model.classes)
    drawn = [name for name, _ in model.module.named_parameters() if name.split(".")[0] == head]
    fresh = tuple(dict.fromkeys((*model.source.fresh, *drawn)))
    return replace(model, source=replace(model.source, fresh=fresh))
