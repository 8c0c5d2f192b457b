"""Scores folders of label maps that were predicted elsewhere."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.alike import group_alike, name_some, without_case
from harness.cores import map_in_processes
from harness.data import DATASETS
from harness.data.assumptions import Assumption, collect_assumptions
from harness.data.reading.files import NIFTI_ENDINGS
from harness.data.reading.grids import distance_off_grid
from harness.data.reading.nifti import IMAGE_ENDINGS, read_label
from harness.errors import DataError, HarnessError
from harness.evaluation import METRICS, every_metric
from harness.evaluation.policy import empty_policy
from harness.evaluation.scoring import Score, score_case

_TRUTH = re.compile(r"[-_]seg$")

#: What nnU-Net's image files have behind the name of their case.
_FIRST_CHANNEL = "_0000"

#: Scores of a case, none where its truth cannot be read; what is wrong with its files; what was assumed of them.
_Outcome = tuple[list[Score], DataError | None, list[Assumption]]

_PUT_BACK = "Put predictions back on the grid of the official label files: same shape, orientation, origin and spacing."


class FaultyCasesError(DataError):
    """Files of some cases cannot be scored.

    Args:
        faults: What is wrong, by case.
        total: Number of all cases.

    Attributes:
        cases: The cases.
    """

    def __init__(self, faults: Mapping[str, DataError], total: int) -> None:
        first = next(iter(faults.values()))
        groups = group_alike(faults.items(), lambda fault: without_case(fault[1].message, fault[0]))
        listed = "\n".join(f"- {_said_once(group)}" for group in groups)
        several = f"{len(faults)} of {total} cases cannot be scored:\n{listed}"
        super().__init__(first.message if len(faults) == 1 else several, hint=first.hint)
        self.cases = frozenset(faults)


def _said_once(group: Sequence[tuple[str, DataError]]) -> str:
    (_, first), *others = group
    return f"{first.message} Alike: {name_some([case for case, _ in others])}." if others else first.message


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
    name: str | None = None,
) -> Convention:
    """Returns how to read and score, by a registered dataset or by regions.

    Args:
        dataset: Registered name; ``None`` where regions are given.
        regions: Labels of each region by its name; none where a dataset is given.
        metrics: What to score; default: Dice, HD95 and the official metrics of the dataset.
        policy: Empty-case policy; default: the dataset's, or ``worst``.
        harness_labels: Whether files hold the harness's label values (as in ``results/``), not the official ones.
        name: What rows call the dataset; default: its registered name, or ``files``.

    Raises:
        HarnessError: Neither or both are given, or a name is not known or blank.
    """
    if name is not None and not (name.strip() and _is_text(name)):
        raise HarnessError(
            f"'{name}' cannot be the name of a dataset.", hint="Name it as the study does: --dataset-name NAME"
        )
    if (dataset is None) == (not regions):
        raise HarnessError(
            "Either a dataset or regions say what the label values mean.",
            hint="Give --dataset NAME (`harness data` lists them), or --regions 'WT=1,2,3' for each region.",
        )
    if dataset is None:
        found = Convention("files", regions, ("dice", "hd95"), "worst")
    else:
        facts = DATASETS.get(dataset)
        labels = {} if harness_labels else facts.file_labels
        found = Convention(
            dataset, facts.regions, every_metric(facts.metrics), facts.empty_policy, labels, tuple(facts.labels)
        )
    for metric in metrics:
        METRICS.get(metric)
    empty_policy(policy or found.policy)
    return Convention(
        name or found.name,
        found.regions,
        tuple(dict.fromkeys(metrics)) or found.metrics,
        policy or found.policy,
        found.file_labels,
        found.declared,
    )


def parse_regions(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Reads regions as the command line gives them, e.g. ``WT=1,2,3`` or ``whole tumor=1,2``.

    Raises:
        HarnessError: One cannot be read, or is there twice.
    """
    regions: dict[str, tuple[int, ...]] = {}
    for text in texts:
        match = re.fullmatch(r"\s*(\S|\S.*\S)\s*=\s*(\d{1,9}(?:\s*,\s*\d{1,9})*)\s*", text, re.ASCII)
        values = tuple(int(value) for value in match[2].split(",")) if match else ()
        if match is None or not _is_text(text) or match[1] in regions or not all(0 < value < 256 for value in values):
            raise HarnessError(
                f"Invalid region '{text}': {'given twice' if match and match[1] in regions else 'unreadable'}.",
                hint="Write a name and its label values from 1 to 255: --regions 'whole tumor=1,2' --regions 'ET=3'",
            )
        regions[match[1]] = values
    return regions


