"""Results of others as a study of their own, or beside a study."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from harness.errors import DataError, HarnessError, did_you_mean, one_line
from harness.evaluation import METRICS
from harness.evaluation.policy import empty_policy
from harness.report.inputs.checked_rows import check_rows, refuse_other_cases
from harness.report.inputs.missing_cases import add_missing, align_folds, settle
from harness.report.inputs.readers.own_csv import NEEDED as NEEDED
from harness.report.inputs.readers.registry import read_source
from harness.report.inputs.readers.source import UNNAMED, Request, Source
from harness.report.inputs.several_studies import combine
from harness.results.schema import (
    CASE_COLUMNS,
    CELL_COLUMNS,
    FLOOR_COLUMNS,
    HISTORY_COLUMNS,
    DatasetFacts,
    StudyResults,
)

#: What a report of imported results alone is called.
OTHERS = "results of others"

_COSTS = ("parameters", "gflops", "train_seconds", "peak_memory_mb", "latency_seconds", "energy_wh", "steps")
_UNKNOWN = "unknown (imported)"
_TESTED = ["dataset", "fold", "patient", "case"]


def add_imported(study: StudyResults, paths: Sequence[Path | Request]) -> tuple[StudyResults, tuple[str, ...]]:
    """Returns a study with the results of others beside its own.

    Args:
        study: The study; its datasets and metrics are the only ones taken.
        paths: Files and folders; one that is named twice is read once.

    Returns:
        All of them as one, and what was assumed or given another name.

    Raises:
        DataError: A file is not what its format says, names what the study does not have, or holds one result twice.
        HarnessError: As :func:`~harness.report.inputs.several_studies.combine`.
    """
    sources = [_in_the_study(source, study) for source in _read(paths)]
    tested = study.cases[_TESTED].drop_duplicates().astype({"dataset": str, "patient": str, "case": str})
    sources, notes = _completed(sources, tested)
    names = _names(sources)
    said = list(notes)
    parts = [_as_study(source, study, name, said) for source, name in zip(sources, names, strict=True)]
    joined = combine([study, *parts])
    for other in parts:
        for label in set(other.labels) - set(joined.labels):
            said.append(f"'{label}' in {other.study}.csv is called '{label} ({other.study})': another file has it too.")
    return joined, tuple(said)


def import_alone(
    requests: Sequence[Request], *, reference: str | None = None, metrics: Sequence[str] = (), empty: str = ""
) -> tuple[StudyResults, tuple[str, ...]]:
    """Returns results of others as a study, where there is none of ours.

    Args:
        requests: Files and folders.
        reference: Label that the others are compared with; None for the first one.
        metrics: Metrics to report; default: those that every file has.
        empty: Policy for empty regions; empty for ``worst``.

    Raises:
        DataError: As :func:`add_imported`, files of one dataset share no case or differ in regions, or no metric is in
            all of them.
        HarnessError: The reference is no label.
    """
    sources = _in_one_dataset([_with_safe_names(source) for source in _read(requests)])
    _refuse_apart(sources)
    sources, notes = _completed(sources, pd.DataFrame(columns=_TESTED))
    chosen = tuple(METRICS.get(name).name for name in metrics) or _common_metrics(sources)
    base = _base(sources, chosen, empty, whole_cases=all(request.patient is None for request in requests))
    said = list(notes)
    parts = [_as_study(source, base, name, said) for source, name in zip(sources, _names(sources), strict=True)]
    joined = combine(parts)
    said += _single_methods(joined)
    question = (
        f"How do {_listed(joined.labels) if len(joined.labels) < 6 else f'{len(joined.labels)} methods'} compare?"
    )
    joined = replace(joined, study=OTHERS, profile=" and ".join(base.datasets), question=question)
    if reference is not None and reference not in joined.labels:
        raise HarnessError(f"No method is called '{reference}'.", hint=did_you_mean(reference, joined.labels))
    return replace(joined, reference=reference or joined.labels[0]), tuple(said)


def _single_methods(study: StudyResults) -> Iterator[str]:
    """Says on which of several datasets only one method has results."""
    for dataset in study.datasets:
        labels = study.cells.loc[study.cells["dataset"] == dataset, "label"].unique()
        if len(study.datasets) > 1 and len(labels) == 1:
            yield f"On {dataset} only {labels[0]} has results, so nothing is compared there. Are two datasets mixed?"


def _listed(names: Sequence[str]) -> str:
    """Returns names as a sentence lists them."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def read_imported(path: Path, beside: StudyResults, name: str = "", notes: list[str] | None = None) -> StudyResults:
    """Reads one file of others as a study without models, protocol or split.

    Args:
        path: File or folder.
        beside: Study the file is compared with: its datasets and metrics are the only ones taken.
        name: What the study is called; default: the file's name. It follows a label that ``beside`` has, too.
        notes: What was assumed or given another name is added here.

    Raises:
        DataError: As :func:`add_imported`.
    """
    source = _in_the_study(read_source(Request(path)), beside)
    return _as_study(source, beside, name or path.stem, [] if notes is None else notes)


