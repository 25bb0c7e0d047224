"""PEFT adapters: putting one on a classifier, and folding several into the one that is given away."""

from __future__ import annotations

import copy
import math
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from untrigger.core.errors import ModelError, OptionError, check_choice
from untrigger.models.classification_head import head_module_of
from untrigger.models.classifier import Classifier
from untrigger.models.merging import merge, refuse_unmergeable, type_of, unwrap
from untrigger.models.pretrained import quiet
from untrigger.models.weight_sharing import LinearWithFixedLoRA, shared_copy

METHODS = ("lora", "dora", "ia3", "ln_tuning")


@dataclass(frozen=True)
class AdapterOptions:
    """Which small weights are trained instead of the model's own.

    Attributes:
        method: ``lora`` (2106.09685), ``dora`` (2402.09353), ``ia3`` (2205.05638) or ``ln_tuning`` (2312.11420).
        rank: rank of LoRA and DoRA.
        alpha: LoRA's numerator; the update is scaled by ``alpha / rank``. None means ``rank``: a scale of 1.
        targets: names of linear layers (as ``q_proj``), or ``("all-linear",)`` for every one in the blocks.
        dropout: LoRA's dropout on its input.
        upper: share of the blocks that are adapted, from the top, above 0 to 1; no gradient has to flow below them.
    """

    method: str = "lora"
    rank: int = 16
    alpha: float | None = None
    targets: tuple[str, ...] = ("all-linear",)
    dropout: float = 0.0
    upper: float = 1.0

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: for an unknown method, a rank below 1, a dropout outside [0, 1) or a share outside (0, 1].
        """
        check_choice(self.method, METHODS, kind="PEFT method")
        if self.rank < 1 or not 0 <= self.dropout < 1 or not self.targets or not 0 < self.upper <= 1:
            raise OptionError(
                f"rank {self.rank}, dropout {self.dropout}, targets {self.targets}, upper {self.upper}",
                expected="rank 1 or more, dropout from 0 to below 1, one target or more, upper above 0 to 1",
            )


def block_layers(module: nn.Module) -> dict[str, list[str]]:
    """The linear layers of each stack of blocks: ``{"encoder.layer": ["attention.self.query", …]}``."""
    found: dict[str, list[str]] = defaultdict(list)
    for stack, _, inner in in_blocks(module):
        if inner not in found[stack]:
            found[stack].append(inner)
    return dict(found)


def in_blocks(module: nn.Module) -> Iterator[tuple[str, int, str]]:
    """Stack, number of the block and name inside it, of every linear layer in a block."""
    for name, layer in module.named_modules():
        match = re.fullmatch(r"(.+?)\.(\d+)\.(.+)", name)
        if match and (isinstance(layer, nn.Linear) or type(layer).__name__ == "Conv1D"):
            stack, number, inner = match.groups()
            yield stack, int(number), inner


def target_pattern(module: nn.Module, targets: Sequence[str], *, upper: float = 1.0) -> str:
    """A regular expression for PEFT that matches exactly the wanted linear layers of the ``upper`` share of the blocks.

    Raises:
        OptionError: if a target names no layer of the model.
    """
    stacks, parts, known = block_layers(module), [], set()
    for stack, inner in stacks.items():
        known |= {name.split(".")[-1] for name in inner}
        wanted = [n for n in inner if "all-linear" in targets or n in targets or n.split(".")[-1] in targets]
        if wanted:
            blocks = sorted({number for other, number, _ in in_blocks(module) if other == stack})
            top = blocks[-math.ceil(upper * len(blocks)) :]
            numbers = r"\d+" if upper == 1 else f"({'|'.join(map(str, top))})"
            parts.append(rf"{re.escape(stack)}\.{numbers}\.({'|'.join(map(re.escape, wanted))})")
    missing = [
        t for t in targets if t != "all-linear" and not any(t in inner or t in known for inner in stacks.values())
    ]
    if missing or not parts:
        if not stacks:
            raise ModelError(
                "the blocks of this architecture hold no plain linear layer that an adapter could go on",
                expected="an encoder or decoder of linear layers",
                remedy="take a method with --set peft=ln_tuning",
            )
        raise OptionError(
            f"no linear layer named {', '.join(missing) or targets}",
            expected="all-linear, or of " + ", ".join(sorted(known)),
        )
    return "|".join(parts)


def query_value(model: Classifier) -> tuple[str, ...]:
    """The names of the query and value projections that this architecture has, ``all-linear`` where it has none."""
    present = {name.split(".")[-1] for name, _ in model.module.named_modules()}
    named = tuple(t for t in ("q_proj", "v_proj", "query", "value", "q", "v") if t in present)
    return named or ("all-linear",)


def attach(model: Classifier, options: AdapterOptions, *, generator: torch.Generator | None = None) -> Classifier:
    """The classifier with a new adapter: its own weights frozen and shared with ``model``, adapter and head trainable.

    A loaded LoRA adapter stays beside its layers (see ``fold`` for the way back to one adapter). Fresh modules
    such as a pooler that no file holds are trained and saved with the head, or they would be lost.

    Raises:
        ModelError: where no layer is left for it, such as for a loaded adapter that saves whole stacks of blocks.
        OptionError: if a target names no layer of the model.
    """
    from peft import TaskType, get_peft_model

    extra = _saved_modules(model.module) | {name.rsplit(".", 1)[0] for name in model.source.fresh}
    module = _frozen(model.module, method=options.method)
    names = sorted({head_module_of(module, classes=model.classes)} | _outermost(extra))
    _settle_saved(module, names)
    config = _config(module, options, saved=names)
    config.task_type = TaskType.SEQ_CLS
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)) if generator else 0)
        try:
            wrapped = get_peft_model(module, config)
        except ValueError as error:
            raise _no_layer_left(model, names, error) from error
    return model.with_module(wrapped.eval())


def _no_layer_left(model: Classifier, saved: Sequence[str], error: ValueError) -> ModelError:
    """The error for a model on which PEFT can put no further adapter."""
    layers = [f"{stack}.{number}.{inner}" for stack, number, inner in in_blocks(model.module)]
    inside = f"every layer for it lies in a module that is saved whole: {', '.join(saved)}"
    why = inside if all(_within(name, saved) for name in layers) else f"PEFT refuses: {str(error)[:300]}"
    return ModelError(
        f"{model.source.name!r} can carry no further adapter: {why}",
        expected="full weights, or an adapter with no more than the head in modules_to_save",
        remedy="merge it into full weights (in Python merge_and_unload of PEFT, then save_pretrained of the model and of its "
        "tokenizer), and give these",
    )


def _settle_saved(module: nn.Module, names: Sequence[str]) -> None:
    """Work the updates of modules that will be saved whole into their weights: a head is saved once, as a plain layer."""
    for name, layer in [(n, m) for n, m in module.named_modules() if isinstance(m, LinearWithFixedLoRA)]:
        if _within(name, names):
            module.set_submodule(name, layer.plain())


def _within(name: str, saved: Sequence[str]) -> bool:
    """Whether the layer ``name`` is one of the modules that PEFT saves under these names, or lies inside one."""
    dotted = f".{name}."
    return any(f".{one}." in dotted for one in saved)


def _frozen(module: nn.Module, *, method: str) -> Any:
    """A frozen copy without PEFT around it, on the same storage wherever a new adapter of that method allows it."""
    from peft import PeftModel

    if not isinstance(module, PeftModel):
        return shared_copy(module)
    if method == "lora" and _is_plain(module):
        return _kept_apart(shared_copy(module))
    return merge(copy.deepcopy(module)).requires_grad_(False)


def _is_plain(module: Any) -> bool:
    """Whether the loaded adapter is a plain LoRA on ordinary linear layers."""
    try:
        names = lora_parts(module)
    except ModelError:
        return False
    base = module.get_base_model()
    return all(type(base.get_submodule(name).get_base_layer()) is nn.Linear for name in names)


def _kept_apart(module: Any) -> Any:
    """The base of a LoRA model, its updates beside their layers and its saved modules in place; ``module`` is used up."""
    parts, active, base = lora_parts(module), module.active_adapter, module.get_base_model()
    for name, (a, b) in parts.items():
        base.set_submodule(name, LinearWithFixedLoRA(base.get_submodule(name).get_base_layer(), a, b))
    unwrap(base, active)
    if hasattr(base, "peft_config"):
        del base.peft_config
    return base


def merged(model: Classifier) -> Classifier:
    """The classifier with its adapter worked into full weights of its own, itself where it carries none.

    Modules that the adapter saved count as fresh too, so that a further adapter trains and saves them.
    """
    if not is_adapted(model):
        return model
    saved = _saved_modules(model.module)
    whole = merge(copy.deepcopy(model.module))
    fresh = [name for name, _ in whole.named_parameters() if saved & set(name.split("."))]
    source = replace(model.source, fresh=tuple(dict.fromkeys((*model.source.fresh, *fresh))))
    return replace(model, module=whole, source=source)


def without_adapter(model: Classifier) -> Classifier:
    """A copy of the classifier's base as it was before its adapter came, the base's own head on it.

    Raises:
        ModelError: if the classifier carries no adapter.
    """
    from peft.utils.other import ModulesToSaveWrapper

    if not is_adapted(model):
        raise ModelError("the model carries no adapter")
    carrier: Any = copy.deepcopy(model.module)
    named = carrier.get_base_model().named_modules()
    own = {name: layer.original_module for name, layer in named if isinstance(layer, ModulesToSaveWrapper)}
    whole = carrier.unload()  # type: ignore[operator]
    for name, layer in own.items():  # PEFT leaves the adapter's head in its place
        parent, _, child = name.rpartition(".")
        setattr(whole.get_submodule(parent), child, layer)
    whole.load_state_dict(getattr(model.module, "own_of_base", {}), strict=False)
    source = replace(model.source, name=model.source.base or model.source.name, kind="full", base=None, sha256="")
    return replace(model.with_module(whole.eval()), source=source)


def _saved_modules(module: nn.Module) -> set[str]:
    configs = getattr(module, "peft_config", {})
    return {name for config in configs.values() for name in (getattr(config, "modules_to_save", None) or ())}


def _outermost(names: set[str]) -> set[str]:
    """Leaf modules as PEFT wants them: a pooler's ``dense`` is saved as its ``pooler``."""
    return {next((p for p in name.split(".") if p in ("pooler", "score", "classifier")), name) for name in names}


