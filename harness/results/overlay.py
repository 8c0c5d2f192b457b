"""One slice of a prediction beside its truth: what a person looks at first, of one case or of every test case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.label_colours import tint


@dataclass(frozen=True)
class Overlay:
    """A slice in display orientation: rows run downwards.

    Attributes:
        images: (M, H, W) uint8, each modality scaled to its own range.
        modalities: Names of the modalities.
        truth: (H, W) uint8 label map.
        prediction: (H, W) uint8 label map.
        spacing: Height and width of a pixel in mm.
        labels: Name of every label, by its value; background first.
        case: Case identifier.
        index: Slice index within the case.
    """

    images: NDArray[np.uint8]
    modalities: tuple[str, ...]
    truth: NDArray[np.uint8]
    prediction: NDArray[np.uint8]
    spacing: tuple[float, float]
    labels: tuple[str, ...]
    case: str
    index: int

    def only(self, modality: str) -> Overlay:
        """The same slice with one modality, the first where there is no such one: a background is enough."""
        place = self.modalities.index(modality) if modality in self.modalities else 0
        return replace(self, images=self.images[place : place + 1], modalities=(self.modalities[place],))

    @property
    def name(self) -> str:
        """Case and slice in words."""
        return f"case {self.case}, slice {self.index}"

    @classmethod
    def cut(
        cls,
        images: NDArray[np.float32],
        truth: NDArray[np.uint8],
        prediction: NDArray[np.uint8],
        spacing: Sequence[float],
        modalities: tuple[str, ...],
        labels: tuple[str, ...],
        case: str,
        index: int,
        axis: int,
    ) -> Overlay:
        """Cuts slice ``index`` along voxel axis ``axis`` from a case on its native grid (X, Y, Z)."""
        plane_spacing = [size for number, size in enumerate(spacing) if number != axis]
        planes = [_upright(np.take(volume, index, axis=axis)) for volume in (*images, truth, prediction)]
        return cls(
            images=np.stack([_to_bytes(plane) for plane in planes[: len(images)]]),
            modalities=modalities,
            truth=planes[-2].astype(np.uint8),
            prediction=planes[-1].astype(np.uint8),
            spacing=(plane_spacing[1], plane_spacing[0]),
            labels=labels,
            case=case,
            index=index,
        )

    def save(self, path: Path) -> None:
        """Writes the slice as ``.npz`` (no pickles)."""
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                images=self.images,
                modalities=np.array(self.modalities),
                truth=self.truth,
                prediction=self.prediction,
                spacing=np.array(self.spacing),
                labels=np.array(self.labels),
                case=np.array(self.case),
                slice=np.array(self.index),
            )

    @classmethod
    def load(cls, path: Path) -> Overlay:
        """Reads what :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            height, width = (float(size) for size in arrays["spacing"])
            return cls(
                images=arrays["images"],
                modalities=tuple(str(name) for name in arrays["modalities"]),
                truth=arrays["truth"],
                prediction=arrays["prediction"],
                spacing=(height, width),
                labels=tuple(str(name) for name in arrays["labels"]),
                case=str(arrays["case"]),
                index=int(arrays["slice"]),
            )


def write_slices(path: Path, slices: Mapping[str, Overlay]) -> None:
    """Writes one slice of every test case into one ``.npz``: image, truth and prediction of each, and what they share.

    Args:
        path: The file.
        slices: By case; each with one modality (see :meth:`Overlay.only`), all with the same labels.
    """
    first = next(iter(slices.values()))
    arrays: dict[str, NDArray[Any]] = {
        "cases": np.array(list(slices)),
        "labels": np.array(first.labels),
        "modalities": np.array([each.modalities[0] for each in slices.values()]),
        "spacings": np.array([each.spacing for each in slices.values()], dtype=float),
        "indices": np.array([each.index for each in slices.values()], dtype=int),
    }
    for number, each in enumerate(slices.values()):
        arrays[f"case{number}"] = np.stack([each.images[0], each.truth, each.prediction])
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def slice_cases(path: Path) -> tuple[str, ...]:
    """The cases of a file that :func:`write_slices` wrote, without reading a slice."""
    with np.load(path, allow_pickle=False) as arrays:
        return tuple(str(case) for case in arrays["cases"])


def read_slices(path: Path, cases: Sequence[str]) -> dict[str, Overlay]:
    """Reads the slices of some cases; one that the file lacks is left out."""
    with np.load(path, allow_pickle=False) as arrays:
        places = {str(case): number for number, case in enumerate(arrays["cases"])}
        labels = tuple(str(name) for name in arrays["labels"])
        modalities, spacings, indices = arrays["modalities"], arrays["spacings"], arrays["indices"]
        found = {}
        for case in cases:
            if (number := places.get(case)) is not None:
                image, truth, prediction = arrays[f"case{number}"]
                height, width = (float(size) for size in spacings[number])
                index, modality = int(indices[number]), str(modalities[number])
                shape = (height, width)
                found[case] = Overlay(image[None], (modality,), truth, prediction, shape, labels, case, index)
    return found


def choose_slice(truth: NDArray[np.uint8], axis: int) -> int:
    """Returns the slice with the most foreground; the choice depends on the truth alone, never on a prediction."""
    other = tuple(number for number in range(3) if number != axis)
    return int((truth > 0).sum(axis=other).argmax())


def _upright(plane: NDArray[Any]) -> NDArray[Any]:
    """Turns a plane (first axis, second axis) of RAS voxels so that its second axis runs upwards."""
    return np.rot90(plane)


def _to_bytes(plane: NDArray[Any]) -> NDArray[np.uint8]:
    low, high = np.percentile(plane, [0, 99.5])
    scaled: NDArray[np.float64] = np.clip((plane - low) / max(high - low, 1e-6), 0, 1)
    return np.rint(255 * scaled).astype(np.uint8)


def draw(source: Path, target: Path, title: str) -> None:
    """Draws a saved overlay as PNG: every modality, the truth, and the prediction over the first modality."""
    from matplotlib.figure import Figure  # matplotlib is imported only where something is drawn

    shown = Overlay.load(source)
    images, (height, width) = shown.images, shown.truth.shape
    aspect = shown.spacing[0] / shown.spacing[1]
    panels: list[tuple[str, NDArray[np.uint8], NDArray[np.uint8] | None]]
    panels = [(name, image, None) for name, image in zip(shown.modalities, images, strict=True)]
    # A dollar would begin a formula.
    title = title.replace("$", r"\$")
    panels += [("truth", images[0], shown.truth), (title, images[0], shown.prediction)]
    figure = Figure(figsize=(2.4 * len(panels), 2.9 * height / width * aspect), layout="constrained")
    figure.suptitle(shown.name, fontsize=9)
    for axes, (name, image, label) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        axes.imshow(image, cmap="gray", aspect=aspect)
        if label is not None:
            axes.imshow(tint(label, opacity=0.55), aspect=aspect)
        axes.set_title(name, fontsize=10)
        axes.axis("off")
    figure.savefig(target, dpi=110, format="png")
