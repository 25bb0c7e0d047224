"""Labelled rows in and out: data sets of the literature, embedded sets, files, folders, hub sets."""

from untrigger.assets.datasets import embedded_names
from untrigger.core.table_files import write_rows, write_table
from untrigger.data.check import check_rows
from untrigger.data.data_card import DataCard, card_of
from untrigger.data.data_source import DataSource
from untrigger.data.load import load_data, load_splits
from untrigger.data.public_datasets import PUBLIC_DATASETS
from untrigger.data.unlabelled_data import Texts, load_texts

__all__ = [
    "PUBLIC_DATASETS",
    "DataCard",
    "DataSource",
    "Texts",
    "card_of",
    "check_rows",
    "embedded_names",
    "load_data",
    "load_splits",
    "load_texts",
    "write_rows",
    "write_table",
]
