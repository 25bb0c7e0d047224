"""Load a PEFT adapter onto its base: only tensors that its config implies, and none of the base's own overwritten."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from untrigger import assets
from untrigger.core.errors import ModelError, UnsafeFileError, UserError
from untrigger.core.paths import local_path
from untrigger.models.pretrained import quiet, reason
from untrigger.models.safety.config_check import check_pattern_time
from untrigger.models.safety.hub_files import hub_name_parts, is_hub_name, is_remote_name
from untrigger.models.safety.model_folder import ModelFolder, open_model
from untrigger.models.safety.opened_files import SIDECAR
from untrigger.models.safety.regular_files import read_json
from untrigger.models.safety.size_check import check_adapter_sizes
from untrigger.models.safety.tensor_files import Tensors
from untrigger.models.weight_sharing import shared_copy

PREFIX = "base_model.model."


def open_base(
    folder: ModelFolder, base: str | Path | None, *, allow_pickle: bool, offline: bool, task: str = "SEQ_CLS"
) -> ModelFolder:
    """Return the opened base of an adapter; a hub is used only for a base that the user named.

    Args:
        folder: the adapter.
        base: the base that the user named, None for the one that the adapter's config names.
        allow_pickle: also open pickle weights.
        offline: use no hub.
        task: the PEFT task of the adapter.

    Raises:
        ModelError: if there is no base, or it cannot be opened.
    """
    name = base if base is not None else _named_base(folder)
    if name is None:
        raise ModelError(f"{str(folder.origin)!r} names no base model", remedy="give it with --base")
    if base is None and not offline and is_remote_name(str(name)) and not _is_embedded(str(name)):
        offline = True  # what an untrusted file names is not fetched
    revision = folder.revision if hub_name_parts(str(name))[0] == hub_name_parts(folder.base or "")[0] else None
    try:
        return open_model(name, offline=offline, allow_pickle=allow_pickle, revision=revision, task=task)
    except ModelError as error:
        if base is not None:
            raise
        pinned = f"{name}@{revision}" if revision and is_hub_name(str(name)) and "@" not in str(name) else name
        fetch = f"to fetch it, name it yourself: --base {pinned}"
        raise ModelError(
            f"the base {str(name)!r} of the adapter {str(folder.origin)!r} cannot be used: {error.what}",
            remedy=fetch if is_remote_name(str(name)) else "give another with --base",
        ) from error


def _is_embedded(name: str) -> bool:
    return name in assets.names(kind="model")


def _sidecar(folder: ModelFolder) -> dict[str, Any]:
    """Return the content of the file that untrigger wrote beside the model, empty where there is none."""
    file = folder.path / SIDECAR
    return read_json(file, origin=folder.origin / SIDECAR) if file.is_file() else {}


def _named_base(folder: ModelFolder) -> str | None:
    """Return the base that an adapter's config names, or the embedded model in its sidecar where that is a path not found here."""
    name = folder.base
    if name is None:
        return None
    what = f"the base that the adapter {str(folder.origin)!r} names,"
    path = local_path(name, what=what, error=ModelError, remedy="give another with --base")
    if not Path(name).is_absolute() or path.exists():
        return name
    embedded = _sidecar(folder).get("base")
    return embedded if isinstance(embedded, str) and _is_embedded(embedded) else name


def sidecar_length(folder: ModelFolder) -> int:
    """Return the ``max_length`` that untrigger wrote beside the model, 0 where it wrote none."""
    length = _sidecar(folder).get("max_length")
    return length if isinstance(length, int) and not isinstance(length, bool) else 0


def load_adapter(module: Any, folder: ModelFolder, *, base: str) -> Any:
    """Return ``module`` with the adapter of ``folder`` on it, as ``PeftModel.from_pretrained`` returns it.

    Its attribute ``overwritten_base_tensors`` holds copies of the base's tensors that the adapter replaces in memory.

    Args:
        module: the base as it was loaded; it becomes part of the result.
        folder: the opened adapter.
        base: the base's name in messages.

    Raises:
        UnsafeFileError: for a tensor that would overwrite one of the base's.
        ModelError: if the adapter does not fit its base.
    """
    from peft import PeftModel

    where = str(folder.origin)
    check_pattern_time(folder.config, [name for name, _ in module.named_modules()], where=where)
    try:
        overwritten = _check_tensors(module, folder, base=base)
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            adapted: Any = PeftModel.from_pretrained(module, str(folder.path))
    except UserError:
        raise
    except Exception as error:  # peft raises ValueError, RuntimeError, KeyError, TypeError for a base that does not fit
        raise _misfit(folder, base, reason(error, folder)) from error
    adapted.overwritten_base_tensors = overwritten
    return adapted


