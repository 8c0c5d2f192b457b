"""Scores folders of label maps that were predicted elsewhere."""

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.data import DATASETS
from harness.data.reading.files import NIFTI_ENDINGS
from harness.data.reading.nifti import read_label
from harness.errors import DataError, HarnessError
from harness.evaluation import METRICS
from harness.evaluation.policy import empty_policy
from harness.evaluation.scoring import Score, score_case

_TRUTH = re.compile(r"[-_]seg$")

#: Part of a voxel by which the corners of two grids may lie apart: some tools store affines in single precision.
_NEARLY = 0.1


@dataclass(frozen=True)
class Convention:
    """How label files are read and scored.

    Attributes:
        name: Value of the ``dataset`` column.
        regions: Labels of each region by its name.
        metrics: What is scored.
        policy: Name of the empty-case policy.
        file_labels: Label value to the value in files, where the two differ.
        declared: Label values; empty for any from 0 to 255.
    """

    name: str
    regions: Mapping[str, tuple[int, ...]]
    metrics: tuple[str, ...]
    policy: str
    file_labels: Mapping[int, int] = field(default_factory=dict)
    declared: tuple[int, ...] = ()

    def read(self, path: Path) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Reads a label file (X, Y, Z) with its affine, values as the regions mean them.

        Raises:
            DataError: It cannot be read, or holds a value that is not declared.
        """
        in_file = {self.file_labels.get(value, value): value for value in self.declared or range(256)}
        label, affine = read_label(path, frozenset(in_file))
        table = np.zeros(256, dtype=np.uint8)
        table[list(in_file)] = list(in_file.values())
        return table[label], affine


@dataclass(frozen=True)
class Pairing:
    """Which prediction belongs to which truth.

    Attributes:
        cases: Case name to the files of truth and prediction; ``None`` where there is no prediction.
        extra: Predictions that belong to no truth.
    """

    cases: Mapping[str, tuple[Path, Path | None]]
    extra: tuple[Path, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Cases without a prediction."""
        return tuple(name for name, (_, prediction) in self.cases.items() if prediction is None)


def convention_of(
    dataset: str | None,
    regions: Mapping[str, tuple[int, ...]],
    *,
    metrics: Sequence[str] = (),
    policy: str | None = None,
    harness_labels: bool = False,
) -> Convention:
    """Returns how to read and score, by a registered dataset or by regions.

    Args:
        dataset: Registered name; ``None`` where regions are given.
        regions: Labels of each region by its name; none where a dataset is given.
        metrics: What to score; default: Dice, HD95 and the official metrics of the dataset.
        policy: Empty-case policy; default: the dataset's, or ``worst``.
        harness_labels: Whether files hold the harness's label values (as in ``results/``), not the official ones.

    Raises:
        HarnessError: Neither or both are given, or a name is not known.
    """
    if (dataset is None) == (not regions):
        raise HarnessError(
            "Either a dataset or regions say what the label values mean.",
            hint="Give --dataset NAME (`harness data` lists them), or --regions 'WT=1,2,3' for each region.",
        )
    if dataset is None:
        found = Convention("files", regions, ("dice", "hd95"), "worst")
    else:
        facts = DATASETS.get(dataset)
        chosen = tuple(dict.fromkeys(("dice", "hd95", *facts.metrics)))
        labels = {} if harness_labels else facts.file_labels
        found = Convention(dataset, facts.regions, chosen, facts.empty_policy, labels, tuple(facts.labels))
    for name in metrics:
        METRICS.get(name)
    empty_policy(policy or found.policy)
    return Convention(
        found.name,
        found.regions,
        tuple(dict.fromkeys(metrics)) or found.metrics,
        policy or found.policy,
        found.file_labels,
        found.declared,
    )