def pair_files(predictions: Path, reference: Path) -> Pairing:
    """Finds the prediction of every truth by its name.

    Both folders are searched with all they hold. Where names end in ``-seg`` or ``_seg`` (BraTS), only such files are
    label maps, and the ending is no part of the case's name. A prediction called ``CASE_0000``, as nnU-Net calls the
    image, is that of ``CASE``.

    Raises:
        DataError: A folder does not exist, the reference holds no label map, a case is there twice, or no prediction
            belongs to any case.
    """
    truths, found = _label_files(reference), _label_files(predictions)
    if not truths:
        raise DataError(f"{reference} holds no .nii or .nii.gz file.", hint="Name the folder with the true label maps.")
    for name in sorted(set(found) - set(truths)):
        case = name.removesuffix(_FIRST_CHANNEL)
        if case in truths and case not in found:
            found[case] = found.pop(name)
    if not set(found) & set(truths):
        called = f"they are called like '{min(found)}'" if found else "there is no label map"
        raise DataError(
            f"{predictions} holds no prediction of any case in {reference}: {called}, the cases like '{min(truths)}'.",
            hint="Name the folder of predictions, or rename them like the files with the truth.",
        )
    cases = {name: (path, found.get(name)) for name, path in sorted(truths.items())}
    return Pairing(cases, tuple(path for name, path in sorted(found.items()) if name not in truths))


def _label_files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}.", hint="Name a folder of NIfTI label maps.")
    # Links that lead nowhere and pipes are files that cannot be read, not files that are missing.
    files_there = [path for path in sorted(folder.rglob("*")) if not path.name.startswith(".") and not path.is_dir()]
    # Pictures may lie beside NIfTI files; other formats are read where there are none.
    has_nifti = any(path.name.endswith(NIFTI_ENDINGS) for path in files_there)
    endings = NIFTI_ENDINGS if has_nifti else IMAGE_ENDINGS
    named = [
        (path.name.removesuffix(next(end for end in endings if path.name.endswith(end))), path)
        for path in files_there
        if path.name.endswith(endings)
    ]
    marked = [(_TRUTH.sub("", name), path) for name, path in named if _TRUTH.search(name)]
    files: dict[str, Path] = {}
    for name, path in marked or named:
        if not _is_text(name):
            raise DataError(
                f"{folder} holds a file called {path.name!a}, which is not UTF-8.", hint="Give the file another name."
            )
        if name in files:
            raise DataError(
                f"Case '{name}' is there twice: {files[name]} and {path}", hint="Keep one file for every case."
            )
        files[name] = path
    return files


def _is_text(name: str) -> bool:
    """Whether a name can be shown and written: of bytes that are not UTF-8 Python makes lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def evaluate(
    pairing: Pairing, convention: Convention, jobs: int = 1, noted: list[Assumption] | None = None
) -> Iterator[tuple[str, list[Score]]]:
    """Scores every case of the reference; a case without a prediction that can be read scores worst.

    Args:
        pairing: The files.
        convention: How to read and score them.
        jobs: Processes, at most one per core; the scores do not depend on it.
        noted: What is assumed of the files is added here.

    Yields:
        Case and scores, in the order of the cases.

    Raises:
        FaultyCasesError: A file cannot be read, or a prediction lies on another grid than its truth; raised after
            every case was yielded whose truth can be read.
    """
    faults: dict[str, DataError] = {}
    for case, (scores, fault, assumed) in zip(pairing.cases, _outcomes(pairing, convention, jobs), strict=True):
        if noted is not None:
            noted += assumed
        if fault is not None:
            faults[case] = fault
        if scores:
            yield case, scores
    if faults:
        raise FaultyCasesError(faults, len(pairing.cases))


def _outcomes(pairing: Pairing, convention: Convention, jobs: int) -> Iterator[_Outcome]:
    return map_in_processes(partial(_attempt, convention), list(pairing.cases.values()), jobs)


def _attempt(convention: Convention, files: tuple[Path, Path | None]) -> _Outcome:
    """Returns the scores of a case, what is wrong with its files, and what was assumed of them."""
    fault: DataError | None = None
    prediction = None
    with collect_assumptions() as noted:
        try:
            truth, affine = convention.read(files[0])
        except DataError as error:
            return [], DataError(error.message, hint=error.hint), noted
        try:
            prediction = _read_prediction(convention, files, truth.shape, affine)
        except DataError as error:
            fault = DataError(error.message, hint=error.hint)
    spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0)).tolist()
    policy, why = empty_policy(convention.policy), fault.message if fault is not None else ""
    scores = score_case(prediction, truth, convention.regions, spacing, policy, convention.metrics, why)
    return scores, fault, noted


def _read_prediction(
    convention: Convention, files: tuple[Path, Path | None], shape: tuple[int, ...], affine: NDArray[np.float64]
) -> NDArray[np.uint8] | None:
    if files[1] is None:
        return None
    prediction, other = convention.read(files[1])
    if prediction.shape != shape:
        raise DataError(f"{files[1]} has shape {prediction.shape}, its truth {shape}.", hint=_PUT_BACK)
    if apart := distance_off_grid(files[1], shape, other, files[0], affine):
        raise DataError(
            f"{files[1]} lies elsewhere than its truth: corners are up to {apart:.2f} mm apart.", hint=_PUT_BACK
        )
    return prediction


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
        HarnessError: The expression is not valid or does not fit a case, or the method's name is no text.
    """
    if not _is_text(method):
        raise HarnessError(
            f"'{method}' cannot be the name of a method: it is not UTF-8.", hint="Give another --method."
        )
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
