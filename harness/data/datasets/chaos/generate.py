"""Generated CHAOS trees: 12-bit DICOM and PNG under official names, invented people, and the traps of the real archive.

Among them: in-phase slices with even and out-of-phase slices with odd numbers, a series number that differs between
patients, T2-SPIR with another number of slices at other places, slices that run up in one patient and down in the next,
hidden ``._*`` files, a CT folder of other patients.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from harness.data.synthetic.phantoms.abdomen import EXTENT_MM, draw_abdomen, organs, scan

_TRAIN = (1, 2, 3, 5, 8, 10, 13, 15, 19, 20, 21, 22, 31, 32, 33, 34, 36, 37, 38, 39)
_TEST = (4, 6, 7, 9, 11, 12, 14, 16, 17, 18, 23, 24, 25, 26, 27, 28, 29, 30, 35, 40)
_FIRST_INVENTED = 101

_PLANE, _SLICES, _T2_SLICES = 256, 36, 31
_LEAST_PLANE, _LEAST_SLICES = 32, 10
_GREY = np.array([0, 63, 126, 189, 252], np.uint8)
_FINE = 4  # tissue is drawn on this many levels a slice, so that T2 can lie between the slices of T1
_LARGEST = 4095  # 12 bit
_UID_LENGTH = 50  # DICOM allows 64; the number of the slice follows


@dataclass(frozen=True)
class _Stack:
    """Positions of the slices of a series.

    Attributes:
        heights: Height of each slice in mm, in file order.
        pixel: Width and height of a pixel in mm.
        series: Number of the series.
    """

    heights: NDArray[np.float64]
    pixel: tuple[float, float]
    series: int


def generate(out: Path, patients: int, seed: int, scale: float) -> None:
    """Writes a tree.

    Args:
        out: Folder to fill.
        patients: Patients of the training set.
        seed: The same seed gives the same images.
        scale: Size of the image matrix against the official one.
    """
    train = [*_TRAIN[:patients], *range(_FIRST_INVENTED, _FIRST_INVENTED + patients - len(_TRAIN))]
    test = _TEST[: max(2, patients // 6)]
    for index, number in enumerate([*train, *test]):
        drawn = index < len(train)
        part = "Train_Sets" if drawn else "Test_Sets"
        _write(out / part / "MR" / str(number), index, drawn, np.random.default_rng([seed, index, 5]), scale)
    (out / "Train_Sets" / "CT" / "1" / "DICOM_anon").mkdir(parents=True)


def _write(folder: Path, index: int, drawn: bool, rng: np.random.Generator, scale: float) -> None:
    """Draws a person and writes both acquisitions."""
    plane = max(_LEAST_PLANE, round((_PLANE + 32 * (index % 4 == 3)) * scale))
    count = max(_LEAST_SLICES, round((_SLICES + int(rng.integers(-4, 5))) * max(scale, 0.4)))
    pixel = (EXTENT_MM[0] / plane, EXTENT_MM[1] / plane)
    step = EXTENT_MM[2] / count
    tissue = draw_abdomen((plane, plane, count * _FINE), (*pixel, step / _FINE), rng)
    series = int(rng.integers(1, 50))
    heights: NDArray[np.float64] = (np.arange(count, dtype=np.float64) + 0.5) * step
    dual = _Stack(heights[::-1] if index % 2 else heights, pixel, series + 2)
    in_t1 = _slices(tissue, dual, step)
    for phase, name, offset in (("InPhase", "t1in", 2), ("OutPhase", "t1out", 1)):
        numbers = [2 * position + offset for position in range(count)]
        _write_series(folder / "T1DUAL" / "DICOM_anon" / phase, scan(name, in_t1, rng), dual, numbers)
    fewer = max(_LEAST_SLICES - 2, round(_T2_SLICES / _SLICES * count))
    t2 = _Stack((np.arange(fewer) + 0.35) * EXTENT_MM[2] / fewer, pixel, series)
    in_t2 = _slices(tissue, t2, step)
    _write_series(folder / "T2SPIR" / "DICOM_anon", scan("t2spir", in_t2, rng), t2, list(range(1, fewer + 1)))
    if drawn:
        numbers = [2 * position + 2 for position in range(count)]
        _write_drawing(folder / "T1DUAL" / "Ground", organs(in_t1), dual, numbers)
        _write_drawing(folder / "T2SPIR" / "Ground", organs(in_t2), t2, list(range(1, fewer + 1)))
    if index == 0:
        for ending, place in ((".dcm", "T1DUAL/DICOM_anon/InPhase"), (".png", "T1DUAL/Ground")):
            hidden = folder / place / f"._IMG-{dual.series:04d}-00002{ending}"
            hidden.write_bytes(b"\x00\x05\x16\x07" + bytes(60))


def _slices(tissue: NDArray[np.uint8], stack: _Stack, step: float) -> NDArray[np.uint8]:
    """Returns the tissue map at the heights of a stack, in file order."""
    levels = np.clip(np.rint(stack.heights / step * _FINE - 0.5).astype(int), 0, tissue.shape[2] - 1)
    return tissue[:, :, levels]


def _write_series(folder: Path, image: NDArray[np.float32], stack: _Stack, numbers: list[int]) -> None:
    folder.mkdir(parents=True)
    pixels = np.clip(np.rint(image), 0, _LARGEST).astype(np.uint16)
    series = generate_uid(entropy_srcs=[hashlib.sha256(pixels.tobytes()).hexdigest()])[:_UID_LENGTH]
    for position, number in enumerate(numbers):
        name = f"IMG-{stack.series:04d}-{number:05d}"
        one = _dicom(series, stack, position, number, _as_seen(pixels[:, :, position]))
        one.save_as(folder / f"{name}.dcm", enforce_file_format=True)


def _write_drawing(folder: Path, label: NDArray[np.uint8], stack: _Stack, numbers: list[int]) -> None:
    folder.mkdir(parents=True)
    for position, number in enumerate(numbers):
        picture = Image.fromarray(_GREY[_as_seen(label[:, :, position])])
        picture.save(folder / f"IMG-{stack.series:04d}-{number:05d}.png")


def _as_seen(plane: NDArray[np.integer]) -> NDArray[np.integer]:
    """Returns rows and columns of a slice (X, Y): rows run to the back, columns to the left of the patient."""
    return np.ascontiguousarray(plane[::-1, ::-1].T)


def _dicom(series: str, stack: _Stack, position: int, number: int, pixels: NDArray[np.integer]) -> FileDataset:
    """Returns one slice of a series."""
    instance = f"{series}.{number}"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.UID(instance)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    attributes = {
        "SOPClassUID": MRImageStorage,
        "SOPInstanceUID": instance,
        "SeriesInstanceUID": series,
        "Modality": "MR",
        "PatientID": "",
        "PatientName": "",
        "SeriesNumber": stack.series,
        "InstanceNumber": number,
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [-EXTENT_MM[0] / 2, -EXTENT_MM[1] / 2, round(float(stack.heights[position]), 4)],
        "PixelSpacing": [round(stack.pixel[1], 6), round(stack.pixel[0], 6)],
        "SliceThickness": round(float(abs(stack.heights[1] - stack.heights[0])), 4),
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "PixelData": pixels.astype("<u2").tobytes(),
    }
    for name, value in attributes.items():
        setattr(one, name, value)
    return one
