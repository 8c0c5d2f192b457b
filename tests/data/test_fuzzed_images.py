"""Damaged at random, a file is read or refused with its name: no traceback, no hang, no memory beyond a bound."""

from __future__ import annotations

import gzip
import random
import warnings
from contextlib import suppress

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from fuzzing import run_bounded

from harness.data.reading.nifti import read_channels, read_label, read_placement
from harness.errors import DataError

pytestmark = pytest.mark.linux("limits this process's address space")

VOXELS = (np.arange(120) % 3).astype(np.uint8).reshape(4, 5, 6)
ENDINGS = (".nii", ".nii.gz", ".mha", ".nrrd", ".gipl", ".tif", ".png", ".bmp")
_NUMBERS = (np.float32("nan"), np.float32("inf"), np.float32(1e30), np.int16(-1), np.int16(32767), np.int64(2**62))
_HEADER = 540


def sound(path):
    if ".nii" in path.name:
        image = nib.Nifti1Image(VOXELS, np.diag([1.0, 2, 3, 1]))
        image.set_qform(image.affine, code=1)
        path.write_bytes(image.to_bytes())
    else:
        plane = path.suffix in (".png", ".bmp")
        sitk.WriteImage(sitk.GetImageFromArray(VOXELS[..., 0].T if plane else VOXELS.T), str(path))
    return path.read_bytes()


def damaged(content, rng):
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        at = rng.randrange(min(len(changed), _HEADER))
        number = rng.choice(_NUMBERS).tobytes()
        changed[at : at + len(number)] = rng.choice((number, bytes([rng.randrange(256)]), b"9999", b"-", b" "))
    return bytes(changed[: rng.choice((len(changed), len(changed), rng.randrange(1, len(changed))))])


def fuzz(folder, ending, count):
    path = folder / f"a{ending}"
    content, rng = sound(path), random.Random(0)

    def read_all():
        refused = 0
        for read in (read_channels, read_placement, lambda file: read_label(file, frozenset({0, 1, 2}))):
            with suppress(DataError), warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # of NaN in headers
                read(path)
                continue
            refused += 1
        return refused

    def work(note):
        refused = 0
        for _ in range(count):
            changed = damaged(content, rng)
            note(changed)
            path.write_bytes(gzip.compress(changed, 1) if ending == ".nii.gz" else changed)
            refused += read_all()
        return refused

    read_all()  # what that imports is not counted
    return run_bounded(work)


@pytest.mark.parametrize("ending", ENDINGS)
def test_some_hundred_damaged_files(tmp_path, ending):
    assert fuzz(tmp_path, ending, 40)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ENDINGS)
def test_ten_thousand_damaged_files(tmp_path, ending):
    assert fuzz(tmp_path, ending, 10_000 // len(ENDINGS))
