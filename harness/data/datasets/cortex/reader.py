"""Reads the embedded person: one hemisphere trains, the other tests.

A case is a slab of coronal slices of one hemisphere, named by hemisphere and slice range, e.g. ``left_y042-049``. The
right hemisphere is mirrored, so that both face alike. Fold 0 trains on the left, fold 1 on the right.

Within the training hemisphere every fifth block of 8 slices validates, and 4 slices on either side of it are used for
nothing (guards), because neighbouring slices show nearly the same anatomy.
"""

import hashlib
import re
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.data.contract import Case, Reader, Split, TrivialPrediction
from harness.data.reading.grids import same_grid
from harness.data.reading.nifti import read_image, read_label
from harness.errors import DataError

_BLOCK = 8  # slices of a scored block; 8 mm
_GUARD = 4  # unused slices between training and validation
_VALIDATE_EVERY = 5
_MIDLINE_MM = 6.0  # voxels nearer to the midline than this belong to neither side
_MIN_CORTEX = 100  # a slice with fewer cortex pixels is not used
_FILES = ("t1.nii.gz", "epi.nii.gz", "label.nii.gz")
_SIDES = ("left", "right")


class CortexReader(Reader):
    """Reader of the embedded dataset.

    Args:
        root: Folder of ``t1.nii.gz``, ``epi.nii.gz`` and ``label.nii.gz``, on one RAS grid.

    Raises:
        DataError: A file is missing.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        for name in _FILES:
            if not (root / name).is_file():
                raise DataError(
                    f"Missing file: {root / name}",
                    hint="Install the harness again, or rebuild the data with scripts/rebuild_cortex.py.",
                )

    def fingerprint(self) -> str:
        """Returns a hash of the three files."""
        digest = hashlib.sha256()
        for name in _FILES:
            digest.update((self._root / name).read_bytes())
        return digest.hexdigest()[:16]

    def cases(self) -> tuple[str, ...]:
        """Returns every scored block of both hemispheres; training runs join several of them."""
        return tuple(_name(side, block) for side in _SIDES for block in self._blocks(side))

    def patient(self, case: str) -> str:
        """Returns the one patient there is."""
        del case
        return "S1"

    def split(self, fold: int) -> Split:
        """Returns the slabs of one fold: training runs, validation blocks, and every block of the other hemisphere."""
        train_side, test_side = _SIDES if fold == 0 else _SIDES[::-1]
        blocks = self._blocks(train_side)
        validating = blocks[_VALIDATE_EVERY // 2 :: _VALIDATE_EVERY]
        return Split(
            train=tuple(_name(train_side, run) for run in _runs_between(self._usable[train_side], validating)),
            val=tuple(_name(train_side, block) for block in validating),
            test=tuple(_name(test_side, block) for block in self._blocks(test_side)),
        )

    def load(self, case: str) -> Case:
        """Reads one slab: images (2, X, slices, Z) and labels, X running from the midline outwards."""
        side, slices = _parse(case)
        images, label, affine = self._volume
        chosen = self._columns(side)
        # The step of the chosen indices (+1 or -1) goes into the affine, so that predictions land where they belong.
        to_volume = np.eye(4)
        to_volume[0, 0] = chosen[1] - chosen[0]
        to_volume[0, 3] = chosen[0]
        to_volume[1, 3] = slices.start
        return Case(
            images=np.ascontiguousarray(images[:, :, slices][:, chosen]),
            label=np.ascontiguousarray(label[:, slices][chosen]),
            affine=affine @ to_volume,
        )

    def trivial_baselines(self, fold: int, case: str) -> list[TrivialPrediction]:
        """Returns the mirrored labels of the training hemisphere, the score of symmetry alone."""
        train_side = _SIDES[fold]
        side, slices = _parse(case)
        label = self._volume[1][:, slices]
        truth, source = label[self._columns(side)], label[self._columns(train_side)]
        copied = np.zeros_like(truth)
        width = min(len(truth), len(source))  # both start at the same distance from the midline
        copied[:width] = source[:width]
        return [TrivialPrediction("mirror copy of the other hemisphere", copied)]

    def _columns(self, side: str) -> NDArray[np.intp]:
        """Returns the indices along X of one side, the nearest to the midline first."""
        _, label, affine = self._volume
        x = affine[0, 0] * np.arange(label.shape[0]) + affine[0, 3]
        return np.flatnonzero(x < -_MIDLINE_MM)[::-1] if side == "left" else np.flatnonzero(x > _MIDLINE_MM)

    @cached_property
    def _volume(self) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.float64]]:
        t1, affine = read_image(self._root / "t1.nii.gz")
        epi, epi_affine = read_image(self._root / "epi.nii.gz")
        label, label_affine = read_label(self._root / "label.nii.gz", frozenset({0, 1, 2}))
        for name, shape, other in (("epi", epi.shape, epi_affine), ("label", label.shape, label_affine)):
            if shape != t1.shape or not same_grid(shape, other, affine):
                raise DataError(
                    f"{self._root / name}.nii.gz is not on the grid of t1.nii.gz: shape {shape} against {t1.shape}.",
                    hint="The three images must share shape and affine; rebuild them with scripts/rebuild_cortex.py.",
                )
        return np.stack([t1, epi]), label, affine

    @cached_property
    def _usable(self) -> dict[str, range]:
        """Slices of each side that hold enough cortex."""
        usable = {}
        for side in _SIDES:
            cortex = (self._volume[1][self._columns(side)] == 1).sum(axis=(0, 2))
            slices = np.flatnonzero(cortex >= _MIN_CORTEX)
            if len(slices) == 0:
                raise DataError(f"No slice of the {side} hemisphere holds {_MIN_CORTEX} cortex pixels.")
            usable[side] = range(int(slices[0]), int(slices[-1]) + 1)
        return usable

    def _blocks(self, side: str) -> list[range]:
        """Returns whole blocks of slices; a remainder shorter than a block joins the last one."""
        usable = self._usable[side]
        starts = list(range(usable.start, usable.stop - _BLOCK + 1, _BLOCK))
        stops = [*starts[1:], usable.stop]
        return [range(start, stop) for start, stop in zip(starts, stops, strict=True)]


def _runs_between(usable: range, validating: list[range]) -> list[range]:
    """Returns the training runs: the slices of ``usable`` without validation blocks and their guards."""
    edges = [usable.start]
    for block in validating:
        edges += [block.start - _GUARD, block.stop + _GUARD]
    edges.append(usable.stop)
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [range(start, stop) for start, stop in pairs if stop > start]


def _name(side: str, slices: range) -> str:
    return f"{side}_y{slices.start:03d}-{slices.stop - 1:03d}"


def _parse(case: str) -> tuple[str, slice]:
    match = re.fullmatch(r"(left|right)_y(\d{3})-(\d{3})", case)
    if match is None:
        raise DataError(f"'{case}' is not a case of the cortex dataset.", hint="Cases are named like 'left_y042-049'.")
    return match[1], slice(int(match[2]), int(match[3]) + 1)
