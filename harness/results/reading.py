"""Reads studies back from the store, for reports and notebooks."""

import json
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.results.manifest import DatasetFacts, Design, Manifest
from harness.results.records import CellRecord, SubsetSummary
from harness.results.schema import (
    CASE_COLUMNS,
    CELL_COLUMNS,
    FLOOR_COLUMNS,
    HISTORY_COLUMNS,
    SUBSET_COLUMNS,
    StudyResults,
)
from harness.results.scores import added_metrics, read_floors, score_files
from harness.results.store import CellFolder, CellStatus, Store, StudyFolder
from harness.results.subsets import CellSubsets, in_words
from harness.study.profiles import Profiles
from harness.study.protocol import caveat_of

#: Numbers of a finished cell; a store of an earlier version lacks some.
_COSTS = ("parameters", "gflops", "train_seconds", "peak_memory_mb", "latency_seconds", "energy_wh", "steps")
_NUMBERS = {key: "float64" for key in HISTORY_COLUMNS if key not in {"cell", "epoch", "step"}}


def load(study: str | None = None, profile: Profiles = None, results: Path | str = "results") -> pd.DataFrame:
    """Returns the per-case rows of a study's finished cells.

    Args:
        study: Study name; default: the one run last.
        profile: Profile, or several; default: those run last.
        results: The results folder.

    Returns:
        One row per cell, case, region and metric; :data:`harness.results.schema.CASE_COLUMNS` says what each column
        means.

    Raises:
        HarnessError: There is no such study, or the folder is of another version.
    """
    found = load_results(Store(Path(results)).find_study(study, profile), Store(Path(results)))
    for reason in found.cells.loc[found.cells["status"] == "damaged", "reason"].unique():
        warnings.warn(f"Left out: {reason}", stacklevel=3)
    rows = found.cases
    names = [column for column in rows if isinstance(rows[column].dtype, pd.CategoricalDtype)]
    return rows.astype(dict.fromkeys(names, str))


def load_results(folder: StudyFolder, store: Store) -> StudyResults:
    """Returns all that is known of a study: its rows, its cells whatever became of them, its curves and its floors.

    The names in ``cases`` are categoricals: a study may have millions of rows.
    """
    manifest = folder.manifest()
    listed = [(entry.label, store.cell(entry.cell)) for entry in manifest.cells]
    # Asked once: a cell that ends while we read is not done in one table and absent from another.
    states = {cell.id: cell.status() for _, cell in listed}
    done = [(label, cell) for label, cell in listed if states[cell.id] == "done"]
    return StudyResults(
        study=folder.study,
        profile=folder.profile,
        question=manifest.question,
        reference=manifest.report.reference,
        metrics=manifest.report.metrics,
        labels=manifest.labels,
        cases=_all_cases(folder, done),
        cells=pd.DataFrame(
            [_cell_row(manifest, label, cell, states[cell.id]) for label, cell in listed], columns=list(CELL_COLUMNS)
        ),
        history=_table(
            HISTORY_COLUMNS,
            (_history(cell, states[cell.id]) for cell in {cell.id: cell for _, cell in listed}.values()),
        ),
        floors=_floors(done),
        datasets={facts.name: _with_caveat(facts, manifest, listed) for facts in manifest.datasets},
        overlays={cell.id: cell.result / "overlay.npz" for _, cell in done if (cell.result / "overlay.npz").is_file()},
        subsets=_subsets(folder, done),
        subset_failures={cell.id: reason for _, cell in done if (reason := _subset_failure(CellSubsets(cell)))},
        answers=manifest.answers,
        empty=manifest.report.empty or "",
        by=manifest.report.by,
        designs={cell.id: _design(cell.known(manifest.datasets)) for _, cell in listed},
    )


def _design(record: CellRecord) -> Design:
    by = record.split_by or {}
    return Design(by.get("column", ""), by.get("kind", ""), record.train_share, record.train_patients)


def _with_caveat(facts: DatasetFacts, manifest: Manifest, cells: Iterable[tuple[str, CellFolder]]) -> DatasetFacts:
    """Returns the facts of a dataset, with what to say of its trainings where they are too short for a result."""
    records = (cell.known(manifest.datasets) for _, cell in cells)
    return replace(facts, caveat=caveat_of(record.protocol for record in records if record.dataset == facts.name))


#: Name of :func:`load_results` until version 0.3.0, in notebooks of others.
load_study = load_results


