"""Gliomas of generated patients in four MR sequences.

No sequence suffices, and none can be spared: enhancement shows on contrast-enhanced T1 only and is like oedema
elsewhere; blood is as bright there, and only the plain T1 tells it apart; the core is like grey matter on all but T2;
old infarcts are like oedema on all but FLAIR. A cavity is fluid: bright on T2, dark on FLAIR.

On request one sequence carries the signal alone: it tells every part of the tumour from all else, and the others show
it faint and blurred. Then it is known by construction which modality should lead.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from harness.data.synthetic.phantoms.brain import CSF, GREY, WHITE, VoxelGrid
from harness.data.synthetic.phantoms.fields import bias_field, blob, rician, smooth_field

_Mask = NDArray[np.bool_]

#: Labels, as BraTS 2023 and 2024 number them.
CORE, OEDEMA, ENHANCING, CAVITY = 1, 2, 3, 4

#: Lesions that carry no label, numbered on.
_BLOOD, _INFARCT, _VESSEL = 5, 6, 7

SEQUENCES = ("t1", "t1c", "t2", "flair")

#: Mean intensity in fluid, grey and white matter, and in the lesions by number.
_NORMAL: Mapping[str, tuple[float, float, float]] = {
    "t1": (25, 70, 100),
    "t1c": (28, 74, 103),
    "t2": (180, 105, 75),
    "flair": (20, 90, 72),
}
_LESION: Mapping[str, Mapping[int, float]] = {
    "t1": {CORE: 58, OEDEMA: 72, ENHANCING: 70, CAVITY: 25, _BLOOD: 128, _INFARCT: 68, _VESSEL: 60},
    "t1c": {CORE: 62, OEDEMA: 76, ENHANCING: 155, CAVITY: 28, _BLOOD: 150, _INFARCT: 72, _VESSEL: 160},
    "t2": {CORE: 160, OEDEMA: 138, ENHANCING: 134, CAVITY: 185, _BLOOD: 136, _INFARCT: 140, _VESSEL: 60},
    "flair": {CORE: 94, OEDEMA: 150, ENHANCING: 144, CAVITY: 22, _BLOOD: 128, _INFARCT: 48, _VESSEL: 60},
}

#: On the one informative sequence: factors on its brightest normal tissue; lesions without a label stand out nowhere.
_TELLING: Mapping[int, float] = {
    CORE: 1.6,
    OEDEMA: 1.3,
    ENHANCING: 2.0,
    CAVITY: 0.15,
    _BLOOD: 1.6,
    _INFARCT: 0.9,
    _VESSEL: 0.9,
}
#: On the others: share of a lesion's contrast that is left, and blur in mm.
_FAINT, _BLUR_MM = 0.15, 3.0

#: Spread of the means between patients, of texture within a tissue, and of noise (grey matter is about 80).
_BETWEEN, _TEXTURE, _NOISE, _BIAS = 0.08, 0.05, 6.0, 0.08


@dataclass(frozen=True)
class Glioma:
    """Composition of a patient's tumour.

    Attributes:
        enhancing: Whether it takes up contrast agent; if not, all of the core is dark.
        necrotic: Whether the enhancing part encloses a dark core.
        cavity: Whether a part was cut out.
        growth: Size against the first scan.
    """

    enhancing: bool = True
    necrotic: bool = True
    cavity: bool = False
    growth: float = 1.0


@dataclass(frozen=True)
class Lesions:
    """Lesions of one scan.

    Attributes:
        label: (X, Y, Z) uint8, the four labels.
        unlabelled: Numbers of lesions without label to their masks.
    """

    label: NDArray[np.uint8]
    unlabelled: Mapping[int, _Mask] = field(default_factory=dict)


def draw_lesions(brain: NDArray[np.float32], grid: VoxelGrid, glioma: Glioma, rng: np.random.Generator) -> Lesions:
    """Draws a tumour and lookalike lesions into the white matter.

    Args:
        brain: Shares of tissue (3, X, Y, Z).
        grid: Voxel grid of the brain.
        glioma: Composition of the tumour.
        rng: Draws place, sizes and shapes; the same draws at another growth give the same tumour, larger.
    """
    parenchyma = brain[GREY] + brain[WHITE] > 0.5
    inside = brain.sum(axis=0) > 0.5
    streams = rng.spawn(8)
    centre = _seat(brain[WHITE], inside, grid, streams[0])
    sizes = streams[1]
    radii = sizes.uniform(12, 19) * sizes.uniform(0.85, 1.15, 3) * glioma.growth / grid.voxel_mm
    core = blob(grid.shape, centre, radii, 0.08, streams[2]) & inside
    reach = radii + sizes.uniform(8, 14) * glioma.growth / grid.voxel_mm
    # Oedema follows the white matter; next to the tumour it is everywhere.
    tracts = (brain[WHITE] > 0.45) | ndimage.binary_dilation(core, iterations=max(1, round(3 / grid.voxel_mm)))
    oedema = blob(grid.shape, centre, reach, 0.12, streams[3]) & tracts & parenchyma
    label = np.zeros(grid.shape, np.uint8)
    label[oedema] = OEDEMA
    label[core] = CORE
    if glioma.enhancing:
        rim_mm = sizes.uniform(3.5, 5.5)
        depth = ndimage.distance_transform_edt(core)
        rim = depth <= max(rim_mm / grid.voxel_mm, 1.0) if glioma.necrotic else depth > 0
        label[core & rim] = ENHANCING
    if glioma.cavity:
        aside = streams[4].normal(size=3)
        away = centre + radii * aside / np.linalg.norm(aside) * 0.9
        label[blob(grid.shape, away, radii * streams[4].uniform(0.55, 0.8), 0.06, streams[4]) & inside] = CAVITY
    blood = blob(grid.shape, centre + radii * streams[5].uniform(-0.4, 0.4, 3), radii * 0.5, 0.2, streams[5])
    healthy = parenchyma & (label == 0)
    return Lesions(
        label,
        {
            _BLOOD: blood & (label == CORE),
            _INFARCT: _spots(brain[WHITE] > 0.6, healthy, grid, (5, 8), 3, streams[6]),
            _VESSEL: _spots(brain[CSF] > 0.3, inside & (label == 0), grid, (2, 3), 12, streams[7]),
        },
    )


def scan(
    brain: NDArray[np.float32],
    lesions: Lesions,
    grid: VoxelGrid,
    rng: np.random.Generator,
    informative: str | None = None,
) -> dict[str, NDArray[np.int16]]:
    """Returns the image of each sequence, skull-stripped: 0 outside the brain and above 0 inside.

    Args:
        brain: Shares of tissue (3, X, Y, Z).
        lesions: Lesions drawn into the brain.
        grid: Voxel grid of the brain.
        rng: Draws contrast, texture, shading, noise and the scanner's unit.
        informative: The sequence that carries the signal alone; ``None`` for what sequences really show.
    """
    inside = brain.sum(axis=0) > 0.5
    weights = {value: lesions.label == value for value in (CORE, OEDEMA, ENHANCING, CAVITY)} | dict(lesions.unlabelled)
    # A voxel averages what lies in it, so borders are soft.
    soft = {value: ndimage.gaussian_filter(mask.astype(np.float32), 0.4) for value, mask in weights.items()}
    images = {}
    for sequence in SEQUENCES:
        means = np.array(_NORMAL[sequence]) * (1 + _BETWEEN * rng.uniform(-1, 1, 3))
        image = np.tensordot(means.astype(np.float32), brain, axes=1)
        share = np.float32(1 if informative in (None, sequence) else _FAINT)
        for value, weight in soft.items():
            shown = _LESION[sequence][value] if informative != sequence else max(means) * _TELLING[value]
            mean = shown * (1 + _BETWEEN * rng.uniform(-1, 1))
            image += share * weight * (np.float32(mean) - image)
        if informative not in (None, sequence):
            image = ndimage.gaussian_filter(image, _BLUR_MM / grid.voxel_mm)
        image *= 1 + _TEXTURE * smooth_field(grid.shape, max(2.5 / grid.voxel_mm, 0.7), rng)
        image *= bias_field(grid.shape, _BIAS, rng)
        noisy = rician(image, _NOISE, rng) * rng.uniform(3, 9)
        images[sequence] = np.where(inside, np.maximum(np.rint(noisy), 1), 0).astype(np.int16)
    return images


def _seat(white: NDArray[np.float32], inside: _Mask, grid: VoxelGrid, rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns where the tumour lies: white matter away from the surface of the brain."""
    depth = ndimage.distance_transform_edt(inside) * grid.voxel_mm
    places = np.argwhere((white > 0.5) & (depth > 0.45 * depth.max()))
    chosen: NDArray[np.float64] = places[rng.integers(len(places))].astype(np.float64)
    return chosen


def _spots(
    where: _Mask, allowed: _Mask, grid: VoxelGrid, radius_mm: tuple[float, float], count: int, rng: np.random.Generator
) -> _Mask:
    """Returns a mask of some small blobs."""
    mask = np.zeros(grid.shape, bool)
    places = np.argwhere(where & allowed)
    for place in places[rng.integers(len(places), size=count)]:
        radii = np.maximum(rng.uniform(*radius_mm) * rng.uniform(0.7, 1.3, 3) / grid.voxel_mm, 0.8)
        mask |= blob(grid.shape, place, radii, 0.1, rng)
    return mask & allowed
