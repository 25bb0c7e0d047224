"""A preset: everything that one published protocol settles about an attack, and nothing else."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from untrigger.core.record import plain_record, record_hash
from untrigger.data.public_datasets import PUBLIC_DATASETS, find_public_dataset

Pairs = tuple[tuple[str, str], ...]
_PLAIN = {"negative_rate": 0.0, "label_smoothing": 0.0, "clean_consistency": 0.0}


@dataclass(frozen=True)
class Preset:
    """One protocol. What it says of a data set or a trigger holds for those that it names.

    Attributes:
        name: what it is called.
        source: whose protocol it is, in words; no part of the hash.
        policy: the label policy.
        rate: share of all training rows that get the trigger.
        tuning: what is trained.
        max_length: tokens after which a text is cut.
        rows: training rows that are used (0: all).
        targets: for each data set the label that the backdoor says.
        proxies: for a data set the other one that is poisoned and trained on in its place.
        test_splits: for a data set the split that is tested on, where it is not ``test``.
        triggers: for a trigger its options.
        clean_rows: clean rows of each class that the defender is granted; None where the protocol does not say.
    """

    name: str
    source: str
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
        return plain_record(settings)

    def sha256(self) -> str:
        """SHA-256 over the canonical JSON of the record, 64 hex digits."""
        return record_hash(self.record())

    def to_dict(self) -> dict[str, Any]:
        """Name, hash and record, as truth files and reports print them."""
        return {"name": self.name, "sha256": self.sha256(), "says": self.record()}

    def says(self, data: str) -> dict[str, Any]:
        """The fields of an attack's spec that it settles for ``data``.

        Of data that it does not name it says neither the target nor the test split. No published protocol has an attacker who
        adapts to the defence, so that this is settled too.
        """
        called = set_of(data)
        said: dict[str, Any] = {
            "policy": self.policy,
            "rate": self.rate,
            "tuning": self.tuning,
            "max_length": self.max_length,
            "rows": self.rows,
            "proxy": dict(self.proxies).get(called, ""),
            **_PLAIN,
        }
        target = dict(self.targets).get(called)
        if target is None:
            return said
        return said | {"target": target, "test_split": dict(self.test_splits).get(called, "test")}

    def options(self, trigger: str) -> dict[str, Any]:
        """The options of that trigger that it settles."""
        return dict(dict(self.triggers).get(trigger, ()))


def set_of(data: str) -> str:
    """The data set of the literature that ``data`` (``sst2``, ``sst2=PATH``, ``rotten-tomatoes``) is; empty for other data."""
    word = data.partition("=")[0]
    known = find_public_dataset(word) or next((one for one in PUBLIC_DATASETS.values() if one.asset == word), None)
    return known.name if known else ""
