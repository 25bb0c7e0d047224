"""Files of the package indexes that the user's pip is configured for, read by the simple repository API.

Index addresses, find-links, proxies, certificates and logins (in an address, or in ``.netrc``) are those of pip; see
``PipSettings``. pip itself cannot hand over a source archive without running its ``setup.py``. Here a file is only
downloaded: nothing of it is built, installed or run.
"""

from __future__ import annotations

import json
import re
import ssl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import url2pathname

from requests.adapters import HTTPAdapter

import requests
from untrigger.assets.catalogue import Archive
from untrigger.assets.download import Body
from untrigger.assets.pip_settings import PipSettings, read_pip_settings

_CHUNK = 1 << 15
_LARGEST_PAGE = 64 << 20
_RETRIES = 2
_ARCHIVES = (".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2")
_NOT_HERE = (404, 410)
_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"


class PipIndex:
    """The files that this interpreter's pip would find.

    Raises:
        AssetError: if pip's configuration cannot be read.
    """

    def __init__(self, settings: PipSettings | None = None) -> None:
        """Read pip's configuration, unless ``settings`` are given; no network yet."""
        self._settings = read_pip_settings() if settings is None else settings
        self._session = _session(self._settings)
        self._logins = {host: login for url in self._settings.indexes for host, login in _login(url)}

    def links(self, archive: Archive) -> list[str]:
        """Return the addresses of the archive, local ones first.

        Raises:
            OSError: if nothing was found and an index could not be reached.
        """
        project = re.sub(r"[-_.]+", "-", archive.package).lower()
        pages = [f"{url.rstrip('/')}/{project}/" for url in self._settings.indexes]
        found: list[str] = []
        failure: OSError | None = None
        for place in (*self._settings.find_links, *pages):
            try:
                found += [link for link in self._links_at(place) if _file_name(link) == archive.file]
            except OSError as error:
                failure = error
        if not found and failure is not None:
            raise failure
        return sorted(dict.fromkeys(found), key=lambda url: not url.startswith("file:"))

    @contextmanager
    def open(self, url: str, *, start: int) -> Iterator[Body]:
        """Yield the file from byte ``start`` on, or from 0 where the server does not serve ranges.

        Raises:
            OSError: for every failure of the connection or an error status.
        """
        if url.startswith("file:"):
            with _local(url).open("rb") as stream:
                stream.seek(start)
                yield Body(start, iter(lambda: stream.read(_CHUNK), b""))
            return
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        with self._get(url, headers=headers) as response:
            response.raise_for_status()
            yield Body(start if response.status_code == 206 else 0, response.iter_content(_CHUNK))

    def _links_at(self, place: str) -> list[str]:
        """Return the links of a page, or the files of a folder; ``place`` itself where it is a file that is not a page."""
        if not place.startswith(("http:", "https:")):
            return _local_links(_local(place) if place.startswith("file:") else Path(place).expanduser())
        if place.endswith(_ARCHIVES):
            return [place]
        with self._get(place, headers={"Accept": _ACCEPT}) as response:
            if response.status_code in _NOT_HERE:
                return []
            response.raise_for_status()
            text = _page(response)
            is_json = "json" in response.headers.get("Content-Type", "")
            links = _json_links(text) if is_json else _html_links(text)
            addresses = [urljoin(response.url, link) for link in links]
        return [one for one in addresses if one.startswith(("http:", "https:"))]  # a page names no file of this machine

    def _get(self, url: str, *, headers: dict[str, str]) -> Any:
        """Return the opened response; the login in an address is for its host only and in no message."""
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        verify: bool | str = self._settings.cert or True
        trusted = {host, parts.hostname} & set(self._settings.trusted_hosts)
        with warnings.catch_warnings():
            if trusted:
                warnings.simplefilter("ignore")  # the user trusts this host
            return self._session.get(
                parts._replace(netloc=host).geturl(),
                headers=headers,
                auth=self._logins.get(host),
                stream=True,
                timeout=self._settings.timeout_s,
                verify=False if trusted else verify,
            )


class _SystemTrust(HTTPAdapter):
    """Connections that trust the certificate authorities of the system beside those of ``certifi``."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=ssl.create_default_context(), **kwargs)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        return super().proxy_manager_for(*args, ssl_context=ssl.create_default_context(), **kwargs)


def _session(settings: PipSettings) -> requests.Session:
    """Return a session with pip's proxy, certificates and a few retries."""
    session = requests.Session()
    session.mount("http://", HTTPAdapter(max_retries=_RETRIES))
    session.mount("https://", (HTTPAdapter if settings.cert else _SystemTrust)(max_retries=_RETRIES))
    for host in settings.trusted_hosts:
        session.mount(f"https://{host}", HTTPAdapter(max_retries=_RETRIES))
    if settings.proxy:
        session.proxies = {"http": settings.proxy, "https": settings.proxy}
    session.cert = settings.client_cert or None
    return session


def _login(url: str) -> list[tuple[str, tuple[str, str]]]:
    """Return host and login of an address that holds a login, else nothing."""
    parts = urlsplit(url)
    if not parts.username:
        return []
    return [(parts.netloc.rpartition("@")[2], (unquote(parts.username), unquote(parts.password or "")))]


def _page(response: requests.Response) -> str:
    """Return the text of a page of a bounded size."""
    content = bytearray()
    for chunk in response.iter_content(_CHUNK):
        content += chunk
        if len(content) > _LARGEST_PAGE:
            raise OSError(f"a page of the package index is larger than {_LARGEST_PAGE} bytes")
    return content.decode("utf-8", "replace")


def _json_links(text: str) -> list[str]:
    """Return the links of a page as PEP 691 writes it."""
    try:
        return [str(file["url"]) for file in json.loads(text)["files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise OSError(f"the package index sent a page that cannot be read: {error}") from error


def _html_links(text: str) -> list[str]:
    """Return the links of a page as PEP 503 writes it."""
    anchors = _Anchors()
    anchors.feed(text)
    return [urljoin(anchors.base, link) for link in anchors.links]


class _Anchors(HTMLParser):
    """The links of a page, and the address that they are relative to."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.base = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record the address of an anchor, and of the first ``base``."""
        href = dict(attrs).get("href") or ""
        if tag == "a":
            self.links.append(href)
        elif tag == "base" and not self.base:
            self.base = href


def _local(url: str) -> Path:
    """Return the path of a ``file:`` address."""
    return Path(url2pathname(urlsplit(url).path))


def _local_links(place: Path) -> list[str]:
    """Return the addresses of a file, of a folder's files, or of the links in a local page."""
    page = place / "index.html" if (place / "index.html").is_file() else place
    if page.suffix in (".html", ".htm") and page.is_file():
        return [urljoin(page.resolve().as_uri(), link) for link in _html_links(page.read_text(encoding="utf-8"))]
    files = place.iterdir() if place.is_dir() else [place]
    return [file.resolve().as_uri() for file in files if file.is_file()]


def _file_name(url: str) -> str:
    """Return the name of the file that an address ends in."""
    return unquote(urlsplit(url).path.rpartition("/")[2])
