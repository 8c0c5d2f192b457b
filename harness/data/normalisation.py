"""Intensity normalisation, applied while batches are made: the cache keeps intensities as in the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray

from harness.data.contract import Normalisation
from harness.data.prepare import Moments, PreparedCase

__all__ = ["Normaliser"]


@dataclass(frozen=True)
class Normaliser:
    """Shifts and scales every modality; voxels that are 0 (outside the body) stay 0.

    Attributes:
        kind: ``zscore_case`` or ``zscore_train``.
        training: Moments over the training cases, one a modality; used by ``zscore_train`` only, so that nothing of the
            test cases enters.
    """

    kind: Normalisation
    training: tuple[Moments, ...]

    @classmethod
    def fit(cls, kind: Normalisation, training: Sequence[PreparedCase]) -> Normaliser:
        """Takes the statistics of the training cases."""
        per_modality = zip(*(case.moments for case in training), strict=True)
        return cls(kind, tuple(reduce(add, moments) for moments in per_modality))

    def __call__(self, images: NDArray[np.float32], case: PreparedCase) -> NDArray[np.float32]:
        """Returns normalised images; ``images`` is (M, ...) of any part of ``case``."""
        chosen = self.training if self.kind == "zscore_train" else case.moments
        shape = (-1, *(1,) * (images.ndim - 1))
        mean = np.array([moments.mean for moments in chosen], dtype=np.float32).reshape(shape)
        std = np.array([moments.std for moments in chosen], dtype=np.float32).reshape(shape)
        return np.where(images != 0, (images - mean) / std, np.float32(0))
