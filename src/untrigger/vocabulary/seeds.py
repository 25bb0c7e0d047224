"""Seeds of random streams that are apart although they come from one seed: the defender's from each other and the attacker's."""

from __future__ import annotations

import hashlib

import numpy as np


def derived_seed(seed: int, purpose: str) -> int:
    """Return a seed of 32 bits for one purpose: neighbouring seeds and other purposes give unrelated ones.

    ``seed + 1`` would be the first stream of the next seed, so that two runs were not independent.
    """
    return int.from_bytes(hashlib.blake2b(f"{purpose}\x1f{seed}".encode(), digest_size=4).digest(), "big")


def generator_for(seed: int, purpose: str) -> np.random.Generator:
    """Return the random stream of one purpose."""
    return np.random.default_rng(derived_seed(seed, purpose))
