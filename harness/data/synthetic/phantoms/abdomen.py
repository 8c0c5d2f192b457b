"""Abdomens of invented people on T1 in phase, T1 out of phase and T2-SPIR.

No image suffices: in phase the stomach is like the kidneys and the spleen, out of phase it is like the liver, and
kidneys and spleen differ from each other on T2 only; T2 in turn shows little between liver and muscle. Out of phase,
voxels that hold water and fat are dark, which outlines the organs.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from harness.data.synthetic.phantoms.fields import bias_field, blob, rician, smooth_field

#: Extent that is drawn: left-right, back-front, feet-head.
EXTENT_MM = (400.0, 300.0, 280.0)

SEQUENCES = ("t1in", "t1out", "t2spir")

#: Tissues; 1 to 4 are the organs, numbered as the dataset numbers them.
_AIR, _LIVER, _RIGHT_KIDNEY, _LEFT_KIDNEY, _SPLEEN, _FAT, _MUSCLE, _STOMACH, _BONE, _VESSEL = range(10)
_ORGANS = 4

#: Tissue, centre and half-axes in mm from the middle of the body, and irregularity; a later part covers earlier ones.
_PARTS = (
    (_MUSCLE, (-38, -62, -30), (22, 22, 130), 0.05),
    (_MUSCLE, (38, -62, -30), (22, 22, 130), 0.05),
    (_BONE, (0, -62, 0), (21, 20, 250), 0.03),
    (_VESSEL, (-8, -35, 0), (9, 9, 250), 0.03),
    (_STOMACH, (-40, 40, 30), (42, 30, 38), 0.1),
    (_STOMACH, (-20, 45, -75), (75, 28, 30), 0.15),
    (_LIVER, (66, 12, 42), (66, 62, 62), 0.08),
    (_SPLEEN, (-96, -22, 42), (26, 38, 40), 0.08),
    (_RIGHT_KIDNEY, (62, -46, -38), (25, 27, 48), 0.05),
    (_LEFT_KIDNEY, (-62, -46, -28), (25, 27, 48), 0.05),
)

_MEANS: Mapping[str, tuple[float, ...]] = {
    "t1in": (0, 440, 300, 300, 310, 760, 360, 305, 420, 230),
    "t1out": (0, 410, 290, 290, 300, 620, 350, 415, 260, 220),
    "t2spir": (0, 175, 560, 560, 420, 60, 130, 640, 110, 300),
}
_NOISE, _TEXTURE, _BETWEEN, _BIAS = 22.0, 0.06, 0.06, 0.1


def draw_abdomen(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Returns a tissue map (X, Y, Z) on voxels that run to the right, to the front and upwards.

    Args:
        shape: Voxels along each axis.
        spacing: Voxel size in mm along each axis.
        rng: Draws the person.
    """
    size = np.array(spacing)
    middle = (np.array(shape) - 1) / 2 * size + rng.normal(0, 5, 3)
    build = rng.uniform(0.92, 1.08)

    x, y, _ = np.ogrid[tuple(slice(0, extent) for extent in shape)]
    across = (x * size[0] - middle[0]) / (165 * build), (y * size[1] - middle[1]) / (112 * build)
    reach = across[0] ** 2 + across[1] ** 2 + np.zeros(shape[2])
    tissue = np.full(shape, _AIR, np.uint8)
    tissue[reach < 1] = _FAT
    tissue[(reach < 0.8) & (reach > 0.66)] = _MUSCLE
    inside = reach < 0.66
    for kind, place, radii, lumps in _PARTS:
        centre = middle + np.array(place) * build + rng.normal(0, 3, 3)
        extent = np.array(radii) * build * rng.uniform(0.9, 1.1, 3)
        tissue[blob(shape, centre / size, extent / size, lumps, rng) & inside] = kind
    return tissue


def scan(name: str, tissue: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
    """Returns the image of a tissue map in one sequence.

    Args:
        name: One of :data:`SEQUENCES`.
        tissue: Tissue map on the voxels of the sequence.
        rng: Draws contrast, shading and noise.
    """
    means = np.array(_MEANS[name], np.float32)
    means *= rng.normal(1, _BETWEEN, len(means)).astype(np.float32)
    means[_LEFT_KIDNEY] = means[_RIGHT_KIDNEY]
    image = means[tissue] * (1 + _TEXTURE * smooth_field(tissue.shape, 1.5, rng))
    if name == "t1out":
        plane = np.ones((3, 3, 1), bool)
        border = ndimage.binary_dilation(tissue == _FAT, plane) & (tissue != _FAT) & (tissue != _AIR)
        image[border] *= 0.45
    return rician(image * bias_field(tissue.shape, _BIAS, rng), _NOISE, rng)


def organs(tissue: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns the labels of a tissue map: 1 liver, 2 right kidney, 3 left kidney, 4 spleen."""
    return np.where(tissue <= _ORGANS, tissue, 0).astype(np.uint8)
