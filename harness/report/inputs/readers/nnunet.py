"""nnU-Net's ``summary.json``, of version 1 or 2: one file, a fold, or a model with its folds.

Version 2 writes ``metric_per_case``, ``mean`` and ``foreground_mean``; version 1 ``results: {all, mean}``. Labels are
keys: ``1``, or ``(1, 2, 3)`` for a region. Its Dice is NaN where the label is in neither mask, and its means leave NaN
out, as they do a case without a prediction, which has no entry at all.
"""

import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.alike import name_some
from harness.data.reading.nifti import IMAGE_ENDINGS
from harness.errors import DataError, one_line, shorten
from harness.files import read_json
from harness.report.inputs.readers.label_names import LabelNames, dataset_in_path, find_label_names
from harness.report.inputs.readers.source import ROW_COLUMNS, UNNAMED, Request, Source
from harness.results.schema import STATED_COLUMNS

FILE = "summary.json"

#: Folders of one fold that hold the file.
_VALIDATION = ("validation", "validation_raw_postprocessed", "validation_raw")

#: The fold of a model that was trained on every case.
_ALL = "fold_all"
_TRAINED_ON = "It was trained on the cases that it was validated on; test it on others."

#: Our names of the metrics that are read; of each the names of versions 2 and 1.
_METRICS = {"dice": ("Dice",), "hd95": ("Hausdorff Distance 95",)}
_PREDICTED = ("n_pred", "Total Positives Test")
_TRUE = ("n_ref", "Total Positives Reference")
_KEY = re.compile(r"\(?\d{1,9}(, ?\d{1,9})*,?\)?")
_DATASET = re.compile(r"(?:Dataset|Task)\d{3}_[^/\\]+")


@dataclass(frozen=True)
class _File:
    """One ``summary.json``.

    Attributes:
        path: The file.
        fold: Its fold; None where the folder does not say.
        cases: Name and scores by label of every case.
        means: Means that it states, by label.
        dataset: Folder of the dataset that it names, e.g. ``Dataset001_BrainTumour``; empty for none.
    """

    path: Path
    fold: int | None
    cases: tuple[tuple[str, Mapping[str, Mapping[str, Any]]], ...]
    means: Mapping[str, Any]
    dataset: str


class NnunetReader:
    """Reads ``summary.json``."""

    name = "nnU-Net"

    def recognises(self, request: Request) -> bool:
        """A folder, or a JSON file."""
        return request.path.is_dir() or request.path.suffix.lower() == ".json"

    def read(self, request: Request) -> Source:
        """Reads all folds that the path holds.

        Raises:
            DataError: There is no such file, one is cut short, holds a case twice or two datasets, or folds share a
                case.
        """
        places, notes = _find(request.path)
        files = [_open(path, fold) for path, fold in places]
        names = request.names or find_label_names(places[0][0])
        regions = _regions(files, names)
        _refuse_shared(files)
        stated = (dataset_in_path(places[0][0].resolve()), names.dataset if names else "")
        dataset = request.dataset or next(filter(None, (*stated, dataset_in_path(Path(files[0].dataset)))), "")
        rows, where = _rows(files, regions, request, dataset or UNNAMED)
        if names is None:
            notes += (
                f"{request.path}: no dataset.json lies beside it, so labels are called {', '.join(regions.values())}; "
                "--dataset-json names them.",
            )
        return Source(
            path=request.path,
            format=self.name,
            rows=rows,
            where=lambda index: where[index],
            regions={dataset or UNNAMED: tuple(dict.fromkeys(regions.values()))},
            titles={dataset: dataset} if dataset else {},
            modalities=names.modalities if names else (),
            has_folds=all(file.fold is not None for file in files),
            notes=(*notes, *_patient_notes(files, request)),
            stated=_stated(files, regions, rows, request, dataset or UNNAMED),
            implementation="nnU-Net's summary.json",
        )


