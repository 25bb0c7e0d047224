"""Loading of strangers' models: safetensors only unless the user insists, no remote code, every surprise an error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from untrigger import assets
from untrigger.core.errors import ModelError
from untrigger.core.paths import local_path
from untrigger.models.adapter_loading import PREFIX, with_adapter
from untrigger.models.class_names import class_names, has_default_names
from untrigger.models.classifier import Classifier, ModelSource
from untrigger.models.input_spec import input_spec_of
from untrigger.models.max_length import choose_max_length
from untrigger.models.pretrained import pretrained, tokenizer_of
from untrigger.models.safety.hub_files import is_hub_name, resolve_model
from untrigger.models.safety.model_folder import ModelFolder, open_model_folder
from untrigger.models.safety.opened_files import SIDECAR, read_json
from untrigger.models.safety.tensor_files import Tensors
from untrigger.models.safety.tokenizer_check import SHORTEST, beyond, differences
from untrigger.models.smoke_test import smoke_test
from untrigger.runtime.device import pick_device

EAGER_DIFFERS = ("falcon",)
"""Architectures whose eager attention answers otherwise than the one that transformers takes by itself."""


def load_model(
    name: str | Path,
    *,
    folder: ModelFolder | None = None,
    base: str | Path | ModelFolder | None = None,
    label_names: Sequence[str] | None = None,
    new_head: bool = False,
    allow_pickle: bool = False,
    offline: bool = False,
    device: str = "auto",
    max_length: int | None = None,
    seed: int = 0,
) -> Classifier:
    """Return the classifier in a folder or under a hub name, full weights or a PEFT adapter, in eval mode.

    Args:
        name: folder, hub name or embedded model.
        folder: the inspected folder of that name, where it is open already.
        base: for an adapter, the base to use instead of the one that its config names; a name, or an inspected folder.
        label_names: names of the classes where the model's own files name none. Needed with ``new_head``.
        new_head: make a fresh classification head (to train a classifier from a pre-trained model).
        allow_pickle: also read pickle weights, which can run code.
        offline: use no hub.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        max_length: texts are cut after this many tokens, or after as many as the model takes; by default as the tokenizer says
            (``untrigger.models.max_length``). Fewer than 128 are not believed, or a file could hide a trigger from a scan.
        seed: of a fresh head.

    Raises:
        ModelError: for a missing folder, a missing head, other label names than the model's, weights that are not
            finite, tensors that do not fit the architecture, a base that does not fit.
        UnsafeFileError: for pickle weights, for configs that ask for code or other files, for adapters that would overwrite
            weights of their base.
    """
    where = pick_device(device)
    if base is not None and not isinstance(base, ModelFolder):
        local_path(base, what="the base", error=ModelError)
    if folder is None:
        where_found = resolve_model(name, offline=offline, allow_pickle=allow_pickle)
        folder = open_model_folder(where_found, allow_pickle=allow_pickle)
    adapter = folder.kind == "adapter"
    root = _base_folder(folder, base, allow_pickle=allow_pickle, offline=offline) if adapter else folder
    if root.kind != "full":
        raise ModelError(f"the base of {str(name)!r} is itself an adapter", remedy="merge it first, or give --base")
    names = class_names(folder, root, label_names, new_head=new_head)
    _check_config_beside(folder, root)
    tokenizer, notes = _tokenizer(folder, root)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module, fresh = _checkpoint(root, names, whole=not new_head and not adapter)
        if adapter:
            module = with_adapter(module, folder, base=str(root.origin))
            fresh = _not_in(folder, fresh)
    notes += beyond(tokenizer, rows=input_spec_of(module, tokenizer).embedding_rows)
    _check_head(fresh, folder, root, new_head=new_head)
    _check_finite(module, str(name))
    limit = choose_max_length(tokenizer, module, asked=max_length, sidecar=_own_length(folder))
    _check_length(limit, root, wanted=max_length)
    notes += _longer_than_named(tokenizer, limit, wanted=max_length)
    source = ModelSource(
        name=str(name),
        kind=folder.kind,
        base=str(root.origin) if adapter else None,
        fresh=tuple(fresh),
        sha256=folder.sha256,
        base_sha256=root.sha256 if adapter else "",
        revision=folder.revision,
        notes=(*notes, *_notes(folder, root, names)),
        files=folder.to_dict() | ({"base": root.to_dict()} if adapter else {}),
    )
    return smoke_test(
        Classifier(
            module.to(where).eval(),
            tokenizer,
            names,
            source,
            max_length=limit,
            tokenizer_files=(folder if folder.holds_tokenizer else root).tokenizer_files,
        ),
        where=str(folder.origin),
    )


def _notes(folder: ModelFolder, root: ModelFolder, names: tuple[str, ...]) -> list[str]:
    """What a user should know of how the model was read."""
    notes = [f"not opened: {line}" for line in folder.warnings()]
    if root is not folder:
        notes += [f"not opened, in the base: {line}" for line in root.warnings()]
    if has_default_names(names):
        notes.append(f"the model names no classes: they are called {names[0]} to {names[-1]}, by their number")
    return notes


def _base_folder(
    folder: ModelFolder, base: str | Path | ModelFolder | None, *, allow_pickle: bool, offline: bool
) -> ModelFolder:
    """The checked base of an adapter. A hub is used only for a base that the user named."""
    if isinstance(base, ModelFolder):
        return base
    name = base if base is not None else _known_base(folder)
    if name is None:
        raise ModelError(f"{str(folder.origin)!r} names no base model", remedy="give it with --base")
    if base is None and not offline and is_hub_name(str(name)) and not _is_embedded(str(name)):
        offline = True  # what a stranger names is not fetched
    revision = folder.revision if str(name).partition("@")[0] == folder.base else None
    try:
        where = resolve_model(name, offline=offline, allow_pickle=allow_pickle, revision=revision)
        return open_model_folder(where, allow_pickle=allow_pickle)
    except ModelError as error:
        if base is not None:
            raise
        fetch = f"to fetch it from the hub, name it yourself: --base {name}{'@' + revision if revision else ''}"
        raise ModelError(
            f"the base {str(name)!r} of the adapter {str(folder.origin)!r} cannot be used: {error.what}",
            remedy=fetch if is_hub_name(str(name)) else "give another with --base",
        ) from error


def _is_embedded(name: str) -> bool:
    return name in assets.names(kind="model")


def _sidecar(folder: ModelFolder) -> dict[str, Any] | None:
    """What untrigger wrote beside the model, None where it wrote nothing."""
    file = folder.path / SIDECAR
    return read_json(file, origin=folder.origin / SIDECAR) if file.is_file() else None


def _known_base(folder: ModelFolder) -> str | None:
    """The base that an adapter's config names; the embedded model that its sidecar names, where that is a path not found here."""
    name = folder.base
    if name is None:
        return None
    what = f"the base that the adapter {str(folder.origin)!r} names,"
    place = local_path(name, what=what, error=ModelError, remedy="give another with --base")
    if not Path(name).is_absolute() or place.exists():
        return name
    embedded = (_sidecar(folder) or {}).get("base")
    return embedded if isinstance(embedded, str) and _is_embedded(embedded) else name


