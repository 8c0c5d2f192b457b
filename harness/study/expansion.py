"""From a study file to its cells.

Everything a study can get wrong is found here, before anything runs: unknown models, options, datasets and modalities,
leading modalities a dataset lacks, dimensions a network lacks, labels given twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from harness.data import Dataset, Reader, Split
from harness.data.assumed import AssumedReader
from harness.data.datasets.layouts import find_dataset
from harness.data.splits import check_leak, choose_splits
from harness.errors import DataError, HarnessError, StudyError, did_you_mean
from harness.files import hash_of_file
from harness.segmenters import SEGMENTERS, Segmenter, Task
from harness.study.cell import NO_LEADING, CellSpec
from harness.study.document import Document, Key, merge, read_document, validate
from harness.study.packages import numeric_packages
from harness.study.protocol import Protocol, is_native, load_protocol, model_protocols, native_protocol
from harness.study.schema import DatasetEntry, ModelEntry, Study

__all__ = ["LoadedStudy", "StudyCell", "Variant", "expand_study", "load_study", "make_task"]


T = TypeVar("T")


@dataclass(frozen=True)
class Variant:
    """A network with its switches set."""

    label: str
    segmenter: Segmenter
    options: Mapping[str, Any]
    protocol: Protocol
    weights: str = ""
    weights_file: Path | None = None
    start: str = ""
    start_file: Path | None = None
    tuned: Mapping[str, Protocol] = field(default_factory=dict)

    def protocol_on(self, dataset: str) -> Protocol:
        """Returns how the network is trained on a dataset; under a tuned protocol that may differ between datasets."""
        return self.tuned.get(dataset, self.tuned.get("", self.protocol))


@dataclass(frozen=True)
class StudyCell:
    """A cell, and what this study calls it."""

    spec: CellSpec
    label: str


@dataclass(frozen=True)
class LoadedStudy:
    """A validated study with a profile applied.

    Attributes:
        study: The file's content, profile merged in.
        profile: Name of the profile, ``default`` for none.
        protocol: The protocol, resolved; under ``native`` each variant has its own.
        variants: Networks with switches, in file order.
        cells: All cells; those that coincide (a model without a leading modality under several of them) are listed
        once. collapsed: Number of combinations that coincided with another.
    """

    study: Study
    profile: str
    protocol: Protocol
    variants: tuple[Variant, ...]
    cells: tuple[StudyCell, ...]
    collapsed: int


def load_study(path: Path, profile: str | None = None, assume_absent: bool = False) -> LoadedStudy:
    """Reads, validates and expands a study file.

    Args:
        path: The file.
        profile: One of its profiles.
        assume_absent: For plans: datasets that are not there are taken to be as their owners state; their cells have
            ``data`` equal to :data:`harness.data.assumed.ASSUMED`.

    Raises:
        StudyError: Something in the file cannot be; the message names file and line.
        DataError: A dataset's folder is missing or not what it should be.
    """
    return expand_study(_with_profile(read_document(path), profile), path.parent, profile or "default", assume_absent)


def expand_study(
    document: Document, beside: Path, profile: str = "default", assume_absent: bool = False
) -> LoadedStudy:
    """Validates and expands a study that was read, or made, already.

    Args:
        document: The study, its profile merged in.
        beside: Where relative paths begin, and whose ``protocols/`` is searched first.
        profile: Name of the profile.
        assume_absent: As in :func:`load_study`.

    Raises:
        StudyError: Something in the study cannot be.
        DataError: A dataset's folder is missing or not what it should be.
    """
    study = validate(Study, document)
    try:
        protocol = load_protocol(study.protocol, beside)
    except StudyError as error:
        raise document.error(("protocol",), error.message, error.hint) from error
    seen: set[str] = set()
    variants = tuple(
        variant
        for words, request in _ways(study)
        for variant in _variants(study, document, words, request, beside, seen)
    )
    _check_reference(study, variants, document)
    cells, collapsed = _cells(study, document, variants, beside, assume_absent)
    return LoadedStudy(study, profile, protocol, variants, cells, collapsed)


def _with_profile(document: Document, profile: str | None) -> Document:
    if profile is None:
        return document
    profiles = document.values.get("profiles")
    known = profiles if isinstance(profiles, dict) else {}
    if profile not in known:
        raise document.error(("profiles",), f"there is no profile '{profile}'.", did_you_mean(profile, known))
    changes = known[profile]
    if not isinstance(changes, dict):
        raise document.error(("profiles", profile), f"profile '{profile}' must be a mapping.")
    if "name" in changes or "profiles" in changes:
        raise document.error(("profiles", profile), "a profile cannot change 'name' or 'profiles'.")
    prefix: Key = ("profiles", profile)
    moved = {path[2:]: line for path, line in document.lines.items() if path[:2] == prefix and len(path) > 2}
    return Document(merge(document.values, changes), {**document.lines, **moved}, document.source)


def _ways(study: Study) -> Iterator[tuple[str, str | dict[str, Any]]]:
    """Yields the ways of training: what labels say of each, and what it asks of protocols."""
    base = {"base": study.protocol} if isinstance(study.protocol, str) else study.protocol
    name = base.get("name", base.get("base", "custom"))
    for words, changes in study.matrix.protocol.items():
        yield words, merge(merge(base, changes), {"name": f"{name}, {words}"})
    if not study.matrix.protocol:
        yield "", study.protocol


def _variants(
    study: Study, document: Document, words: str, request: str | dict[str, Any], beside: Path, seen: set[str]
) -> Iterator[Variant]:
    """Yields the networks with their switches, trained in one way; ``seen`` holds the labels so far."""
    try:
        protocol = load_protocol(request, beside)
    except StudyError as error:
        raise document.error(("matrix", "protocol", words), error.message, error.hint) from error
    for index, entry in enumerate(study.matrix.model):
        where: Key = ("matrix", "model", index)
        segmenter = _registered(SEGMENTERS.get, entry.name, document, where)
        weights = _weights(entry, beside, document, where)
        for chosen in _combinations(entry.sweep):
            given = {**study.options.get(entry.name, {}), **entry.options, **chosen}
            try:
                parsed = segmenter.parse_options(given)
                start_file = segmenter.pretrained_file(parsed, beside)
            except StudyError as error:
                raise document.error(where, error.message, error.hint) from error
            label = ", ".join(filter(None, [_label(entry, segmenter, chosen), words]))
            if label in seen:
                raise document.error(
                    where, f"the label '{label}' stands twice.", "Give each variant a `label` of its own."
                )
            seen.add(label)
            own = protocol
            if is_native(request):
                own = native_protocol(request, segmenter.native_recipe, beside)
            tuned = model_protocols(request, segmenter.name, beside)
            options = parsed.model_dump(mode="json")
            if start_file is None:
                yield Variant(label, segmenter, options, own, *weights, tuned=tuned)
            else:
                options[segmenter.pretrained_option] = str(start_file)
                start = (hash_of_file(start_file), start_file)
                yield Variant(label, segmenter, options, own, *weights, *start, tuned=tuned)
    for name in study.options:
        if name not in {entry.name for entry in study.matrix.model}:
            raise document.error(
                ("options", name),
                f"options are given for '{name}', which is not in the matrix.",
                did_you_mean(name, {entry.name for entry in study.matrix.model}),
            )


def _weights(entry: ModelEntry, beside: Path, document: Document, where: Key) -> tuple[str, Path | None]:
    """Returns hash and place of the weights an entry brings; ``("", None)`` where it is trained."""
    if entry.weights is None:
        return "", None
    path = (beside / entry.weights).resolve()
    if not path.is_file():
        raise document.error(
            where,
            f"there are no weights at {path}.",
            "Write them with `harness import-checkpoint`, or correct the path.",
        )
    return hash_of_file(path), path


def _combinations(sweep: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*sweep.values()):
        yield dict(zip(sweep, values, strict=True))


def _label(entry: ModelEntry, segmenter: Segmenter, chosen: Mapping[str, Any]) -> str:
    base = entry.label or segmenter.title
    shown = chosen if entry.label else {**{k: v for k, v in entry.options.items() if k != "preset"}, **chosen}
    return ", ".join([base, *(f"{key}={value}" for key, value in shown.items())])


def _check_reference(study: Study, variants: tuple[Variant, ...], document: Document) -> None:
    labels = [variant.label for variant in variants]
    reference = study.report.reference
    if reference is not None and reference not in labels:
        raise document.error(
            ("report", "reference"),
            f"the reference '{reference}' is no label of this study.",
            did_you_mean(reference, labels),
        )


def _cells(
    study: Study, document: Document, variants: tuple[Variant, ...], beside: Path, assume_absent: bool
) -> tuple[tuple[StudyCell, ...], int]:
    found: dict[tuple[str, str], StudyCell] = {}
    total = 0
    own_folders: dict[str, Path] = {}
    for index, entry in enumerate(study.matrix.dataset):
        where: Key = ("matrix", "dataset", index)
        dataset, root, reader = _open(entry, beside, document, where, assume_absent)
        _check_name(entry.layout, dataset.name, root, own_folders, document, where)
        data = reader.fingerprint()
        own_splits = (beside / entry.splits).resolve() if entry.splits is not None else None
        splits = _splits(reader, dataset, own_splits, study.matrix.fold, document, where)
        split_hashes = {fold: split.hash for fold, split in splits.items()}
        leadings = _leadings(study, dataset, document)
        for variant, leading, fold, seed in itertools.product(variants, leadings, study.matrix.fold, study.matrix.seed):
            total += 1
            protocol = variant.protocol_on(dataset.name)
            _check_task(variant, dataset, leading, document)
            spec = CellSpec(
                dataset=dataset.name,
                dataset_revision=dataset.revision,
                data=data,
                root=root,
                model=variant.segmenter.name,
                model_revision=variant.segmenter.revision,
                options=variant.options,
                leading=leading if variant.segmenter.uses_leading else NO_LEADING,
                fold=fold,
                split=split_hashes[fold],
                seed=seed,
                protocol=protocol,
                weights=variant.weights,
                weights_file=variant.weights_file,
                start=variant.start,
                start_file=variant.start_file,
                splits_file=own_splits,
                layout=entry.layout,
                packages=numeric_packages() if protocol.training.determinism == "strict" else {},
            )
            found.setdefault((variant.label, spec.id), StudyCell(spec, variant.label))
    return tuple(found.values()), total - len(found)


def _open(
    entry: DatasetEntry, beside: Path, document: Document, where: Key, assume_absent: bool
) -> tuple[Dataset, Path, Reader]:
    """Returns the dataset of an entry, leading as the entry says, its folder and its reader."""
    named = beside / entry.folder if entry.folder is not None else None
    if entry.layout:
        dataset = _located(lambda: find_dataset(entry.name, named, entry.layout), document, where)
    else:
        dataset = _registered(find_dataset, entry.name, document, where)
    if entry.leading is not None:
        if entry.leading not in dataset.modalities:
            raise document.error(
                (*where, "leading"),
                f"{dataset.name} has no modality '{entry.leading}'.",
                did_you_mean(entry.leading, dataset.modalities),
            )
        dataset = replace(dataset, default_leading=entry.leading)
    if assume_absent and dataset.release is not None and _located(lambda: dataset.find(named), document, where) is None:
        return dataset, Path(), AssumedReader(dataset.release, dataset)
    root = _located(lambda: dataset.locate(named).resolve(), document, where)
    return dataset, root, _located(lambda: dataset.open(root), document, where)


def _located(get: Callable[[], T], document: Document, where: Key) -> T:
    """Returns what ``get`` returns; its errors name the line of the study."""
    try:
        return get()
    except HarnessError as error:
        raise type(error)(f"{document.at(where)}: {error.message}", hint=error.hint) from error


def _check_name(layout: str, name: str, root: Path, own: dict[str, Path], document: Document, where: Key) -> None:
    """Refuses two folders of the user's own that tables would call alike."""
    if layout and own.setdefault(name, root) != root:
        raise document.error(
            where, f"two folders are called '{name}': {own[name]} and {root}.", "Give one of them a `name` of its own."
        )