def _find(path: Path) -> tuple[list[tuple[Path, int | None]], tuple[str, ...]]:
    """Returns the files of a path with their folds, and what is to be said about them."""
    if _ALL in path.absolute().parts:
        raise DataError(f"{path} is of {_ALL}.", hint=_TRAINED_ON)
    if not path.is_dir():
        return [(path, _fold_in(path))], ()
    folds = sorted(path.glob("fold_*"), key=lambda folder: (len(folder.name), folder.name))
    found = [(file, fold) for folder in folds if (fold := _fold_in(folder)) is not None for file in _of_fold(folder)]
    if found:
        lacking = sorted(set(range(max(5, len(found)))) - {fold for _, fold in found if fold is not None})
        return list(found), (f"{path} has no result of fold {', '.join(map(str, lacking))}.",) if lacking else ()
    single = [path / FILE] if (path / FILE).is_file() else list(_of_fold(path))
    if single:
        return [(single[0], _fold_in(path))], ()
    hint = f"Give a {FILE}, a folder fold_0, or the folder of a model with its folds."
    if models := sorted(folder.parent.name for folder in path.glob("*/fold_*")):
        hint = f"It holds the models {', '.join(dict.fromkeys(models))}: name one of them, e.g. {path / models[0]}."
    if any(folder.name == _ALL for folder in folds):
        hint = _TRAINED_ON
    raise DataError(f"{path} holds no {FILE} of nnU-Net.", hint=hint)


def _of_fold(folder: Path) -> Iterator[Path]:
    """Yields the file of a fold: none, or the first of those there are."""
    yield from [file for name in _VALIDATION if (file := folder / name / FILE).is_file()][:1]


def _fold_in(path: Path) -> int | None:
    """Returns the fold that a path is in; None where it names none."""
    numbers = [int(match[1]) for part in path.absolute().parts if (match := re.fullmatch(r"fold_(\d{1,4})", part))]
    return numbers[-1] if numbers else None


def _open(path: Path, fold: int | None) -> _File:
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as JSON: {error}.", hint="It may have been cut short; copy it again, whole."
        ) from error
    whole = content if isinstance(content, dict) else {}
    old = whole.get("results")
    entries = old.get("all") if isinstance(old, dict) else whole.get("metric_per_case")
    means = (old if isinstance(old, dict) else whole).get("mean")
    if not isinstance(entries, list) or not entries:
        raise DataError(
            f"{path} is no {FILE} of nnU-Net: it holds neither `metric_per_case` nor `results: all`.",
            hint="Give the file that nnU-Net writes beside validated or evaluated predictions.",
        )
    cases = tuple(_case(path, number, entry) for number, entry in enumerate(entries))
    _refuse_unlike(path, cases)
    return _File(path, fold, cases, means if isinstance(means, dict) else {}, _dataset(path, cases, entries))


def _case(path: Path, number: int, entry: Any) -> tuple[str, Mapping[str, Mapping[str, Any]]]:
    """Returns name and scores of an entry; version 1 has labels and files side by side."""
    files = (
        {name: entry.get(name) for name in ("prediction_file", "test", "reference_file", "reference")}
        if (isinstance(entry, dict))
        else {}
    )
    names = [_name_of(file) for file in files.values() if isinstance(file, str)]
    if not names or not names[0]:
        raise DataError(f"{path}, entry {number + 1} names no file, so its case is not known.")
    if len(set(names)) > 1:
        raise DataError(f"{path}: the prediction '{names[0]}' was scored against '{names[-1]}', another case.")
    scores = entry.get("metrics", {key: value for key, value in entry.items() if key not in files})
    if not isinstance(scores, dict) or not all(isinstance(one, dict) for one in scores.values()):
        raise DataError(f"{path}, case '{names[0]}': its scores must be a mapping of labels to metrics.")
    found = {one_line(str(key)): value for key, value in scores.items() if _values_of(str(key)) != (0,)}
    if not found:
        raise DataError(f"{path}, case '{names[0]}' has no scores of a label.")
    return sys.intern(names[0]), found


def _name_of(file: str) -> str:
    """Returns the case of a file that may lie on another system."""
    name = re.split(r"[\\/]", file)[-1]
    ending = max((one for one in IMAGE_ENDINGS if name.endswith(one)), key=len, default="")
    return one_line(name.removesuffix(ending))


