"""Several studies, and results of other groups, as one: what a report across studies is made from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from harness.errors import HarnessError
from harness.results.schema import DatasetFacts, StudyResults

_PLACE = ["label", "dataset", "leading", "fold", "seed"]


def combine(studies: Sequence[StudyResults]) -> StudyResults:
    """Joins studies into one.

    A label that means different cells in two studies is followed by the name of its study in each. Metrics are those
    every study reports. The reference is the first study's. Cells that two studies share are counted once.

    Raises:
        HarnessError: Two studies describe a dataset differently, share no metric, or name two policies for empty
            regions.
    """
    if len(studies) == 1:
        return studies[0]
    named = _renamed(studies)
    first = named[0]
    metrics = tuple(name for name in first.metrics if all(name in study.metrics for study in named))
    if not metrics:
        raise HarnessError(
            f"The studies {', '.join(study.study for study in named)} have no metric in common.",
            hint="Report them one by one, or name a common metric under `report: metrics:` in the study files.",
        )
    return StudyResults(
        study=" + ".join(dict.fromkeys(study.study for study in named)),
        profile=", ".join(dict.fromkeys(study.profile for study in named)),
        question=" ".join(dict.fromkeys(study.question for study in named if study.question)),
        reference=first.reference,
        metrics=metrics,
        labels=tuple(dict.fromkeys(label for study in named for label in study.labels)),
        cases=_joined((study.cases for study in named), "cell", "label", "case", "region", "metric"),
        cells=_joined((study.cells for study in named), "cell", "label"),
        history=_joined((study.history for study in named), "cell", "epoch"),
        floors=_joined((study.floors for study in named), "dataset", "fold", "floor", "case", "region", "metric"),
        datasets=_datasets(named),
        overlays={cell: path for study in named for cell, path in study.overlays.items()},
        subsets=_joined(
            (study.subsets for study in named), "cell", "label", "present", "fill", "case", "region", "metric"
        ),
        subset_failures={cell: reason for study in named for cell, reason in study.subset_failures.items()},
        empty=_policy(named),
        answers="; ".join(dict.fromkeys(study.answers for study in named if study.answers)),
        by=tuple(dict.fromkeys(column for study in named for column in study.by)),
        designs={cell: design for study in named for cell, design in study.designs.items()},
        stated=_joined((study.stated for study in named), "label", "dataset", "file", "region", "metric"),
    )


def _joined(tables: Iterable[pd.DataFrame], *key: str) -> pd.DataFrame:
    """Tables one under the other; rows of the same key are counted once."""
    return pd.concat(tables, ignore_index=True).drop_duplicates(list(key), ignore_index=True)


def _renamed(studies: Sequence[StudyResults]) -> list[StudyResults]:
    """Gives every label one meaning."""
    meanings: dict[tuple[object, ...], set[str]] = {}
    for study in studies:
        for row in study.cells[[*_PLACE, "cell"]].itertuples(index=False):
            meanings.setdefault(tuple(row[:-1]), set()).add(str(row[-1]))
    clashing = {str(place[0]) for place, cells in meanings.items() if len(cells) > 1}
    return [_rename(study, {label: f"{label} ({_name(study, studies)})" for label in clashing}) for study in studies]


def _name(study: StudyResults, studies: Sequence[StudyResults]) -> str:
    """The study's name, with its profile where the same study stands there under two."""
    return (
        study.study if sum(other.study == study.study for other in studies) == 1 else f"{study.study} {study.profile}"
    )


def _rename(study: StudyResults, names: Mapping[str, str]) -> StudyResults:
    if not set(study.labels) & set(names):
        return study
    return replace(
        study,
        reference=names.get(study.reference, study.reference) if study.reference else None,
        labels=tuple(names.get(label, label) for label in study.labels),
        cases=study.cases.assign(label=study.cases["label"].replace(dict(names))),
        cells=study.cells.assign(label=study.cells["label"].replace(dict(names))),
        subsets=study.subsets.assign(label=study.subsets["label"].replace(dict(names))),
        stated=study.stated.assign(label=study.stated["label"].replace(dict(names))),
    )


def _policy(studies: Sequence[StudyResults]) -> str:
    policies = dict.fromkeys(study.empty for study in studies)
    if len(policies) > 1:
        named = ", ".join(f"{study.study}: {study.empty or 'of each dataset'}" for study in studies)
        raise HarnessError(
            f"The studies treat empty regions differently ({named}).", hint="Name one policy for all of them: --empty."
        )
    return next(iter(policies))


def _datasets(studies: Sequence[StudyResults]) -> dict[str, DatasetFacts]:
    datasets: dict[str, DatasetFacts] = {}
    for study in studies:
        for name, facts in study.datasets.items():
            known = datasets.setdefault(name, facts)
            if (known.kind, known.regions, known.modalities) != (facts.kind, facts.regions, facts.modalities):
                raise HarnessError(
                    f"The studies do not mean the same by dataset '{name}': {known.kind}, regions "
                    f"{', '.join(known.regions)}, against {facts.kind}, {', '.join(facts.regions)} in {study.study}.",
                    hint="Run the older study again with this version, or report them one by one.",
                )
    return datasets