def _misfit(folder: ModelFolder, base: str, why: str) -> ModelError:
    return ModelError(
        f"the adapter {str(folder.origin)!r} does not fit its base {base!r}: {why}",
        expected="the base that it was trained on",
        remedy="give that with --base, if it is another one",
    )


def _check_tensors(module: Any, folder: ModelFolder, *, base: str) -> dict[str, torch.Tensor]:
    """Raise unless the adapter's file holds exactly the tensors that its config implies on this base.

    Returns copies of the base's own tensors that these replace in memory (biases that were trained with a LoRA).
    """
    shapes, get = _contents(folder)
    check_adapter_sizes(folder.config, shapes, where=str(folder.origin / "adapter_config.json"))
    wanted = implied_tensors(module, folder)
    for name in sorted(shapes.keys() - wanted.keys()):
        if not _equals_base(module, name, get(name)):
            plain = base_name(name).replace(".modules_to_save.", ".").replace(".original_module.", ".")
            own = module.state_dict().get(plain)
            if own is not None and tuple(own.shape) != shapes[name]:
                raise _misfit(
                    folder,
                    base,
                    f"{name!r} has the shape {list(shapes[name])}, the base's {list(own.shape)}; a base "
                    "whose vocabulary was enlarged has to be saved so and given with --base",
                )
            raise UnsafeFileError(
                f"the adapter {str(folder.origin)!r} holds the tensor {name!r}, which its config does not imply",
                expected="tensors of its target modules and of its modules_to_save",
                remedy="it would overwrite or shadow a weight of the base; for trained embeddings, list them in modules_to_save "
                "and save the adapter with save_embedding_layers=False",
            )
    lacking = sorted(wanted.keys() - shapes.keys())
    if lacking:
        raise _misfit(folder, base, f"its file lacks {lacking[0]!r} ({len(lacking)} tensors missing)")
    wrong = next((name for name in sorted(wanted) if wanted[name] != shapes[name]), None)
    if wrong:
        raise _misfit(
            folder, base, f"{wrong!r} has the shape {list(shapes[wrong])}, the base needs {list(wanted[wrong])}"
        )
    own = module.state_dict()
    return {tail: own[tail].clone() for name in wanted if (tail := base_name(name)) in own}


def base_name(name: str) -> str:
    """Return the name that a tensor of an adapter's file has in the base, if it is one of the base's at all."""
    return name.removeprefix(PREFIX).replace(".base_layer.", ".")


def _contents(folder: ModelFolder) -> tuple[dict[str, tuple[int, ...]], Callable[[str], torch.Tensor]]:
    """Return the shapes of the adapter's tensors, and a function that reads one."""
    if not any(file.suffix == ".bin" for file in folder.weights):
        tensors = Tensors(folder)
        return tensors.shapes, tensors.get
    found = {name: value for file in folder.weights for name, value in _unpickled(file).items()}
    return {name: tuple(value.shape) for name, value in found.items()}, found.__getitem__


def _unpickled(file: Any) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return loaded


def implied_tensors(module: Any, folder: ModelFolder) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the tensors that an adapter of this config has on this base, as PEFT saves them.

    ``module`` is left as it is.
    """
    from peft import PeftConfig, get_peft_model, get_peft_model_state_dict

    with quiet(), warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        config = PeftConfig.from_pretrained(str(folder.path))
        config.inference_mode = True
        skeleton = get_peft_model(shared_copy(module), config)
        saved = get_peft_model_state_dict(skeleton, save_embedding_layers=False)
    return {name: tuple(value.shape) for name, value in saved.items()}


def _equals_base(module: Any, name: str, value: torch.Tensor) -> bool:
    """Return whether a tensor is a copy of the base's own, as PEFT saves the embeddings with an adapter on them."""
    own = module.state_dict().get(base_name(name))
    return own is not None and own.shape == value.shape and bool(torch.equal(own.float(), value.float().to(own.device)))