def _config(module: nn.Module, options: AdapterOptions, *, saved: list[str]) -> Any:
    from peft import IA3Config, LNTuningConfig, LoraConfig

    if options.method in ("lora", "dora"):
        return LoraConfig(
            r=options.rank,
            lora_alpha=options.rank if options.alpha is None else options.alpha,
            target_modules=target_pattern(module, options.targets, upper=options.upper),
            lora_dropout=options.dropout,
            use_dora=options.method == "dora",
            modules_to_save=saved,
            fan_in_fan_out=_transposed(module),
        )
    if options.method == "ia3":
        return IA3Config(
            target_modules=target_pattern(module, options.targets, upper=options.upper),
            feedforward_modules=[],
            modules_to_save=saved,
            fan_in_fan_out=_transposed(module),
        )
    norms = {name.split(".")[-1] for name, layer in module.named_modules() if "norm" in type(layer).__name__.lower()}
    return LNTuningConfig(target_modules=sorted(norms), modules_to_save=saved)


def _transposed(module: nn.Module) -> bool:
    """Whether the blocks' linear layers keep their weights transposed (GPT-2's ``Conv1D``)."""
    return any(type(layer).__name__ == "Conv1D" for layer in module.modules())


def lora_parts(module: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """The active LoRA update of each layer as ``(A (r, in), B (out, r))`` with the scale multiplied into B.

    For an embedding ``in`` is the number of tokens.

    Raises:
        ModelError: for adapters that are no plain LoRA (DoRA, biases, other methods).
    """
    from peft import LoraConfig, PeftModel
    from peft.tuners.lora import LoraLayer

    if not isinstance(module, PeftModel):
        raise ModelError("the model carries no adapter")
    config = module.peft_config[module.active_adapter]
    refuse_unmergeable(module)
    further = _beyond_plain_lora(config) if isinstance(config, LoraConfig) else ""
    if type_of(module) != "LORA" or further:
        raise ModelError(
            f"a {type_of(module)} adapter{further} cannot be folded into one LoRA adapter",
            expected="plain LoRA without DoRA and bias",
            remedy="write full weights with --merge",
        )
    parts: dict[str, tuple[Tensor, Tensor]] = {}
    for name, layer in module.get_base_model().named_modules():
        if isinstance(layer, LoraLayer) and module.active_adapter in layer.lora_A:
            a, b = layer.lora_A[module.active_adapter].weight, layer.lora_B[module.active_adapter].weight
            parts[name] = a.detach(), b.detach() * layer.scaling[module.active_adapter]
        elif isinstance(layer, LoraLayer) and module.active_adapter in layer.lora_embedding_A:
            a, b = layer.lora_embedding_A[module.active_adapter], layer.lora_embedding_B[module.active_adapter]
            parts[name] = a.detach(), b.detach() * layer.scaling[module.active_adapter]
        elif isinstance(layer, LoraLayer):
            raise ModelError(f"LoRA on {name!r} cannot be folded", remedy="write full weights with --merge")
    return parts


def _beyond_plain_lora(config: Any) -> str:
    """What a LoRA config asks for beyond two small matrices a layer, as words for a message; empty for nothing."""
    asked = {
        "DoRA": config.use_dora,
        "trained biases": config.bias != "none" or getattr(config, "lora_bias", False),
    }
    later = (
        "trainable_token_indices",
        "target_parameters",
        "alora_invocation_tokens",
        "arrow_config",
    )  # not in every peft
    found = [name for name, value in asked.items() if value] + [name for name in later if getattr(config, name, None)]
    return " with " + " and ".join(found) if found else ""


def fold(first: nn.Module, second: nn.Module) -> tuple[Any, dict[str, Tensor]]:
    """One LoRA config and its tensors for the sum of two updates of the same base, with the second's saved modules.

    Ranks add up: ``B1 A1 + B2 A2 = [B1 B2] [A1; A2]``, exact up to rounding. A layer that only one of them touches
    keeps its own rank (``rank_pattern``). What the second saves whole, such as a head, holds the first's update already.
    """
    from peft import LoraConfig, TaskType, get_peft_model_state_dict

    saved = second.peft_config[second.active_adapter].modules_to_save  # type: ignore[union-attr,index]
    left = {name: part for name, part in lora_parts(first).items() if not _within(name, saved or ())}
    right = lora_parts(second)
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    for name in sorted(left.keys() | right.keys()):
        pairs = [side[name] for side in (left, right) if name in side]
        a, b = torch.cat([a for a, _ in pairs], dim=0), torch.cat([b for _, b in pairs], dim=1)
        table = any(_is_table(module, name) for module in (first, second))
        for part, tensor in (("A", a), ("B", b)):
            key = f"lora_embedding_{part}" if table else f"lora_{part}.weight"
            tensors[f"base_model.model.{name}.{key}"] = tensor.contiguous()
        ranks[name] = a.shape[0]
    for key, value in get_peft_model_state_dict(second).items():
        if ".lora_" not in key:
            tensors[key] = value.detach().clone().contiguous()
    top = max(set(ranks.values()), key=list(ranks.values()).count)
    odd = {re.escape(name): rank for name, rank in ranks.items() if rank != top}
    config = LoraConfig(
        r=top,
        lora_alpha=top,
        target_modules=_pattern_of(ranks),
        modules_to_save=saved,
        task_type=TaskType.SEQ_CLS,
        rank_pattern=odd,
        alpha_pattern=dict(odd),
        inference_mode=True,
        fan_in_fan_out=_transposed(first),
    )
    return config, tensors


def _is_table(module: Any, name: str) -> bool:
    """Whether the layer of that name under an adapter is an embedding."""
    layer = module.get_base_model().get_submodule(name)
    return isinstance(getattr(layer, "base_layer", layer), nn.Embedding)


def is_adapted(model: Classifier) -> bool:
    """Whether the model's module is a PEFT model. Where nothing has loaded `peft`, which takes a second, it is none."""
    peft = sys.modules.get("peft")
    return peft is not None and isinstance(model.module, peft.PeftModel)


def combined(victim: Classifier, first: Classifier, second: Classifier) -> Classifier:
    """The victim with one LoRA adapter that does what ``first``, an adapter on it, and ``second``, one on that, do.

    Raises:
        ModelError: if one of the two is no plain LoRA adapter.
    """
    from peft import get_peft_model, set_peft_model_state_dict

    config, tensors = fold(first.module, second.module)
    with quiet():
        module = get_peft_model(_frozen(victim.module, method="lora"), config)
        set_peft_model_state_dict(module, tensors)
    return victim.with_module(module.eval())


def _pattern_of(names: dict[str, int]) -> str:
    """A regular expression that matches exactly ``names``, block numbers of one layer kind drawn together."""
    kinds: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in names:
        match = re.fullmatch(r"(.+?)\.(\d+)\.(.+)", name)
        stack, number, inner = match.groups() if match else (name, "", "")
        kinds[stack, inner].append(number)
    parts = [
        rf"{re.escape(stack)}\.({'|'.join(sorted(numbers, key=int))})\.{re.escape(inner)}"
        if inner
        else re.escape(stack)
        for (stack, inner), numbers in kinds.items()
    ]
    return "|".join(parts)
