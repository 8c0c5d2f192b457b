"""Runs a study: registers it in the store, computes the cells that are not done, tells observers."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from filelock import Timeout

from harness.data import DATASETS, Dataset
from harness.data.generated import kind_of
from harness.errors import HarnessError, StudyError
from harness.execution.engine import Engine
from harness.files import write_json
from harness.results.schema import DatasetFacts
from harness.results.store import CellFolder, Store, StudyFolder
from harness.segmenters import SEGMENTERS
from harness.segmenters.size import Size, measure
from harness.study.expansion import LoadedStudy, StudyCell, make_task

__all__ = ["Observer", "Outcome", "measure_variants", "register", "run_study"]


#: Seconds a worker has to notice that the run that started it is gone.
_ORPHANS_STOP_WITHIN = 60.0


class Observer(Protocol):
    """Sees a study run."""

    def update(self) -> None:
        """Called about twice a second while cells run."""
        ...

    def finish(self) -> None:
        """Called once, after the last cell or when the user stopped."""
        ...


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        done: Cells with a result, skipped ones included.
        skipped: Cells that had a result before.
        failed: Cells without one.
    """

    done: tuple[StudyCell, ...]
    skipped: tuple[StudyCell, ...]
    failed: tuple[StudyCell, ...]


def measure_variants(loaded: LoadedStudy) -> dict[tuple[str, str], Size]:
    """Returns parameters and compute by (label, dataset); building every network is also the last check before a run.

    Raises:
        StudyError: A network cannot be built for its task.
    """
    sizes: dict[tuple[str, str], Size] = {}
    for cell in loaded.cells:
        key = (cell.label, cell.spec.dataset)
        if key not in sizes:
            segmenter = SEGMENTERS.get(cell.spec.model)
            task = make_task(DATASETS.get(cell.spec.dataset), cell.spec.leading, cell.spec.protocol)
            try:
                sizes[key] = measure(segmenter, task, segmenter.parse_options(cell.spec.options))
            except StudyError as error:
                raise StudyError(f"'{cell.label}' on {cell.spec.dataset}: {error.message}", hint=error.hint) from error
    return sizes


def register(loaded: LoadedStudy, store: Store, source: Path) -> StudyFolder:
    """Writes the study and the specs of its cells into the store."""
    folder = store.study(loaded.study.name, loaded.profile)
    for cell in loaded.cells:
        store.cell(cell.spec.id).write_spec(cell.spec.to_json())
    folder.write_manifest(
        {
            "name": loaded.study.name,
            "profile": loaded.profile,
            "question": loaded.study.question,
            "file": source.name,
            "report": loaded.study.report.model_dump(mode="json"),
            "labels": [variant.label for variant in loaded.variants],
            "protocol": loaded.protocol.model_dump(mode="json"),
            "datasets": [asdict(facts) for facts in _facts(loaded)],
            "cells": [{"cell": cell.spec.id, "label": cell.label} for cell in loaded.cells],
        }
    )
    return folder


def run_study(
    loaded: LoadedStudy, store: Store, folder: StudyFolder, engine: Engine, cache: Path, observers: Sequence[Observer]
) -> Outcome:
    """Computes every cell of the study that has no result.

    Raises:
        HarnessError: Another run works on the same study.
        KeyboardInterrupt: The user stopped; running cells have left checkpoints.
    """
    cells = {cell.spec.id: store.cell(cell.spec.id) for cell in loaded.cells}
    with _alone(folder):
        skipped = {identity for identity, cell in cells.items() if cell.status() == "done"}
        pending = [cell for identity, cell in cells.items() if identity not in skipped]
        _wait_for_others(pending)

        def watch() -> None:
            for observer in observers:
                observer.update()

        try:
            engine.run(pending, cache.resolve(), watch)
        finally:
            for observer in observers:
                observer.finish()
    return _outcome(loaded, cells, skipped)


def _outcome(loaded: LoadedStudy, cells: Mapping[str, CellFolder], skipped: set[str]) -> Outcome:
    done = tuple(cell for cell in loaded.cells if cells[cell.spec.id].status() == "done")
    return Outcome(
        done=done,
        skipped=tuple(cell for cell in loaded.cells if cell.spec.id in skipped),
        failed=tuple(cell for cell in loaded.cells if cell not in done),
    )


def _facts(loaded: LoadedStudy) -> list[DatasetFacts]:
    roots: dict[str, set[Path]] = {}
    for cell in loaded.cells:
        roots.setdefault(cell.spec.dataset, set()).add(cell.spec.root)
    return [_facts_of(DATASETS.get(name), folders) for name, folders in roots.items()]


def _facts_of(one: Dataset, folders: Iterable[Path]) -> DatasetFacts:
    """Says `generated` where any of the folders was: a table never shows such data as real."""
    kinds = {kind_of(one, folder) for folder in folders}
    kind = "generated" if "generated" in kinds else one.kind
    return DatasetFacts(one.name, one.title, kind, one.unit, one.modalities, tuple(one.regions), one.notes)


def _wait_for_others(pending: Sequence[CellFolder]) -> None:
    """Waits for workers whose run was killed (they stop at their next step), refuses where somebody computes on."""
    deadline = time.monotonic() + _ORPHANS_STOP_WITHIN
    while busy := [cell.id for cell in pending if cell.is_locked()]:
        if time.monotonic() > deadline:
            raise HarnessError(
                f"Another process computes {len(busy)} of these cells now (first: {busy[0]}).",
                hint="Wait for it; `harness status` shows how far it is.",
            )
        time.sleep(0.5)


class _alone:
    """Holds the study's lock; refuses where another run has it."""

    def __init__(self, folder: StudyFolder) -> None:
        self._folder = folder
        self._lock = folder.lock()

    def __enter__(self) -> None:
        note = self._folder.path / "run.json"
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            who = note.read_text(encoding="utf-8").strip() if note.is_file() else ""
            raise HarnessError(
                f"Another `harness run` works on {self._folder.study} ({self._folder.profile}) already. {who}".strip(),
                hint=f"Wait for it, or stop it; `harness status {self._folder.study}` shows how far it is.",
            ) from None
        write_json(note, {"pid": os.getpid(), "host": platform.node()})

    def __exit__(self, *details: object) -> None:
        self._lock.release()
