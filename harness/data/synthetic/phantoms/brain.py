"""Brains of invented patients: the embedded person's anatomy, turned, stretched and warped differently for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from harness.data.synthetic.phantoms.fields import random_displacement

#: Tissues, in the order of :func:`draw_brain`.
CSF, GREY, WHITE = 0, 1, 2

_PERSON = Path(__file__).parents[2] / "datasets" / "cortex"

#: T1 intensities inside the white surface: below the first are ventricles, below the second deep nuclei.
_VENTRICLE, _NUCLEUS = 90, 145

#: Fluid between cortex and skull, in voxels of 1 mm.
_FLUID_MM = 3

#: How patients differ.
_MAX_DEGREES, _MAX_STRETCH, _MAX_SHIFT_MM = 8.0, 0.07, 4.0
_MAX_WARP_MM, _WARP_SIGMA_MM = 7.0, 28.0


@dataclass(frozen=True)
class VoxelGrid:
    """Voxels of an image whose middle is the middle of the head.

    Attributes:
        shape: Voxels along X, Y, Z.
        voxel_mm: Voxel size in mm, the same along each axis.
        directions: For each axis, whether it runs along (1) or against (-1) right, anterior, superior.
    """

    shape: tuple[int, int, int]
    voxel_mm: float
    directions: tuple[int, int, int]

    @property
    def middle(self) -> NDArray[np.float64]:
        """The middle of the image in voxels."""
        return (np.array(self.shape) - 1) / 2

    def to_head(self) -> NDArray[np.float64]:
        """Returns (3, 3): voxels to mm right, anterior and superior."""
        return np.diag(np.array(self.directions) * self.voxel_mm)


def draw_brain(grid: VoxelGrid, rng: np.random.Generator) -> NDArray[np.float32]:
    """Returns the shares of fluid, grey and white matter (3, X, Y, Z) of one patient's voxels; 0 outside the brain.

    Args:
        grid: Voxel grid to draw on.
        rng: Draws the patient.
    """
    person = _tissues(round(grid.voxel_mm, 3))
    angles = np.deg2rad(rng.uniform(-_MAX_DEGREES, _MAX_DEGREES, 3))
    stretch = 1 + rng.uniform(-_MAX_STRETCH, _MAX_STRETCH, 3)
    matrix = _rotation(angles) @ np.diag(stretch) @ grid.to_head()
    middle = (np.array(person.shape[1:]) - 1) / 2
    shift = rng.uniform(-_MAX_SHIFT_MM, _MAX_SHIFT_MM, 3)
    warp = random_displacement(grid.shape, _MAX_WARP_MM, _WARP_SIGMA_MM / grid.voxel_mm, rng)
    offset = middle + shift - matrix @ grid.middle
    places = np.tensordot(matrix.astype(np.float32), np.indices(grid.shape, dtype=np.float32), axes=1)
    places += offset.astype(np.float32)[:, None, None, None] + warp
    return np.stack([ndimage.map_coordinates(tissue, places, order=1) for tissue in person])


@cache
def _tissues(voxel_mm: float) -> NDArray[np.float32]:
    """Returns the person's tissues (3, X, Y, Z) at 1 mm, blurred to the voxel size."""
    t1, label = (np.asarray(nib.load(_PERSON / f"{name}.nii.gz").dataobj) for name in ("t1", "label"))
    brain = ndimage.binary_dilation(label > 0, iterations=_FLUID_MM)
    brain = ndimage.binary_fill_holes(ndimage.binary_closing(brain, iterations=_FLUID_MM))
    inner = label == 2
    white = inner & (t1 >= _NUCLEUS)
    grey = (label == 1) | (inner & (t1 >= _VENTRICLE) & ~white)
    tissues = np.stack([brain & ~white & ~grey, grey, white]).astype(np.float32)
    if voxel_mm <= 1:
        return tissues
    return np.stack([ndimage.gaussian_filter(tissue, 0.42 * voxel_mm) for tissue in tissues])


def _rotation(angles: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    turned = np.eye(3)
    for axis, angle in enumerate(angles):
        one = np.eye(3)
        first, second = [other for other in range(3) if other != axis]
        one[first, first] = one[second, second] = np.cos(angle)
        one[first, second], one[second, first] = -np.sin(angle), np.sin(angle)
        turned = turned @ one
    return turned
