"""Random numbers that depend on what they are for, never on what was drawn before.

Every draw of a training run is a function of (seed, purpose, index). So a run that was killed continues exactly, and
the number of loader processes changes nothing.
"""

import hashlib

import numpy as np


def derive(seed: int, *purpose: str | int) -> int:
    """Returns a 63-bit seed that is a function of ``seed`` and ``purpose`` on every machine."""
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """Returns a NumPy generator for one purpose."""
    return np.random.default_rng(derive(seed, *purpose))
