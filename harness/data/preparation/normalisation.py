"""Intensity normalisation, applied while batches are made: the cache keeps intensities as in the files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from operator import add
from statistics import median
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.data.contract import Normalisation
from harness.data.preparation.cache import Moments, PreparedCase
from harness.errors import DataError

#: nnU-Net's percentiles of the training cases' foreground.
_PERCENTILES = (0.5, 99.5)

#: nnU-Net's rule: voxels that are 0 are outside where the median case keeps less than this share when it is cropped.
_MASKED_BELOW = 0.75


@dataclass(frozen=True)
class Window:
    """Clipping, shift and scale of one CT-like modality."""

    low: float
    high: float
    mean: float
    std: float


@dataclass(frozen=True)
class Normaliser:
    """Shifts and scales every modality.

    With z-scores, voxels that are 0 (outside the body) stay 0. In CT 0 is water, so all voxels are normalised. Only
    training cases are used for fitting.

    Attributes:
        kinds: Normalisation of each modality, in channel order.
        training: Moments over the training cases, one per modality; used by ``zscore_train``.
        windows: Clipping window of each modality, from the training cases' foreground; ``None`` except for ``ct``.
        zeros_count: Whether voxels that are 0 are ordinary ones also for z-scores: nnU-Net without its mask.
    """

    kinds: tuple[Normalisation, ...]
    training: tuple[Moments, ...]
    windows: tuple[Window | None, ...]
    zeros_count: bool = False

    @property
    def masked(self) -> tuple[int, ...]:
        """Channels in which voxels that are 0 stay 0."""
        return tuple(index for index, kind in enumerate(self.kinds) if kind != "ct" and not self.zeros_count)

    @classmethod
    def fit(
        cls,
        kinds: Normalisation | Sequence[Normalisation],
        training: Sequence[PreparedCase],
        mask: Literal["zeros", "nnunet"] = "zeros",
    ) -> Normaliser:
        """Computes the statistics of the training cases; those of a modality over the cases that have it.

        Args:
            kinds: Normalisation of each modality, or one for all of them.
            training: Training cases.
            mask: Whether voxels that are 0 are always outside, or by nnU-Net's rule: only where cropping took off more
                than a quarter of the median case.

        Raises:
            DataError: No training case has some modality, or none that has it shows foreground, so that no CT window
                can be computed.
        """
        zeros_count = mask == "nnunet" and median(_kept_share(case) for case in training) >= _MASKED_BELOW
        channels = range(len(training[0].moments))
        every = (kinds,) * len(channels) if isinstance(kinds, str) else tuple(kinds)
        having = [[case for case in training if index not in case.absent] for index in channels]
        if lacking := [index for index in channels if not having[index]]:
            raise DataError(
                f"No training case has modality number {lacking[0] + 1}, so nothing can be learnt of it.",
                hint="Lower its share in `sampling.missing.per_patient`, train on more patients, or leave it out.",
            )
        moments = tuple(
            reduce(add, (_moments(case, zeros_count)[index] for case in having[index])) for index in channels
        )
        windows = tuple(
            _window(np.concatenate([case.intensities[index] for case in having[index]])) if kind == "ct" else None
            for index, kind in enumerate(every)
        )
        return cls(every, moments, windows, zeros_count)

    def to_json(self) -> dict[str, Any]:
        """Returns JSON values; :meth:`from_json` reads them back. A trained network keeps them beside its weights."""
        values = asdict(self)
        return values if self.zeros_count else {key: value for key, value in values.items() if key != "zeros_count"}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Normaliser:
        """Reads the values of :meth:`to_json`.

        Raises:
            KeyError: Something is missing.
            TypeError: The values have another form.
        """
        return cls(
            tuple(values["kinds"]),
            tuple(Moments(**one) for one in values["training"]),
            tuple(None if one is None else Window(**one) for one in values["windows"]),
            values.get("zeros_count", False),
        )

    def __call__(self, images: NDArray[Any], case: PreparedCase) -> NDArray[np.float32]:
        """Returns normalised images, 0 where a modality is absent; ``images`` is (M, ...) of any part of ``case``."""
        made = np.empty(images.shape, np.float32)
        for index, kind in enumerate(self.kinds):
            if index in case.absent:
                made[index] = 0
                continue
            image = images[index].astype(np.float32, copy=False)
            if (window := self.windows[index]) is not None:
                clipped = np.clip(image, np.float32(window.low), np.float32(window.high))
                made[index] = (clipped - np.float32(window.mean)) / np.float32(window.std)
            else:
                own = _moments(case, self.zeros_count)[index]
                moments = self.training[index] if kind == "zscore_train" else own
                np.subtract(image, np.float32(moments.mean), out=made[index])
                made[index] /= np.float32(moments.std)
                if not self.zeros_count:
                    made[index][image == 0] = 0
        return made


def _kept_share(case: PreparedCase) -> float:
    """Returns the share of a case's voxels that its crop kept."""
    return math.prod(case.geometry.cropped) / math.prod(case.geometry.shape)


def _moments(case: PreparedCase, zeros_count: bool) -> tuple[Moments, ...]:
    """Returns the moments of each modality; voxels that are 0 add to the number alone."""
    if not zeros_count:
        return case.moments
    voxels = math.prod(case.geometry.cropped)
    return tuple(Moments(voxels, one.total, one.squares) for one in case.moments)


def _window(foreground: NDArray[np.float32]) -> Window:
    if not len(foreground):
        raise DataError(
            "CT cannot be normalised: no training case contains foreground.",
            hint="Are the labels of the training cases there?",
        )
    low, high = np.percentile(foreground, _PERCENTILES)
    values = foreground.astype(np.float64)
    return Window(float(low), float(high), float(values.mean()), float(values.std()) or 1.0)