def _own_length(folder: ModelFolder) -> int:
    """After how many tokens the sidecar says that texts are cut, 0 where it does not."""
    length = (_sidecar(folder) or {}).get("max_length")
    return length if isinstance(length, int) and not isinstance(length, bool) else 0


def _tokenizer(folder: ModelFolder, root: ModelFolder) -> tuple[Any, list[str]]:
    """The tokenizer that everybody loads with the model, and how it differs from its base's."""
    here = folder if folder.holds_tokenizer else root
    tokenizer = tokenizer_of(here)
    if not tokenizer.is_fast:
        raise ModelError(
            f"the tokenizer in {str(here.origin)!r} has no tokenizer.json", remedy="save it as a fast tokenizer"
        )
    notes = []
    if here is not root and root.holds_tokenizer and here.tokenizer_files != root.tokenizer_files:
        notes = [
            f"the adapter's tokenizer is not its base's: {one}" for one in differences(tokenizer, tokenizer_of(root))
        ]
    return tokenizer, notes


def _check_config_beside(folder: ModelFolder, root: ModelFolder) -> None:
    """Raise where a config.json beside an adapter makes transformers choose another class of tokenizer than for its base."""
    file = folder.path / "config.json"
    if folder.kind != "adapter" or not file.is_file():
        return
    own, base = read_json(file, origin=folder.origin / "config.json").get("model_type"), root.config.get("model_type")
    if own != base:
        raise ModelError(
            f"config.json beside the adapter {str(folder.origin)!r} has the model_type {str(own)[:60]!r}",
            expected=f"that of its base, {base!r}",
            remedy="remove that file: an adapter needs none",
        )


