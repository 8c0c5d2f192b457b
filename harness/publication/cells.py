"""Copies finished cells into a published folder, with other names, and without dates and paths."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from harness.errors import HarnessError
from harness.publication.names import Cleaner, Names
from harness.publication.record import Kept
from harness.results.overlay import Overlay, read_slices, slice_cases, write_slices
from harness.results.records import FailedAttempt, Failure, SubsetSummary, Summary, Timing
from harness.results.store import CellFolder
from harness.results.subsets import CellSubsets
from harness.results.tables import damaged_scores, score_folders, seal_tables

_Dated = TypeVar("_Dated", Summary, SubsetSummary)
_Attempt = TypeVar("_Attempt", FailedAttempt, Failure)

#: Free text of a failure may say anything; its kind does not.
_UNSAID = "The reason is not published."

#: Keys of ``cell.json`` that hold paths.
_PLACES = ("root", "weights_file", "splits_file")


@dataclass(frozen=True)
class Copier:
    """Copies cells.

    Attributes:
        names: Names by dataset.
        cleaner: Takes paths out of texts.
        keep: What is kept.
        weights: Whether weights are copied.
    """

    names: Mapping[str, Names]
    cleaner: Cleaner
    keep: frozenset[Kept]
    weights: bool

    def copy(self, source: CellFolder, target: CellFolder) -> None:
        """Copies a cell: all of a finished one, and of another what it is and that it failed."""
        record = source.record()
        target.write_spec(self._spec(record.to_json()))
        state = source.status()
        if state == "failed" and (failure := source.failure()) is not None:
            self._attempt(failure).write(target.path / "failure.json")
        if state != "done":
            return
        if wanted := source.wanted_metrics():
            target.want_metrics(wanted)
        names = self.names[record.dataset]
        with target.writing_result() as result:
            self._copy_result(source, result, names)
        for facts, rows in CellSubsets(source).results():
            with CellSubsets(target).writing(self._dated(facts, "finished")) as path:
                copy_table(rows, path, names)

    def _copy_result(self, source: CellFolder, result: Path, names: Names) -> None:
        for table in sorted(source.result.glob("*.parquet")):
            copy_table(table, result / table.name, names)
        for folder in score_folders(source.result):
            if damaged_scores(folder):
                continue
            added = result / "scores" / folder.name
            added.mkdir(parents=True)
            for table in sorted(folder.glob("*.parquet")):
                copy_table(table, added / table.name, names)
            seal_tables(added)
        summary = self._dated(source.summary(), "started", "finished")
        failures = tuple(self._attempt(one) for one in summary.failures)
        summary.model_copy(update={"failures": failures}).write(result / "summary.json")
        if (timing := source.result / "testing.json").is_file():
            Timing.read(timing).write(result / "testing.json")
        if self.weights and (weights := source.result / "weights.safetensors").is_file():
            shutil.copyfile(_regular(weights), result / "weights.safetensors")
        if "images" in self.keep:
            self._copy_images(source.result, result, names)

    def _copy_images(self, source: Path, result: Path, names: Names) -> None:
        """Copies the slices that reports show."""
        if (path := source / "overlay.npz").is_file():
            overlay = Overlay.load(_regular(path))
            replace(overlay, case=names.case(overlay.case)).save(result / "overlay.npz")
        if (path := source / "slices.npz").is_file():
            slices = read_slices(_regular(path), slice_cases(path))
            renamed = {names.case(case): replace(one, case=names.case(case)) for case, one in slices.items()}
            write_slices(result / "slices.npz", dict(sorted(renamed.items())))

    def _spec(self, values: dict[str, Any]) -> dict[str, Any]:
        """Returns what the cell is; its identity stays what it was."""
        if "paths" in self.keep:
            return dict(self.cleaner.value(values))
        # The option that names pretrained weights is the file's path: both get one other name.
        options, start = dict(values["options"]), values.get("start_file")
        if start:
            stand_in = f"weights-{values['start']}"
            options = {key: stand_in if value == start else value for key, value in options.items()}
            values = {**values, "start_file": stand_in}
        nowhere = {key: "" if key == "root" else None for key in _PLACES if key in values}
        return dict(self.cleaner.value({**values, **nowhere, "options": options}))

    def _dated(self, record: _Dated, *moments: str) -> _Dated:
        """Returns a record without its times, if dates are not kept."""
        return record if "dates" in self.keep else record.model_copy(update=dict.fromkeys(moments, ""))

    def _attempt(self, attempt: _Attempt) -> _Attempt:
        """Returns a failed attempt: its kind, and its texts where nothing is held back."""
        if {"names", "dates", "paths"} <= self.keep:
            return attempt
        said = {"reason": _UNSAID, "hint": "", "traceback": "", "log": ""}
        said["time"] = attempt.time if "dates" in self.keep else ""
        return attempt.model_copy(update={key: text for key, text in said.items() if hasattr(attempt, key)})


def copy_table(source: Path, target: Path, names: Names) -> None:
    """Copies a table with other names, ordered by them: the order of the old names would betray who is who."""
    rows = pd.read_parquet(_regular(source))
    if "case" in rows:
        rows = rows.assign(case=rows["case"].map(names.case))
        if "patient" in rows:
            rows = rows.assign(patient=rows["patient"].map(names.patient))
        rows = rows.sort_values("case", kind="stable", ignore_index=True)
    rows.to_parquet(target, index=False)


def _regular(path: Path) -> Path:
    """Returns a path, which leads nowhere else.

    Raises:
        HarnessError: It is a link.
    """
    if path.is_symlink():
        raise HarnessError(f"{path} is a link.", hint="Only what lies in the results folder is published.")
    return path
