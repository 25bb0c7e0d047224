"""Seeds of the defender's and the auditor's draws, apart from the attacker's even where both were given the same number."""

from __future__ import annotations

import hashlib

import numpy as np


def seed_for(purpose: str, seed: int) -> int:
    """A seed of 31 bits for one purpose, a function of both alone."""
    digest = hashlib.blake2b(f"untrigger\x1f{purpose}\x1f{seed}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


def generator_for(purpose: str, seed: int) -> np.random.Generator:
    """The random stream of one purpose."""
    return np.random.default_rng(seed_for(purpose, seed))
