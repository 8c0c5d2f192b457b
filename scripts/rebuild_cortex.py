"""Rebuilds the embedded cortex dataset from the source distribution of pycortex 1.4.0.

    python scripts/rebuild_cortex.py              # download, rebuild, write harness/data/datasets/cortex
    python scripts/rebuild_cortex.py --compare    # download, rebuild, compare with that folder, write nothing
    python scripts/rebuild_cortex.py --sdist pycortex-1.4.0.tar.gz    # the same without the download

What it does, on one RAS grid of 1 mm:

1. checks the SHA-256 of the source distribution, and reads seven named members of it into memory;
2. resamples the T1 and the gradient-echo EPI (the latter by pycortex's own alignment) by linear interpolation;
3. turns the closed white and pial surfaces of both hemispheres into labels by where the centre of a voxel lies
   (2: inside a white surface; 1: inside a pial surface but no white one; 0: elsewhere);
4. zeroes the images farther than 6 mm (city-block distance) from the brain, which removes the face;
5. writes gzipped NIfTI files that hold neither time nor file name: the same voxels give the same bytes (the same zlib
   taken for granted).

It needs numpy, scipy and nibabel, some ten seconds of one core, and pip for the download (69.9 MB).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SDIST_SHA256 = "9fdb292a2df96bba6087ee07d428969ba1eb07ed03724bcfaca96ec8e28a5fd5"
OUTPUT = Path(__file__).resolve().parents[1] / "harness" / "data" / "datasets" / "cortex"

SHAPE = (160, 184, 132)
GRID_TO_MM = np.array([[1, 0, 0, -78], [0, 1, 0, -68], [0, 0, 1, -54], [0, 0, 0, 1]], dtype=np.float64)

#: Source intensities that become 255; what is brighter is clipped.
T1_WHITE, EPI_WHITE = 160.0, 2400.0

CORTEX, WHITE_MATTER = 1, 2
MARGIN_MM = 6  # of image kept around the brain

DESCRIPTIONS = {
    "t1": "pycortex 1.4.0 S1: T1w, face removed",
    "epi": "pycortex 1.4.0 S1: GRE-EPI, face removed",
    "label": "pycortex 1.4.0 S1: 1 cortex, 2 white matter",
}

_SUBJECT = "pycortex-1.4.0/filestore/db/S1"
_T1 = f"{_SUBJECT}/anatomicals/raw.nii.gz"
_EPI = f"{_SUBJECT}/transforms/fullhead/reference.nii.gz"
_EPI_ALIGNMENT = f"{_SUBJECT}/transforms/fullhead/matrices.xfm"
_HEMISPHERES = ("lh", "rh")
_MAX_MEMBER_BYTES = 64 * 2**20

Volume = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Surface:
    """A closed triangle mesh.

    Attributes:
        points: Vertices (V, 3) in scanner RAS mm.
        triangles: Indices (T, 3) into ``points``.
    """

    points: Matrix
    triangles: NDArray[np.int64]


@dataclass(frozen=True)
class Source:
    """What the dataset is made of.

    Attributes:
        t1: T1-weighted image (X, Y, Z).
        mm_to_t1: Scanner mm to voxels of ``t1`` (4, 4).
        epi: Gradient-echo EPI (X, Y, Z).
        mm_to_epi: Scanner mm of the T1 to voxels of ``epi`` (4, 4), the alignment included.
        white: White surface of each hemisphere.
        pial: Pial surface of each hemisphere.
    """

    t1: Matrix
    mm_to_t1: Matrix
    epi: Matrix
    mm_to_epi: Matrix
    white: tuple[Surface, ...]
    pial: tuple[Surface, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 1 where a comparison found a difference."""
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        sdist = options.sdist or download_sdist(Path(folder))
        check_sdist(sdist)
        volumes = build(read_source(sdist))
    if options.compare:
        return 0 if compare(volumes, options.output) else 1
    options.output.mkdir(parents=True, exist_ok=True)
    for name, volume in volumes.items():
        path = options.output / f"{name}.nii.gz"
        path.write_bytes(nifti_gz(volume, DESCRIPTIONS[name]))
        print(f"{path}  sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")
    return 0


