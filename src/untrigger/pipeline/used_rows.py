"""Record which rows a purifier was given: short salted hashes in the model's folder, by which an audit recognises them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from untrigger.core.files import write_text
from untrigger.core.grant import Grant
from untrigger.core.rows import Rows

FILE = "used_rows.json"
SCHEMA = "untrigger.used-rows/1"
DIGITS = 12  # hexadecimal digits of a row's hash: of 100,000 rows and 100,000 others one pair in 28,000 runs is taken for equal
MOST = 200_000  # hashes that are kept, those of the smallest value
MAX_BYTES = 8 * 2**20


@dataclass(frozen=True)
class UsedRows:
    """Hashes of the texts that a purifier was given.

    Attributes:
        salt: mixed into every hash.
        rows: how many texts there were.
        hashes: of each, or of those with the smallest where there are more than ``MOST``.
    """

    salt: str
    rows: int
    hashes: frozenset[str]

    @property
    def complete(self) -> bool:
        """Whether every row can be recognised."""
        return self.rows <= MOST

    def contain(self, texts: Sequence[str]) -> list[bool]:
        """Return for each text whether it is one of those rows, without regard to case and white space."""
        return [_hash(text, self.salt) in self.hashes for text in texts]


def used_rows(grant: Grant) -> UsedRows:
    """Return the hashes of all texts of a grant: clean and suspect rows and unlabelled texts."""
    texts = _texts(grant)
    salt = grant.clean.content_hash()[:16] if grant.clean is not None else ""
    return UsedRows(salt, len(texts), frozenset(_smallest(_hash(text, salt) for text in texts)))


def write_used_rows(grant: Grant, folder: Path) -> None:
    """Write the hashes of the grant's rows into ``folder``.

    Raises:
        OutputError: if it cannot be written.
    """
    known = used_rows(grant)
    content = {
        "schema": SCHEMA,
        "salt": known.salt,
        "rows": known.rows,
        "digits": DIGITS,
        "hashes": "".join(sorted(known.hashes)),
    }
    write_text(folder / FILE, text=json.dumps(content, indent=1) + "\n")


def read_used_rows(folder: Path) -> UsedRows | None:
    """Return the hashes in ``folder``, None if there is no such file or it cannot be used."""
    try:
        if not 0 < (folder / FILE).stat().st_size <= MAX_BYTES:
            return None
        content = json.loads((folder / FILE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA or content.get("digits") != DIGITS:
        return None
    salt, rows, joined = content.get("salt"), content.get("rows"), content.get("hashes")
    if not (isinstance(salt, str) and isinstance(rows, int) and isinstance(joined, str)):
        return None
    return UsedRows(salt, rows, frozenset(joined[i : i + DIGITS] for i in range(0, len(joined), DIGITS)))


def unseen(rows: Rows, grant: Grant) -> Rows:
    """Return the rows whose texts are not in the grant: a text that is twice in a file is not evidence."""
    known = {_folded(text) for text in _texts(grant)}
    return rows.where(_folded(text) not in known for text in rows.texts)


def _texts(grant: Grant) -> list[str]:
    labelled = [text for rows in (grant.clean, grant.suspect) if rows is not None for text in rows.texts]
    return [*labelled, *(grant.unlabelled or ())]


def _smallest(hashes: Iterable[str]) -> list[str]:
    return sorted(set(hashes))[:MOST]


def _hash(text: str, salt: str) -> str:
    return hashlib.sha256(f"{salt}\x1f{_folded(text)}".encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
