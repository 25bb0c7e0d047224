"""Loading of strangers' models: safetensors only unless the user insists, no remote code, every surprise an error."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from untrigger import assets
from untrigger.errors import ModelError
from untrigger.models.classifier import Classifier, Source
from untrigger.models.inspect import Folder, inspect_folder, read_json, resolve, weights_hash
from untrigger.models.pretrained import holds_tokenizer, pretrained, quiet, tokenizer_of
from untrigger.training.arithmetic import pick_device

SIDECAR = "untrigger.json"
USUAL_LENGTH = 128


def load_model(
    name: str | Path,
    *,
    base: str | Path | None = None,
    label_names: Sequence[str] | None = None,
    new_head: bool = False,
    allow_pickle: bool = False,
    offline: bool = False,
    device: str = "auto",
    max_length: int | None = None,
    seed: int = 0,
) -> Classifier:
    """The classifier in a folder or under a hub name, full weights or a PEFT adapter, in eval mode.

    Args:
        name: folder, hub name or embedded model.
        base: for an adapter, the base to use instead of the one that its config names.
        label_names: names of the classes; by default those of the model's own files. Needed with ``new_head``.
        new_head: make a fresh classification head (to train a classifier from a pre-trained model).
        allow_pickle: also read pickle weights, which can run code.
        offline: ask no hub.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        max_length: texts are cut after this many tokens, or after as many as the model takes. Without it after ``USUAL_LENGTH``, or
            more where the model's own files tell of more; fewer are not believed, or a file could hide a trigger from a scan.
        seed: of a fresh head.

    Raises:
        ModelError: for a missing folder, a missing head, other label names than the model's, weights that are not
            finite, a base that does not fit.
        UnsafeFileError: for pickle weights and for configs that ask for remote code.
    """
    where = pick_device(device)
    there = resolve(name, offline=offline, allow_pickle=allow_pickle)
    folder = inspect_folder(there, allow_pickle=allow_pickle)
    root = _base_folder(folder, base, allow_pickle=allow_pickle, offline=offline) if folder.kind == "adapter" else folder
    if root.kind != "full":
        raise ModelError(f"the base of {str(name)!r} is itself an adapter", remedy="merge it first, or give --base")
    names = _label_names(folder, root, label_names, new_head=new_head)
    tokenizer = _tokenizer(folder, root)
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module, fresh = _checkpoint(root, names, allow_pickle=allow_pickle)
        if folder.kind == "adapter":
            module = _adapter(module, folder, allow_pickle=allow_pickle)
    _pad_token(module, tokenizer)
    _check_head(fresh, folder, new_head=new_head)
    _check_finite(module, str(name))
    limit = longest(module, most=max_length or max(USUAL_LENGTH, _own_length(folder)))
    source = Source(
        name=str(name), kind=folder.kind, base=str(root.path) if folder.kind == "adapter" else None,
        fresh=tuple(fresh), sha256=weights_hash(folder.path),
    )  # fmt: skip
    return Classifier(module.to(where).eval(), tokenizer, names, source, max_length=limit)


def _base_folder(folder: Folder, base: str | Path | None, *, allow_pickle: bool, offline: bool) -> Folder:
    name = base or _known_base(folder)
    if not name:
        raise ModelError(f"{str(folder.path)!r} names no base model", remedy="give it with --base")
    try:
        where = resolve(name, offline=offline, allow_pickle=allow_pickle)
        return inspect_folder(where, allow_pickle=allow_pickle)
    except ModelError as error:
        if base:
            raise
        raise ModelError(
            f"the adapter's base {str(name)!r} cannot be used: {error.what}", remedy="give another with --base"
        ) from error


def _sidecar(folder: Folder) -> dict[str, Any] | None:
    """What untrigger wrote beside the model, None where it wrote nothing."""
    file = folder.path / SIDECAR
    return read_json(file) if file.is_file() else None


def _known_base(folder: Folder) -> str | None:
    """The base that an adapter's config names; the embedded model that its sidecar names, where that is a path not found here."""
    name = folder.base
    if name is None or not Path(name).is_absolute() or Path(name).exists():
        return name
    embedded = (_sidecar(folder) or {}).get("base")
    return embedded if isinstance(embedded, str) and embedded in assets.names(kind="model") else name


def _label_names(
    folder: Folder, root: Folder, wanted: Sequence[str] | None, *, new_head: bool
) -> tuple[str, ...]:
    own = _own_names(folder, root)
    if new_head or not own:
        if not wanted:
            if folder.kind == "full" and not new_head:
                _check_architecture(folder)
            raise ModelError(f"the label names of {str(folder.path)!r} are not known", remedy="give them with --labels")
        return tuple(wanted)
    anonymous = all(name == f"LABEL_{i}" for i, name in enumerate(own))
    if wanted and len(wanted) != len(own):
        raise ModelError(f"the model has {len(own)} classes ({', '.join(own)})", expected=f"the {len(wanted)} of {list(wanted)}")
    return tuple(wanted) if wanted and anonymous else tuple(own)


