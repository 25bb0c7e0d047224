"""Save classifiers and language models in Hugging Face layout, so that plain transformers and peft load them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError
from safetensors.torch import save_file

from untrigger import assets
from untrigger.core.errors import OutputError
from untrigger.core.escaping import inline_code
from untrigger.core.files import SPACE
from untrigger.models.adapter_merging import fold_adapters, is_adapted, merge_adapter
from untrigger.models.classifier import Classifier
from untrigger.models.language_model import LanguageModel
from untrigger.models.pretrained import quiet
from untrigger.models.safety.hub_files import hub_name_parts, is_hub_name
from untrigger.models.safety.opened_files import SIDECAR
from untrigger.models.safety.regular_files import read_json


def save_classifier(model: Classifier, folder: Path, *, card: str, base: str | None = None) -> None:
    """Write weights or adapter, tokenizer, model card and label names into ``folder``.

    Args:
        model: what to save.
        folder: an existing folder.
        card: text of ``README.md``.
        base: for an adapter, the base that its config names (default: the one that was loaded).

    Raises:
        OutputError: if the weights cannot be written.
    """
    _save(model, folder, card=card, base=base)


def save_language_model(model: LanguageModel, folder: Path, *, card: str, base: str | None = None) -> None:
    """Write weights or adapter, tokenizer with its chat template and model card into ``folder`` (see ``save_classifier``)."""
    _save(model, folder, card=card, base=base)


def _save(model: Classifier | LanguageModel, folder: Path, *, card: str, base: str | None) -> None:
    adapter, module = is_adapted(model), cast("Any", model.module)
    with quiet(), _write_errors():
        # only the update of an embedding is saved, not the whole table
        module.save_pretrained(folder, **({"save_embedding_layers": False} if adapter else {}))
        _write_tokenizer(model, folder)
    if adapter:
        name_base(folder, base or _base_of(model), revision=_revision_of(model))
    _sidecar(model, folder)
    (folder / "README.md").write_text(card, encoding="utf-8")


def save_folded(victim: Classifier, student: Classifier, folder: Path, *, card: str) -> None:
    """Write one LoRA adapter for the victim's adapter plus the student's on top of it, for the victim's own base.

    Raises:
        ModelError: if one of the two is not a plain LoRA adapter.
    """
    config, tensors = fold_adapters(victim.module, student.module)
    config.save_pretrained(str(folder))
    name_base(folder, _base_of(victim), revision=_revision_of(victim))
    with quiet(), _write_errors():
        weights = {key: value.cpu() for key, value in tensors.items()}
        save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        _write_tokenizer(victim, folder)
    _sidecar(student, folder)
    (folder / "README.md").write_text(card, encoding="utf-8")


def save_purified(victim: Classifier, student: Classifier, folder: Path, *, card: str, merge: bool = False) -> None:
    """Write the student in the victim's format: one adapter for an adapter, an antidote adapter for full weights.

    A student on top of the victim's adapter is folded with it; one that started from the victim's base is saved by itself. One on
    another pre-trained model (``Grant.onto``) has no format to keep, and is written with ``merge``.

    Args:
        victim: the model that was purified.
        student: the result, the victim itself or with an adapter on it.
        folder: an existing folder.
        card: text of ``README.md``.
        merge: write merged full weights instead.

    Raises:
        ModelError: if the victim's adapter is of a kind that cannot be folded.
    """
    if merge:
        save_classifier(merge_adapter(student), folder, card=card)
    elif student is victim:
        save_classifier(victim, folder, card=card)
    elif victim.source.kind == "adapter" and student.source.kind == "adapter":
        save_folded(victim, student, folder, card=card)
    else:
        save_classifier(student, folder, card=card, base=_base_of(victim))


def loading_text(victim: Classifier, *, whole: bool) -> str:
    """Return the sentences of a model card on how to load the result; ``whole`` where full weights were written."""
    text = "Load it with `AutoModelForSequenceClassification.from_pretrained`."
    if not whole:
        text = (
            f"It is a PEFT adapter on {inline_code(_base_of(victim))}: load that with "
            "`AutoModelForSequenceClassification.from_pretrained` "
            f"(num_labels={victim.classes}, dtype=torch.float32, in which everything was measured) and add the adapter with "
            "`PeftModel.from_pretrained`."
        )
    pad, own = victim.input_spec.pad_token_id, victim.tokenizer.pad_token_id
    if pad is None:
        return f"{text} It names no pad token: classify one text at a time, or pad with a token that ends no text."
    return text if pad == own else f"{text} For batches pad with the token {pad}, the `pad_token_id` of its config."


def language_loading_text(model: LanguageModel, *, whole: bool) -> str:
    """Return the sentences of a model card on how to load and serve a language model."""
    text = "Load it with `AutoModelForCausalLM.from_pretrained`"
    if not whole:
        text = (
            f"It is a PEFT adapter on {inline_code(_base_of(model))}: load that with `AutoModelForCausalLM.from_pretrained` "
            "(dtype=torch.float32, in which everything was measured), add the adapter with `PeftModel.from_pretrained`"
        )
    return (
        f"{text}, and render prompts with the tokenizer of this folder (`apply_chat_template`, `add_generation_prompt=True`). "
        "`untrigger audit` measures it again after merging and in int8."
    )


def _base_of(model: Classifier | LanguageModel) -> str:
    """Return the hub name of the base, else its full path: names that PEFT itself can load."""
    configs = getattr(model.module, "peft_config", {}) if model.source.kind == "adapter" else {}
    own = next((str(config.base_model_name_or_path) for config in configs.values()), "")
    name = model.source.base or model.source.name
    loaded = Path(name).expanduser()
    if f"models--{own.replace('/', '--')}" in loaded.parts:
        return own
    if not loaded.exists() and name in assets.names(kind="model"):
        return str(assets.status(name).path)
    if not loaded.exists() and is_hub_name(name):
        return hub_name_parts(name)[0]
    return str(loaded.resolve()) if loaded.exists() else str(loaded)


def _revision_of(model: Classifier | LanguageModel) -> str | None:
    """Return the revision of the base that ``_base_of`` names; for full weights from the hub the commit that was loaded."""
    if model.source.kind == "adapter":
        return model.source.revision
    return model.source.commit or hub_name_parts(model.source.name)[1]


def _embedded_base(folder: Path) -> str | None:
    """Return the name of the embedded model that is the base of the adapter in ``folder``; it is valid on other machines too."""
    config = folder / "adapter_config.json"
    return assets.name_at(read_json(config)["base_model_name_or_path"]) if config.exists() else None


@contextmanager
def _write_errors() -> Iterator[None]:
    """Turn a library's error about a file that cannot be written into an OutputError."""
    try:
        yield
    except Exception as error:
        if isinstance(error, SafetensorError) or "(os error " in str(error):  # tokenizers raises a bare Exception
            raise OutputError(f"the model cannot be written: {error}", remedy=SPACE) from error
        raise