def download_sdist(folder: Path) -> Path:
    """Downloads the source distribution with pip, from whatever index pip is set to.

    pip checks the hash before it looks inside. It then asks the package's build backend for metadata, as it does for
    any source distribution; use ``--sdist`` with a file downloaded by other means to avoid that.

    Args:
        folder: Where to put it.

    Returns:
        Path of the file.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(f"pycortex==1.4.0 --hash=sha256:{SDIST_SHA256}\n")
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "pycortex", "--require-hashes"]
    # Arguments are constants and a folder of our own; no shell is involved.
    finished = subprocess.run([*pip, "--requirement", str(requirements), "--dest", str(folder)], check=False)  # noqa: S603
    found = sorted(folder.glob("pycortex-*.tar.gz"))
    if finished.returncode or not found:
        raise SystemExit("pip could not download pycortex 1.4.0. Download its source distribution and use --sdist.")
    return found[0]


def check_sdist(sdist: Path) -> None:
    """Ends the program unless a file is the source distribution the shipped data were made from."""
    if not sdist.is_file():
        raise SystemExit(f"There is no file {sdist}.")
    with sdist.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != SDIST_SHA256:
        raise SystemExit(f"{sdist} is not the source distribution of pycortex 1.4.0: its SHA-256 is {found}.")


def read_source(sdist: Path) -> Source:
    """Reads the named members of the source distribution into memory; nothing is unpacked to disk.

    Args:
        sdist: The ``.tar.gz``.
    """
    with tarfile.open(sdist, "r:gz") as archive:
        t1, t1_to_mm = _image(_member(archive, _T1))
        epi, _ = _image(_member(archive, _EPI))
        alignment = json.loads(_member(archive, _EPI_ALIGNMENT))
        white = tuple(_surface(_member(archive, f"{_SUBJECT}/surfaces/wm_{side}.gii")) for side in _HEMISPHERES)
        pial = tuple(_surface(_member(archive, f"{_SUBJECT}/surfaces/pia_{side}.gii")) for side in _HEMISPHERES)
    return Source(
        t1=t1,
        mm_to_t1=np.linalg.inv(t1_to_mm).astype(np.float64),
        epi=epi,
        mm_to_epi=np.asarray(alignment["coord"], dtype=np.float64),
        white=white,
        pial=pial,
    )


def build(source: Source) -> dict[str, Volume]:
    """Returns the three volumes (X, Y, Z) of the dataset by name."""
    label = np.zeros(SHAPE, dtype=np.uint8)
    for value, surfaces in ((CORTEX, source.pial), (WHITE_MATTER, source.white)):
        for surface in surfaces:
            label[inside(surface)] = value
    kept = ndimage.binary_dilation(label > 0, ndimage.generate_binary_structure(3, 1), iterations=MARGIN_MM)
    t1 = to_bytes(resample(source.t1, source.mm_to_t1), T1_WHITE)
    epi = to_bytes(resample(source.epi, source.mm_to_epi), EPI_WHITE)
    return {"t1": np.where(kept, t1, np.uint8(0)), "epi": np.where(kept, epi, np.uint8(0)), "label": label}


def resample(image: Matrix, mm_to_image: Matrix) -> Matrix:
    """Samples an image (X, Y, Z) on the grid by linear interpolation; outside the image is zero.

    Args:
        image: Intensities.
        mm_to_image: Scanner mm to voxels of ``image`` (4, 4).
    """
    grid_to_image = mm_to_image @ GRID_TO_MM
    sampled: Matrix = ndimage.affine_transform(
        image, grid_to_image[:3, :3], grid_to_image[:3, 3], output_shape=SHAPE, order=1
    )
    return sampled


def to_bytes(image: Matrix, white: float) -> Volume:
    """Scales 0 .. ``white`` to 0 .. 255, rounding down.

    A millionth is added before rounding, so that a whole number missed by the last bit of a float stays what it is on
    every machine.
    """
    scaled: Volume = np.clip(np.floor(image * (255.0 / white) + 1e-6), 0, 255).astype(np.uint8)
    return scaled


def inside(surface: Surface) -> Mask:
    """Returns which voxels of the grid have their centre inside a closed surface.

    A ray along z runs through the centres of each column of voxels. A centre is inside when an odd number of triangles
    cuts the ray below it (even-odd rule). Rays are shifted by a millionth of a voxel, differently along x and y, so
    that none runs through an edge or a vertex, where a cut would count twice or never.

    Args:
        surface: Closed mesh; it may reach out of the grid.
    """
    to_grid = np.linalg.inv(GRID_TO_MM)
    points = surface.points @ to_grid[:3, :3].T + to_grid[:3, 3]
    points[:, :2] -= (np.sqrt(2) * 1e-6, np.sqrt(3) * 1e-6)
    corners = points[surface.triangles]
    column, triangle = _columns_under(corners[:, :, :2])
    hit, height = _cut(corners[triangle], column.astype(np.float64))
    above = np.ceil(height[hit]).astype(np.int64).clip(0, SHAPE[2])
    cuts = np.zeros((SHAPE[0], SHAPE[1], SHAPE[2] + 1), dtype=np.int64)
    np.add.at(cuts, (column[hit, 0], column[hit, 1], above), 1)
    odd: Mask = np.cumsum(cuts, axis=2)[:, :, :-1] % 2 == 1
    return odd


def nifti_gz(volume: Volume, description: str) -> bytes:
    """Returns a gzipped NIfTI-1 file on the grid, with neither time nor file name inside.

    Args:
        volume: Voxels (X, Y, Z), indexed towards right, anterior and superior.
        description: At most 79 characters.
    """
    image = nib.Nifti1Image(volume, GRID_TO_MM)
    image.set_sform(GRID_TO_MM, code=1)
    image.set_qform(GRID_TO_MM, code=1)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = description.encode("ascii")
    packed = io.BytesIO()  # gzip.compress writes another header in each version of Python
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, compresslevel=9, mtime=0) as stream:
        stream.write(image.to_bytes())
    return packed.getvalue()


def compare(volumes: Mapping[str, Volume], folder: Path) -> bool:
    """Prints how rebuilt volumes agree with the files in a folder; returns whether every voxel does."""
    equal = True
    for name, rebuilt in volumes.items():
        present = _image((folder / f"{name}.nii.gz").read_bytes())
        if present[0].shape != rebuilt.shape or not np.array_equal(present[1], GRID_TO_MM):
            print(f"{name}: another grid, shape {present[0].shape}, affine {present[1].tolist()}")
            equal = False
            continue
        difference = np.abs(present[0] - rebuilt)
        differ = int(np.count_nonzero(difference))
        foreground = int(np.count_nonzero((present[0] > 0) | (rebuilt > 0)))
        equal = equal and differ == 0
        print(f"{name}: {differ} of {foreground} foreground voxels differ, at most by {difference.max():g}", end="; ")
        print(f"agreement {100 * (1 - differ / max(foreground, 1)):.4f} %")
    return equal


def _columns_under(triangles: Matrix) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns each column (N, 2) in the box of each triangle (T, 3, 2), with the triangle's index (N,)."""
    first = np.ceil(triangles.min(axis=1)).astype(np.int64).clip(0, None)
    last = np.floor(triangles.max(axis=1)).astype(np.int64).clip(None, (SHAPE[0] - 1, SHAPE[1] - 1))
    width = (last - first + 1).clip(0, None)
    count = width.prod(axis=1)
    triangle = np.repeat(np.arange(len(triangles)), count)
    within = np.arange(len(triangle)) - np.repeat(np.cumsum(count) - count, count)
    offset = np.stack(np.divmod(within, width[triangle, 1]), axis=1)
    return first[triangle] + offset, triangle


