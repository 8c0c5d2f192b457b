"""The cases of a dataset one by one: their scores by variant and, where slices are stored, the predictions."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.data.label_colours import tint
from harness.evaluation import METRICS
from harness.report.analysis.analysis import DatasetView
from harness.report.analysis.case_selection import case_scores, load_slices
from harness.report.analysis.variants import Variant
from harness.report.figures.images.slices import slice_dice
from harness.results.overlay import Overlay
from harness.results.schema import StudyResults

#: Cases listed, and cases with images, worst first; the csv files hold every one.
_MAX_LISTED, _MAX_WITH_IMAGES = 200, 24
#: Pixels along the longer side of an image.
_SIDE = 192


@dataclass(frozen=True)
class CaseImage:
    """One small image.

    Attributes:
        title: Title of the image.
        data: The image, WebP in base64.
        width: Pixels.
        height: Pixels.
    """

    title: str
    data: str
    width: int
    height: int


@dataclass(frozen=True)
class GalleryCase:
    """One case: its scores at printed precision and as numbers, its images, and where the page has them."""

    name: str
    anchor: str
    scores: tuple[str, ...]
    numbers: tuple[float | None, ...]
    slice_name: str
    images: tuple[CaseImage, ...]


@dataclass(frozen=True)
class CaseGallery:
    """The cases of one dataset, worst first."""

    title: str
    score: str
    variants: tuple[str, ...]
    cases: tuple[GalleryCase, ...]
    note: str


def case_gallery(results: StudyResults, view: DatasetView) -> CaseGallery | None:
    """Lists the cases; ``None`` where there are no results."""
    scores = case_scores(results, view)
    if scores.empty:
        return None
    metric = METRICS.get(results.metrics[0])
    listed = [str(case) for case in scores.index.get_level_values("case")[:_MAX_LISTED]]
    slices = load_slices(results, view, listed[:_MAX_WITH_IMAGES])
    views: list[GalleryCase] = []
    for case, values in zip(listed, scores.to_numpy(dtype=float), strict=False):
        numbers = tuple(None if np.isnan(value) else float(value) for value in values)
        printed = tuple("–" if number is None else metric.text(number) for number in numbers)
        mine = slices.get(case, {})
        named = next(iter(mine.values())).name if mine else ""
        views.append(
            GalleryCase(case, f"case-{len(views)}-{view.name}", printed, numbers, named, _images(mine, view.names))
        )
    note = (
        f"{len(listed)} of {len(scores)} cases, the worst first by the median over variants; all are in csv/cases.csv. "
    )
    note += f"Pictures of {len(slices)} cases." if slices else "No slices are stored with these results."
    return CaseGallery(
        title=view.title,
        score=metric.heading,
        variants=tuple(str(name) for name in scores.columns),
        cases=tuple(views),
        note=note,
    )


def _images(slices: Mapping[Variant, Overlay], names: Mapping[Variant, str]) -> tuple[CaseImage, ...]:
    if not slices:
        return ()
    first = next(iter(slices.values()))
    images = [_image("truth", first, first.truth)]
    for variant, overlay in slices.items():
        score = slice_dice(overlay.truth, overlay.prediction)
        images.append(_image(f"{names[variant]}, slice Dice {score:.2f}", overlay, overlay.prediction))
    return tuple(images)


def _image(title: str, overlay: Overlay, labels: NDArray[np.uint8]) -> CaseImage:
    colours = tint(labels, opacity=0.5)
    colour, opacity = 255 * colours[..., :3], colours[..., 3:]
    shown = (1 - opacity) * overlay.images[0][..., np.newaxis] + opacity * colour
    height, width = labels.shape[0] * overlay.spacing[0], labels.shape[1] * overlay.spacing[1]
    size = (round(_SIDE * width / max(height, width)), round(_SIDE * height / max(height, width)))
    buffer = io.BytesIO()
    Image.fromarray(shown.astype(np.uint8)).resize(size, Image.Resampling.BILINEAR).save(buffer, "WEBP", quality=80)
    return CaseImage(title, base64.b64encode(buffer.getvalue()).decode("ascii"), *size)
