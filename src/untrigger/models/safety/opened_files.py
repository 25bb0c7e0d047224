"""The whitelist of files in an untrusted model folder, copied and hashed in one pass.

Everything that reads the model afterwards (transformers, PEFT, the static scan) reads the private copy. So the hash is of what is
loaded, and a file that is not on the list cannot be opened by mistake.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from untrigger.core.errors import ModelError, OutputError, UnsafeFileError
from untrigger.core.files import is_alive
from untrigger.models.safety import limits
from untrigger.models.safety.file_kinds import is_risky, kind_of
from untrigger.models.safety.regular_files import read_json, regular_file

CHUNK = 2**22
VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "spm.model",
)
TOKENIZER_FILES = (
    *VOCABULARIES,
    "merges.txt",
    "bpe.codes",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
OTHER_VOCABULARY = re.compile(
    r"\.model($|\.)|tekken\.json|tiktoken|sentencepiece|tokenizer\.json|(vocab|merges|tokenizer|spm)_file"
)
"""Names under which transformers looks for a vocabulary where there is no tokenizer.json."""
SIDECAR = "untrigger.json"
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
FULL_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""Names of weight files in the order in which transformers and PEFT look for them."""
_STAGES = "untrigger-model-"


@dataclass(frozen=True)
class OpenedFile:
    """An opened file: its plain name, its size in bytes and the SHA-256 of its content."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class UnopenedFile:
    """A file in the model's folder that is not opened: its path in the folder and its kind."""

    name: str
    kind: str

    @property
    def risky(self) -> bool:
        """Whether it could run code or hide a pickle."""
        return is_risky(self.kind)


