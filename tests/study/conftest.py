"""What tests of studies share."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from harness.data import Dataset, Reader

#: Readers that are open, by dataset and folder.
_KEPT: dict[tuple[str, Path], Reader] = {}


@pytest.fixture
def kept_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opens each folder of a dataset once: nobody changes the trees, so their files are hashed and measured once."""
    open_folder: Callable[[Dataset, Path | None], Reader] = Dataset.open

    def kept(dataset: Dataset, root: Path | None = None) -> Reader:
        key = dataset.name, dataset.locate(root)
        if key not in _KEPT:
            reader = open_folder(dataset, root)
            for method in ("fingerprint", "affine", "split"):
                setattr(reader, method, cache(getattr(reader, method)))
            _KEPT[key] = reader
        return _KEPT[key]

    monkeypatch.setattr(Dataset, "open", kept)
