"""Datasets of the user's own, without code: folders that a ``dataset.json`` describes.

A layout turns such a folder into a :class:`~harness.data.contract.Dataset`; :func:`find_dataset` is how everything
that needs a dataset gets it, whether it is registered or lies in a layout.
"""

from dataclasses import replace
from pathlib import Path

from harness.data import DATASETS, Dataset
from harness.errors import DataError, HarnessError, did_you_mean
from harness.registry import resolve

__all__ = ["LAYOUTS", "find_dataset"]

#: Layout to ``module:function`` of ``(root: Path) -> Dataset``.
LAYOUTS = {
    "nnunet_raw": "harness.data.datasets.layouts.nnunet_raw:describe",
    "msd": "harness.data.datasets.layouts.msd:describe",
}


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