class PrivateCopy:
    """A temporary folder with the whitelisted files, removed with the last reference to it."""

    def __init__(self) -> None:
        """Make the empty folder, and remove those of killed processes."""
        _remove_stale()
        self.path = Path(tempfile.mkdtemp(prefix=f"{_STAGES}{os.getpid()}-"))
        self._end = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def _remove_stale() -> None:
    """Remove private copies of processes that no longer run."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_STAGES}*"):
        owner = re.match(rf"{_STAGES}(\d+)-", folder.name)
        if owner and not folder.is_symlink() and not is_alive(int(owner[1])):
            shutil.rmtree(folder, ignore_errors=True)


def weight_file(folder: Path, *, adapter: bool, allow_pickle: bool) -> str:
    """Return the name of the weight file, or of the index of several, that transformers or PEFT would open in ``folder``.

    Raises:
        ModelError: if there is none under a name that these programs know.
        UnsafeFileError: for a pickle that is not allowed.
    """
    order = ADAPTER_WEIGHTS if adapter else FULL_WEIGHTS
    found = next((name for name in order if os.path.lexists(folder / name)), None)
    if found is None:
        raise _no_weights(folder, order)
    if ".bin" in found and not allow_pickle:
        raise _is_pickle(folder, found, expected=order[0])
    return found


def _no_weights(folder: Path, order: tuple[str, ...]) -> ModelError:
    """Return the error for a folder without a weight file of a known name, naming the weight files that are there."""
    beside = sorted(
        p.name for p in folder.iterdir() if p.suffix in (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf")
    )
    pickles = [name for name in beside if not name.endswith((".safetensors", ".gguf")) and name != "training_args.bin"]
    if pickles and not any(name.endswith(".safetensors") for name in beside):
        return _is_pickle(folder, pickles[0], expected=order[0])
    return ModelError(
        f"{str(folder)!r} holds no weights"
        + (f" under a name that is known (there is {', '.join(beside[:5])})" if beside else ""),
        expected=" or ".join(name for name in order if "safetensors" in name),
        remedy="pickle weights of a hub are fetched with --allow-pickle only, as opening them can run code",
    )


def _is_pickle(folder: Path, name: str, *, expected: str) -> UnsafeFileError:
    return UnsafeFileError(
        f"{name!r} in {str(folder)!r} is a pickle: opening it can run code",
        expected=expected,
        remedy="get a safetensors version; to open it all the same, the commands that train or measure take --allow-pickle",
    )


def shard_map(folder: Path, index: str, *, read: Path) -> dict[str, str]:
    """Return the file of each tensor that the index ``index`` of ``folder`` names; ``read`` is the copy that is read.

    Raises:
        ModelError: for an index that cannot be used, or names a file that is not there.
        UnsafeFileError: for an index that names anything but plain files in the folder, of the form of the index itself.
    """
    weight_map = read_json(read, origin=folder / index).get("weight_map")
    if (
        not isinstance(weight_map, dict)
        or not weight_map
        or not all(isinstance(one, str) for one in weight_map.values())
    ):
        raise ModelError(
            f"{index!r} in {str(folder)!r} has no weight_map", expected="the name of a file for each tensor"
        )
    names = sorted(set(weight_map.values()))
    ending = ".safetensors" if "safetensors" in index else ".bin"
    for name in names:
        if Path(name).name != name or name in (".", "..") or "\\" in name or not name.endswith(ending):
            raise UnsafeFileError(
                f"{index!r} in {str(folder)!r} names the file {name[:100]!r}",
                expected=f"plain names that end in {ending}",
                remedy="get the model from its author, or save it again with save_pretrained",
            )
    missing = next((name for name in names if not os.path.lexists(folder / name)), None)
    if missing:
        raise ModelError(
            f"{index!r} in {str(folder)!r} names {missing!r}, which is not there", remedy="download the model again"
        )
    return weight_map


def copied(folder: Path, names: Iterable[str], *, into: PrivateCopy) -> list[OpenedFile]:
    """Copy the named files into a private copy and return each with the hash of the bytes that were written.

    Raises:
        UnsafeFileError: for files that are not plain files inside ``folder``, and for sizes above the bounds.
        ModelError: for files that cannot be read.
        OutputError: where there is no room for the copy.
    """
    try:
        return [_copied(folder / name, into.path / name) for name in names]
    except OSError as error:
        raise OutputError(
            f"the model cannot be copied to {str(into.path.parent)!r}: {error.strerror or error}",
            expected="room for one copy of its files",
            remedy="free some space, or name a folder on another disk in TMPDIR",
        ) from error


def _copied(source: Path, target: Path) -> OpenedFile:
    most = limits.MAX_WEIGHTS if source.suffix in (".safetensors", ".bin") else limits.MAX_JSON
    digest, size = hashlib.sha256(), 0
    with regular_file(source) as (length, stream), target.open("wb") as copy:
        if length > most:
            raise UnsafeFileError(f"{str(source)!r} has {length:,} bytes", expected=f"at most {most:,}")
        while chunk := stream.read(CHUNK):
            size += len(chunk)
            if size > most:
                raise UnsafeFileError(f"{str(source)!r} grew above {most:,} bytes while it was read")
            digest.update(chunk)
            copy.write(chunk)
    return OpenedFile(source.name, size, digest.hexdigest())


def unopened(folder: Path, opened: Iterable[str]) -> tuple[UnopenedFile, ...]:
    """Return every other file below ``folder`` with its kind, the risky ones first; links are not followed.

    Beyond ``limits.LISTED_FILES`` files one entry counts the rest.
    """
    known = set(opened)
    found = sorted(
        (UnopenedFile(name, kind) for name, kind in _walk(folder) if name not in known),
        key=lambda one: (not one.risky, one.name),
    )
    more = found[limits.LISTED_FILES :]
    kept = tuple(found[: limits.LISTED_FILES])
    return (*kept, UnopenedFile(f"{len(more)} more files", "not listed")) if more else kept


def _walk(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield every file, link, pipe and device below the folder with its kind."""
    for place, folders, files in os.walk(folder, followlinks=False):
        linked = [name for name in folders if (Path(place) / name).is_symlink()]
        for name in (*files, *linked):
            path = Path(place) / name
            yield str(path.relative_to(folder)), _kind(path)


def _kind(path: Path) -> str:
    with suppress(OSError):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            hub = path.resolve().parent.name == "blobs"
            return kind_of(path.resolve()) if hub and path.resolve().is_file() else "link"
        return kind_of(path) if stat.S_ISREG(mode) else "pipe or device"
    return "file that cannot be read"


def folder_hash(files: Iterable[OpenedFile]) -> str:
    """Return the SHA-256 over the names and hashes of the files, in the order of their names, 64 hex digits."""
    lines = (f"{one.sha256}  {one.name}\n" for one in sorted(files, key=lambda one: one.name))
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
