"""The package index that archives come from."""

from __future__ import annotations

from untrigger.assets.catalogue import Registry
from untrigger.assets.download import Index
from untrigger.core.errors import AssetError


def user_index(registry: Registry) -> Index:
    """Return the index that the user's own pip or npm is configured for.

    Raises:
        AssetError: if there is no pip or npm.
    """
    if registry == "pip":
        from untrigger.assets.pip_index import PipIndex

        return PipIndex()
    from untrigger.assets.npm_index import NpmIndex

    try:
        return NpmIndex()
    except FileNotFoundError as error:
        raise AssetError(f"this asset is downloaded through npm: {error}", remedy="install Node.js with npm") from error
