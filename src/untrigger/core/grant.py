"""Everything that the threat model gives to a defender."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from untrigger.core.rows import Rows


@dataclass(frozen=True)
class Grant:
    """What a defence may use. There is no field for the trigger, the target, the poison flags or triggered rows.

    Attributes:
        clean: labelled rows of the task that the defender trusts.
        unlabelled: texts of the domain without labels.
        suspect: rows that the suspicious model may have been trained on, clean and poisoned, unmarked.
        teacher: folder or hub name of a small pre-trained encoder that the defender trusts.
        base: folder or hub name of the pre-trained model that the suspicious one was made from, where the defender trusts it.
        seed: the seed of every random choice that the defence makes.
    """

    clean: Rows | None = None
    unlabelled: tuple[str, ...] | None = None
    suspect: Rows | None = None
    teacher: str | Path | None = None
    base: str | Path | None = None
    seed: int = 0

    def has(self) -> frozenset[str]:
        """The names of what is granted, the seed left out."""
        return frozenset(f.name for f in fields(self) if f.name != "seed" and getattr(self, f.name) is not None)

    def describe(self) -> dict[str, Any]:
        """Sizes and content hashes of what is granted, for the report."""
        told: dict[str, Any] = {"seed": self.seed}
        for name in ("clean", "suspect"):
            rows: Rows | None = getattr(self, name)
            if rows is not None:
                told[name] = {"rows": len(rows), "classes": rows.class_counts(), "sha256": rows.content_hash()}
        if self.unlabelled is not None:
            told["unlabelled"] = {"rows": len(self.unlabelled)}
        for name in ("teacher", "base"):
            if (model := getattr(self, name)) is not None:
                told[name] = Path(model).name
        return told