def _cut(triangles: Matrix, column: Matrix) -> tuple[Mask, Matrix]:
    """Returns which triangles (N, 3, 3) the vertical ray through each column (N, 2) cuts, and at which height."""
    edges = [_side(triangles[:, a, :2], triangles[:, b, :2], column) for a, b in ((1, 2), (2, 0), (0, 1))]
    weights = np.stack(edges, axis=1)
    hit: Mask = np.logical_or((weights > 0).all(axis=1), (weights < 0).all(axis=1))
    area = np.where(hit, weights.sum(axis=1), 1.0)
    return hit, (weights * triangles[:, :, 2]).sum(axis=1) / area


def _side(start: Matrix, stop: Matrix, point: Matrix) -> Matrix:
    """Returns twice the signed area of the triangles (start, stop, point), each (N, 2)."""
    edge, reach = stop - start, point - start
    area: Matrix = edge[:, 0] * reach[:, 1] - edge[:, 1] * reach[:, 0]
    return area


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    try:
        member = archive.getmember(name)
    except KeyError:
        raise SystemExit(f"The source distribution holds no {name}.") from None
    stream = archive.extractfile(member) if member.isreg() and member.size <= _MAX_MEMBER_BYTES else None
    if stream is None:
        raise SystemExit(f"{name} is not an ordinary file of a plausible size.")
    return stream.read()


def _image(content: bytes) -> tuple[Matrix, Matrix]:
    """Returns intensities (X, Y, Z) and affine (4, 4) of a gzipped NIfTI file."""
    image = nib.Nifti1Image.from_bytes(gzip.decompress(content))
    return image.get_fdata(dtype=np.float64), np.asarray(image.affine, dtype=np.float64)


def _surface(content: bytes) -> Surface:
    points, triangles = (array.data for array in nib.GiftiImage.from_bytes(content).darrays)
    return Surface(points.astype(np.float64), triangles.astype(np.int64))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sdist", type=Path, help="pycortex-1.4.0.tar.gz; downloaded with pip when left out")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder of the NIfTI files (default: %(default)s)")
    parser.add_argument("--compare", action="store_true", help="compare with the files in the folder, write nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