def _table(columns: Mapping[str, str], parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    found = list(parts)
    if not found:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(found, ignore_index=True).reindex(columns=list(columns))


def _all_cases(folder: StudyFolder, done: list[tuple[str, CellFolder]]) -> pd.DataFrame:
    """Joins the cells' rows with each name stored once, so that millions of rows stay small."""
    if not done:
        return pd.DataFrame(columns=list(CASE_COLUMNS))
    return _joined([_cases(folder, label, cell) for label, cell in done], CASE_COLUMNS)


def _joined(tables: list[pa.Table], columns: Mapping[str, str]) -> pd.DataFrame:
    rows: pd.DataFrame = pa.concat_tables(tables, promote_options="permissive").unify_dictionaries().to_pandas()
    return rows[list(columns)]


def _cases(folder: StudyFolder, label: str, cell: CellFolder) -> pa.Table:
    known = {"study": folder.study, "profile": folder.profile, "label": label, "cell": cell.id}
    tested, *added = (_named(path, known, CASE_COLUMNS) for path in score_files(cell))
    if added:  # what was added stands for what failed in the test
        tested = tested.filter(pc.invert(pc.is_in(tested["metric"].cast(pa.string()), pa.array(added_metrics(cell)))))
    return pa.concat_tables([tested, *added], promote_options="permissive")


def _subsets(folder: StudyFolder, done: list[tuple[str, CellFolder]]) -> pd.DataFrame:
    """Joins what the cells score with fewer modalities."""
    tables = []
    for label, cell in done:
        for facts, path in CellSubsets(cell).results():
            known = {"study": folder.study, "profile": folder.profile, "label": label, "cell": cell.id}
            known |= {"present": in_words(facts.present), "fill": facts.fill, "dropout": _dropout(facts)}
            known |= {"default_leading": facts.default_leading}
            tables.append(_named(path, known, SUBSET_COLUMNS))
    return _joined(tables, SUBSET_COLUMNS) if tables else pd.DataFrame(columns=list(SUBSET_COLUMNS))


def _dropout(facts: SubsetSummary) -> str:
    if facts.dropout is None:
        return "never dropped"
    p, rates = facts.dropout["p"], facts.dropout.get("per_patient")
    at_random = f"dropped with p {p:g}" if p is not None else ""
    if rates:
        per_patient = f"absent per patient ({', '.join(f'{name} {rate:g}' for name, rate in rates.items())})"
        return f"{per_patient} and {at_random}" if at_random else per_patient
    return at_random or "dropped, imported weights"


def _named(path: Path, known: Mapping[str, str], columns: Mapping[str, str]) -> pa.Table:
    """Reads rows and adds columns of one value each."""
    names = [field.name for field in pq.read_schema(path) if _is_text(field.type)]
    rows = pq.ParquetFile(path, read_dictionary=names).read()
    rows = rows.drop_columns([name for name in known if name in rows.column_names])
    if "modalities" in columns and "modalities" not in rows.column_names:
        known = {**known, "modalities": ""}
    nothing = pa.array(np.zeros(len(rows), dtype=np.int32))
    for name, value in known.items():
        rows = rows.append_column(name, pa.DictionaryArray.from_arrays(nothing, [value]))
    # One kind of text, whatever wrote the file.
    text = pa.dictionary(pa.int32(), pa.string())
    fields = [pa.field(each.name, text if pa.types.is_dictionary(each.type) else each.type) for each in rows.schema]
    return rows.cast(pa.schema(fields)).select(list(columns))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _history(cell: CellFolder, status: CellStatus) -> pd.DataFrame:
    """A cell that failed or still runs shows the epochs it got through."""
    if status == "done":
        rows = pd.read_parquet(cell.result / "history.parquet")
    else:
        epochs = [row.model_dump() for row in cell.progress().history]
        rows = pd.DataFrame(epochs, columns=list(HISTORY_COLUMNS)).astype(_NUMBERS)
    return rows.assign(cell=cell.id)


def _floors(done: list[tuple[str, CellFolder]]) -> pd.DataFrame:
    """Floors depend on the data alone: cells of a dataset and split that have the same metrics hold the same rows."""
    first: dict[tuple[object, ...], CellFolder] = {}
    for _, cell in done:
        record = cell.record()
        place = record.dataset, record.fold, record.split, record.data
        first.setdefault((*place, *added_metrics(cell)), cell)
    rows = _table(FLOOR_COLUMNS, map(read_floors, first.values()))
    same = ["dataset", "fold", "floor", "case", "region", "metric"]
    failed = rows["status"] == "missing"  # where a metric fails in one test, it may have been mended in another
    return pd.concat([rows[~failed], rows[failed]]).drop_duplicates(same, ignore_index=True)


def _budget(protocol: Mapping[str, Any]) -> str:
    """How much a network was allowed to see: two protocols of one name may differ in it."""
    training, sampling = protocol.get("training", {}), protocol.get("sampling", {})
    if not {"epochs", "steps_per_epoch"} <= set(training) or "batch_size" not in sampling:
        return ""
    return f"{training['epochs'] * training['steps_per_epoch']} steps of {sampling['batch_size']}"


def _subset_failure(subsets: CellSubsets) -> str:
    """Returns why some tests with fewer modalities have no result; empty where all have."""
    damages, failure = subsets.result_damages(), subsets.failure()
    if damages:
        return f"{damages[0].message} {damages[0].hint}"
    return failure.reason if failure else ""


def _cell_row(manifest: Manifest, label: str, cell: CellFolder, status: CellStatus) -> dict[str, Any]:
    record = cell.known(manifest.datasets)
    failure = cell.failure() if status == "failed" else None
    damage = cell.damages()[0] if status == "damaged" else None
    row: dict[str, Any] = {
        **dict.fromkeys(CELL_COLUMNS, ""),
        **dict.fromkeys(_COSTS, math.nan),
        "study": manifest.name,
        "profile": manifest.profile,
        "cell": cell.id,
        "label": label,
        "status": status,
        "reason": f"{damage.message} {damage.hint}" if damage else failure.reason if failure else "",
        "log": failure.log if failure else "",
        "attempts": cell.failures() + (status == "done"),
        "accumulate": 1,
        **record.model_dump(include={"dataset", "model", "leading", "fold", "seed", "split", "data", "paper_only"}),
        "protocol": record.protocol["name"],
        "budget": _budget(record.protocol),
        "start": record.started_from,
        "options": json.dumps(record.options, sort_keys=True),
    }
    if status == "done":
        summary = cell.summary()
        costs = summary.model_dump(include=set(_COSTS))
        row |= {key: math.nan if value is None else value for key, value in costs.items()}
        row |= summary.model_dump(
            include={
                "device",
                "commit",
                "started",
                "finished",
                "accumulate",
                "ranks",
                "step",
                "augmentation",
                "not_on_gpu",
            }
        )
        row["not_recorded"] = next((one.reason for one in summary.failures if one.kind == "not_recorded"), "")
        row["packages"] = json.dumps(summary.packages, sort_keys=True)
    return row