def _longer_than_named(tokenizer: Any, limit: int, *, wanted: int | None) -> list[str]:
    """A sentence on texts that are read farther than the tokenizer's own files say."""
    named = getattr(tokenizer, "model_max_length", None)
    if wanted is not None or not isinstance(named, int) or named >= limit:
        return []
    return [
        f"the tokenizer cuts texts after {named} tokens; {limit} are read here, so that a file cannot hide a trigger"
    ]


def _checkpoint(root: ModelFolder, names: tuple[str, ...], *, whole: bool) -> tuple[Any, list[str]]:
    from transformers import AutoModelForSequenceClassification

    return pretrained(
        AutoModelForSequenceClassification,
        root,
        **({} if root.config.get("model_type") in EAGER_DIFFERS else {"attn_implementation": "eager"}),
        num_labels=len(names),
        id2label=dict(enumerate(names)),
        label2id={name: i for i, name in enumerate(names)},
        whole=whole,
        expected=f"a sequence-classification checkpoint with {len(names)} classes",
    )


def _not_in(folder: ModelFolder, fresh: list[str]) -> list[str]:
    """The tensors that neither the base's files nor the adapter's hold."""
    if any(file.suffix == ".bin" for file in folder.weights):
        return []
    held = {name.removeprefix(PREFIX).removeprefix("base_model.") for name in Tensors(folder)}
    return [name for name in fresh if name not in held]


def _check_length(limit: int, root: ModelFolder, *, wanted: int | None) -> None:
    """Raise where a config leaves room for a few tokens only: programs that do not follow it read on, and a scan would not."""
    if 0 < limit < min(SHORTEST, wanted or SHORTEST):  # below 0: no bound
        raise ModelError(
            f"{str(root.origin)!r} has positions for {limit} tokens",
            expected=f"max_position_embeddings of at least {SHORTEST}",
            remedy="mend config.json, or get the model from its author",
        )


def _check_head(fresh: list[str], folder: ModelFolder, root: ModelFolder, *, new_head: bool) -> None:
    """Raise where a part of the model is in no file, so that its answers would be drawn at random."""
    if not fresh or new_head:
        return
    kinds = ", ".join(map(str, root.config.get("architectures") or ())) or "none"
    files = "the adapter and its base" if folder.kind == "adapter" else "its files"
    raise ModelError(
        f"{str(folder.origin)!r} has no classification head or lacks a part of it: {', '.join(fresh[:4])} "
        f"({len(fresh)} tensors) missing in {files}; architectures: {kinds}",
        expected="a fine-tuned sequence classifier, every layer of it in a file",
        remedy="give the fine-tuned checkpoint or adapter, not the pre-trained model; an adapter needs its head in modules_to_save",
    )


def _check_finite(module: nn.Module, name: str) -> None:
    bad = [key for key, value in module.named_parameters() if not bool(torch.isfinite(value).all())]
    if bad:
        raise ModelError(
            f"{name!r} holds weights that are not numbers, first in {bad[0]!r} ({len(bad)} tensors in all)",
            remedy="download the file again, or ask its author",
        )
