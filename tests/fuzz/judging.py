"""One damaged folder in a process of its own: what untrigger does with it, beside what plain transformers and peft do."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tests.fuzz.bases import TEXTS, Case

SECONDS = 20.0
MEMORY = 4 * 2**30
CLOSE = 1e-5
SAME, REFUSED, FAULT = "same answer", "refused", "fault"


@dataclass(frozen=True)
class Outcome:
    """``SAME``, ``REFUSED`` or ``FAULT``, and why."""

    kind: str
    why: str = ""


def apart(work: Callable[[], Outcome], *, seconds: float = SECONDS) -> Outcome:
    """What ``work`` gives in a process of its own, of bounded time and memory; a crash or a hang of it is a fault.

    What it prints goes nowhere, but is a fault if a library speaks in the user's terminal.
    """
    out, into = os.pipe()
    with tempfile.TemporaryFile() as printed:
        child = _fork()
        if child == 0:
            _work(work, into, printed.fileno())
        os.close(into)
        content = _until_end(out, child, seconds=seconds)
        _, status = os.waitpid(child, 0)
        printed.seek(0)
        words = printed.read().decode("utf-8", "replace").strip()
    if content is None:
        return Outcome(FAULT, f"no end within {seconds:.0f} s")
    if not content:
        return Outcome(FAULT, f"the process died of {status}: {words[-300:]}")
    found: Outcome = pickle.loads(content)
    return Outcome(FAULT, f"printed: {words[:300]}") if words and found.kind != FAULT else found


def _fork() -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # later Pythons warn of threads, of which the child needs none
        return os.fork()


def _work(work: Callable[[], Outcome], into: int, printed: int) -> None:
    """The child's life; it never returns."""
    try:
        os.dup2(printed, 1), os.dup2(printed, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        _bound_memory()
        try:
            found = work()
        except BaseException as error:  # noqa: BLE001  # a panic of a Rust library is no Exception
            found = Outcome(FAULT, "".join(traceback.format_exception(error))[-1500:])
        sys.stdout.flush(), sys.stderr.flush()
        with os.fdopen(into, "wb") as stream:
            pickle.dump(found, stream)
    finally:
        os._exit(0)


def _bound_memory() -> None:
    with contextlib.suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        bound = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (bound, bound))


