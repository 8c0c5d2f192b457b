"""Everything that one report is made from: studies of ours, results of others, or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.errors import HarnessError, did_you_mean
from harness.evaluation import METRICS
from harness.report.inputs.imported_results import add_imported, import_alone
from harness.report.inputs.patient_columns import add_columns
from harness.report.inputs.readers.source import Request
from harness.report.inputs.several_studies import combine
from harness.results.empty_cases import masks_of, under_policy
from harness.results.reading import load_results
from harness.results.schema import StudyResults
from harness.results.store import Store, StudyFolder
from harness.study.profiles import Profiles


@dataclass(frozen=True)
class Choice:
    """What the user asks of the results.

    Attributes:
        metrics: Metrics to show; none for those of the study.
        empty: Policy for empty regions; None for the study's.
        reference: Label that the others are compared with; None for the study's.
        by: Columns of the patients that scores are shown by; none for the study's.
    """

    metrics: tuple[str, ...] = ()
    empty: str | None = None
    reference: str | None = None
    by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gathered:
    """What is reported.

    Attributes:
        study: All results as one study.
        name: Folder of the report below ``reports``, where the user names none.
        notes: What the user must know of what was read.
        loaded: Studies of ours in it.
        folder: The only study of ours in it; None for several or none.
    """

    study: StudyResults
    name: str
    notes: tuple[str, ...]
    loaded: tuple[StudyResults, ...] = ()
    folder: StudyFolder | None = None


def gather_others(requests: Sequence[Request], choice: Choice) -> Gathered:
    """Gathers results of others alone.

    Raises:
        DataError: As :func:`~harness.report.inputs.imported_results.import_alone`.
        HarnessError: The reference is no label, or a metric or policy is not known.
    """
    study, notes = import_alone(requests, reference=choice.reference, metrics=choice.metrics, empty=choice.empty or "")
    if study.empty:
        study = under_policy(study, study.empty, masks_of([]))
    return Gathered(study, f"others/{'+'.join(study.datasets)[:200]}", notes)


def gather_studies(
    store: Store, studies: Sequence[str] | None, profile: Profiles, requests: Sequence[Request], choice: Choice
) -> Gathered:
    """Gathers studies of ours, with results of others beside them.

    Args:
        store: The results.
        studies: Names; none for the study run last.
        profile: Profile, or several.
        requests: Results of others.
        choice: What the user asks of the results.

    Raises:
        DataError: As :func:`~harness.report.inputs.imported_results.add_imported`, or a column cannot be shown.
        HarnessError: There is no such study, or the reference is no label.
    """
    names: list[str | None] = [*dict.fromkeys(studies)] if studies else [None]
    folders = [store.find_study(name, profile) for name in names]
    loaded = [load_results(folder, store) for folder in folders]
    if choice.metrics:
        metrics = tuple(METRICS.get(name).name for name in dict.fromkeys(choice.metrics))
        loaded = [replace(found, metrics=metrics) for found in loaded]
    if choice.empty is not None:
        loaded = [replace(found, empty=choice.empty) for found in loaded]
    study, notes = add_imported(combine(loaded), requests)
    study, unknown = add_columns(study, store, folders, choice.by or study.by, asked=bool(choice.by))
    if choice.reference is not None:
        if choice.reference not in study.labels:
            raise HarnessError(
                f"No method is called '{choice.reference}'.", hint=did_you_mean(choice.reference, study.labels)
            )
        study = replace(study, reference=choice.reference)
    if study.empty:
        cells = [cell for folder in folders for _, cell in store.study_cells(folder)]
        study = under_policy(study, study.empty, masks_of(cells))
    name = "+".join(dict.fromkeys(folder.study for folder in folders))
    only = folders[0] if len(folders) == 1 else None
    return Gathered(study, f"{name}/{folders[0].profile}", (*notes, *unknown), tuple(loaded), only)