def _read(paths: Sequence[Path | Request]) -> list[Source]:
    requests = [path if isinstance(path, Request) else Request(path) for path in paths]
    once = {(request.label, request.path.resolve()): request for request in requests}
    return [read_source(request) for request in once.values()]


def _names(sources: Sequence[Source]) -> list[str]:
    """Returns what the study of each source is called: its only method, or its file; where two are alike, the path."""
    stems = [source.path.stem for source in sources]
    return [
        source.path.stem if stems.count(source.path.stem) == 1 else str(source.path.with_suffix(""))
        for source in sources
    ]


def _completed(sources: Sequence[Source], tested: pd.DataFrame) -> tuple[list[Source], tuple[str, ...]]:
    aligned, of_folds = align_folds(sources, tested)
    made, of_cases = add_missing(aligned, tested)
    return made, (*of_folds, *of_cases)


def _in_the_study(source: Source, study: StudyResults) -> Source:
    """Names the dataset of a source that names none of the study's, where the study has only one."""
    only = next(iter(study.datasets)) if len(study.datasets) == 1 else ""
    if source.lists_missing or not only or set(source.regions) <= set(study.datasets):
        return source
    return _renamed(source, only)


def _with_safe_names(source: Source) -> Source:
    """Gives datasets names that files of a report can have; titles keep what others call them."""
    safe = {name: re.sub(r"[^\w.-]+", "-", name)[:64].strip("-.") or UNNAMED for name in source.regions}
    if all(old == new for old, new in safe.items()):
        return source
    if len(set(safe.values())) < len(safe):
        raise DataError(
            f"{source.path}: two of its datasets have nearly one name: {one_line(', '.join(source.regions))}."
        )
    return replace(
        source,
        rows=source.rows.assign(dataset=source.rows["dataset"].replace(safe)),
        regions={safe[name]: regions for name, regions in source.regions.items()},
        titles={safe[name]: source.titles.get(name, name) for name in source.regions},
        stated=source.stated.assign(dataset=source.stated["dataset"].replace(safe)),
    )


def _renamed(source: Source, dataset: str) -> Source:
    regions = {dataset: next(iter(source.regions.values()))}
    stated = source.stated.assign(dataset=dataset)
    return replace(source, rows=source.rows.assign(dataset=dataset), regions=regions, titles={}, stated=stated)


def _in_one_dataset(sources: Sequence[Source]) -> list[Source]:
    """Gives the dataset of the others to a source that names none, where they are of one."""
    named = list(dict.fromkeys(name for source in sources for name in source.regions if name != UNNAMED))
    if len(named) != 1:
        return list(sources)
    return [_renamed(source, named[0]) if list(source.regions) == [UNNAMED] else source for source in sources]


def _refuse_apart(sources: Sequence[Source]) -> None:
    """Methods are compared patient by patient, so those of one dataset must share regions and cases."""
    first: dict[str, Source] = {}
    cases: dict[str, set[str]] = {}
    for source in sources:
        for dataset, regions in source.regions.items():
            mine = set(source.rows.loc[source.rows["dataset"] == dataset, "case"])
            other = first.setdefault(dataset, source)
            if set(other.regions[dataset]) != set(regions):
                raise DataError(
                    f"{source.path} has the regions {one_line(', '.join(regions))}, {other.path} has "
                    f"{one_line(', '.join(other.regions[dataset]))}.",
                    hint="Are they of two datasets? --dataset-json names labels; --dataset-name names the dataset.",
                )
            known = cases.setdefault(dataset, set())
            if known and known.isdisjoint(mine) and not _further_folds(source, other):
                raise DataError(
                    f"{source.path} shares no case with {other.path}: '{one_line(min(mine))}' and "
                    f"'{one_line(min(known))}', for example.",
                    hint="Are they of two datasets, or named differently? Cases are compared by their names.",
                )
            known |= mine
    _refuse_label_twice(sources)


def _further_folds(source: Source, other: Source) -> bool:
    """Whether a source adds cases to a method that another one has."""
    return bool(set(source.rows["label"]) & set(other.rows["label"]))


def _refuse_label_twice(sources: Sequence[Source]) -> None:
    labels = [set(source.rows["label"].unique()) for source in sources]
    for number, source in enumerate(sources):
        for place, other in enumerate(sources[:number]):
            if labels[number].isdisjoint(labels[place]):
                continue
            mine, theirs = (
                one.rows[["label", "dataset", "case"]].drop_duplicates().astype(str) for one in (source, other)
            )
            shared = mine.merge(theirs)
            if len(shared):
                label, _, case = shared.iloc[0]
                raise DataError(
                    f"'{one_line(label)}' has the case '{one_line(case)}' twice: in {other.path} and in {source.path}.",
                    hint="Give each method its own name: --with NAME=PATH.",
                )


