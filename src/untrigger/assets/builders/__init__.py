"""Data sets built from pinned archives."""