def _until_end(out: int, child: int, *, seconds: float) -> bytes | None:
    """What the child writes; None, and the child killed, where it takes too long."""
    found, end = b"", time.monotonic() + seconds
    with os.fdopen(out, "rb", buffering=0) as stream:
        while True:
            ready, _, _ = select.select([stream], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                os.kill(child, signal.SIGKILL)
                return None
            piece = stream.read(65536)
            if not piece:
                return found
            found += piece


# one folder


def judge(case: Case) -> Outcome:
    """Whether untrigger answers as the plain libraries do, or refuses in one message, and leaves everything as it was."""
    from untrigger.core.errors import UserError
    from untrigger.models.inference import predict_texts
    from untrigger.models.loading import load_model

    place = case.model.parent
    before = state_of(place)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = load_model(case.model, device="cpu", offline=True)
            found, names = predict_texts(model, TEXTS).logits, model.label_names
        except UserError as error:
            ended = checked_message(error, place)
        else:
            ended = compared(case, found, names)
    if state_of(place) != before:
        return Outcome(FAULT, "wrote into the model's folder")
    result = [
        str(one.message)
        for one in caught
        if not issubclass(one.category, DeprecationWarning | PendingDeprecationWarning)
    ]
    return (
        Outcome(FAULT, f"a library's warning reaches the user: {result[0][:200]}")
        if result and ended.kind != FAULT
        else ended
    )


def state_of(place: Path) -> dict[str, tuple[int, int, str]]:
    """Mode, size and hash of everything below a folder; large files by their size alone."""
    found = {}
    for path in sorted(place.rglob("*")):
        info = path.lstat()
        plain = path.is_file() and not path.is_symlink() and info.st_size < 2**24
        found[str(path)] = (info.st_mode, info.st_size, hashlib.md5(path.read_bytes()).hexdigest() if plain else "")
    return found


def checked_message(error: Any, place: Path) -> Outcome:
    """A refusal, if its message is fit for a user."""
    text = str(error)
    for wrong, why in (
        ("untrigger-model-", "names the private copy"),
        ("Traceback", "holds a traceback"),
        ("Warning:", "a warning turned error"),
        ("allocate memory", "memory was asked for"),
        ("MemoryError", "memory was asked for"),
        (" at 0x", "names an address"),
    ):
        if wrong in text:
            return Outcome(FAULT, f"the message {why}: {text[:400]}")
    if error.exit_code != 2 or not error.what.strip():
        return Outcome(FAULT, f"exit code {error.exit_code}: {text[:400]}")
    if str(place) not in text:
        return Outcome(FAULT, f"the message does not name the folder: {text[:400]}")
    if len(text) > 2500:
        return Outcome(FAULT, f"a message of {len(text)} characters: {text[:400]}")
    return Outcome(REFUSED, text)


def compared(case: Case, found: torch.Tensor, names: tuple[str, ...]) -> Outcome:
    """Whether answers and class names are those of the plain libraries."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            plain, plain_names = plain_answers(case, classes=found.shape[1])
        except Exception as error:  # noqa: BLE001
            return Outcome(
                FAULT, f"answered where the plain libraries fail: {type(error).__name__}: {str(error)[:300]}"
            )
    if found.shape != plain.shape:
        return Outcome(FAULT, f"{tuple(found.shape)} logits for {tuple(plain.shape)}")
    gap = float((found - plain).abs().max())
    if not gap <= CLOSE * max(1.0, float(plain.abs().max())):
        return Outcome(FAULT, f"other answers, by {gap:.2g}")
    if names != plain_names and not case.is_adapter and plain_names != tuple(f"LABEL_{i}" for i in range(len(names))):
        return Outcome(FAULT, f"the classes are called {names}, not {plain_names}")
    return Outcome(SAME)


def _without_kernel(root: Path) -> Path:
    """The folder, or a copy of it without the keys that choose a kernel where its config has one."""
    if b"attn_implementation" not in (root / "config.json").read_bytes():
        return root
    copy = Path(tempfile.mkdtemp()) / "plain"
    shutil.copytree(root, copy, symlinks=True)
    config = json.loads((copy / "config.json").read_bytes())
    (copy / "config.json").write_text(
        json.dumps({key: one for key, one in config.items() if not key.endswith("attn_implementation")})
    )
    return copy


def plain_answers(case: Case, *, classes: int) -> tuple[torch.Tensor, tuple[str, ...]]:
    """``(N, C)`` logits of ``transformers`` and, for an adapter, ``peft``, each text alone, and the names of the classes.

    A key that chooses an attention kernel is taken out of the config first: kernels are no part of a model, some are not
    installed, and one starts a compiler.
    """
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from untrigger.models.pretrained import quiet

    with quiet():
        module: Any = AutoModelForSequenceClassification.from_pretrained(
            _without_kernel(case.root),
            dtype=torch.float32,
            local_files_only=True,
            attn_implementation="eager",
            **(
                {"num_labels": classes} if case.is_adapter else {}
            ),  # whoever loads an adapter says how many classes its head has
        )
        names = tuple(str(module.config.id2label[i]) for i in range(module.config.num_labels))
        if case.is_adapter:
            module = PeftModel.from_pretrained(module, str(case.model))
        tokenizer = AutoTokenizer.from_pretrained(case.tokenizer, local_files_only=True)
        module, found = module.eval(), []
        with torch.inference_mode():
            for text in TEXTS:
                output = module(**tokenizer(text, truncation=True, return_tensors="pt", verbose=False))
                found.append(output[0] if isinstance(output, tuple) else output.logits)
    return torch.cat(found).float(), names
