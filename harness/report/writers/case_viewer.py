"""One self-contained page of one case: every slice of every modality, the truth and the predictions of all variants."""

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from harness.data.label_colours import label_colour

#: A page is made smaller than this by worse images, if need be.
_MOST_BYTES = 30_000_000
#: Qualities of images that are tried, the best first.
_QUALITIES = (80, 50, 25)
#: Share of the voxels inside that may be black, and white.
_RANGE = (0.5, 99.5)
#: Colours of differences: truth that was missed, prediction without truth, another label.
_MISSED, _EXTRA, _OTHER = "#ff2d95", "#ffffff", "#00e5ff"


@dataclass(frozen=True)
class ViewedCase:
    """A case on the grid of its files, turned so that its slices lie along the first axis.

    Attributes:
        name: Case identifier.
        images: (M, D, H, W) intensities.
        truth: (D, H, W) label map.
        predictions: Name of a variant to its label map (D, H, W).
        spacing: Height and width of a pixel in mm.
        modalities: Name of every modality.
        labels: Label value to name, background included.
        regions: Region to label values.
        title: Title of the dataset.
    """

    name: str
    images: NDArray[np.float32]
    truth: NDArray[np.uint8]
    predictions: Mapping[str, NDArray[np.uint8]]
    spacing: tuple[float, float]
    modalities: tuple[str, ...]
    labels: Mapping[int, str]
    regions: Mapping[str, Sequence[int]]
    title: str


@dataclass(frozen=True)
class RegionRow:
    """How well a variant found a region, and the slice where it differs most."""

    region: str
    variant: str
    number: int
    dice: float | None
    slice: int


def view_page(case: ViewedCase) -> str:
    """Returns the page; what is worst comes first.

    Args:
        case: The case with at least one prediction.
    """
    rows = worst_regions(case)
    palette = tuple(label_colour(value) for value in range(1, max(case.labels) + 1))
    marks = (_MISSED, _EXTRA, _OTHER)
    maps = list(case.predictions.values())
    truth = _label_pictures(case.truth, palette)
    predictions = [_label_pictures(one, palette) for one in maps]
    differences = [_label_pictures(_differences(case.truth, one), marks) for one in maps]
    room = _MOST_BYTES - sum(len(text) for one in (truth, *predictions, *differences) for text in one)
    images: list[list[str]] = []
    for quality in _QUALITIES:
        images = [_pictures(image, quality) for image in case.images]
        if sum(len(text) for one in images for text in one) < room:
            break
    data = {
        "slices": len(case.truth),
        "first": rows[0].slice if rows else len(case.truth) // 2,
        "images": images,
        "truth": truth,
        "predictions": predictions,
        "differences": differences,
    }
    script = (files("harness.report.writers") / "templates" / "viewer.js").read_text(encoding="utf-8")
    environment = Environment(
        loader=PackageLoader("harness.report.writers"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    height, width = case.truth.shape[1] * case.spacing[0], case.truth.shape[2] * case.spacing[1]
    return environment.get_template("viewer.html.j2").render(
        case=case,
        variants=list(case.predictions),
        rows=rows,
        data=data,
        ratio=f"{width:.4g} / {height:.4g}",
        colours={name: label_colour(value) for value, name in case.labels.items() if value},
        marks=dict(zip(("missed", "without truth", "another label"), marks, strict=True)),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )


def worst_regions(case: ViewedCase) -> list[RegionRow]:
    """Returns every region of every variant, the least Dice first; regions that nobody marked come last."""
    rows = []
    for number, (variant, prediction) in enumerate(case.predictions.items()):
        for region, values in case.regions.items():
            truth, found = np.isin(case.truth, list(values)), np.isin(prediction, list(values))
            both, either = int((truth & found).sum()), int(truth.sum()) + int(found.sum())
            wrong = (truth ^ found).sum(axis=(1, 2))
            where = wrong if wrong.any() else truth.sum(axis=(1, 2))
            dice = 2 * both / either if either else None
            rows.append(RegionRow(region, variant, number, dice, int(where.argmax())))
    return sorted(rows, key=lambda row: (row.dice is None, row.dice))


def _differences(truth: NDArray[np.uint8], found: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns 1 where truth was missed, 2 where there is none, 3 where it has another label."""
    kind = np.where(found == 0, 1, np.where(truth == 0, 2, 3))
    return np.where(truth == found, 0, kind).astype(np.uint8)


def _label_pictures(label: NDArray[np.uint8], colours: Sequence[str]) -> list[str]:
    """Returns an indexed PNG of each slice with a transparent background; empty where there is only background."""
    palette = bytes(3) + b"".join(bytes.fromhex(colour[1:]) for colour in colours)
    pictures = []
    for plane in label:
        buffer = io.BytesIO()
        if plane.any():
            picture = Image.fromarray(np.ascontiguousarray(plane), mode="P")
            picture.putpalette(palette)
            picture.save(buffer, "PNG", optimize=True, transparency=0)
        pictures.append(base64.b64encode(buffer.getvalue()).decode("ascii"))
    return pictures


def _pictures(image: NDArray[np.float32], quality: int) -> list[str]:
    """Returns a WebP of each slice; the volume has one range of grey."""
    inside = image[image != 0]
    low, high = np.percentile(inside, _RANGE) if inside.size else (0.0, 1.0)
    low = min(low, 0.0) if image.min() >= 0 else low  # in MR, 0 is black
    grey: NDArray[Any] = np.rint(255 * np.clip((image - low) / max(high - low, 1e-6), 0, 1)).astype(np.uint8)
    pictures = []
    for plane in grey:
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(plane)).save(buffer, "WEBP", quality=quality)
        pictures.append(base64.b64encode(buffer.getvalue()).decode("ascii"))
    return pictures