def parse_regions(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Reads regions as the command line gives them, e.g. ``WT=1,2,3``.

    Raises:
        HarnessError: One cannot be read, or is there twice.
    """
    regions: dict[str, tuple[int, ...]] = {}
    for text in texts:
        match = re.fullmatch(r"\s*([^=\s]+)\s*=\s*(\d+(?:\s*,\s*\d+)*)\s*", text)
        values = tuple(int(value) for value in match[2].split(",")) if match else ()
        if match is None or match[1] in regions or not all(0 < value < 256 for value in values):
            raise HarnessError(
                f"Invalid region '{text}': unreadable, or given twice.",
                hint="Write a name and its label values from 1 to 255: --regions 'WT=1,2,3' --regions 'ET=3'",
            )
        regions[match[1]] = values
    return regions


def pair_files(predictions: Path, reference: Path) -> Pairing:
    """Finds the prediction of every truth by its name.

    Both folders are searched with all they hold. Where names end in ``-seg`` or ``_seg`` (BraTS), only such files are
    label maps, and the ending is no part of the case's name.

    Raises:
        DataError: A folder does not exist, the reference holds no label map, or a case is there twice.
    """
    truths, found = _label_files(reference), _label_files(predictions)
    if not truths:
        raise DataError(f"{reference} holds no .nii or .nii.gz file.", hint="Name the folder with the true label maps.")
    cases = {name: (path, found.get(name)) for name, path in sorted(truths.items())}
    return Pairing(cases, tuple(path for name, path in sorted(found.items()) if name not in truths))


def _label_files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}.", hint="Name a folder of NIfTI label maps.")
    named = [
        (path.name.removesuffix(next(end for end in NIFTI_ENDINGS if path.name.endswith(end))), path)
        for path in sorted(folder.rglob("*"))
        if path.name.endswith(NIFTI_ENDINGS) and not path.name.startswith(".") and path.is_file()
    ]
    marked = [(_TRUTH.sub("", name), path) for name, path in named if _TRUTH.search(name)]
    files: dict[str, Path] = {}
    for name, path in marked or named:
        if name in files:
            raise DataError(
                f"Case '{name}' is there twice: {files[name]} and {path}", hint="Keep one file for every case."
            )
        files[name] = path
    return files


def evaluate(pairing: Pairing, convention: Convention, jobs: int = 1) -> Iterator[tuple[str, list[Score]]]:
    """Scores every case of the reference; a case without a prediction scores worst.

    Args:
        pairing: The files.
        convention: How to read and score them.
        jobs: Processes; the scores do not depend on it.

    Yields:
        Case and scores, in the order of the cases.

    Raises:
        DataError: A file cannot be read, or a prediction lies on another grid than its truth.
    """
    score = partial(_score, convention)
    files = list(pairing.cases.values())
    if jobs == 1:
        yield from zip(pairing.cases, map(score, files), strict=True)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from zip(pairing.cases, pool.map(score, files), strict=True)


def _score(convention: Convention, files: tuple[Path, Path | None]) -> list[Score]:
    truth, affine = convention.read(files[0])
    prediction = None
    if files[1] is not None:
        prediction, other = convention.read(files[1])
        _check_grid(files[1], prediction, other, truth, affine)
    spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0)).tolist()
    policy = empty_policy(convention.policy)
    return score_case(prediction, truth, convention.regions, spacing, policy, convention.metrics)


def _check_grid(
    path: Path,
    prediction: NDArray[np.uint8],
    affine: NDArray[np.float64],
    truth: NDArray[np.uint8],
    true_affine: NDArray[np.float64],
) -> None:
    hint = "Put predictions back on the grid of the official label files: same shape, orientation, origin and spacing."
    if prediction.shape != truth.shape:
        raise DataError(f"{path} has shape {prediction.shape}, its truth {truth.shape}.", hint=hint)
    corners = np.array([[*corner, 1] for corner in product(*((0, size - 1) for size in truth.shape))])
    apart = np.linalg.norm((corners @ (affine - true_affine).T)[:, :3], axis=1).max()
    if apart > _NEARLY * np.sqrt((true_affine[:3, :3] ** 2).sum(axis=0)).min():
        raise DataError(f"{path} lies elsewhere than its truth: corners are up to {apart:.2f} mm apart.", hint=hint)


def to_rows(
    scored: Sequence[tuple[str, Sequence[Score]]],
    convention: Convention,
    *,
    method: str,
    patient: str | None = None,
) -> pd.DataFrame:
    """Returns one row per case, region and metric, as ``harness report --with`` reads them.

    Args:
        scored: Cases and their scores.
        convention: How they were scored.
        method: Who predicted.
        patient: Regular expression whose first group is the patient in a case's name; default: the case.

    Raises:
        HarnessError: The expression is not valid or does not fit a case.
    """
    rows = []
    for case, scores in scored:
        place = {"method": method, "label": method, "dataset": convention.name, "patient": _patient(case, patient)}
        rows += [{**place, "case": case, **vars(score)} for score in scores]
    columns = ("method", "label", "dataset", "patient", "case", "region", "metric", "value", "status", "implementation")
    return pd.DataFrame(rows, columns=list(columns))


def _patient(case: str, pattern: str | None) -> str:
    if pattern is None:
        return case
    try:
        match = re.match(pattern, case)
        found = match[1] if match else None
    except (re.error, IndexError) as error:
        raise HarnessError(
            f"'{pattern}' does not name the patient: {error}", hint=r"Put the patient in a group: '(BraTS-GLI-\d+)-\d+'"
        ) from error
    if not found:
        raise HarnessError(f"'{pattern}' does not fit the case '{case}'.", hint="Every case needs a patient.")
    return str(found)


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns one row per region and metric, in the order scored: means over cases, without what a policy skips.

    Returns:
        Columns ``region, metric, n, mean, sd, median, missing, empty, skipped``; ``n`` counts the cases of the mean.
    """
    table = []
    for (region, metric), group in rows.groupby(["region", "metric"], sort=False):
        values, status = group["value"][group["status"] != "skipped"], group["status"]
        table.append(
            {
                "region": region,
                "metric": metric,
                "n": len(values),
                "mean": values.mean(),
                "sd": values.std(ddof=1),
                "median": values.median(),
                "missing": int((status == "missing").sum()),
                "empty": int(status.isin(["empty_both", "empty_one"]).sum()),
                "skipped": int((status == "skipped").sum()),
            }
        )
    return pd.DataFrame(table)