def _own_names(folder: Folder, root: Folder) -> list[str]:
    """The label names in the model's own files, none where these do not tell them.

    Raises:
        ModelError: where what they tell is no list of names.
    """
    sidecar = _sidecar(folder)
    told: object = []
    if sidecar is not None:
        told = sidecar.get("label_names", [])
    elif folder.kind == "full":
        told = root.config.get("id2label") or {}
    if isinstance(told, dict) and all(str(key).isdecimal() for key in told):
        told = [told[key] for key in sorted(told, key=int)]
    if not isinstance(told, list) or not all(isinstance(one, str | int) for one in told) or len(set(map(str, told))) < len(told):
        file = root.path / "config.json" if sidecar is None else folder.path / SIDECAR
        raise ModelError(
            f"the label names in {str(file)!r} are {str(told)[:80]}",
            expected="different names, such as {\"0\": \"negative\", \"1\": \"positive\"}", remedy="mend the file",
        )  # fmt: skip
    return [str(one) for one in told]


def _own_length(folder: Folder) -> int:
    """After how many tokens the sidecar says that texts are cut, 0 where it does not."""
    told = (_sidecar(folder) or {}).get("max_length")
    return told if isinstance(told, int) and not isinstance(told, bool) else 0


def _check_architecture(folder: Folder) -> None:
    kinds = [str(kind) for kind in folder.config.get("architectures") or ()]
    if not any(kind.endswith("ForSequenceClassification") for kind in kinds):
        raise ModelError(
            f"{str(folder.path)!r} has no classification head (its config says {', '.join(kinds) or 'nothing of one'})",
            expected="a fine-tuned sequence classifier",
            remedy="give the fine-tuned checkpoint or adapter, not the pre-trained model",
        )


def _tokenizer(folder: Folder, root: Folder) -> Any:
    here = folder if holds_tokenizer(folder) else root
    tokenizer = tokenizer_of(here)
    if not tokenizer.is_fast:
        raise ModelError(f"the tokenizer in {str(here.path)!r} has no tokenizer.json", remedy="save it as a fast tokenizer")
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    return tokenizer


def _checkpoint(root: Folder, names: tuple[str, ...], *, allow_pickle: bool) -> tuple[Any, list[str]]:
    from transformers import AutoModelForSequenceClassification

    pickled = allow_pickle and not list(root.path.glob("*.safetensors"))
    return pretrained(
        AutoModelForSequenceClassification, root, pickled=pickled, attn_implementation="eager", num_labels=len(names),
        id2label=dict(enumerate(names)), label2id={name: i for i, name in enumerate(names)},
        expected=f"a sequence-classification checkpoint with {len(names)} classes",
    )  # fmt: skip


def _adapter(module: Any, folder: Folder, *, allow_pickle: bool) -> Any:
    from peft import PeftModel

    if not list(folder.path.glob("adapter_model*.safetensors")) and not allow_pickle:
        raise ModelError(f"{str(folder.path)!r} holds no adapter_model.safetensors")
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            adapted = PeftModel.from_pretrained(module, str(folder.path))
    except Exception as error:  # peft raises ValueError, RuntimeError, KeyError, TypeError for a base that does not fit
        raise ModelError(
            f"the adapter does not fit its base: {type(error).__name__}: {str(error)[:300]}",
            remedy="give the right base with --base",
        ) from error
    lacking = next((str(one.message) for one in told if "missing adapter keys" in str(one.message)), None)
    if lacking:
        raise ModelError(f"the adapter does not fit its base: {lacking[:300]}", remedy="give the right base with --base")
    return adapted


def _pad_token(module: Any, tokenizer: Any) -> None:
    """Give tokenizer and config one pad token where they lack it (LLaMA and Qwen ship none)."""
    rows = module.get_input_embeddings().weight.shape[0]
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id >= rows:  # a default that the weights have no row for
        known = (tokenizer.unk_token, tokenizer.eos_token)
        fits = (token for token in known if token and tokenizer.convert_tokens_to_ids(token) < rows)
        tokenizer.pad_token = next(fits, None)
    if tokenizer.pad_token_id is None:
        raise ModelError("the tokenizer has neither a pad, an unknown nor an end token", remedy="give it a pad token")
    module.config.pad_token_id = tokenizer.pad_token_id
    inner = module.get_base_model() if hasattr(module, "get_base_model") else module
    inner.config.pad_token_id = tokenizer.pad_token_id


def longest(module: Any, *, most: int) -> int:
    """``most``, or as many tokens as the model has positions for where these are fewer."""
    limit = int(getattr(module.config, "max_position_embeddings", most) or most)
    tables = [layer for name, layer in module.named_modules() if name.endswith("position_embeddings")]
    offset = getattr(tables[0], "padding_idx", None) if tables else None
    if offset is not None:  # RoBERTa and MPNet begin to count behind the pad token's number
        limit -= int(offset) + 1
    return min(most, limit)


def _check_head(fresh: list[str], folder: Folder, *, new_head: bool) -> None:
    heads = [key for key in fresh if key.split(".")[0] in ("score", "classifier")]
    if heads and not new_head and folder.kind == "full":
        raise ModelError(
            f"{str(folder.path)!r} has no classification head ({', '.join(heads)} missing)",
            expected="a fine-tuned sequence classifier",
            remedy="give the fine-tuned checkpoint or adapter, not the pre-trained model",
        )


def _check_finite(module: nn.Module, name: str) -> None:
    bad = [key for key, value in module.named_parameters() if not bool(torch.isfinite(value).all())]
    if bad:
        raise ModelError(
            f"{name!r} holds weights that are not numbers, first in {bad[0]!r} ({len(bad)} tensors in all)",
            remedy="download the file again, or ask its author",
        )
