"""A preset: everything that one published protocol fixes about an attack, and nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any

from untrigger.core.json_values import content_hash, to_json_value
from untrigger.data.public_datasets import PUBLIC_DATASETS, find_public_dataset

Pairs = tuple[tuple[str, str], ...]
_PLAIN = {"negative_rate": 0.0, "label_smoothing": 0.0, "clean_consistency": 0.0}


@dataclass(frozen=True)
class PublishedSettings(ABC):
    """What the presets of classifiers and of language models share.

    Attributes:
        name: of the preset.
        source: the paper or code that the protocol is from; not part of the hash.
    """

    name: str
    source: str

    @abstractmethod
    def record(self) -> dict[str, Any]:
        """Return all settings as plain JSON values; they are what the hash covers."""

    def sha256(self) -> str:
        """Return the SHA-256 of the canonical JSON of the record, 64 hex digits."""
        return content_hash(self.record())

    def to_dict(self) -> dict[str, Any]:
        """Return name, hash and settings for truth files and reports."""
        return {"name": self.name, "sha256": self.sha256(), "says": self.record()}


@dataclass(frozen=True)
class Preset(PublishedSettings):
    """One published protocol of classifiers. Its settings for data sets and triggers hold for those that it names.

    Attributes:
        policy: the label policy.
        rate: share of all training rows that get the trigger.
        tuning: which weights are trained.
        max_length: maximum number of tokens of a text.
        rows: training rows that are used (0: all).
        targets: for each data set the target label.
        proxies: for a data set the other one that is poisoned and trained on instead.
        test_splits: for a data set the split to test on, where it is not ``test``.
        triggers: for a trigger its options.
        clean_rows: clean rows per class that the defender gets; None where the protocol does not state it.
    """

    policy: str
    rate: float
    tuning: str
    max_length: int
    targets: Pairs
    rows: int = 0
    proxies: Pairs = ()
    test_splits: Pairs = ()
    triggers: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...] = ()
    clean_rows: int | None = None

    def record(self) -> dict[str, Any]:
        """Return all settings as plain JSON values. The keys are part of the hash, so they keep their first names."""
        settings = asdict(self) | {
            "targets": dict(self.targets),
            "proxies": dict(self.proxies),
            "test_splits": dict(self.test_splits),
            "triggers": {name: dict(options) for name, options in self.triggers},
            "via": self.tuning,
        }
        del settings["source"], settings["tuning"]
        record: dict[str, Any] = to_json_value(settings)
        return record

    def settings_for(self, data: str) -> dict[str, Any]:
        """Return the fields of an attack's spec that the preset fixes for ``data``.

        For data that it does not name, target and test split stay open. No published protocol has an adaptive attacker, so
        those options are fixed as well.
        """
        name = set_of(data)
        settings: dict[str, Any] = {
            "policy": self.policy,
            "rate": self.rate,
            "tuning": self.tuning,
            "max_length": self.max_length,
            "rows": self.rows,
            "proxy": dict(self.proxies).get(name, ""),
            **_PLAIN,
        }
        target = dict(self.targets).get(name)
        if target is None:
            return settings
        return settings | {"target": target, "test_split": dict(self.test_splits).get(name, "test")}

    def options(self, trigger: str) -> dict[str, Any]:
        """Return the options of that trigger that the preset fixes."""
        return dict(dict(self.triggers).get(trigger, ()))


def set_of(data: str) -> str:
    """Return the data set of the literature that ``data`` (``sst2``, ``sst2=PATH``, ``rotten-tomatoes``) names, else ""."""
    word = data.partition("=")[0]
    known = find_public_dataset(word) or next((one for one in PUBLIC_DATASETS.values() if one.asset == word), None)
    return known.name if known else ""
