"""What is settled before anything is computed: the method, its options, its teacher, the format of the output."""

from __future__ import annotations

from untrigger.defences.base import Purifier
from untrigger.errors import ModelError, one_of
from untrigger.models.adapters import METHODS, lora_parts
from untrigger.models.classifier import Classifier
from untrigger.models.inspect import inspect_folder, resolve
from untrigger.pipeline.spec import PurifySpec
from untrigger.registry import find, options_of


def method_of(spec: PurifySpec) -> Purifier:
    """The method that the spec names, with its options.

    Raises:
        OptionError: for an unknown method, variant or option.
    """
    kind = find("defences", spec.method)
    if spec.variant and spec.variant != "ours":
        one_of(spec.variant, [*kind.variants, "ours"], kind=f"variant of {spec.method}")
        kind = kind.variants[spec.variant]
    known = [one.name for one in options_of(kind if isinstance(kind, type) else type(kind()))]
    for name in spec.options:
        one_of(name, known, kind=f"option of {spec.method}")
    method = kind(**spec.options)
    assert isinstance(method, Purifier)
    return method


def check_teacher(spec: PurifySpec, method: Purifier) -> None:
    """Nothing, where the method needs no teacher or the spec's is there.

    Raises:
        ModelError: if it is not.
        AssetError: if it is an embedded one that cannot be fetched.
    """
    if "teacher" not in method.needs:
        return
    try:
        inspect_folder(resolve(spec.teacher, offline=spec.offline))
    except ModelError as error:
        raise ModelError(
            f"the teacher {spec.teacher!r} cannot be used: {error.what}", expected=error.expected, nearest=error.nearest,
            remedy="give a small pre-trained encoder that you trust with --teacher, such as minilm-l6",
        ) from error  # fmt: skip


def refuse_format(spec: PurifySpec, victim: Classifier, method: Purifier) -> None:
    """Nothing, where the output can be written in the format that is asked for.

    Raises:
        ModelError: if an adapter came in that no single adapter can follow.
        OptionError: for an unknown PEFT method.
    """
    peft = one_of(getattr(method, "peft", METHODS[0]), METHODS, kind="PEFT method")
    if spec.merge or victim.source.kind != "adapter":
        return
    lora_parts(victim.module)
    if peft != "lora":
        raise ModelError(
            f"a {peft} student on a LoRA adapter cannot be written as one adapter", expected="peft=lora",
            remedy="write full weights with --merge",
        )  # fmt: skip
