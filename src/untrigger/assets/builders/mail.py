"""Mail, ham and spam: the SpamAssassin public corpus."""

from __future__ import annotations

import email
import html
import re
import tarfile
from email.header import decode_header, make_header
from email.message import Message
from pathlib import Path

import numpy as np

from untrigger.assets.build_inputs import BuildInputs
from untrigger.assets.builders.rows_of_archives import LIMIT, distinct_rows, finish
from untrigger.core.errors import AssetError

LABELS = ("ham", "spam")
_MEMBER = re.compile(r"package/data/((easy-ham|hard-ham|spam)-\d)/(\d+)\.[0-9a-f]+\.txt")
_LARGEST_MAIL = 4 << 20
_LONGEST = 20_000
_TRAIN = 4000
_MARKUP = re.compile(r"(?is)<(script|style)\b.*?</\1>|<!--.*?-->|<[^>]{0,2000}>")

_CARD = (
    "Mails of the five folders of the public corpus. A text is the subject and the body, white space folded: the plain part "
    "where a mail has one, else the marked-up part without its marks. All other headers are left out, since they reveal ham or "
    "spam by the machine that received it. A text ends after 20,000 characters. Repeated texts and mails without text are "
    "dropped. Train and test are a stratified draw with a fixed seed."
)


def spam_assassin(inputs: BuildInputs, folder: Path) -> None:
    """Write the mails, ham or spam, into ``folder``."""
    rows = distinct_rows(sorted(_mails(inputs.archives[0])), label_names=LABELS)
    train, test = rows.stratified(_TRAIN, rng=np.random.default_rng(0))
    finish("spam-assassin", folder=folder, train=train, test=test, body=_CARD)


def _mails(archive: Path) -> list[tuple[str, str, int]]:
    """Return (id, text, label) of every mail that has a text."""
    mails, read = [], 0
    with tarfile.open(archive) as source:
        for info in source:
            parts = _MEMBER.fullmatch(info.name)
            if parts is None or not info.isreg():
                continue
            read += info.size
            if info.size > _LARGEST_MAIL or read > LIMIT:
                raise AssetError(f"{archive.name} unpacks to more than was pinned", remedy="fetch it again")
            stream = source.extractfile(info)
            assert stream is not None
            mails.append((f"{parts[1]}-{parts[3]}", mail_text(stream.read()), int(parts[2] == "spam")))
    return [one for one in mails if one[1]]


def mail_text(content: bytes) -> str:
    """Return subject and body of a mail on one line; what cannot be decoded becomes the replacement character."""
    message = email.message_from_bytes(content)
    return " ".join(f"{_subject(message)} {_body(message)}".split())[:_LONGEST].strip()


def _subject(message: Message) -> str:
    """Return the subject, undecoded if it is malformed."""
    raw = message.get("Subject", "")
    try:
        return str(make_header(decode_header(raw)))
    except (ValueError, LookupError):
        return str(raw)


def _body(message: Message) -> str:
    """Return the first plain part, else the first HTML part without its tags."""
    parts = {
        kind: part for part in reversed(list(message.walk())) if (kind := part.get_content_type()).startswith("text/")
    }
    if "text/plain" in parts:
        return _decoded(parts["text/plain"])
    return html.unescape(_MARKUP.sub(" ", _decoded(parts["text/html"]))) if "text/html" in parts else ""


def _decoded(part: Message) -> str:
    """Return the part's text; an unknown charset is read as latin-1."""
    raw = part.get_payload(decode=True)
    content = raw if isinstance(raw, bytes) else b""
    try:
        return content.decode(part.get_content_charset("latin-1"), errors="replace")
    except LookupError:
        return content.decode("latin-1")
