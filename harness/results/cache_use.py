"""Which entries of the cache a store's cells still use."""

import json
from pathlib import Path

from harness.data.preparation.prepare import entry_folder
from harness.errors import HarnessError
from harness.results.records import CellRecord
from harness.results.store import CellFolder, Store
from harness.study.cell import CellSpec, path_word

#: Where cells lie in a results folder: those of studies, of `harness tune` and of `harness lead`.
_CELLS = ("cells/*", "tuning/*/*/cells/*", "lead/*/cells/*")


def unused_entries(store: Store, cache: Path) -> tuple[list[Path], list[str]]:
    """Returns folders of the cache that no cell of the store was or will be trained on, tunings and races included.

    Returns:
        The folders, and datasets that could not be opened, or whose cells are of another version of the harness: their
        entries are kept.
    """
    used: set[Path] = set()
    unknown: set[str] = set()
    for record in _distinct(store):
        try:
            spec = CellSpec.from_json(record.to_json())
            dataset = spec.facts()
            reader = dataset.open(spec.root)
            used.add(entry_folder(dataset, reader, spec.protocol.preparation, spec.protocol.patch_size, cache))
        except (HarnessError, ValueError, KeyError):
            unknown.add(record.dataset)
    kept = {path_word(name) for name in unknown}
    folders = [path for path in cache.glob("*/*") if path.is_dir() and not {path_word(path.parent.name), ""} & kept]
    return sorted(path for path in folders if path not in used), sorted(unknown)


def _distinct(store: Store) -> list[CellRecord]:
    """Returns one cell for every kind of prepared data."""
    found: dict[str, CellRecord] = {}
    for path in (path for pattern in _CELLS for path in store.root.glob(f"{pattern}/cell.json")):
        cell = CellFolder(path.parent).known()  # of one that is damaged the dataset, so that nothing of it goes
        kind = [cell.dataset, cell.layout, cell.root, cell.numerics]
        kind += [cell.protocol.get(key) for key in ("preparation", "patch_size")]
        found.setdefault(json.dumps(kind, sort_keys=True), cell)
    return list(found.values())
