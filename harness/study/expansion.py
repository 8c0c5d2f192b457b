"""From a study file to its cells.

Everything a study can get wrong is found here, before anything runs: unknown models, options, datasets and modalities,
leading modalities a dataset lacks, dimensions a network lacks, labels given twice.
"""

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from harness.data import Dataset, Reader, Split
from harness.data.assumed import AssumedReader
from harness.data.datasets.layouts import find_dataset
from harness.data.incomplete import UNTRAINED_REMEDY, refuse_without_leading, untrained_words
from harness.data.patients.by_column import Folds, SplitBy
from harness.data.patients.shares import patients_of_share, share_words
from harness.data.spacing import Sizes, median_spacing, resolve_spacing
from harness.data.splits import check_leak
from harness.errors import DataError, HarnessWarning, did_you_mean
from harness.files import resolve_path
from harness.segmenters import Task
from harness.shipped import home_of
from harness.study.cell import NO_LEADING, CellSpec, numeric_packages
from harness.study.document import Document, read_document, validate
from harness.study.profiles import Profiles, apply_profiles, profile_name
from harness.study.protocol import WITH, Protocol, ProtocolRequest, resolve_protocol
from harness.study.schema import DatasetEntry, Study
from harness.study.variants import Variant, find_variants
from harness.yaml_text import Key

