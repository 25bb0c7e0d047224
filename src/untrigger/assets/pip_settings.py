"""The settings of the user's pip that decide where files come from, read through pip's own commands."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from dataclasses import dataclass

from untrigger.core.errors import AssetError

_TIMEOUT_S = 60
_DEFAULT_INDEX = re.compile(r"--index-url <url>.*?\(default\s+(\S+?)\)", re.DOTALL)


@dataclass(frozen=True)
class PipSettings:
    """Where pip would look for a file, and how it would connect.

    Attributes:
        indexes: addresses of simple repositories (PEP 503), the main one first.
        find_links: files, folders or pages with links.
        proxy: the proxy for all addresses; empty: that of the environment.
        cert: file of certificate authorities; empty: those of the system.
        client_cert: file with the client's key and certificate; empty: none.
        trusted_hosts: hosts, some with a port, whose certificate is not checked.
        timeout_s: seconds until a silent connection is given up.
    """

    indexes: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    proxy: str = ""
    cert: str = ""
    client_cert: str = ""
    trusted_hosts: tuple[str, ...] = ()
    timeout_s: float = 15.0


def read_pip_settings() -> PipSettings:
    """Return the settings that this interpreter's pip has from its files and from the environment.

    Raises:
        AssetError: if this Python has no pip, or its configuration cannot be read.
    """
    values = _configuration()
    indexes: tuple[str, ...] = ()
    if values.get("no-index", "").casefold() not in ("1", "true", "yes", "on"):
        indexes = (values.get("index-url") or _default_index(), *values.get("extra-index-url", "").split())
    return PipSettings(
        indexes=indexes,
        find_links=tuple(values.get("find-links", "").split()),
        proxy=values.get("proxy", ""),
        cert=values.get("cert", ""),
        client_cert=values.get("client-cert", ""),
        trusted_hosts=tuple(values.get("trusted-host", "").split()),
        timeout_s=float(values.get("timeout") or values.get("default-timeout") or 15),
    )


def _configuration() -> dict[str, str]:
    """Return what ``pip config list`` holds for downloads; the environment wins over ``[download]``, that over ``[global]``."""
    lines = [line.partition("=") for line in _pip("config", "list").splitlines()]
    values: dict[str, str] = {}
    for section in ("global", "download", ":env:"):
        for name, _, value in lines:
            if name.startswith(f"{section}."):
                values[name.removeprefix(f"{section}.")] = str(ast.literal_eval(value)).strip()
    return values


def _default_index() -> str:
    """Return the address that pip uses if none is configured; only pip's help names it.

    Raises:
        AssetError: if the help does not name one.
    """
    match = _DEFAULT_INDEX.search(_pip("download", "--help"))
    if match is None:
        raise AssetError("pip does not name the package index that it uses", remedy="name one in PIP_INDEX_URL")
    return match[1]


def _pip(*words: str) -> str:
    """Return the output of a pip command.

    Raises:
        AssetError: if it fails.
    """
    done = subprocess.run(  # noqa: S603  # this interpreter and fixed words, no shell
        [sys.executable, "-m", "pip", *words, "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
        env={**os.environ, "COLUMNS": "1000", "PYTHONWARNINGS": "ignore"},  # wide: no address is broken over two lines
    )
    if done.returncode == 0:
        return done.stdout
    reason = done.stderr.strip().splitlines()[-1:] or ["no output"]
    raise AssetError(
        f"assets are downloaded as pip is configured, but `pip {' '.join(words)}` failed: {reason[0][:300]}",
        remedy="run `python -m ensurepip` (or `uv pip install pip`) in this environment, or correct pip's configuration",
    )
