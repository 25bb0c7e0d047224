"""Independent random streams from one seed: one for each purpose of the defender and of the attacker."""

from __future__ import annotations

import hashlib
import random

import numpy as np


def derived_seed(seed: int, purpose: str) -> int:
    """Return a seed of 32 bits for one purpose: neighbouring seeds and other purposes give unrelated ones.

    ``seed + 1`` would be the first stream of the next seed, so that two runs were not independent.
    """
    return int.from_bytes(hashlib.blake2b(f"{purpose}\x1f{seed}".encode(), digest_size=4).digest(), "big")


def generator_for(seed: int, purpose: str) -> np.random.Generator:
    """Return the random stream of one purpose."""
    return np.random.default_rng(derived_seed(seed, purpose))


def row_rng(seed: int, row_id: str, *, purpose: str = "") -> random.Random:
    """Return the random stream of one row, a function of ``(seed, row_id, purpose)`` alone.

    Attacks draw from the stream without a purpose. Defences name one, so that they never repeat the attack's draws.
    """
    parts = (str(seed), row_id, purpose) if purpose else (str(seed), row_id)
    digest = hashlib.blake2b("\x1f".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return random.Random(int.from_bytes(digest, "big"))  # noqa: S311  # reproducible draws, no secrecy wanted
