"""The packages whose version decides the last bits of a number."""

from functools import cache
from importlib.metadata import version

#: Networks and training, augmentation, and the losses.
_NUMERIC = ("torch", "numpy", "scipy", "monai", "batchgeneratorsv2")


@cache
def numeric_packages() -> dict[str, str]:
    """Returns the installed versions; part of a cell's identity where its protocol promises bitwise equal results."""
    return {name: version(name) for name in _NUMERIC}