#: Combinations that one study may have.
MOST_CELLS = 100_000


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
            once.
        collapsed: Number of combinations that coincided with another.
    """

    study: Study
    profile: str
    protocol: Protocol
    variants: tuple[Variant, ...]
    cells: tuple[StudyCell, ...]
    collapsed: int

    @property
    def labels(self) -> tuple[str, ...]:
        """What cells are called, in table order."""
        return tuple(dict.fromkeys(cell.label for cell in self.cells))


@dataclass(frozen=True)
class _OpenDataset:
    """A dataset of the matrix, opened.

    Attributes:
        facts: The dataset.
        reader: Its reader.
        root: Its folder.
        layout: Layout of a folder of the user's own; empty for a registered dataset.
        data: Hash of its files.
        chosen_by: What its folds are chosen by.
        splits: Fold to its split, with all training patients.
        leading: Modalities that lead in turn.
        parts: What :meth:`part` has found.
    """

    facts: Dataset
    reader: Reader
    root: Path
    layout: str
    data: str
    chosen_by: Folds
    splits: Mapping[int, Split]
    leading: tuple[str, ...]
    parts: dict[tuple[int, float, int], tuple[str, int]] = field(default_factory=dict)

    def part(self, fold: int, share: float, seed: int) -> tuple[str, int]:
        """Returns the hash of a fold with a share of its training patients, and the number of these.

        Args:
            fold: A fold of ``splits``.
            share: Share of the training patients.
            seed: Seed of the cell, by which the share is drawn.
        """
        key = fold, share, seed
        if key not in self.parts:
            with self.facts.naming_reader():
                split = replace(self.chosen_by, share=share).reduced(self.splits[fold], self.reader, seed)
                self.parts[key] = split.hash, len({self.reader.patient(case) for case in split.train})
        return self.parts[key]

    @cached_property
    def voxel_size(self) -> Sizes:
        """Median voxel size of the labelled cases, measured once."""
        return median_spacing(self.facts, self.reader)


def load_study(path: Path, profile: Profiles = None, assume_absent: bool = False) -> LoadedStudy:
    """Reads, validates and expands a study file.

    Args:
        path: The file.
        profile: One of its profiles, or several, merged in order.
        assume_absent: For plans: datasets that are not there are taken to be as their owners state; their cells have
            ``data`` equal to :data:`harness.data.assumed.ASSUMED`.

    Raises:
        StudyError: Something in the file cannot be; the message names file and line.
        DataError: A dataset's folder is missing or not what it should be.
    """
    document = apply_profiles(read_document(path), profile, home_of(path))
    return expand_study(document, home_of(path), profile_name(profile) or "default", assume_absent)


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
    with document.naming_line(("protocol",)):
        request = resolve_protocol(study.protocol, beside, document.section(("protocol",)))
    variants = find_variants(study, document, _ways(study, document, request, beside), beside)
    _check_size(study, document, len(variants))
    shares = sorted(set(study.matrix.train_share))
    found: dict[tuple[str, str], StudyCell] = {}
    total = 0
    own_folders: dict[str, Path] = {}
    for index, entry in enumerate(study.matrix.dataset):
        where: Key = ("matrix", "dataset", index)
        dataset = _open_dataset(study, entry, document, where, beside, assume_absent)
        name = dataset.facts.name
        if entry.layout and own_folders.setdefault(name, dataset.root) != dataset.root:
            message = f"two folders are called '{name}': {own_folders[name]} and {dataset.root}."
            raise document.error(where, message, "Give one of them a `name` of its own.")
        for variant, leading in itertools.product(variants, dataset.leading):
            _check_task(variant, dataset.facts, leading, document)
            _check_leading(variant, dataset, leading, document, where)
            for share, fold, seed in itertools.product(shares, dataset.splits, study.matrix.seed):
                spec = _spec(variant, dataset, leading, 1.0 if variant.weights else share, fold, seed)
                label = _label(variant.label, spec.train_share)
                found.setdefault((label, spec.id), StudyCell(spec, label))
                total += 1
    study = _with_reference(study, shares[-1])
    return LoadedStudy(study, profile, request.common, variants, tuple(found.values()), total - len(found))


def _label(label: str, share: float) -> str:
    """Returns the label of a variant that is trained on a share of the training patients."""
    return ", ".join(filter(None, [label, share_words(share)]))


def _with_reference(study: Study, share: float) -> Study:
    """Returns a study whose reference is trained on the largest share there is."""
    if study.report.reference is None:
        return study
    reference = _label(study.report.reference, share)
    return study.model_copy(update={"report": study.report.model_copy(update={"reference": reference})})


def _check_size(study: Study, document: Document, variants: int) -> None:
    """Refuses a matrix that no run would ever come to the end of, before it is written out."""
    matrix = study.matrix
    axes: tuple[Sized, ...] = (matrix.dataset, matrix.leading, matrix.fold, matrix.seed, matrix.train_share)
    total = variants * math.prod(len(axis) for axis in axes)
    if total > MOST_CELLS:
        message = f"the matrix has {total:,} combinations; at most {MOST_CELLS:,} are allowed."
        raise document.error(("matrix",), message, "Make several studies of it.")


def _ways(study: Study, document: Document, request: ProtocolRequest, beside: Path) -> dict[str, ProtocolRequest]:
    """Returns the ways of training: what labels say of each, to its protocol."""
    base = {"base": study.protocol} if isinstance(study.protocol, str) else study.protocol
    shared = Document(base, document.section(("protocol",)).places, document.at(("protocol",)))
    name = request.common.name if WITH in base else base.get("name", base.get("base", "custom"))
    ways = {}
    for words in study.matrix.protocol:
        path: Key = ("matrix", "protocol", words)
        with document.naming_line(path):
            way = Document({"name": f"{name}, {words}"}, {}, "").over(document.section(path).over(shared))
            ways[words] = resolve_protocol(way.values, beside, way)
    return ways or {"": request}


def _open_dataset(
    study: Study, entry: DatasetEntry, document: Document, where: Key, beside: Path, assume_absent: bool
) -> _OpenDataset:
    """Opens a dataset of the matrix; a fold that leaks is refused."""
    with document.naming_line(where):
        dataset, root, reader = _find(entry, beside, assume_absent)
        file = resolve_path(entry.splits, beside) if entry.splits is not None else None
        by = SplitBy(entry.split.by, entry.split.kind) if entry.split is not None else None
        if by is not None and isinstance(reader, AssumedReader):
            raise DataError(f"There is no data for '{dataset.name}', so its patients have no '{by.column}'.")
        chosen_by = Folds(file, by)
        data, folds = dataset.read_apart(lambda: (reader.fingerprint(), chosen_by.all(dataset, reader, root)))
    if entry.leading is not None and entry.leading not in dataset.modalities:
        message = f"{dataset.name} has no modality '{entry.leading}'."
        raise document.error((*where, "leading"), message, did_you_mean(entry.leading, dataset.modalities))
    wanted = study.matrix.fold
    if by is not None and "fold" not in study.matrix.model_fields_set:
        wanted = list(range(len(folds)))
    for fold in wanted:
        if fold >= len(folds):
            message = f"{dataset.name} has {len(folds)} folds, so there is no fold {fold}."
            raise document.error(("matrix", "fold"), message, f"Valid: {', '.join(map(str, range(len(folds))))}.")
        with document.naming_line(where), dataset.naming_reader():
            check_leak(folds[fold], dataset, reader, f"{dataset.name}, fold {fold}")
            if untrained := untrained_words(dataset, reader, folds[fold]):
                text = f"{dataset.name}, fold {fold}: {untrained} {UNTRAINED_REMEDY}"
                warnings.warn(text, HarnessWarning, stacklevel=1)
            patients = len({reader.patient(case) for case in folds[fold].train})
        _check_shares(study, document, patients, f"{dataset.name}, fold {fold}")
    splits = {fold: folds[fold] for fold in wanted}
    leading = _leading(study, dataset, entry.leading or dataset.default_leading, document)
    return _OpenDataset(dataset, reader, root, entry.layout, data, chosen_by, splits, leading)


def _check_shares(study: Study, document: Document, patients: int, what: str) -> None:
    """Refuses shares of the training patients that are the same patients."""
    first: dict[int, float] = {}
    for share in sorted(set(study.matrix.train_share)):
        count = patients_of_share(patients, share)
        if first.setdefault(count, share) != share:
            shares = f"{first[count]:g} and {share:g} of the {patients} training patients"
            message = f"{what}: {shares} are the same number, {count}."
            raise document.error(("matrix", "train_share"), message, "Leave one of the two shares out.")


def _find(entry: DatasetEntry, beside: Path, assume_absent: bool) -> tuple[Dataset, Path, Reader]:
    """Returns the dataset of an entry, its folder and its reader."""
    named = beside / entry.folder if entry.folder is not None else None
    dataset = find_dataset(entry.name, named if entry.layout else None, entry.layout)
    if assume_absent and dataset.release is not None and dataset.find(named) is None:
        return dataset, Path(), AssumedReader(dataset.release, dataset)
    root = dataset.locate(named).resolve()
    return dataset, root, dataset.open(root)


def _leading(study: Study, dataset: Dataset, default: str, document: Document) -> tuple[str, ...]:
    """Returns the modalities of a dataset that lead in turn, each once."""
    meaning: dict[str, Sequence[str]] = {name: [name] for name in (*dataset.modalities, "none")}
    meaning |= {"default": [default], "all": dataset.modalities, "second": dataset.modalities[1:2]}
    for index, name in enumerate(study.matrix.leading):
        if name not in meaning:
            message = f"{dataset.name} has no modality '{name}'."
            raise document.error(("matrix", "leading", index), message, did_you_mean(name, meaning))
        if not meaning[name]:
            message = f"{dataset.name} has one modality, so there is no second one."
            raise document.error(("matrix", "leading", index), message, "Write `default`.")
    return tuple(dict.fromkeys(modality for name in study.matrix.leading for modality in meaning[name]))


def _check_task(variant: Variant, dataset: Dataset, leading: str, document: Document) -> None:
    protocol, segmenter = variant.protocol_on(dataset.name), variant.segmenter
    with document.naming_line(("matrix", "model")):
        segmenter.check(make_task(dataset, leading, protocol))
    sampling = protocol.sampling
    if sampling.fill is None:
        return
    key = "sampling.modality_dropout" if sampling.missing is None else "sampling.missing"
    if segmenter.runner:
        raise document.error(
            ("matrix", "model"),
            f"{segmenter.name} trains by itself, so no modality can be dropped.",
            f"Leave it out, or leave `{key}` out of its protocol.",
        )
    if len(dataset.modalities) < 2:
        raise document.error(
            ("matrix", "dataset"),
            f"{dataset.name} has one modality, which is never dropped.",
            f"Leave `{key}` out of the protocol.",
        )
    if sampling.missing is not None:
        _check_rates(sampling.missing.per_patient, dataset, document)


def _check_leading(variant: Variant, dataset: _OpenDataset, leading: str, document: Document, where: Key) -> None:
    """Refuses cases that lack the modality that leads, unless the protocol says what stands for it."""
    leads = variant.segmenter.uses_leading and leading in dataset.facts.modalities
    if not leads or variant.protocol_on(dataset.facts.name).sampling.fill is not None:
        return
    splits = dataset.splits.values()
    cases = dict.fromkeys(case for split in splits for case in (*split.train, *split.val, *split.test))
    with document.naming_line(where), dataset.facts.naming_reader():
        refuse_without_leading(dataset.reader, cases, leading, variant.label)


def _check_rates(rates: Mapping[str, float], dataset: Dataset, document: Document) -> None:
    """Refuses shares of patients that lack a modality where the dataset cannot have them."""
    where: Key = ("protocol", "sampling", "missing", "per_patient")
    for name in rates:
        if name not in dataset.modalities:
            message = f"{dataset.name} has no modality '{name}'."
            raise document.error((*where, name), message, did_you_mean(name, dataset.modalities))
    if sum(rates.values()) > (most := len(dataset.modalities) - 1) + 1e-9:
        message = f"at these shares some patients of {dataset.name} would have no modality at all."
        raise document.error(where, message, f"Let the shares sum up to at most {most}.")


def _spec(variant: Variant, dataset: _OpenDataset, leading: str, share: float, fold: int, seed: int) -> CellSpec:
    protocol, segmenter = variant.protocol_on(dataset.facts.name), variant.segmenter
    preparation = resolve_spacing(protocol.preparation, dataset.facts, lambda: dataset.voxel_size)
    training = protocol.training.with_memory_format(len(protocol.patch_size) in segmenter.contiguous_dims)
    protocol = protocol.model_copy(update={"preparation": preparation, "training": training})
    split, patients = dataset.part(fold, share, seed)
    return CellSpec(
        dataset=dataset.facts.name,
        dataset_revision=dataset.facts.revision,
        data=dataset.data,
        root=dataset.root,
        model=segmenter.name,
        model_revision=segmenter.revision,
        options=variant.options,
        leading=leading if segmenter.uses_leading else NO_LEADING,
        fold=fold,
        split=split,
        seed=seed,
        protocol=protocol,
        weights=variant.weights,
        weights_file=variant.weights_file,
        start=variant.start,
        start_file=variant.start_file,
        splits_file=dataset.chosen_by.file,
        split_by=dataset.chosen_by.by,
        train_share=share,
        train_patients=patients,
        layout=dataset.layout,
        packages=numeric_packages() if protocol.training.determinism == "strict" else {},
        identity_options=variant.identity_options,
        paper_only=segmenter.source.paper_only,
    )


def make_task(dataset: Dataset, leading: str, protocol: Protocol) -> Task:
    """Returns what a network is asked to segment in a cell."""
    index = dataset.modalities.index(leading) if leading in dataset.modalities else None
    return Task(dataset.modalities, index, len(dataset.labels), protocol.patch_size)
