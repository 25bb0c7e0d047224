"""Evidence from the weights alone: seconds, no forward pass, only safetensors and JSON are opened.

A backdoor that was trained into an embedding leaves its words among the rows that moved most; one in a LoRA adapter may
gather its update in few directions, and point it at a class of the head. Clean training does some of this too, so a
figure without a calibrated limit decides nothing, and none decides more than ``suspicious``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from untrigger.core.errors import ModelError, UnsafeFileError
from untrigger.core.report import Curve
from untrigger.core.scan_result import Evidence
from untrigger.models.safety.model_folder import ModelFolder
from untrigger.models.safety.tensor_files import Tensors
from untrigger.scanners.weights.embedding_rows import Decode, decoder, finite, moved, outliers
from untrigger.scanners.weights.spectrum import Spectrum, alignment, of_lora, of_update

LIMITED = (
    "embedding_norm_outlier",
    "embedding_row_lead",
    "head_alignment",
    "head_row_ratio",
    "not_finite",
    "top_singular_share",
    "top_singular_share_median",
)
"""The figures that a policy can set a limit for: each is the more unusual the larger it is."""
CALIBRATED_LIMITS: dict[str, float] = {}
"""Limits of weight evidence by name; none is calibrated, so weights alone end in "undecided"."""
EMBEDDINGS = ("word_embeddings.weight", "embed_tokens.weight", "wte.weight", "shared.weight", "tok_embeddings.weight")
LORA = re.compile(r"\.lora_(A|B|embedding_A|embedding_B|magnitude_vector)(\.weight|\.bias)?$")
WRITES = re.compile(r"(o_proj|down_proj|out_proj|output\.dense|attention\.dense|pooler\.dense|classifier\.dense)$")
"""Layers whose output is in the space of the head's input."""


@dataclass(frozen=True)
class Weighed:
    """What the weights of a model or adapter hold.

    Attributes:
        kind: ``adapter`` or ``full``.
        evidence: the figures.
        refused: files that were not opened.
        moved: words whose embedding moved most from the base's, farthest first.
        curves: the spectrum layer by layer.
        unchecked: names with a limit that could not be measured.
        sha256: over all files that were opened.
        files: what was opened with its hashes, and what was not, the same of the base under ``base``.
        base_sha256: over all files of the base that were opened, empty where none was given.
        architecture: the model type that the config names, for an adapter that of the base; empty where it is not known.
    """

    kind: str
    evidence: list[Evidence] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    sha256: str = ""
    files: Mapping[str, Any] = field(default_factory=dict)
    base_sha256: str = ""
    architecture: str = ""


def weigh(
    folder: ModelFolder, *, base: ModelFolder | None = None, limits: Mapping[str, float] | None = None
) -> Weighed:
    """Return the weight evidence of the model or adapter in ``folder``.

    Args:
        folder: the checked copy, in Hugging Face layout.
        base: the model that it was made from; without it full weights have no update to look at.
        limits: for names of ``LIMITED`` the value from which a figure counts as unusual.

    Raises:
        ModelError: if a file cannot be read, or the base is of another architecture.
        UnsafeFileError: for an adapter with tensors that its config does not imply.
    """
    tensors, origin = Tensors(folder), None
    if base is not None:
        origin = Tensors(base)
        if folder.kind == "full" and not tensors.matching_names(origin):
            raise ModelError(
                f"the base {base.origin.name!r} has no tensor in common with the model",
                expected="the model that it was made from",
                remedy="give another with --base, or leave it out",
            )
    if folder.kind == "adapter":
        _refuse_other_tensors(folder, tensors)
    decode = decoder(folder.path, *([base.path] if base else []))
    spectra = dict(_lora(tensors) if folder.kind == "adapter" else _updates(tensors, origin))
    evidence = [*_spectra(spectra), *_head(tensors, spectra), *_not_finite(tensors)]
    rows, words = _embedding(tensors, origin, decode)
    found = [Evidence(e.name, e.value, e.place, (limits or {}).get(e.name), e.words) for e in [*evidence, *rows]]
    unchecked = sorted(
        set(limits or ()) - {e.name for e in found} - {"not_finite"}
    )  # reported only where there is some
    architecture = (base or folder).config.get("model_type")
    return Weighed(
        folder.kind,
        found,
        folder.warnings(),
        words,
        _curves(spectra),
        unchecked,
        folder.sha256,
        folder.to_dict() | ({"base": base.to_dict()} if base else {}),
        base.sha256 if base else "",
        architecture if isinstance(architecture, str) else "",
    )


