"""From a study file to its cells.

Everything a study can get wrong is found here, before anything runs: unknown models, options, datasets and modalities,
leading modalities a dataset lacks, dimensions a network lacks, labels given twice.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.data import Dataset, Reader
from harness.data.assumed import AssumedReader
from harness.data.datasets.layouts import find_dataset
from harness.data.spacing import Sizes, median_spacing, resolve_spacing
from harness.data.splits import check_leak, choose_splits
from harness.errors import did_you_mean
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


@dataclass(frozen=True)
class _OpenDataset:
    """A dataset of the matrix, opened.

    Attributes:
        facts: The dataset.
        reader: Its reader.
        root: Its folder.
        layout: Layout of a folder of the user's own; empty for a registered dataset.
        data: Hash of its files.
        splits_file: File of the user's own folds.
        splits: Fold to the hash of its split.
        leading: Modalities that lead in turn.
    """

    facts: Dataset
    reader: Reader
    root: Path
    layout: str
    data: str
    splits_file: Path | None
    splits: Mapping[int, str]
    leading: tuple[str, ...]

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
            for fold, seed in itertools.product(study.matrix.fold, study.matrix.seed):
                spec = _spec(variant, dataset, leading, fold, seed)
                found.setdefault((variant.label, spec.id), StudyCell(spec, variant.label))
                total += 1
    return LoadedStudy(study, profile, request.common, variants, tuple(found.values()), total - len(found))


def _check_size(study: Study, document: Document, variants: int) -> None:
    """Refuses a matrix that no run would ever come to the end of, before it is written out."""
    matrix = study.matrix
    total = variants * len(matrix.dataset) * len(matrix.leading) * len(matrix.fold) * len(matrix.seed)
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
        data, folds = dataset.read_apart(lambda: (reader.fingerprint(), choose_splits(dataset, reader, file)))
    if entry.leading is not None and entry.leading not in dataset.modalities:
        message = f"{dataset.name} has no modality '{entry.leading}'."
        raise document.error((*where, "leading"), message, did_you_mean(entry.leading, dataset.modalities))
    for fold in study.matrix.fold:
        if fold >= len(folds):
            message = f"{dataset.name} has {len(folds)} folds, so there is no fold {fold}."
            raise document.error(("matrix", "fold"), message, f"Valid: {', '.join(map(str, range(len(folds))))}.")
        with document.naming_line(where), dataset.naming_reader():
            check_leak(folds[fold], dataset, reader, f"{dataset.name}, fold {fold}")
    splits = {fold: folds[fold].hash for fold in study.matrix.fold}
    leading = _leading(study, dataset, entry.leading or dataset.default_leading, document)
    return _OpenDataset(dataset, reader, root, entry.layout, data, file, splits, leading)


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
    if protocol.sampling.modality_dropout is None:
        return
    if segmenter.runner:
        raise document.error(
            ("matrix", "model"),
            f"{segmenter.name} trains by itself, so no modality can be dropped.",
            "Leave it out, or leave `sampling.modality_dropout` out of its protocol.",
        )
    if len(dataset.modalities) < 2:
        raise document.error(
            ("matrix", "dataset"),
            f"{dataset.name} has one modality, which is never dropped.",
            "Leave `sampling.modality_dropout` out of the protocol.",
        )


def _spec(variant: Variant, dataset: _OpenDataset, leading: str, fold: int, seed: int) -> CellSpec:
    protocol, segmenter = variant.protocol_on(dataset.facts.name), variant.segmenter
    preparation = resolve_spacing(protocol.preparation, dataset.facts, lambda: dataset.voxel_size)
    protocol = protocol.model_copy(update={"preparation": preparation})
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
        split=dataset.splits[fold],
        seed=seed,
        protocol=protocol,
        weights=variant.weights,
        weights_file=variant.weights_file,
        start=variant.start,
        start_file=variant.start_file,
        splits_file=dataset.splits_file,
        layout=dataset.layout,
        packages=numeric_packages() if protocol.training.determinism == "strict" else {},
        identity_options=variant.identity_options,
    )


def make_task(dataset: Dataset, leading: str, protocol: Protocol) -> Task:
    """Returns what a network is asked to segment in a cell."""
    index = dataset.modalities.index(leading) if leading in dataset.modalities else None
    return Task(dataset.modalities, index, len(dataset.labels), protocol.patch_size)
