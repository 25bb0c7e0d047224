"""Labelled rows in and out: embedded sets, files, folders, hub sets."""

from untrigger.data.check import check_rows
from untrigger.data.embedded import data_card, embedded_names
from untrigger.data.load import load_data, load_splits
from untrigger.data.write import write_rows, write_table

__all__ = ["check_rows", "data_card", "embedded_names", "load_data", "load_splits", "write_rows",
           "write_table"]  # fmt: skip
