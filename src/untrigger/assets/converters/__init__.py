"""Models converted from pinned archives."""
