"""Datasets of the user's own, without code: folders that a ``dataset.json`` describes.

A layout turns such a folder into a :class:`~harness.data.contract.Dataset`; :func:`find_dataset` is how everything
that needs a dataset gets it, whether it is registered or lies in a layout.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from harness.data import DATASETS, Dataset
from harness.errors import DataError, HarnessError, did_you_mean
from harness.registry import resolve

__all__ = ["LAYOUTS", "declare_missing", "find_dataset"]

#: Layout to ``module:function`` of ``(root: Path) -> Dataset``.
LAYOUTS = {
    "nnunet_raw": "harness.data.datasets.layouts.nnunet_raw:describe",
    "msd": "harness.data.datasets.layouts.msd:describe",
}


#: Layout whose missing files can be found, to ``module:function`` of ``(root: Path) -> tuple[Path, dict]``.
_DECLARING = {"nnunet_raw": "harness.data.datasets.layouts.nnunet_raw:declare_missing_files"}


def declare_missing(layout: str, root: Path | None) -> str:
    """Declares the images that a folder lacks to be modalities that these cases lack; returns what was done, in words.

    Args:
        layout: Layout of the folder.
        root: The folder.

    Raises:
        HarnessError: The layout has no files that could be missing, or no folder is named.
        DataError: The folder is not of the layout, a case has no image, or ``modalities.json`` says something else.
    """
    if layout not in _DECLARING or root is None:
        raise HarnessError(
            f"--allow-missing is for a folder in nnU-Net's raw format, not for '{layout}'{'' if root else ' alone'}.",
            hint="Name it: `harness data check nnunet_raw FOLDER --allow-missing`. A Decathlon folder takes a "
            "`modalities.json` that you write.",
        )
    path, found = resolve(_DECLARING[layout], f"layout '{layout}'")(root)
    if not found:
        return "No image is missing: nothing was written."
    counts = Counter(modality for lacking in found.values() for modality in lacking)
    listed = ", ".join(f"{modality}: {count}" for modality, count in counts.most_common())
    return (
        f"{path} declares which modalities cases lack ({listed}). Read it: these cases are trained on and tested "
        "without them."
    )


def find_dataset(name: str, root: Path | None = None, layout: str = "") -> Dataset:
    """Returns the facts of a dataset.

    Args:
        name: Registered name; or a layout (on the command line); or, where ``layout`` is given, what to call it.
        root: The folder; needed for a layout.
        layout: One of :data:`LAYOUTS`; empty for a registered dataset.

    Raises:
        HarnessError: The dataset is unknown.
        DataError: The folder of a layout is missing, or not of the layout.
    """
    if not layout and name in LAYOUTS:
        name, layout = "", name
    if not layout:
        if name not in DATASETS.names():
            raise HarnessError(f"Unknown dataset '{name}'.", hint=did_you_mean(name, [*DATASETS.names(), *LAYOUTS]))
        return DATASETS.get(name)
    if layout not in LAYOUTS:
        raise HarnessError(f"Unknown layout '{layout}'.", hint=did_you_mean(layout, LAYOUTS))
    if root is None or not root.is_dir():
        raise DataError(
            f"The layout '{layout}' needs a folder" + (f"; {root} is not one." if root is not None else "."),
            hint="Name the folder that holds dataset.json.",
        )
    described: Dataset = resolve(LAYOUTS[layout], f"layout '{layout}'")(root)
    named = name or described.name
    # A name stands for one dataset in every table, so ours are not taken.
    return replace(described, name=f"own-{named}" if named in DATASETS.names() else named)
