"""Surfaces of truth and predictions in three dimensions, from the stored volumes of one case."""

import textwrap
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from mpl_toolkits.mplot3d.art3d import Poly3DCollection  # type: ignore[import-untyped]
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes
from skimage.measure import marching_cubes

from harness.boxes import bounding_box
from harness.data.label_colours import label_colour
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.case_selection import result_folders
from harness.report.analysis.variants import Variant
from harness.report.figures.figure import DOUBLE, Drawing, headline, new_figure, styled
from harness.results.overlay import Overlay

_COLUMNS = 4
#: Voxels along the longest side of what is meshed: finer meshes take minutes to draw and show no more.
_FINEST = 64
#: How dense labels are: the outermost around others, those between, and what lies around nothing.
_OUTER, _BETWEEN, _SOLID = 0.28, 0.5, 1.0
#: Share of a label that lies within the span of another one around it.
_INSIDE = 0.8


def surface_view(study: StudyAnalysis, view: DatasetView) -> Drawing | None:
    """Draws the truth and each variant's prediction of the middle test case; ``None`` where no truth is stored.

    The case was chosen by its place in the split before anything was predicted.
    """
    folders = {variant: paths[0] for variant, paths in result_folders(study.results, view).items() if paths}
    truths = {variant: folder for variant, folder in folders.items() if (folder / "truth.nii.gz").is_file()}
    if not truths:
        return None
    first = Overlay.load(next(iter(truths.values())) / "overlay.npz")
    case, labels = first.case, first.labels
    truth, spacing = _volume(next(iter(truths.values())) / "truth.nii.gz")
    volumes: dict[Variant, NDArray[np.uint8]] = {}
    for variant, folder in folders.items():
        path = folder / "predictions" / f"{case}.nii.gz"
        if path.is_file():
            volumes[variant] = _volume(path)[0]
    box = bounding_box(np.any([truth, *volumes.values()], axis=0))
    if box is None:
        return None
    panels = {"Truth": truth[box], **{view.names[each]: volume[box] for each, volume in volumes.items()}}
    with styled():
        figure = draw_surfaces(panels, spacing, labels)
        headline(figure, f"{view.title}: case {case}")
    absent = ", ".join(name for variant, name in view.names.items() if variant not in volumes)
    caption = (
        f"{view.title}: surfaces of case {case}, the middle one of the test cases in the order of the split, seen "
        f"from the same point; the outer of nested labels are seen through."
        f"{f' No prediction to show: {absent}.' if absent else ''}"
    )
    return Drawing(f"surfaces_{view.name}", f"Surfaces: {view.title}", caption, figure)


def _volume(path: Path) -> tuple[NDArray[np.uint8], tuple[float, ...]]:
    image = nib.load(path)
    return np.asanyarray(image.dataobj).astype(np.uint8), tuple(float(size) for size in image.header.get_zooms()[:3])


def draw_surfaces(
    panels: Mapping[str, NDArray[np.uint8]], spacing: tuple[float, ...], labels: tuple[str, ...]
) -> Figure:
    """Draws one panel per label map, all seen from the same point.

    Args:
        panels: Label maps (X, Y, Z) of one shape by title, the truth first.
        spacing: Size of a voxel in mm.
        labels: Name of every label, by its value; background first.
    """
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(DOUBLE, 0.4 + rows * 1.05 * DOUBLE / columns)
    shape = next(iter(panels.values())).shape
    sides = np.array(shape) * spacing
    present: set[int] = set()
    # What lies around another label does so in every panel: the truth is the first.
    around = nested_labels(next(iter(panels.values())))
    inner = {label for nested in around.values() for label in nested}
    for number, (name, volume) in enumerate(panels.items()):
        axes = figure.add_subplot(rows, columns, number + 1, projection="3d", computed_zorder=not inner)
        for label in (int(value) for value in np.unique(volume) if value):
            present.add(label)
            opacity = _SOLID if not around.get(label) else _BETWEEN if label in inner else _OUTER
            # Without the walls of the holes in which others lie.
            mask = binary_fill_holes(volume == label) if around.get(label) else volume == label
            mesh = _mesh(mask, spacing, label_colour(label), opacity)
            # The inner over the outer, so that its colour is its own.
            mesh.set_zorder(sum(label in nested for nested in around.values()))
            axes.add_collection3d(mesh)
        axes.set(xlim=(0, sides[0]), ylim=(0, sides[1]), zlim=(0, sides[2]))
        # A tuple: matplotlib scales an array it is given in place.
        axes.set_box_aspect(tuple(sides), zoom=1.1)
        axes.view_init(elev=22, azim=-60)
        axes.set_axis_off()
        axes.set_title(textwrap.fill(name, 20), fontsize=7, y=1.02)
    handles = [Patch(facecolor=label_colour(value), label=labels[value]) for value in sorted(present)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles) or 1, frameon=False)
    return figure


def nested_labels(truth: NDArray[np.uint8]) -> dict[int, set[int]]:
    """The labels that lie within the span of each label that is larger than they are."""
    labels = [int(value) for value in np.unique(truth) if value]
    spans = {label: truth[box] for label in labels if (box := bounding_box(truth == label)) is not None}
    return {
        outer: {
            inner
            for inner in labels
            if spans[outer].size > spans[inner].size
            and np.sum(spans[outer] == inner) > _INSIDE * np.sum(truth == inner)
        }
        for outer in labels
    }


def _mesh(mask: NDArray[np.bool_], spacing: tuple[float, ...], colour: str, opacity: float) -> Poly3DCollection:
    vertices, faces = surface_mesh(mask, spacing)
    mesh = Poly3DCollection(
        (vertices - np.array(spacing))[faces], facecolors=colour, alpha=opacity, shade=True, linewidths=0
    )
    # Thousands of triangles make a vector file of many megabytes; the text stays vector.
    mesh.set_rasterized(True)
    return mesh


def surface_mesh(mask: NDArray[np.bool_], spacing: tuple[float, ...]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Returns the vertices (V, 3) in mm and triangles (F, 3) of what a mask that is not empty holds."""
    # A border of background closes surfaces that reach the edge of the box.
    padded = np.pad(mask, 1).astype(np.float32)
    step = max(1, int(np.ceil(max(mask.shape) / _FINEST)))
    try:
        vertices, faces, _, _ = marching_cubes(padded, 0.5, spacing=spacing, step_size=step)
    except RuntimeError:  # single voxels between the steps, as a network leaves that has hardly learnt
        vertices, faces, _, _ = marching_cubes(padded, 0.5, spacing=spacing)
    return vertices, faces