def _refuse_unlike(path: Path, cases: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """A file is of one dataset, and has every case once."""
    first, labels = cases[0][0], cases[0][1].keys()
    seen: set[str] = set()
    for name, scores in cases:
        if name in seen:
            raise DataError(f"{path} holds the case '{name}' twice.", hint="Keep one of the two.")
        seen.add(name)
        if scores.keys() != labels:
            raise DataError(
                f"{path}: case '{name}' has the labels {_said(scores)}, case '{first}' {_said(labels)}.",
                hint="Two datasets seem to be mixed in this file.",
            )


def _dataset(path: Path, cases: Sequence[tuple[str, Mapping[str, Any]]], entries: Sequence[Any]) -> str:
    """Returns nnU-Net's folder of the dataset that the files of the cases lie in; empty for none."""
    texts = [[value for value in entry.values() if isinstance(value, str)] for entry in entries]
    folders = {
        match[0]: name
        for (name, _), files in zip(cases, texts, strict=True)
        for text in files
        if (match := _DATASET.search(text))
    }
    if len(folders) > 1:
        (one, case), (other, second) = list(folders.items())[:2]
        raise DataError(
            f"{path} mixes two datasets: case '{case}' is of {one_line(one)}, case '{second}' of {one_line(other)}.",
            hint="Give each dataset its own file.",
        )
    return one_line(next(iter(folders), ""))


def _said(labels: Any) -> str:
    return shorten(", ".join(sorted(labels)), 100)


@cache
def _values_of(key: str) -> tuple[int, ...] | None:
    """Returns the label values of a key; None where it is a name."""
    return tuple(sorted({int(one) for one in re.findall(r"\d+", key)})) if _KEY.fullmatch(key) else None


def _regions(files: Sequence[_File], names: LabelNames | None) -> dict[str, str]:
    """Returns the region of each key, in table order."""
    first = files[0]
    for file in files[1:]:
        if file.cases[0][1].keys() != first.cases[0][1].keys():
            raise DataError(
                f"{file.path} has the labels {_said(file.cases[0][1])}, {first.path} {_said(first.cases[0][1])}.",
                hint="Folds of one model have one dataset. Two datasets seem to be mixed.",
            )
    found: dict[str, str] = {}
    for key in first.cases[0][1]:
        values = _values_of(key)
        if values is None:
            found[key] = key
        elif names is None:
            found[key] = f"label{'s' * (len(values) > 1)} {'+'.join(map(str, values))}"
        elif values in names.regions:
            found[key] = names.regions[values]
        else:
            raise DataError(
                f"{first.path}, case '{first.cases[0][0]}': label {key} has no name in {names.path}.",
                hint="Name the dataset.json of this dataset with --dataset-json.",
            )
    if len(set(found.values())) < len(found):
        raise DataError(f"{first.path}: two of its labels have one name: {', '.join(found.values())}.")
    order = list(names.regions.values()) if names else []
    return dict(sorted(found.items(), key=lambda one: order.index(one[1]) if one[1] in order else len(order)))


def _refuse_shared(files: Sequence[_File]) -> None:
    seen: dict[str, Path] = {}
    for file in files:
        for name, _ in file.cases:
            if name in seen:
                raise DataError(
                    f"The case '{name}' is in two folds: {seen[name]} and {file.path}.",
                    hint="A case is tested in one fold. Give the folds of one cross-validation.",
                )
            seen[name] = file.path


def _patient_notes(files: Sequence[_File], request: Request) -> Iterator[str]:
    """Says which patients were tested in one fold and trained on in another."""
    folds: dict[str, set[Path]] = {}
    for file in files:
        for name, _ in file.cases:
            folds.setdefault(request.patient_of(name), set()).add(file.path)
    shared = sorted(patient for patient, paths in folds.items() if len(paths) > 1)
    if shared:
        yield (
            f"{request.path}: folds share {len(shared)} patients ({name_some(shared)}), so networks were trained on "
            "patients that they were tested on, and scores are too good."
        )


def _rows(
    files: Sequence[_File], regions: Mapping[str, str], request: Request, dataset: str
) -> tuple[pd.DataFrame, list[str]]:
    columns: dict[str, list[Any]] = {name: [] for name in ("fold", "patient", "case", "region", "metric")}
    values: list[float] = []
    states: list[str] = []
    where: list[str] = []
    metrics = [name for name, keys in _METRICS.items() if name == "dice" or _any_number(files, keys)]
    for file in files:
        for case, scores in file.cases:
            place, patient = (
                sys.intern(f"{file.path.name} of {file.path.parent}, case '{case}'"),
                request.patient_of(case),
            )
            for key, region in regions.items():
                for metric in metrics:
                    value, status = _score(file.path, case, key, metric, scores[key])
                    for name, one in zip(columns, (file.fold or 0, patient, case, region, metric), strict=True):
                        columns[name].append(one)
                    values.append(value)
                    states.append(status)
                    where.append(place)
    fixed = {"label": request.method, "method": request.method, "dataset": dataset, "leading": "-", "seed": 0}
    rows = pd.DataFrame({**columns, **fixed, "value": values, "status": states})
    return rows[list(ROW_COLUMNS)], where


def _any_number(files: Sequence[_File], keys: Sequence[str]) -> bool:
    found = (_number(scores, keys) for file in files for _, labels in file.cases for scores in labels.values())
    return any(math.isfinite(value) for value in found)


def _score(path: Path, case: str, key: str, metric: str, scores: Mapping[str, Any]) -> tuple[float, str]:
    """Returns value and status; NaN where the policy sets the value."""
    value, predicted, true = (_number(scores, keys) for keys in (_METRICS[metric], _PREDICTED, _TRUE))
    place = f"{path}, case '{case}', label {key}"
    if metric == "dice" and not any(name in scores for name in _METRICS[metric]):
        raise DataError(f"{place} has no Dice.", hint="The file may have been cut short or edited.")
    if math.isnan(value) and metric == "dice" and max(predicted, true) > 0:
        raise DataError(f"{place}: Dice is NaN, yet {max(predicted, true):.0f} voxels are in one of the masks.")
    if (predicted == 0 and true == 0) or (math.isnan(predicted + true) and math.isnan(value)):
        return math.nan, "empty_both"
    if min(predicted, true) == 0:
        if metric == "dice" and value != 0:
            raise DataError(f"{place}: Dice is {value:g}, yet one of the masks is empty.")
        return math.nan, "empty_one"
    if not math.isfinite(value):
        raise DataError(f"{place}: {metric} is {value}, yet both masks hold voxels.")
    return value, "scored"


def _number(scores: Mapping[str, Any], keys: Sequence[str]) -> float:
    """Returns a number of an entry; NaN where it is absent or not a number."""
    value = next((scores[key] for key in keys if key in scores), math.nan)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:  # JSON has integers of any length
        return math.inf


def _stated(
    files: Sequence[_File], regions: Mapping[str, str], rows: pd.DataFrame, request: Request, dataset: str
) -> pd.DataFrame:
    """Returns the means that each file states, beside those of its cases by the same rule."""
    dice = rows[rows["metric"] == "dice"]
    # By its own rule: 0 where one mask is empty, and no value where both are.
    own = dice["value"].where(dice["status"] != "empty_one", 0.0)
    computed = own.groupby([dice["case"], dice["region"]]).first().unstack()
    found = []
    for file in files:
        cases = computed.loc[[name for name, _ in file.cases]]
        for key, region in regions.items():
            entry = file.means.get(key)
            stated = _number(entry, _METRICS["dice"]) if isinstance(entry, dict) else math.nan
            column = cases[region].to_numpy(dtype=float)
            mean = float(np.nanmean(column)) if np.isfinite(column).any() else math.nan
            place = str(file.path.relative_to(request.path)) if request.path.is_dir() else file.path.name
            found.append((request.method, dataset, place, file.fold or 0, region, "dice", stated, mean))
    return pd.DataFrame(found, columns=list(STATED_COLUMNS))
