"""Files of the registry that the user's npm is configured for: its addresses, proxies, certificates and logins apply.

``npm pack`` of a published version writes the archive as it was published; no script of it is run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from untrigger.assets.catalogue import Archive
from untrigger.assets.download import Body

_CHUNK = 1 << 16
_TIMEOUT_S = 1200


class NpmIndex:
    """The files that this machine's npm would find.

    Raises:
        FileNotFoundError: if there is no npm.
    """

    def __init__(self) -> None:
        """Look for npm; no network yet."""
        npm = shutil.which("npm")
        if npm is None:
            raise FileNotFoundError("there is no npm on this machine")
        self._npm = npm

    def links(self, archive: Archive) -> list[str]:
        """Return npm's name of the archive; only opening it shows whether the registry holds it."""
        return [f"{archive.package}@{archive.version}"]

    @contextmanager
    def open(self, url: str, *, start: int) -> Iterator[Body]:
        """Yield the whole file: npm cannot continue a download, so ``start`` has no effect.

        Raises:
            OSError: if npm fails, with its message.
        """
        assert start >= 0
        with tempfile.TemporaryDirectory(prefix="untrigger-npm-") as folder:
            command = [self._npm, "pack", url, "--pack-destination", folder, "--ignore-scripts", "--loglevel=error"]
            try:
                done = subprocess.run(  # noqa: S603  # npm by its path, the package's pinned name, no shell
                    command,
                    cwd=folder,
                    capture_output=True,
                    text=True,
                    timeout=_TIMEOUT_S,
                    check=False,
                    env={**os.environ, "npm_config_update_notifier": "false"},
                )
            except subprocess.TimeoutExpired as error:
                raise OSError(f"npm did not end within {_TIMEOUT_S} s") from error
            files = list(Path(folder).glob("*.tgz"))
            if done.returncode or len(files) != 1:
                raise OSError(f"npm pack {url}: {done.stderr.strip()[:300] or 'no file came'}")
            with files[0].open("rb") as stream:
                yield Body(0, iter(lambda: stream.read(_CHUNK), b""))
