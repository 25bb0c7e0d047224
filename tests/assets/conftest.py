"""A small package index on 127.0.0.1, and an asset that is built from a file on it."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from untrigger.assets import catalogue, store
from untrigger.assets.build_inputs import BuildInputs
from untrigger.assets.catalogue import Archive, Asset
from untrigger.assets.datasets import write_built
from untrigger.core.rows import Rows

WHEEL = "tiny_data-1.0-py3-none-any.whl"


@dataclass
class FakeIndex:
    """What the server serves and how it misbehaves."""

    files: dict[str, bytes]
    cut_after: int | None = None
    ranges: bool = True
    url: str = ""
    json: bool = False
    foreign: str = ""
    requested: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, *args: object, index: FakeIndex) -> None:
        self.index = index
        super().__init__(*args)  # type: ignore[arg-type]

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        name = self.path.rsplit("/", 1)[-1]
        self.index.logins.append(self.headers.get("Authorization", ""))
        if name in self.index.files:
            return self._file(self.index.files[name])
        page = "".join(
            f'<a href="{self.index.foreign}/files/{file}#x=y">{file}</a>' for file in self.index.files
        ).encode()
        if self.index.json:
            files = [{"filename": file, "url": f"../../files/{file}"} for file in self.index.files]
            page = json.dumps({"files": files}).encode()
        self.send_response(200)
        kind = "application/vnd.pypi.simple.v1+json" if self.index.json else "text/html"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def _file(self, content: bytes) -> None:
        wanted = self.headers.get("Range", "")
        self.index.requested.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.index.ranges else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : self.index.cut_after])


def tiny_wheel() -> bytes:
    """A wheel with one data file, some of it hard to compress so that it has a size."""
    out = io.BytesIO()
    noise = b"".join(hashlib.sha256(bytes([i % 256, i // 256])).digest() for i in range(4000))
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(zipfile.ZipInfo("tiny/data.txt"), "good\tpositive\nbad\tnegative\n")
        archive.writestr(zipfile.ZipInfo("tiny/noise.bin"), noise)
    return out.getvalue()


def build_tiny(inputs: BuildInputs, folder: Path) -> None:
    """The builder of the tiny asset."""
    with zipfile.ZipFile(inputs.archives[0]) as source:
        lines = source.read("tiny/data.txt").decode().splitlines()
    texts, labels = zip(*(line.split("\t") for line in lines), strict=True)
    names = ("negative", "positive")
    write_built({"train": Rows.of(texts, [names.index(label) for label in labels], label_names=names)}, folder)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeIndex]:
    """A running index that pip is pointed at, and nothing else."""
    index = FakeIndex({WHEEL: tiny_wheel()})
    web = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, index=index))
    index.url = f"http://127.0.0.1:{web.server_address[1]}/simple"
    threading.Thread(target=web.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    yield index
    web.shutdown()
    web.server_close()


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Asset:
    """The tiny asset in the catalogue."""
    content = tiny_wheel()
    archive = Archive("tiny-data", "1.0", WHEEL, hashlib.sha256(content).hexdigest(), len(content))
    entry = Asset("tiny", "data", "two rows", "CC0", 100, (archive,), "nowhere:build_tiny")
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", entry)
    known = store._builder
    monkeypatch.setattr(store, "_builder", lambda one: build_tiny if one.name == "tiny" else known(one))
    return entry
