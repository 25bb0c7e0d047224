"""Load and check what ``purify`` works with: rows, teacher, trusted base, output format."""

from __future__ import annotations

from untrigger import assets
from untrigger.core.errors import ModelError, OptionError, check_choice
from untrigger.core.paths import local_path
from untrigger.core.registry import methods_of
from untrigger.core.rows import Rows
from untrigger.core.seeds import generator_for
from untrigger.defences.chain import Chain
from untrigger.defences.purifier import Purifier
from untrigger.defences.w2s.base_recovery import load_base_of, same_shape
from untrigger.methods.defender_rows import check_clean_rows
from untrigger.models.adapter_merging import lora_updates
from untrigger.models.adapters import METHODS
from untrigger.models.base_classifier import load_base_classifier
from untrigger.models.classifier import Classifier
from untrigger.models.safety.model_folder import ModelFolder, open_model
from untrigger.pipeline.build_method import teacher_of
from untrigger.pipeline.load_inputs import load_clean_rows, open_teacher
from untrigger.pipeline.reference_check import refuse_suspect_itself
from untrigger.pipeline.requests import PurifyRequest


def split_rows(request: PurifyRequest, victim: Classifier) -> tuple[Rows, Rows]:
    """Return clean rows for the defender and rows that are held out from it; the same with a truth or without.

    Raises:
        DataError: for rows that cannot be used.
    """
    rows = load_clean_rows(request.clean, victim, request.run)
    check_clean_rows(rows, model=victim, least=10)
    held = max(2, round(request.held_out * len(rows)))
    kept = min(request.clean_rows or len(rows), len(rows) - held)
    return rows.stratified(kept, rng=generator_for(request.run.seed, "purify: rows that are held out"))


def check_teacher(request: PurifyRequest, method: Purifier) -> None:
    """Raise ModelError unless the teacher that the method or the scan of the result uses can be loaded.

    Raises:
        ModelError: if it is not there.
        AssetError: if it is an embedded one that cannot be fetched.
    """
    if request.teacher is not None:
        local_path(request.teacher, what="the teacher", error=ModelError)
    name = teacher_of(request, method) or (request.teacher if request.scans_result else None)
    if name is None:
        return
    open_teacher(name, request.run, otherwise=", such as minilm-l6")


def trusted_base(request: PurifyRequest, victim: Classifier) -> str | None:
    """Return the pre-trained model that the victim was made from, if it can be trusted; None where none is known.

    It is the one that the user gives, or an embedded one, whose files are pinned.

    Raises:
        ModelError: for one given that full weights do not descend from.
    """
    adapter, base, offline = victim.source.kind == "adapter", request.model.base, request.run.offline
    if base is not None:
        if not adapter and load_base_of(victim, base, offline=offline) is None:
            raise ModelError(
                f"{request.model.name!r} does not descend from the base {base!r}",
                expected="the pre-trained model that it was fine-tuned from, of the same architecture and size",
                remedy="leave out --base, or give the right one",
            )
        return base
    if adapter:
        known = assets.name_at(victim.source.base or "")
        if known is not None:
            assets.fetch(known, offline=True)  # raises where a file of it has changed
        return known
    ready = (known for known in assets.listing() if known.kind == "model" and known.state == "ready")
    alike = (known for known in ready if same_shape(victim, known.path))
    return next((known.name for known in alike if load_base_of(victim, known.path, offline=True) is not None), None)


def refuse_suspect_as_trusted(request: PurifyRequest, victim: Classifier, method: Purifier) -> None:
    """Raise ModelError where the trusted base of full weights, or the teacher that is used, is the suspect itself."""
    base = request.model.base if victim.source.kind != "adapter" else None
    used = "teacher" in method.needs | method.uses or request.scans_result
    for option, name in (("--base", base), ("--teacher", request.teacher if used else None)):
        if name is not None:
            _refuse_suspect(victim, open_model(name, offline=request.run.offline), option=option, name=name)


def _refuse_suspect(victim: Classifier, folder: ModelFolder, *, option: str, name: str) -> None:
    expected = "another pre-trained model, which you trust"
    refuse_suspect_itself(
        victim, option=option, name=name, sha256=folder.sha256, files=folder.to_dict(), expected=expected
    )


def check_onto(request: PurifyRequest, victim: Classifier, method: Purifier) -> None:
    """Raise a UserError unless the suspect's skill can be carried into the model that ``--onto`` names.

    Raises:
        OptionError: for a method that cannot, and for several in turn.
        ModelError: for the suspect itself, and for a model that cannot be loaded with a new classification head.
        UnsafeFileError: for files that must not be opened.
    """
    if request.onto is None:
        return
    if isinstance(method, Chain) or "onto" not in method.uses | method.needs:
        able = ", ".join(name for name, kind in methods_of("defences").items() if "onto" in kind.uses | kind.needs)
        raise OptionError(
            f"--onto with the method {method.name!r}, which keeps the suspect's own base",
            expected=f"one of {able}" if able else "a method that uses onto",
            remedy="leave out --onto, or take another --method",
        )
    local_path(request.onto, what="the model of --onto", error=ModelError)
    folder = open_model(request.onto, offline=request.run.offline)
    _refuse_suspect(victim, folder, option="--onto", name=request.onto)
    load_base_classifier(folder, label_names=victim.label_names, offline=request.run.offline, device=request.run.device)


def check_output_format(request: PurifyRequest, victim: Classifier, method: Purifier) -> None:
    """Raise ModelError unless the output can be written in the requested format.

    Raises:
        ModelError: if an adapter came in that no single adapter can follow.
        OptionError: for an unknown PEFT method.
    """
    parts = method.methods if isinstance(method, Chain) else (method,)
    pefts = [check_choice(getattr(part, "peft", METHODS[0]), METHODS, kind="PEFT method") for part in parts]
    peft = next((one for one in pefts if one != "lora"), "lora")
    if len(parts) > 1 and peft != "lora" and not request.merge:
        raise ModelError(
            f"{peft} cannot be chained into one adapter", expected="peft=lora", remedy="write full weights with --merge"
        )
    if request.merge or request.onto is not None or victim.source.kind != "adapter":
        return
    lora_updates(victim.module)
    if peft != "lora":
        raise ModelError(
            f"a student with {peft} on a LoRA adapter cannot be written as one adapter",
            expected="peft=lora",
            remedy="write full weights with --merge",
        )