def _common_metrics(sources: Sequence[Source]) -> tuple[str, ...]:
    held = [set(source.rows["metric"].unique()) for source in sources]
    common = {str(name) for name in set.intersection(*held) if METRICS.knows(str(name))}
    if not common:
        each = "; ".join(f"{one.path}: {', '.join(sorted(names))}" for one, names in zip(sources, held, strict=True))
        raise DataError(f"The files have no metric in common: {each}.", hint=f"Known: {', '.join(METRICS.names())}.")
    return tuple(sorted(common, key=lambda name: (name != "dice", name != "hd95", name)))


def _base(sources: Sequence[Source], metrics: tuple[str, ...], empty: str, *, whole_cases: bool) -> StudyResults:
    """Returns a study without cases that says which datasets, regions and metrics there are."""
    notes = ["Results of others: how their networks were trained is not known to this report."]
    if whole_cases:
        notes.append("Each case counts as one patient; --patient says which part of its name is the patient.")
    facts: dict[str, DatasetFacts] = {}
    for source in sources:
        for dataset, regions in source.regions.items():
            title = source.titles.get(dataset, dataset)
            known = DatasetFacts(dataset, title, "real", "patient", source.modalities, regions, tuple(notes))
            facts.setdefault(dataset, known)
    return StudyResults(
        study=OTHERS,
        profile="imported",
        question="",
        reference=None,
        metrics=metrics,
        labels=(),
        cases=pd.DataFrame(columns=list(CASE_COLUMNS)),
        cells=pd.DataFrame(columns=list(CELL_COLUMNS)),
        history=pd.DataFrame(columns=list(HISTORY_COLUMNS)),
        floors=pd.DataFrame(columns=list(FLOOR_COLUMNS)),
        datasets=facts,
        overlays={},
        empty=empty,
    )


def _as_study(source: Source, beside: StudyResults, name: str, notes: list[str]) -> StudyResults:
    policy = empty_policy(beside.empty or "worst")
    source = replace(source, rows=settle(source.rows, policy))
    rows = _with_patients(check_rows(source, beside), beside)
    refuse_other_cases(rows, source, beside)
    clashing = {label: f"{label} ({name})" for label in rows["label"].unique() if label in beside.labels}
    rows["label"] = rows["label"].replace(clashing)
    notes += source.notes
    notes += [
        f"{source.path}: '{old}' is called '{new}', the study has the label too." for old, new in clashing.items()
    ]
    # One method in several files is one study: its cells go by its name.
    several = rows["label"].nunique() > 1 or source.lists_missing
    rows["cell"] = _cells_of(rows, name if several else str(rows["label"].iloc[0]))
    implementation = source.implementation if source.lists_missing else f"{source.implementation}; empty: {policy.name}"
    rows = rows.assign(study=name, profile="imported", model=rows["method"], implementation=implementation)
    rows = rows.assign(modalities="")
    columns = beside.cells.columns  # `start` and costs only where the study has them
    return StudyResults(
        study=name,
        profile="imported",
        question="",
        reference=None,
        metrics=beside.metrics,
        labels=tuple(dict.fromkeys(rows["label"])),
        cases=rows[list(CASE_COLUMNS)],
        cells=pd.DataFrame([_cell(row) for row in rows.drop_duplicates("cell").to_dict("records")], columns=columns),
        history=pd.DataFrame(columns=list(HISTORY_COLUMNS)),
        floors=pd.DataFrame(columns=list(FLOOR_COLUMNS)),
        datasets=beside.datasets,
        overlays={},
        empty=beside.empty,
        stated=source.stated.assign(label=source.stated["label"].replace(clashing)),
    )


def _cells_of(rows: pd.DataFrame, name: str) -> pd.Series[Any]:
    """Returns the identity of each row's cell, made once per cell."""
    place = ["label", "dataset", "leading", "fold", "seed"]
    number = rows.groupby(place, sort=False).ngroup()
    firsts = rows.loc[~number.duplicated().to_numpy(), place]
    names = [
        f"{name}/{row.label}/{row.dataset}/{row.leading}/fold{row.fold}/seed{row.seed}"
        for row in firsts.itertuples(index=False)
    ]
    return pd.Series([names[one] for one in number], index=rows.index, dtype=object)


def _with_patients(rows: pd.DataFrame, beside: StudyResults) -> pd.DataFrame:
    """Names the patient of each case as the study does, where the file names the case in the patient's place.

    So `harness evaluate` need not know which part of a case's name is the patient.
    """
    keys = ["dataset", "case"]
    ours = beside.cases[[*keys, "patient"]].astype(str).drop_duplicates(keys)
    known = rows[keys].merge(ours, on=keys, how="left")["patient"].set_axis(rows.index).fillna(rows["patient"])
    return rows.assign(patient=rows["patient"].where(rows["patient"] != rows["case"], known))


def _cell(row: Mapping[Any, Any]) -> dict[str, Any]:
    copied = ("study", "profile", "cell", "dataset", "model", "label", "leading", "fold", "seed")
    return {
        **dict.fromkeys(CELL_COLUMNS, ""),
        **dict.fromkeys(_COSTS, math.nan),
        **{name: row[name] for name in copied},
        **dict.fromkeys(("split", "data", "protocol", "budget", "commit", "device", "start"), _UNKNOWN),
        "status": "done",
        "options": "{}",
    }
