"""Scores finished cells by further metrics, from the predictions they kept: nothing is trained or predicted again."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.cores import map_in_processes
from harness.data import Dataset, Reader
from harness.data.contract import TrivialPrediction, trivial_predictions
from harness.data.datasets.layouts import find_dataset
from harness.data.reading.nifti import read_label
from harness.errors import DataError, HarnessError
from harness.evaluation import METRICS
from harness.evaluation.policy import empty_policy
from harness.evaluation.scoring import Score, failures, score_case
from harness.results.scores import add_scores, unscored_metrics
from harness.results.store import CellFolder, Store, StudyFolder
from harness.study.cell import CellSpec

_GONE = (
    "To have it again, remove {} and run the study, which trains anew; or predict by `harness predict`, and score that "
    "folder by `harness evaluate --predictions`."
)
_PLACE = ("dataset", "model", "leading", "fold", "seed", "patient", "case", "modalities")


@dataclass(frozen=True)
class Work:
    """What a cell is to be scored by.

    Attributes:
        cell: Folder of the cell.
        label: Name of the variant in the study.
        metrics: Metrics that it lacks.
        refusal: Why it cannot be scored, and what to do; empty where it can.
    """

    cell: CellFolder
    label: str
    metrics: tuple[str, ...] = ()
    refusal: str = ""


@dataclass(frozen=True)
class _Source:
    """Where truths come from: a dataset as :func:`find_dataset` finds it, and the hash of its files."""

    name: str
    root: Path
    layout: str
    data: str

    def open(self) -> tuple[Dataset, Reader]:
        dataset = find_dataset(self.name, self.root, self.layout)
        return dataset, dataset.open(self.root)


@dataclass(frozen=True)
class _Case:
    """A test case, and the cells that predicted it with the metrics each lacks."""

    source: _Source
    name: str
    cells: tuple[tuple[CellFolder, tuple[str, ...]], ...]


@dataclass(frozen=True)
class _Found:
    """Scores of a case in one cell.

    Attributes:
        scores: Of the prediction, Dice among them.
        floors: Of each trivial method, by its name.
    """

    scores: Sequence[Score]
    floors: Sequence[tuple[str, Sequence[Score]]]

    def only(self, metrics: Sequence[str]) -> Self:
        """Returns the scores of some metrics."""
        return type(self)(_only(self.scores, metrics), [(name, _only(each, metrics)) for name, each in self.floors])


def _only(scores: Iterable[Score], metrics: Sequence[str]) -> list[Score]:
    return [score for score in scores if score.metric in metrics]


def plan_added(study: StudyFolder, store: Store, metrics: Sequence[str]) -> list[Work]:
    """Returns what each cell of a study lacks, in the study's order.

    Args:
        study: The study, run before.
        store: Its store.
        metrics: Metrics that its cells are to be scored by.

    Raises:
        HarnessError: A metric is not known or cannot be imported.
    """
    for name in metrics:
        _ = METRICS.get(name).function
    cells = {cell.id: (label, cell) for label, cell in reversed(store.study_cells(study))}
    return [_work(cell, label, metrics) for label, cell in reversed(cells.values())]


def _work(cell: CellFolder, label: str, metrics: Sequence[str]) -> Work:
    if (status := cell.status()) == "damaged":
        damage = cell.damages()[0]
        return Work(cell, label, refusal=f"{damage.message} {damage.hint}")
    if status != "done":
        return Work(cell, label, refusal=f"It is not finished ({status}): run the study.")
    lacking = unscored_metrics(cell, metrics)
    folder = cell.result / "predictions"
    if lacking and not any(folder.glob("*.nii.gz")):
        return Work(cell, label, lacking, f"It kept no predictions. {_GONE.format(cell.result)}")
    return Work(cell, label, lacking)


def add_metrics(works: Sequence[Work], jobs: int = 1) -> Iterator[tuple[int, int, Mapping[str, Sequence[str]]]]:
    """Scores what is lacking and writes it, cell by cell as their last case is scored.

    Args:
        works: Cells from :func:`plan_added`.
        jobs: Processes; the scores do not depend on it.

    Yields:
        Cases scored, cases in all, and what is wrong with cells that cannot be scored, by cell.

    Raises:
        HarnessError: A process was ended from outside.
    """
    faults: defaultdict[str, list[str]] = defaultdict(list)
    rows = {work.cell.id: pd.read_parquet(work.cell.result / "cases.parquet") for work in works if _is_open(work)}
    cases = _cases([work for work in works if _is_open(work)], rows, faults)
    scores: defaultdict[str, dict[str, _Found]] = defaultdict(dict)
    yield 0, len(cases), faults
    for number, (case, found) in enumerate(zip(cases, map_in_processes(_score, cases, jobs), strict=True), start=1):
        for (cell, metrics), result in zip(case.cells, found, strict=True):
            tested = rows[cell.id]
            if isinstance(result, str):
                faults[cell.id].append(result)
            elif changed := _changed(tested[tested["case"] == case.name], result.scores):
                faults[cell.id].append(f"{changed} {_GONE.format(cell.result)}")
            else:
                scores[cell.id][case.name] = result.only(metrics)
                for reason in failures(result.scores):
                    faults[cell.id].append(f"Case '{case.name}' counts as worst: {reason}")
            if len(scores[cell.id]) == tested["case"].nunique():
                add_scores(cell, *_tables(tested, scores.pop(cell.id)))
        yield number, len(cases), faults


def _is_open(work: Work) -> bool:
    return bool(work.metrics) and not work.refusal


def _cases(works: Sequence[Work], rows: Mapping[str, pd.DataFrame], faults: Mapping[str, list[str]]) -> list[_Case]:
    """Returns the test cases of all cells, those of the first cell first: each truth is read once."""
    sources: dict[_Source, str] = {}
    cells: defaultdict[tuple[_Source, str], list[tuple[CellFolder, tuple[str, ...]]]] = defaultdict(list)
    for work in works:
        try:
            spec = work.cell.spec()
        except ValueError:
            faults[work.cell.id].append("It was computed by another version of the harness: score it by that one.")
            continue
        source = _Source(spec.dataset, spec.root, spec.layout, spec.data)
        if source not in sources:
            sources[source] = _trouble(source)
        if sources[source]:
            faults[work.cell.id].append(sources[source])
            continue
        for name in rows[work.cell.id]["case"].unique():
            cells[source, name].append((work.cell, work.metrics))
    return [_Case(source, name, tuple(tested)) for (source, name), tested in cells.items()]


def _trouble(source: _Source) -> str:
    """Returns why the truths cannot be read; empty where they can."""
    try:
        dataset, reader = source.open()
        with dataset.naming_reader():
            if reader.fingerprint() == source.data:
                return ""
    except HarnessError as error:
        return f"{error.message} {error.hint}"
    return f"The files of {source.name} in {source.root} changed since: put back those that it was tested on."


@lru_cache(maxsize=8)
def _opened(source: _Source) -> tuple[Dataset, Reader]:
    return source.open()


def _score(case: _Case) -> list[_Found | str]:
    """Returns the scores of a case for each of its cells, or why there are none."""
    try:
        dataset, reader = _opened(case.source)
        with dataset.naming_reader():
            truth = reader.load(case.name)
    except HarnessError as error:
        return [f"{error.message} {error.hint}"] * len(case.cells)
    policy = empty_policy(dataset.empty_policy)

    def score(prediction: NDArray[np.uint8], metrics: Sequence[str]) -> list[Score]:
        return score_case(prediction, truth.label, dataset.regions, truth.spacing, policy, metrics)

    found: list[_Found | str] = []
    for cell, metrics in case.cells:
        path = cell.result / "predictions" / f"{case.name}.nii.gz"
        try:
            if not path.is_file():
                raise DataError(f"{path} is gone.", hint=_GONE.format(cell.result))
            prediction, _ = read_label(path, frozenset(dataset.labels))
            scores = score(prediction, tuple(dict.fromkeys(("dice", *metrics))))
            trivial = _trivial_predictions(dataset, reader, cell.spec(), case.name)
            found.append(_Found(scores, [(one.name, score(one.prediction, metrics)) for one in trivial]))
        except HarnessError as error:
            found.append(f"{error.message} {error.hint}")
    return found


def _trivial_predictions(dataset: Dataset, reader: Reader, spec: CellSpec, case: str) -> list[TrivialPrediction]:
    """Returns what trivial methods predict; nothing where the fold is the user's own, as in the test."""
    with dataset.naming_reader():
        own = spec.fold < dataset.folds and reader.split(spec.fold).hash == spec.split
        return trivial_predictions(reader, spec.fold, case) if own else []


def _changed(tested: pd.DataFrame, scores: Sequence[Score]) -> str:
    """Returns what differs from the test: Dice is computed again, and must be what it was; empty where it is."""
    before = tested[tested["metric"] == "dice"].set_index("region")["value"].to_dict()
    for score in scores:
        was = before.get(score.region)
        if score.metric == "dice" and (was is None or abs(score.value - was) > 1e-9):
            return (
                f"Dice of '{score.region}' in case '{tested['case'].iloc[0]}' was {was} and is {score.value} now: the "
                "prediction that is kept is not the one that was tested."
            )
    return ""


def _tables(tested: pd.DataFrame, found: Mapping[str, _Found]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the scores as rows like those of the test, in its order, and those of trivial methods."""
    known = [name for name in _PLACE if name in tested]  # cells of complete cases do not name their modalities
    places = tested[known].drop_duplicates("case").to_dict("records")
    rows = [{**place, **asdict(score)} for place in places for score in found[place["case"]].scores]
    floors = [
        {**place, **asdict(score), "floor": name}
        for place in places
        for name, scores in found[place["case"]].floors
        for score in scores
    ]
    return pd.DataFrame(rows), pd.DataFrame(floors)
