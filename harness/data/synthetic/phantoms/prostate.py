"""Prostates of invented patients on T2, ADC and DWI.

No image suffices: on T2 the peripheral zone is as bright as the fat around the gland, and a tumour in it is like the
transition zone; on ADC the transition zone is like muscle; on DWI the two zones are nearly alike, but only there does a
tumour stand out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.data.synthetic.phantoms.fields import bias_field, blob, rician, smooth_field

TRANSITION, PERIPHERAL = 1, 2
_FAT, _MUSCLE, _NODULE, _TUMOUR, _BLADDER = 0, 3, 4, 5, 6

#: Mean intensity by tissue, and noise; ADC in 1e-6 mm2/s.
_MEANS: Mapping[str, Mapping[int, float]] = {
    "t2": {_FAT: 700, TRANSITION: 400, PERIPHERAL: 690, _MUSCLE: 180, _NODULE: 560, _TUMOUR: 380, _BLADDER: 1000},
    "adc": {_FAT: 350, TRANSITION: 1250, PERIPHERAL: 1650, _MUSCLE: 1220, _NODULE: 1350, _TUMOUR: 800, _BLADDER: 2800},
    "dwi": {_FAT: 18, TRANSITION: 74, PERIPHERAL: 66, _MUSCLE: 34, _NODULE: 72, _TUMOUR: 160, _BLADDER: 40},
}
_NOISE = {"t2": 45.0, "adc": 110.0, "dwi": 6.0}
_TEXTURE, _BETWEEN, _BIAS = 0.07, 0.06, 0.08


@dataclass(frozen=True)
class Prostate:
    """One patient, on voxels that run to the right, to the front and upwards.

    Attributes:
        images: Modality (``t2``, ``adc``, ``dwi``) to (X, Y, Z).
        zones: (X, Y, Z), 1 transition and 2 peripheral zone.
        tumour: (X, Y, Z); empty where there is none.
    """

    images: Mapping[str, NDArray[np.float32]]
    zones: NDArray[np.uint8]
    tumour: NDArray[np.bool_]


def draw_prostate(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], with_tumour: bool, rng: np.random.Generator
) -> Prostate:
    """Draws a patient.

    Args:
        shape: Voxels along each axis.
        spacing: Voxel size in mm along each axis.
        with_tumour: Whether the peripheral zone holds a tumour.
        rng: Draws the patient.
    """
    size = np.array(spacing)
    middle = (np.array(shape) - 1) / 2 * size + rng.normal(0, 3, 3)
    grown = rng.uniform(0.85, 1.2)  # the transition zone grows with age

    def ellipsoid(offset: tuple[float, float, float], radii: NDArray[np.float64], lumps: float) -> NDArray[np.bool_]:
        return blob(shape, (middle + offset) / size, radii / size, lumps, rng)

    gland = ellipsoid((0, 0, 0), np.array([25, 19, 20]) * rng.uniform(0.92, 1.1, 3), 0.03)
    inner = ellipsoid((0, 5.5, 1), np.array([17, 14.5, 16]) * grown, 0.06) & gland
    behind = np.indices(shape)[1] * size[1] < middle[1] + 8  # in front of it lies stroma, which belongs to no zone
    zones = np.zeros(shape, np.uint8)
    zones[gland & behind] = PERIPHERAL
    zones[inner] = TRANSITION

    tissue = np.full(shape, _FAT, np.uint8)
    for side in (-1, 1):
        tissue[ellipsoid((side * 43, 4, 0), np.array([15, 30, 40]), 0.05)] = _MUSCLE
    tissue[ellipsoid((0, -36, 0), np.array([17, 13, 45]), 0.08)] = _MUSCLE  # the rectum's wall
    tissue[ellipsoid((0, 10, 38), np.array([30, 25, 20]), 0.05)] = _BLADDER
    tissue[gland] = _MUSCLE
    tissue[zones > 0] = zones[zones > 0]
    tissue[(smooth_field(shape, 4 / float(size[0]), rng) > 1) & inner] = _NODULE
    side = rng.choice([-1, 1])
    spot = ellipsoid((side * rng.uniform(9, 15), -11, rng.uniform(-6, 6)), rng.uniform(5, 8, 3), 0.15)
    tumour = spot & (zones == PERIPHERAL) & with_tumour
    tissue[tumour] = _TUMOUR
    return Prostate({name: _scan(name, tissue, rng) for name in _MEANS}, zones, tumour)


def _scan(name: str, tissue: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
    means = np.zeros(_BLADDER + 1, np.float32)
    for number, mean in _MEANS[name].items():
        means[number] = mean * rng.normal(1, _BETWEEN)
    image = means[tissue] * (1 + _TEXTURE * smooth_field(tissue.shape, 1.5, rng))
    return rician(image * bias_field(tissue.shape, _BIAS, rng), _NOISE[name], rng)
