"""The trusted base of a suspect language model: its adapter removed, or the model that the user names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from untrigger import assets
from untrigger.core.errors import ModelError
from untrigger.core.prompts import Prompts
from untrigger.models.adapter_merging import is_adapted
from untrigger.models.chat import prompt_text
from untrigger.models.language_adapters import remove_language_adapter
from untrigger.models.language_model import LanguageModel
from untrigger.models.pretrained import tokenizer_of
from untrigger.models.safety.model_folder import open_model
from untrigger.models.weight_cosine import MADE_FROM_BASE, weight_cosine
from untrigger.pipeline.load_inputs import load_language
from untrigger.pipeline.requests import ModelInput, RunOptions

_EXPECTED = "the model that it was fine-tuned from"


@dataclass(frozen=True)
class TrustedBase:
    """A base and what a user should know of it.

    Attributes:
        model: it shares its weights in memory with an adapter's suspect.
        warnings: such as that nobody but the adapter's config names it.
    """

    model: LanguageModel
    warnings: tuple[str, ...] = ()


def base_of(suspect: LanguageModel, source: ModelInput, run: RunOptions) -> LanguageModel | None:
    """Return the suspect without its adapter; of full weights the base that the user named, None where there is none.

    Raises:
        ModelError: if the named base has another vocabulary or architecture, or is the suspect itself.
    """
    if is_adapted(suspect):
        return remove_language_adapter(suspect)
    if source.base is None:
        return None
    base = load_language(ModelInput(source.base, max_length=source.max_length), run)
    check_is_other(base, suspect, what=f"the base {source.base!r}", expected=_EXPECTED)
    sizes = [one.vocabulary_size for one in (suspect, base)]
    if sizes[0] != sizes[1]:
        raise ModelError(
            f"the base {source.base!r} has a vocabulary of {sizes[1]}, the model one of {sizes[0]}",
            expected=_EXPECTED,
        )
    kinds = [_architecture(one) for one in (suspect, base)]
    if kinds[0] != kinds[1]:
        raise ModelError(f"the base {source.base!r} is {kinds[1]}, the model is {kinds[0]}", expected=_EXPECTED)
    return base


def unlike_weights(suspect: LanguageModel, base: LanguageModel, *, named: str | Path | None) -> list[str]:
    """Return a warning where full weights were hardly made from the base that the user named; none for an adapter.

    Args:
        suspect: the model.
        base: its base.
        named: what the user named as the base, None for nothing.
    """
    if named is None or is_adapted(suspect):
        return []
    cosine = weight_cosine(suspect.module.base_model, base.module.base_model)
    if cosine >= MADE_FROM_BASE:
        return []
    return [
        f"the model was hardly made from the base {str(named)!r}: the mean cosine of their weights is {cosine:.2f}, that of "
        "fine-tuned weights 0.99 and more; check --base"
    ]


def check_is_other(model: LanguageModel, suspect: LanguageModel, *, what: str, expected: str) -> None:
    """Raise ModelError where a model that should be clean is the suspect itself."""
    if model.sha256 == suspect.sha256:
        raise ModelError(f"{what} is the suspect itself", expected=expected)


def _architecture(model: LanguageModel) -> str:
    config = model.module.config
    return f"{config.model_type} of {config.num_hidden_layers} layers, {config.hidden_size} wide"


def trusted_base_of(
    suspect: LanguageModel, source: ModelInput, run: RunOptions, *, prompts: Prompts
) -> TrustedBase | None:
    """Return the base to train on, with its own tokenizer and chat template where they read the prompts as the suspect's do.

    A stranger's chat template can hide a trigger, so that a purified model keeps it only where the task needs it.

    Args:
        suspect: the model.
        source: what the user named.
        run: whether only this machine is looked at, and the device.
        prompts: of the task.

    Raises:
        ModelError: if the named base cannot be used.
        AssetError: where a file of an embedded base has changed.
    """
    base = base_of(suspect, source, run)
    if base is None:
        return None
    warnings = unlike_weights(suspect, base, named=source.base)
    if is_adapted(suspect) and source.base is None:
        known = assets.name_at(suspect.source.base or "")
        if known is None:
            warnings.append(
                f"the base {base.name!r} is trusted because the adapter names it: check that it is the published model, or name "
                "one with --base"
            )
        else:
            assets.fetch(known, offline=True)  # raises where a file of it has changed
    own, differs = _with_own_tokenizer(base, run), False
    if own is not None:
        differs = any(prompt_text(own, one) != prompt_text(suspect, one) for one in prompts.conversations)
        differs = differs or own.tokenizer.get_vocab() != suspect.tokenizer.get_vocab()
        base = base if differs else own
    if differs:
        warnings.append(
            "the suspect's chat template or tokenizer reads the clean prompts in another way than its base's: the result keeps the "
            "suspect's, so look at chat_template and tokenizer before you use it"
        )
    return TrustedBase(base, tuple(warnings))


def _with_own_tokenizer(base: LanguageModel, run: RunOptions) -> LanguageModel | None:
    """Return the base with the tokenizer of its own folder; None where that holds none."""
    folder = open_model(base.source.name, offline=run.offline, task="CAUSAL_LM")
    if not folder.holds_tokenizer:
        return None
    tokenizer = tokenizer_of(folder)
    tokenizer.pad_token = base.tokenizer.pad_token if tokenizer.pad_token is None else tokenizer.pad_token
    tokenizer.padding_side = base.tokenizer.padding_side
    return replace(base, tokenizer=tokenizer, tokenizer_files=folder.tokenizer_files)