def _splits(
    reader: Reader, dataset: Dataset, file: Path | None, wanted: Sequence[int], document: Document, where: Key
) -> dict[int, Split]:
    """Returns the folds that are asked for; a fold that leaks is refused."""
    try:
        folds = choose_splits(dataset, reader, file)
        for fold in wanted:
            if fold >= len(folds):
                raise document.error(
                    ("matrix", "fold"),
                    f"{dataset.name} has {len(folds)} folds, so there is no fold {fold}.",
                    f"Valid: {', '.join(map(str, range(len(folds))))}.",
                )
            check_leak(folds[fold], dataset, reader, f"{dataset.name}, fold {fold}")
    except DataError as error:
        raise DataError(f"{document.at(where)}: {error.message}", hint=error.hint) from error
    return {fold: folds[fold] for fold in wanted}


def _leadings(study: Study, dataset: Dataset, document: Document) -> list[str]:
    leadings: list[str] = []
    for index, name in enumerate(study.matrix.leading):
        if name == "default":
            leadings.append(dataset.default_leading)
        elif name == "all":
            leadings.extend(dataset.modalities)
        elif name == "none" or name in dataset.modalities:
            leadings.append(name)
        else:
            raise document.error(
                ("matrix", "leading", index),
                f"{dataset.name} has no modality '{name}'.",
                did_you_mean(name, [*dataset.modalities, "default", "all", "none"]),
            )
    return list(dict.fromkeys(leadings))


