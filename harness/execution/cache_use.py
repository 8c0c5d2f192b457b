"""Which entries of the cache a store's cells still use."""

from __future__ import annotations

from pathlib import Path

from harness.data import DATASETS
from harness.data.prepare import entry_folder
from harness.errors import HarnessError
from harness.results.store import CellFolder, Store
from harness.study.cell import CellSpec

__all__ = ["unused_entries"]


def unused_entries(store: Store, cache: Path) -> tuple[list[Path], list[str]]:
    """Returns folders of the cache that no cell of the store was or will be trained on.

    Returns:
        The folders, and datasets that could not be opened: their entries are kept.
    """
    used: set[Path] = set()
    unknown: set[str] = set()
    for spec in _distinct(store):
        try:
            dataset = DATASETS.get(spec.dataset)
            reader = dataset.open(spec.root)
            used.add(entry_folder(dataset, reader, spec.protocol.preparation, spec.protocol.patch_size, cache))
        except HarnessError:
            unknown.add(spec.dataset)
    folders = [path for path in cache.glob("*/*") if path.is_dir() and path.parent.name not in unknown]
    return sorted(path for path in folders if path not in used), sorted(unknown)


def _distinct(store: Store) -> list[CellSpec]:
    found: dict[tuple[str, ...], CellSpec] = {}
    for path in (store.root / "cells").glob("*"):
        values = CellFolder(path).spec()
        protocol = values["protocol"]
        key = (values["dataset"], values["root"], str(protocol["preparation"]), str(protocol["patch_size"]))
        if key not in found:
            found[key] = CellSpec.from_json(values)
    return list(found.values())
