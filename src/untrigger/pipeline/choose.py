"""What is settled before anything is computed: the method, its options, its teacher, the format of the output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from untrigger import assets
from untrigger.core.errors import ModelError, OptionError, check_choice
from untrigger.core.paths import local_path
from untrigger.core.registry import Family, get_method, options_of
from untrigger.defences.chain import Chain
from untrigger.defences.purifier import Purifier
from untrigger.defences.w2s.base_recovery import load_base_of, same_shape
from untrigger.models.adapters import METHODS, lora_parts
from untrigger.models.classifier import Classifier
from untrigger.models.safety.model_folder import open_model_folder, resolve_model
from untrigger.pipeline.spec import TEACHER, PurifySpec


def method_of(spec: PurifySpec) -> Purifier:
    """The method that the spec names with its options, or the chain of those that it names with commas.

    Raises:
        OptionError: for an unknown method, variant or option.
    """
    names = [name.strip() for name in spec.method.split(",")]
    if len(names) == 1:
        method = made("defences", names[0], variant=spec.variant, options=spec.options)
        assert isinstance(method, Purifier)
        return method
    if spec.variant:
        raise OptionError(f"the variant {spec.variant!r} of several methods", expected="a variant of one method")
    for name in spec.options:
        check_choice(name, names, kind="method of the chain")
    parts = [made("defences", name, options=spec.options.get(name, {})) for name in names]
    return Chain(tuple(part for part in parts if isinstance(part, Purifier)))


def made(family: Family, name: str, *, variant: str = "", options: Mapping[str, Any]) -> Any:
    """The method of that name and variant with its options.

    Raises:
        OptionError: for an unknown method, variant or option.
    """
    kind: Any = get_method(family, name)
    if variant and variant != "ours":
        check_choice(variant, [*kind.variants, "ours"], kind=f"variant of {name}")
        kind = kind.variants[variant]
    known = [one.name for one in options_of(kind if isinstance(kind, type) else type(kind()))]
    for option in options:
        check_choice(option, known, kind=f"option of {name}")
    return kind(**options)


def teacher_of(spec: PurifySpec, method: Purifier) -> str | None:
    """The teacher that the method is granted: the one that is named where it can use one, the usual one where it needs one."""
    if "teacher" in method.needs:
        return spec.teacher or TEACHER
    return spec.teacher if "teacher" in method.uses else None


def scans_result(spec: PurifySpec) -> bool:
    """Whether the result is scanned, as it is where no truth says more."""
    return spec.verify and spec.truth is None


def check_teacher(spec: PurifySpec, method: Purifier) -> None:
    """Nothing, where no teacher is needed or named for something that uses it, or where it is there.

    Raises:
        ModelError: if it is not.
        AssetError: if it is an embedded one that cannot be fetched.
    """
    if spec.teacher is not None:
        local_path(spec.teacher, what="the teacher", error=ModelError)
    name = teacher_of(spec, method) or (spec.teacher if scans_result(spec) else None)
    if name is None:
        return
    try:
        open_model_folder(resolve_model(name, offline=spec.offline))
    except ModelError as error:
        raise ModelError(
            f"the teacher {name!r} cannot be used: {error.what}",
            expected=error.expected,
            nearest=error.nearest,
            remedy="give a small pre-trained encoder that you trust with --teacher, such as minilm-l6",
        ) from error


def trusted_base(spec: PurifySpec, victim: Classifier) -> str | None:
    """The pre-trained model that the victim was made from, where it can be trusted; None where none is known.

    It is the one that the user gives, or an embedded one, whose files are pinned.

    Raises:
        ModelError: for one given that full weights do not descend from.
    """
    adapter = victim.source.kind == "adapter"
    if spec.base is not None:
        if not adapter and load_base_of(victim, spec.base, offline=spec.offline) is None:
            raise ModelError(
                f"{str(spec.model)!r} does not descend from the base {spec.base!r}",
                expected="the pre-trained model that it was fine-tuned from, of the same architecture and size",
                remedy="leave out --base, or give the right one",
            )
        return spec.base
    if adapter:
        known = assets.name_at(victim.source.base or "")
        if known is not None:
            assets.fetch(known, offline=True)  # raises where a file of it has changed
        return known
    ready = (known for known in assets.listing() if known.kind == "model" and known.state == "ready")
    alike = (known for known in ready if same_shape(victim, known.path))
    return next((known.name for known in alike if load_base_of(victim, known.path, offline=True) is not None), None)


def refuse_format(spec: PurifySpec, victim: Classifier, method: Purifier) -> None:
    """Nothing, where the output can be written in the format that is asked for.

    Raises:
        ModelError: if an adapter came in that no single adapter can follow.
        OptionError: for an unknown PEFT method.
    """
    parts = method.methods if isinstance(method, Chain) else (method,)
    pefts = [check_choice(getattr(part, "peft", METHODS[0]), METHODS, kind="PEFT method") for part in parts]
    peft = next((one for one in pefts if one != "lora"), "lora")
    if len(parts) > 1 and peft != "lora" and not spec.merge:
        raise ModelError(
            f"{peft} cannot be chained into one adapter", expected="peft=lora", remedy="write full weights with --merge"
        )
    if spec.merge or victim.source.kind != "adapter":
        return
    lora_parts(victim.module)
    if peft != "lora":
        raise ModelError(
            f"a student with {peft} on a LoRA adapter cannot be written as one adapter",
            expected="peft=lora",
            remedy="write full weights with --merge",
        )