def _check_task(variant: Variant, dataset: Dataset, leading: str, document: Document) -> None:
    try:
        variant.segmenter.check(make_task(dataset, leading, variant.protocol_on(dataset.name)))
    except StudyError as error:
        raise document.error(("matrix", "model"), error.message, error.hint) from error
    if variant.protocol_on(dataset.name).sampling.modality_dropout is None:
        return
    if variant.segmenter.runner:
        raise document.error(
            ("matrix", "model"),
            f"{variant.segmenter.name} trains by itself, so no modality can be dropped.",
            "Leave it out, or leave `sampling.modality_dropout` out of its protocol.",
        )
    if len(dataset.modalities) < 2:
        raise document.error(
            ("matrix", "dataset"),
            f"{dataset.name} has one modality, which is never dropped.",
            "Leave `sampling.modality_dropout` out of the protocol.",
        )


def make_task(dataset: Dataset, leading: str, protocol: Protocol) -> Task:
    """Returns what a network is asked to segment in a cell."""
    index = dataset.modalities.index(leading) if leading in dataset.modalities else None
    return Task(dataset.modalities, index, len(dataset.labels), protocol.patch_size)


def _registered(get: Any, name: str, document: Document, where: Key) -> Any:
    try:
        return get(name)
    except HarnessError as error:
        raise document.error(where, error.message, error.hint) from error
