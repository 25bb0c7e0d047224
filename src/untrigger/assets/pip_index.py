"""The user's own pip as the way to files: its index, find-links, proxies, certificates and logins all apply.

pip has no command that hands over a source archive without running its ``setup.py``, so its link finder and its
session are used, and nothing is ever built or installed.
"""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self

from untrigger.assets.catalogue import Archive
from untrigger.assets.download import Body

_OPTIONS = (
    "--no-deps",
    "--no-cache-dir",
    "--ignore-requires-python",
    "--no-binary=:none:",
    "--only-binary=:none:",
    "--retries=2",
)
_CHUNK = 1 << 15


class PipIndex:
    """The files that this interpreter's pip would find. A context manager; needs pip to be importable.

    Raises:
        ImportError: where there is no pip, or one whose insides differ too much.
    """

    def __init__(self) -> None:
        """Read pip's configuration; no network yet."""
        logging.getLogger("pip").addHandler(logging.NullHandler())
        self._stack = ExitStack()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                self._session, self._finder = self._connect()
        except (AttributeError, TypeError) as error:
            raise ImportError(f"this pip is not usable from within: {error}") from error

    def _connect(self) -> tuple[Any, Any]:
        """pip's session and link finder, as ``pip download`` would make them."""
        command: Any = importlib.import_module("pip._internal.commands").create_command("download")
        options, _ = command.parse_args(list(_OPTIONS))
        self._stack.enter_context(command.main_context())
        session = command.get_default_session(options)
        return session, command._build_package_finder(options, session)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the session."""
        self._stack.close()

    def links(self, archive: Archive) -> list[str]:
        """Addresses of the archive, local ones first.

        Raises:
            OSError: if nothing was found and an index could not be reached.
        """
        with _as_oserror():
            candidates = self._finder.find_all_candidates(archive.package)
            found = [str(one.link.url_without_fragment) for one in candidates if one.link.filename == archive.file]
            if not found:
                self._probe(archive.package)
        return sorted(dict.fromkeys(found), key=lambda url: not url.startswith("file:"))

    def _probe(self, package: str) -> None:
        """Ask each index once for the package's page, so that an unreachable one says why."""
        for index in self._finder.index_urls:
            if not str(index).startswith("file:"):
                self._session.get(f"{str(index).rstrip('/')}/{package.lower()}/").close()

    @contextmanager
    def open(self, url: str, *, start: int) -> Iterator[Body]:
        """The file from byte ``start`` on, or from 0 where the server does not serve ranges.

        Raises:
            OSError: for every failure of the connection or an error status.
        """
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with _as_oserror():
            answer = self._session.get(url, headers=headers, stream=True)
            try:
                answer.raise_for_status()
                yield Body(start if answer.status_code == 206 else 0, answer.iter_content(_CHUNK))
            finally:
                answer.close()


@contextmanager
def _as_oserror() -> Iterator[None]:
    """Inside, errors of pip and of what it vendors, which are no ``OSError`` in every version, become one."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        if not type(error).__module__.startswith("pip."):
            raise
        reason = str(getattr(error, "message", error)) or type(error).__name__
        raise OSError(reason.splitlines()[0]) from error
