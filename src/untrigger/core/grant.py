"""The defender's knowledge: what the threat model gives to a defence."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from untrigger.core.rows import Rows


@dataclass(frozen=True)
class Grant:
    """The defender's knowledge and resources, as the threat model grants them; a defence may use nothing else.

    The attacker poisoned the training data or the training of the suspect model. The defender has the suspect model with its
    weights, and what is granted here: usually some clean rows of the task, sometimes the untrusted training rows, a small
    trusted encoder or the trusted base model. There is no field for the trigger, the target label, the poison flags or
    triggered rows: these belong to the evaluator, so that no method can use them.

    A field is None where the defender does not have it. A method names the fields that it cannot do without in ``needs``, and
    those that it can also use in ``uses``.

    Attributes:
        clean: labelled rows of the task that the defender trusts.
        unlabelled: texts of the domain without labels; nobody has checked that they are free of the trigger.
        suspect: rows that the suspect model may have been trained on, clean and poisoned, unmarked.
        teacher: folder or hub name of a small pre-trained encoder that the defender trusts.
        base: folder or hub name of the pre-trained model that the suspect model was made from, if the defender trusts it.
        onto: folder or hub name of another pre-trained model that the defender trusts, into which what the suspect model can do is
            carried, without its backdoor.
        seed: the seed of every random choice that the defence makes.
    """

    clean: Rows | None = None
    unlabelled: tuple[str, ...] | None = None
    suspect: Rows | None = None
    teacher: str | Path | None = None
    base: str | Path | None = None
    onto: str | Path | None = None
    seed: int = 0

    def has(self) -> frozenset[str]:
        """Return the names of what is granted, without the seed."""
        return frozenset(f.name for f in fields(self) if f.name != "seed" and getattr(self, f.name) is not None)

    def describe(self) -> dict[str, Any]:
        """Return sizes and content hashes of what is granted, for the report."""
        summary: dict[str, Any] = {"seed": self.seed}
        for name in ("clean", "suspect"):
            rows: Rows | None = getattr(self, name)
            if rows is not None:
                summary[name] = rows.describe()
        if self.unlabelled is not None:
            summary["unlabelled"] = {"rows": len(self.unlabelled), "sha256": _content_hash(self.unlabelled)}
        for name in ("teacher", "base", "onto"):
            if (model := getattr(self, name)) is not None:
                summary[name] = Path(model).name
        return summary


def _content_hash(texts: Iterable[str]) -> str:
    """Return the SHA-256 over texts in their order, 64 hex digits."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(f"\x1e{text}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