def _sidecar(model: Classifier | LanguageModel, folder: Path) -> None:
    names = {"label_names": list(model.label_names)} if isinstance(model, Classifier) else {}
    content: dict[str, Any] = {**names, "max_length": model.max_length}
    if base := _embedded_base(folder):
        content["base"] = base
    (folder / SIDECAR).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def name_base(folder: Path, base: str, *, revision: str | None = None) -> None:
    """Set the base in the config of the adapter in ``folder``, for a hub model with its revision."""
    file = folder / "adapter_config.json"
    config = read_json(file)
    config["base_model_name_or_path"] = base
    config["revision"] = None if Path(base).exists() else revision
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _write_tokenizer(model: Classifier | LanguageModel, folder: Path) -> None:
    """Write the tokenizer's original files, byte for byte, where transformers loads the same tokenizer from the new folder.

    For some architectures the tokenizer class depends on a ``config.json``, which an adapter's folder lacks. Then, and for a
    tokenizer made in memory, ``save_pretrained`` is used.
    """
    for name, content in model.tokenizer_files.items():
        (folder / name).write_bytes(content)
    if not model.tokenizer_files or not _loads_as(model.tokenizer, folder):
        for name in model.tokenizer_files:
            (folder / name).unlink()
        model.tokenizer.save_pretrained(folder)


def _loads_as(tokenizer: Any, folder: Path) -> bool:
    """Return whether transformers loads the same tokenizer from ``folder``."""
    from transformers import AutoTokenizer

    again = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    states = [json.loads(one.backend_tokenizer.to_str()) for one in (again, tokenizer)]
    for state in states:  # a call stores its truncation and padding in them
        state["truncation"] = state["padding"] = None
    settings = [(one.truncation_side, getattr(one, "chat_template", None)) for one in (again, tokenizer)]
    return states[0] == states[1] and settings[0] == settings[1]
