"""Heads and necks of invented patients: density for CT, uptake of sugar for PET, and a tumour at the airway.

Neither image suffices. The tumour takes up sugar, but so do lymph nodes, tonsils and the floor of the mouth, and PET is
too blurred to show where the tumour ends. CT shows its borders, with air, fat and bone, and a faint swelling, but
muscle and benign swellings are about as dense.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from harness.data.synthetic.phantoms.fields import blob, largest_part, smooth_field

_Mask = NDArray[np.bool_]
_Place = NDArray[np.float64]

#: Extent that is drawn: left-right, back-front, feet-head.
EXTENT_MM = (220, 240, 260)

#: Density in Hounsfield units.
_AIR, _FAT, _MUSCLE, _SWELLING, _BRAIN, _BONE = -1000.0, -95.0, 50.0, 82.0, 35.0, 700.0

#: Uptake (SUV).
_UPTAKE = {"body": 0.6, "muscle": 1.1, "brain": 8.0, "gland": 3.0}


@dataclass(frozen=True)
class HeadNeck:
    """One patient, on voxels of the same size along each axis that run to the right, to the front and upwards.

    Attributes:
        density: (X, Y, Z) in Hounsfield units.
        uptake: (X, Y, Z) in SUV, before PET blurs it.
        tumour: (X, Y, Z).
        voxel_mm: Voxel size.
        tumour_centre: Centre of the tumour in mm from the first voxel's centre.
    """

    density: NDArray[np.float32]
    uptake: NDArray[np.float32]
    tumour: _Mask
    voxel_mm: float
    tumour_centre: _Place


def draw_head_neck(voxel_mm: float, rng: np.random.Generator) -> HeadNeck:
    """Draws a patient.

    Args:
        voxel_mm: Size of the voxels it is drawn on.
        rng: Draws the patient.
    """
    shape = tuple(round(extent / voxel_mm) for extent in EXTENT_MM)
    draw = _Drawing(shape, voxel_mm, rng)
    size = rng.uniform(0.92, 1.08)
    turned = rng.normal(0, 3, 3)  # how the patient lies
    head = np.array([110, 125, 195]) + turned
    throat = np.array([110, 138, 105]) + turned
    neck = np.array([110, 118, 60]) + turned

    skull = draw.ellipsoid(head, np.array([74, 92, 78]) * size, 0.015)
    brain = draw.ellipsoid(_beside(head, 0, -2, 8), np.array([63, 78, 62]) * size, 0.015)
    jaw_region = draw.ellipsoid(_beside(throat, 0, 22, 10), np.array([58, 62, 62]) * size, 0.02)
    column = draw.tube(neck, np.array([56, 58]) * size, 0, float(throat[2]) + 20)
    body = skull | jaw_region | column
    depth = ndimage.distance_transform_edt(body) * voxel_mm
    fat = body & (depth < 7 + 1.5 * draw.lumps(18))
    spine = draw.tube(_beside(neck, 0, -26, 0), np.array([13, 12]), 0, float(head[2]) - 60)
    bone = (draw.shell(brain, 6) | spine | draw.jaw(throat, size)) & body & ~brain
    airway = draw.tube(_beside(throat, 0, 2, 0), rng.uniform(8, 12, 2), 0, float(throat[2]) + 55)
    mouth = draw.ellipsoid(_beside(throat, 0, 34, 38), np.array([20, 22, 5]), 0.1)
    air = (airway | mouth) & body & ~bone

    tumour, centre = _tumour(draw, airway, body & ~fat & ~bone & ~air & ~brain, throat, rng)
    soft = body & ~fat & ~bone & ~air & ~brain
    side = 1 if centre[0] > throat[0] else -1
    nodes = draw.nodes(throat, [side, side, -side], rng) & soft & ~tumour
    swellings = draw.nodes(throat, [-side, -side, side], rng) & soft & ~tumour & ~nodes
    tonsil = draw.ellipsoid(_beside(throat, -side * 17, 3, 14), np.array([7, 8, 11]), 0.1) & soft & ~tumour
    tongue = draw.ellipsoid(_beside(throat, 0, 32, 20), np.array([20, 24, 14]), 0.05) & soft & ~tumour

    planes = draw.lumps(9) > 1.1  # fat between muscles
    density = np.full(shape, _AIR, np.float32)
    uptake = np.full(shape, 0.02, np.float32)
    layers: list[tuple[_Mask, float, float]] = [
        (body, _MUSCLE, _UPTAKE["muscle"]),
        (body & planes & ~tumour & ~nodes, _FAT, _UPTAKE["body"]),
        (fat, _FAT, _UPTAKE["body"]),
        (tongue, _MUSCLE, _UPTAKE["muscle"] * rng.uniform(1.5, 2.5)),
        (tonsil, _SWELLING, _UPTAKE["gland"] * rng.uniform(0.8, 1.4)),
        (swellings, _SWELLING, _UPTAKE["muscle"]),
        (nodes, _SWELLING, rng.uniform(4, 9)),
        (tumour, _SWELLING + rng.uniform(-6, 10), rng.uniform(6, 14)),
        (brain & body, _BRAIN, _UPTAKE["brain"]),
        (bone, _BONE, _UPTAKE["body"]),
        (air, _AIR, 0.1),
    ]
    for mask, hounsfield, suv in layers:
        density[mask] = hounsfield
        uptake[mask] = suv
    uptake *= np.clip(1 + 0.15 * draw.lumps(8), 0.4, 1.6)
    return HeadNeck(density, uptake, tumour, voxel_mm, centre)


def _beside(place: _Place, right: float, front: float, up: float) -> _Place:
    """Returns a place so many mm from another one."""
    other: _Place = place + np.array([right, front, up])
    return other


def _tumour(
    draw: _Drawing, airway: _Mask, allowed: _Mask, throat: _Place, rng: np.random.Generator
) -> tuple[_Mask, _Place]:
    """Returns a mask that grows from the airway's wall into the soft tissue beside it, and its centre in mm."""
    side = rng.choice([-1, 1])
    radii = rng.uniform(9, 17) * rng.uniform(0.8, 1.25, 3)
    wall = _beside(throat, side * (9 + 0.6 * radii[0]), rng.uniform(-6, 10), rng.uniform(-18, 22))
    grown = largest_part(draw.ellipsoid(wall, radii, 0.14) & allowed & ~airway)
    centre = np.argwhere(grown).mean(axis=0) * draw.voxel_mm
    return grown, centre