def _refuse_other_tensors(folder: ModelFolder, tensors: Tensors) -> None:
    """Raise for a tensor of a LoRA file that is neither LoRA's nor of a module that the config says is saved.

    Without the base the layers cannot be checked; a scan that reads texts does.
    """
    if folder.config.get("peft_type") != "LORA":
        return
    saved = folder.config.get("modules_to_save") or ()
    known = {saved} if isinstance(saved, str) else set(saved)
    heads = {"classifier", "score"} if folder.config.get("task_type") == "SEQ_CLS" else set()
    known |= heads
    other = [
        name
        for name in tensors
        if not LORA.search(name) and not known & set(name.split(".")) and "token_adapter" not in name
    ]
    if other:
        raise UnsafeFileError(
            f"the adapter {str(folder.origin)!r} holds the tensor {other[0]!r}, which its config does not imply",
            expected="LoRA tensors and those of its modules_to_save",
            remedy="do not use it as it is: the tensor would replace one of the base's",
        )


def _lora(tensors: Tensors) -> Iterator[tuple[str, Spectrum]]:
    """Yield the spectrum of each layer that a LoRA adapter updates; other adapters have none."""
    for name in tensors:
        if not name.endswith("lora_A.weight"):
            continue
        partner = name.removesuffix("lora_A.weight") + "lora_B.weight"
        if partner not in tensors.shapes or tensors.shapes[name][:1] != tensors.shapes[partner][1:]:
            raise ModelError(f"the adapter holds {name!r} without a {partner!r} that fits it")
        a, b = tensors.get(name), tensors.get(partner)
        spectrum = of_lora(a, b) if finite(a) and finite(b) else None
        if spectrum is not None:
            yield name.removesuffix(".lora_A.weight").removeprefix("base_model.model."), spectrum


def _updates(tensors: Tensors, base: Tensors | None) -> Iterator[tuple[str, Spectrum]]:
    """Yield the spectrum of each matrix's difference from its base; none without a base."""
    for name, counterpart in tensors.matching_names(base).items() if base is not None else ():
        if len(tensors.shapes[name]) != 2 or "embed" in name or base is None:
            continue
        own, other = tensors.get(name), base.get(counterpart)
        if own.shape == other.shape and finite(own) and finite(other):
            spectrum = of_update(own - other)
            if spectrum is not None:
                yield name.removesuffix(".weight"), spectrum


def _spectra(spectra: Mapping[str, Spectrum]) -> Iterator[Evidence]:
    """Yield the layers with the largest top share and the smallest rank, and the medians."""
    if not spectra:
        return
    first = max(spectra, key=lambda name: spectra[name].share)
    least = min(spectra, key=lambda name: spectra[name].rank)
    yield Evidence("top_singular_share", spectra[first].share, first)
    yield Evidence("top_singular_share_median", median(one.share for one in spectra.values()), f"{len(spectra)} layers")
    yield Evidence("effective_rank", spectra[least].rank, least)
    yield Evidence("effective_rank_median", median(one.rank for one in spectra.values()), f"{len(spectra)} layers")


def _head(tensors: Tensors, spectra: Mapping[str, Spectrum]) -> Iterator[Evidence]:
    """Yield the ratio of the head's row norms, and the largest cosine of a layer's update with one of its classes."""
    name = tensors.head()
    if name is None or len(tensors.shapes[name]) != 2 or not finite(head := tensors.get(name)):
        return
    norms = head.norm(dim=1)
    yield Evidence("head_row_ratio", float(norms.max() / norms.min().clamp_min(1e-12)), name)
    width = head.shape[1]
    writing = {n: s for n, s in spectra.items() if WRITES.search(n) and s.direction.shape == (width,)}
    if writing:
        cosines = {n: alignment(s.direction, head) for n, s in writing.items()}
        best = max(cosines, key=lambda n: cosines[n])
        yield Evidence("head_alignment", cosines[best], best)


def _embedding(tensors: Tensors, base: Tensors | None, decode: Decode) -> tuple[list[Evidence], list[str]]:
    """Return the evidence of unusual rows of the embedding, and the words that moved most."""
    name = tensors.ending(EMBEDDINGS)
    if name is None or not finite(own := tensors.get(name)):
        return [], []
    z, rows = outliers(own)
    found = [Evidence("embedding_norm_outlier", z, name, words=[decode(i) for i in rows])]
    counterpart = tensors.matching_names(base).get(name) if base is not None else None
    if base is None or counterpart is None:
        return found, []
    lead, rows = moved(own, base.get(counterpart).nan_to_num())
    words = [decode(i) for i in rows]
    return [*found, Evidence("embedding_row_lead", lead, name, words=words)], words


def _not_finite(tensors: Tensors) -> Iterator[Evidence]:
    """Yield the number of tensors with entries that are not finite."""
    bad = [name for name in tensors if not finite(tensors.get(name))]
    if bad:
        yield Evidence("not_finite", float(len(bad)), bad[0])


def _curves(spectra: Mapping[str, Spectrum]) -> list[Curve]:
    """Return curves of the top share and rank of every layer, in the order of the file."""
    xs: list[float | None] = [float(i) for i in range(len(spectra))]
    if len(xs) < 2:
        return []
    drawn = {"top singular share": "share", "effective rank": "rank"}
    return [
        Curve(
            name,
            "Update of each layer",
            xs,
            [getattr(one, at) for one in spectra.values()],
            x_label="layer",
            y_label=name,
        )
        for name, at in drawn.items()
    ]
