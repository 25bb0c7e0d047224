"""Labelled rows in and out: data sets of the literature, embedded sets, files, folders, hub sets."""

from untrigger.assets.datasets import embedded_names
from untrigger.core.table_files import write_rows, write_table
from untrigger.data.check import check_rows
from untrigger.data.data_card import DataCard, card_of, data_card
from untrigger.data.data_source import DataSource
from untrigger.data.load import load_data, load_splits
from untrigger.data.sets import SETS

__all__ = [
    "SETS",
    "DataCard",
    "DataSource",
    "card_of",
    "check_rows",
    "data_card",
    "embedded_names",
    "load_data",
    "load_splits",
    "write_rows",
    "write_table",
]