class _Drawing:
    """Draws shapes given in mm on a grid of voxels."""

    def __init__(self, shape: tuple[int, ...], voxel_mm: float, rng: np.random.Generator) -> None:
        self.shape, self.voxel_mm, self._rng = shape, voxel_mm, rng

    def ellipsoid(self, centre: _Place, radii: _Place, irregularity: float) -> _Mask:
        return blob(self.shape, centre / self.voxel_mm, radii / self.voxel_mm, irregularity, self._rng)

    def tube(self, centre: _Place, radii: _Place, low: float, high: float) -> _Mask:
        """A vertical ellipse from one height to another, its wall uneven along the way."""
        x, y, z = np.ogrid[tuple(slice(0, extent) for extent in self.shape)]
        uneven = 1 + 0.08 * smooth_field((self.shape[2], 2), 12 / self.voxel_mm, self._rng)[None, None, :, 0]
        across = ((x - centre[0] / self.voxel_mm) / (radii[0] / self.voxel_mm)) ** 2
        along = ((y - centre[1] / self.voxel_mm) / (radii[1] / self.voxel_mm)) ** 2
        inside: _Mask = (across + along < uneven**2) & (z >= low / self.voxel_mm) & (z <= high / self.voxel_mm)
        return inside

    def shell(self, mask: _Mask, thickness_mm: float) -> _Mask:
        outside = ndimage.distance_transform_edt(~mask) * self.voxel_mm
        shell: _Mask = (outside > 0) & (outside <= max(thickness_mm, self.voxel_mm))
        return shell

    def jaw(self, throat: _Place, size: float) -> _Mask:
        """A horseshoe, open to the back."""
        outer = self.ellipsoid(_beside(throat, 0, 24, 16), np.array([48, 54, 14]) * size, 0.02)
        inner = self.ellipsoid(_beside(throat, 0, 20, 16), np.array([38, 44, 30]) * size, 0.0)
        front: _Mask = np.arange(self.shape[1])[None, :, None] * self.voxel_mm > throat[1] + 8
        return outer & ~inner & front

    def nodes(self, throat: _Place, sides: Sequence[int], rng: np.random.Generator) -> _Mask:
        """Lymph nodes beside the great vessels."""
        mask = np.zeros(self.shape, bool)
        for side in sides:
            place = _beside(throat, side * rng.uniform(30, 40), rng.uniform(-18, 0), rng.uniform(-50, 10))
            mask |= self.ellipsoid(place, rng.uniform(5, 10) * rng.uniform(0.8, 1.3, 3), 0.1)
        return mask

    def lumps(self, sigma_mm: float) -> NDArray[np.float32]:
        return smooth_field(self.shape, sigma_mm / self.voxel_mm, self._rng)
