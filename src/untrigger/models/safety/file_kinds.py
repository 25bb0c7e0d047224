"""The kind of a file by its first bytes, so that a pickle is recognised under any name."""

from __future__ import annotations

import re
from pathlib import Path

READ = 512  # bytes that a kind is recognised by
SAFE = ("safetensors", "JSON", "text", "empty file")
"""Kinds that can hold neither code nor a pickle; every other kind is worth a warning."""
_SIGNATURES = (
    (b"\x7fELF", "program (ELF)"),
    (b"MZ", "program (Windows)"),
    (b"\xcf\xfa\xed\xfe", "program (Mach-O)"),
    (b"\xca\xfe\xba\xbe", "program (Mach-O or Java class)"),
    (b"\x00asm", "program (WebAssembly)"),
    (b"PK\x03\x04", "zip archive, which can hold a pickle"),
    (b"PK\x05\x06", "zip archive"),
    (b"\x1f\x8b", "gzip archive"),
    (b"BZh", "bzip2 archive"),
    (b"\xfd7zXZ", "xz archive"),
    (b"7z\xbc\xaf", "7z archive"),
    (b"Rar!", "rar archive"),
    (b"\x28\xb5\x2f\xfd", "zstd archive"),
    (b"\x89HDF", "HDF5, which can hold code in some versions"),
    (b"\x93NUMPY", "NumPy array, which can hold a pickle"),
    (b"GGUF", "GGUF"),
    (b"\x89PNG", "picture"),
    (b"\xff\xd8\xff", "picture"),
    (b"GIF8", "picture"),
    (b"%PDF", "PDF"),
)
_OLD_PICKLE = re.compile(rb"\(*[ci][A-Za-z_][\w.]*\n[A-Za-z_]\w*\n")
_PROGRAM_SUFFIXES = (".py", ".pyc", ".so", ".dll", ".sh", ".bat", ".js", ".ipynb", ".pth")
_PICKLE_SUFFIXES = (".pkl", ".pickle", ".pt", ".bin", ".ckpt", ".joblib", ".npy", ".npz", ".h5", ".keras", ".msgpack")


def kind_of(file: Path) -> str:
    """Return the kind of a regular file, by its content first and its suffix second.

    Nothing of it is parsed beyond the first ``READ`` bytes.
    """
    try:
        with file.open("rb") as stream:
            head = stream.read(READ)
        size = file.stat().st_size
    except OSError as error:
        return f"file that cannot be read ({error.strerror or error})"
    return kind_of_bytes(head, size=size, suffix=file.suffix.lower())


def kind_of_bytes(head: bytes, *, size: int, suffix: str = "") -> str:
    """Return the kind of a file from its first bytes, its size and its suffix."""
    if not size:
        return "empty file"
    if _is_safetensors(head, size):
        return "safetensors"
    if _is_pickle(head):
        return "pickle, opening it can run code"
    by_content = next((kind for signature, kind in _SIGNATURES if head.startswith(signature)), None)
    return by_content or _by_suffix(head, suffix) or _text_kind(head, suffix)


def _by_suffix(head: bytes, suffix: str) -> str | None:
    """Return the kind of a file without a signature by its suffix, None where that does not decide."""
    if head[257:262] == b"ustar":
        return "tar archive, which can hold a pickle"
    if head.startswith(b"#!") or suffix in _PROGRAM_SUFFIXES:
        return "program, it was not run"
    return f"{suffix} file, a form that can hold a pickle or code" if suffix in _PICKLE_SUFFIXES else None


def is_risky(kind: str) -> bool:
    """Return whether a file of that kind could run code or hide a pickle."""
    return kind not in SAFE and kind not in ("picture", "PDF", "binary file", "GGUF")


def _is_safetensors(head: bytes, size: int) -> bool:
    """Return whether the bytes begin as a safetensors file does: the length of a JSON header that fits, then an object."""
    return len(head) > 8 and head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= size - 8


def _is_pickle(head: bytes) -> bool:
    """Return whether the bytes begin as a pickle of protocol 2 to 5, or as one of the oldest protocols that calls something."""
    return (len(head) > 1 and head[0] == 0x80 and 2 <= head[1] <= 5) or bool(_OLD_PICKLE.match(head))


def _text_kind(head: bytes, suffix: str) -> str:
    """Return JSON, text or binary file."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4 or b"\0" in head:
            return "binary file"
        text = head[: error.start].decode("utf-8")
    if "\0" in text:
        return "binary file"
    return "JSON" if suffix == ".json" and text.lstrip()[:1] in ("{", "[") else "text"
