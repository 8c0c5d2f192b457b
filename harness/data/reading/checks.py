"""Finds problems in a dataset's folder that the user must correct before running a study."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.alike import group_alike, name_some, without_case
from harness.cores import cores
from harness.data.assumptions import collect_assumptions
from harness.data.contract import Case, Dataset, Reader, case_warnings
from harness.data.incomplete import UNTRAINED_REMEDY, absent_channels, count_patterns, untrained_words
from harness.data.splits import check_leak
from harness.errors import DataError, HarnessError

#: ``fix``: must be corrected. ``look``: may be intended, should be reviewed.
Severity = Literal["fix", "look"]

_MOST_THREADS = 4  # each holds a whole case

#: A voxel size so many times larger or smaller than the median is reported.
_SPACING_RATIO = 3.0


@dataclass(frozen=True)
class Finding:
    """Something about a dataset.

    Attributes:
        severity: Whether the problem must be corrected.
        where: Case, cases or fold.
        what: Description of the problem.
        remedy: Action that solves it.
    """

    severity: Severity
    where: str
    what: str
    remedy: str = ""


@dataclass(frozen=True)
class Checked:
    """Result of a check.

    Attributes:
        labelled: Cases with a label.
        unlabelled: Cases without a label.
        readable: Cases that could be read.
        shapes: Voxels along each axis to number of cases.
        patterns: Modalities present, joined by ``+``, to the number of labelled cases that were read.
        findings: Findings, those that must be corrected first.
    """

    labelled: int
    unlabelled: int
    readable: int
    shapes: Mapping[tuple[int, ...], int]
    findings: tuple[Finding, ...]
    patterns: Mapping[str, int] = field(default_factory=dict)

    @property
    def must_fix(self) -> bool:
        """Whether any finding must be corrected."""
        return any(finding.severity == "fix" for finding in self.findings)


@dataclass(frozen=True)
class _CaseProperties:
    """Properties of a case that was read, for comparisons between cases."""

    case: str
    findings: tuple[Finding, ...]
    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    images: tuple[str, ...] = ()
    label: str = ""
    absent: tuple[int, ...] = ()


def check_dataset(dataset: Dataset, reader: Reader, progress: Callable[[int, int], None] | None = None) -> Checked:
    """Reads every case and compares all of them.

    Args:
        dataset: Facts of the dataset.
        reader: Reader of the dataset's folder.
        progress: Called with (done, total).
    """
    with dataset.naming_reader():
        labelled = set(reader.cases())
        cases = [*reader.cases(), *reader.unlabelled()]
    seen: list[_CaseProperties] = []
    threads = min(_MOST_THREADS, cores())
    with ThreadPoolExecutor(threads) as pool:
        for one in pool.map(lambda case: _look(dataset, reader, case, case in labelled), cases):
            seen.append(one)
            if progress is not None:
                progress(len(seen), len(cases))
    findings = [finding for one in seen for finding in one.findings]
    findings += _duplicates(dataset, reader, seen) + _unusual_spacings(seen) + _leaks(dataset, reader)
    findings += _untrained_patterns(dataset, reader)
    shapes: dict[tuple[int, ...], int] = defaultdict(int)
    for one in seen:
        if one.shape:
            shapes[one.shape] += 1
    return Checked(
        labelled=len(labelled),
        unlabelled=len(cases) - len(labelled),
        readable=sum(1 for one in seen if one.shape),
        shapes=dict(sorted(shapes.items(), key=lambda item: -item[1])),
        findings=tuple(sorted(_joined(findings), key=lambda finding: finding.severity)),
        patterns=count_patterns(dataset.modalities, (one.absent for one in seen if one.shape and one.case in labelled)),
    )


def _joined(findings: Iterable[Finding]) -> list[Finding]:
    """Joins findings of several cases that differ in nothing but the case and numbers; the first one speaks."""
    groups = group_alike(
        findings, lambda one: (one.severity, without_case(one.what, one.where), without_case(one.remedy, one.where))
    )
    return [
        Finding(
            first.severity,
            name_some([first.where, *(one.where for one in others)]),
            first.what if all(one.what == first.what for one in others) else f"{first.what} (The others: alike.)",
            first.remedy,
        )
        for first, *others in groups
    ]


def _look(dataset: Dataset, reader: Reader, case: str, labelled: bool) -> _CaseProperties:
    try:
        with collect_assumptions() as noted, dataset.naming_reader():
            content = reader.load(case)
            absent = absent_channels(dataset, reader, case)
            warnings = case_warnings(reader, case, content)
    except DataError as error:
        return _CaseProperties(case, (Finding("fix", case, error.message, error.hint),))
    findings = [Finding("look", case, words) for words in sorted({words for _, words in noted})]
    findings += [Finding("fix", case, words, "Compare with `harness data preview`.") for words in warnings]
    findings += _content_findings(dataset, case, content, labelled and not warnings, absent)
    return _CaseProperties(
        case,
        tuple(findings),
        tuple(content.label.shape),
        content.spacing,
        tuple("" if channel in absent else _hash(image) for channel, image in enumerate(content.images)),
        _hash(content.label) if content.label.any() else "",
        absent,
    )


def _content_findings(
    dataset: Dataset, case: str, content: Case, labelled: bool, absent: tuple[int, ...]
) -> Iterable[Finding]:
    if content.images.shape != (len(dataset.modalities), *content.label.shape):
        yield Finding("fix", case, f"images of shape {content.images.shape}, label of {content.label.shape}")
    if surplus := sorted(set(np.unique(content.label).tolist()) - set(dataset.labels)):
        yield Finding("fix", case, f"label values {surplus} that the dataset does not declare")
    for channel, (name, image) in enumerate(zip(dataset.modalities, content.images, strict=False)):
        if channel not in absent and image.size and image.min() == image.max():
            yield Finding("fix", case, f"{name} has the same value everywhere", "Get the image again.")
    if labelled and not content.label.any():
        yield Finding(
            "look", case, "the label is empty", "Check whether that is intended: training cannot learn from it."
        )


def _duplicates(dataset: Dataset, reader: Reader, seen: Iterable[_CaseProperties]) -> list[Finding]:
    """Finds duplicates: an image of two patients or two modalities, a label of two patients."""
    owners: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for one in seen:
        for name, digest in zip(dataset.modalities, one.images, strict=False):
            if digest:
                owners[digest].append((one.case, name))
        if one.label:
            owners[one.label].append((one.case, "label"))
    by_cases: dict[tuple[str, ...], set[str]] = defaultdict(set)
    within: list[Finding] = []
    for held in owners.values():
        cases = tuple(dict.fromkeys(case for case, _ in held))
        names = list(dict.fromkeys(name for _, name in held))
        if len(cases) == 1 and len(held) > 1:
            within.append(
                Finding("fix", cases[0], f"{' and '.join(names)} are the same image", "Get one of them again.")
            )
        elif len({reader.patient(case) for case in cases}) > 1:
            by_cases[cases].update(names)
    between = [
        Finding(
            "fix",
            name_some(cases),
            f"the same content ({', '.join(sorted(names))}) under {len(cases)} names: one patient would be trained on "
            "and tested",
            "Remove all but one, or name one patient for all of them.",
        )
        for cases, names in by_cases.items()
    ]
    return [*between, *within]


def _unusual_spacings(seen: Iterable[_CaseProperties]) -> list[Finding]:
    known = [one for one in seen if one.spacing]
    if not known:
        return []
    median = np.median([one.spacing for one in known], axis=0)
    return [
        Finding("look", one.case, f"voxels of {_millimetres(one.spacing)} mm; the median is {_millimetres(median)}")
        for one in known
        if (np.maximum(np.array(one.spacing) / median, median / np.array(one.spacing)) > _SPACING_RATIO).any()
    ]


def _millimetres(sizes: Iterable[float]) -> str:
    return " x ".join(f"{size:.3g}" for size in sizes)


def _leaks(dataset: Dataset, reader: Reader) -> list[Finding]:
    findings = []
    for fold in range(dataset.folds):
        try:
            check_leak(reader.split(fold), dataset, reader, f"{dataset.name}, fold {fold}")
        except HarnessError as error:
            findings.append(Finding("fix", f"fold {fold}", error.message, error.hint))
    if len(findings) == dataset.folds and len({finding.what for finding in findings}) == 1:
        return [Finding("fix", "all folds", findings[0].what, findings[0].remedy)]
    return findings


def _untrained_patterns(dataset: Dataset, reader: Reader) -> list[Finding]:
    """Returns the folds that test a pattern of modalities on which they do not train."""
    findings = []
    for fold in range(dataset.folds):
        try:
            words = untrained_words(dataset, reader, reader.split(fold))
        except HarnessError:  # a finding of its own
            continue
        if words:
            findings.append(Finding("look", f"fold {fold}", f"In this fold {words}", UNTRAINED_REMEDY))
    return findings


def _hash(voxels: NDArray[np.generic]) -> str:
    digest = hashlib.sha256(str(voxels.shape).encode())
    digest.update(np.ascontiguousarray(voxels).tobytes())
    return digest.hexdigest()
