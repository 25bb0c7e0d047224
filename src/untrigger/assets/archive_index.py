"""Which index archives come from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from untrigger.assets.catalogue import Registry
from untrigger.assets.download import Index
from untrigger.core.errors import AssetError

if TYPE_CHECKING:
    from untrigger.assets.pip_index import PipIndex


@contextmanager
def open_index(index: Index | None = None, *, registry: Registry = "pip") -> Iterator[Index]:
    """``index`` itself where one is given, else the user's own pip or npm.

    Raises:
        AssetError: if there is no usable one.
    """
    if index is not None:
        yield index
    elif registry == "npm":
        yield _npm()
    else:
        with _pip() as source:
            yield source


def _npm() -> Index:
    from untrigger.assets.npm_index import NpmIndex

    try:
        return NpmIndex()
    except FileNotFoundError as error:
        raise AssetError(f"this asset is downloaded through npm: {error}", remedy="install Node.js with npm") from error


def _pip() -> PipIndex:
    from untrigger.assets.pip_index import PipIndex

    try:
        return PipIndex()
    except ImportError as error:
        raise AssetError(
            f"assets are downloaded through pip, which this Python lacks ({error})",
            remedy="run `python -m ensurepip` (or `uv pip install pip`) in this environment",
        ) from error
