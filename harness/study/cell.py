"""A cell: one point of a study's matrix, named by a hash of all that affects its numbers."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.data import DATASETS, Dataset, Reader, Split
from harness.data.datasets.layouts import find_dataset
from harness.data.patients.by_column import Folds, SplitBy
from harness.errors import DataError
from harness.study.protocol import Protocol

#: Packages whose version decides the last bits of a number: networks and training, augmentation, and the losses.
_NUMERIC = ("torch", "numpy", "scipy", "monai", "batchgeneratorsv2")

#: Raised whenever the harness itself (training, inference, evaluation) changes the numbers it produces.
NUMERICS = 2

#: Written where a model has no leading modality.
NO_LEADING = "-"


@dataclass(frozen=True)
class CellSpec:
    """Everything a cell needs to be computed.

    Attributes:
        dataset: Registered dataset name, or what a folder of the user's own is called.
        dataset_revision: Revision of its reader.
        data: Hash of its files.
        root: Where its files are; not part of the identity.
        model: Registered segmenter name.
        model_revision: Revision of the segmenter.
        options: Resolved options of the segmenter.
        identity_options: The options that are part of the identity; None where all are (:mod:`harness.settings`).
        paper_only: As in :class:`harness.segmenters.Source`: a fact for reports, not part of the identity.
        leading: Modality name, ``none`` (no discrimination) or ``-`` (the model has no leading modality).
        fold: Fold index.
        split: Hash of the fold's split.
        seed: Training seed.
        protocol: How it is trained.
        weights: Hash of imported weights, which are tested as they are; empty for a cell that is trained.
        weights_file: Where they are; not part of the identity.
        start: Hash of the file of pretrained weights that training starts from; empty for a start from scratch.
        start_file: Where it is. The option that names it has the hash in the identity instead.
        splits_file: Where the user's own folds are; the identity has the split's hash instead.
        split_by: Column of the patients that the folds go by; likewise.
        train_share: Share of the fold's training patients that trains; likewise.
        train_patients: How many these are; 0 where an earlier version planned the cell.
        packages: Versions of the packages that compute, where the protocol promises bitwise equal results (strict
            determinism); else empty.
        layout: Layout of a folder of the user's own; empty for a registered dataset.
    """

    dataset: str
    dataset_revision: int
    data: str
    root: Path
    model: str
    model_revision: int
    options: Mapping[str, Any]
    leading: str
    fold: int
    split: str
    seed: int
    protocol: Protocol
    weights: str = ""
    weights_file: Path | None = None
    start: str = ""
    start_file: Path | None = None
    splits_file: Path | None = None
    split_by: SplitBy | None = None
    train_share: float = 1.0
    train_patients: int = 0
    packages: Mapping[str, str] = field(default_factory=dict)
    layout: str = ""
    identity_options: Mapping[str, Any] | None = None
    paper_only: bool = False

    def facts(self) -> Dataset:
        """Returns the facts of the dataset; a folder of the user's own is asked again what it is."""
        return find_dataset(self.dataset, self.root, self.layout)

    @property
    def folds(self) -> Folds:
        """What the cell's split is chosen by."""
        return Folds(self.splits_file, self.split_by, self.train_share)

    @cached_property
    def id(self) -> str:
        """Readable, path-safe and unique name of the cell."""
        words = [self.dataset, self.model, "noleading" if self.leading == NO_LEADING else f"lead-{self.leading}"]
        readable = "_".join(map(path_word, words))
        return f"{readable}_f{self.fold}_s{self.seed}_{self.hash}"

    @cached_property
    def hash(self) -> str:
        """Hash of all that affects the cell's numbers."""
        text = json.dumps(self.identity(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def identity(self) -> dict[str, Any]:
        """Returns all that affects the cell's numbers."""
        imported = {"weights": self.weights} if self.weights else {}
        own = {"layout": self.layout} if self.layout else {}
        packages = {"packages": dict(self.packages)} if self.packages else {}
        return {
            **imported,
            **({"start": self.start} if self.start else {}),
            **packages,
            "numerics": NUMERICS,
            "dataset": {"name": self.dataset, "revision": self.dataset_revision, "data": self.data, **own},
            "model": {"name": self.model, "revision": self.model_revision, "options": self._named_by_content()},
            "leading": self.leading,
            "fold": self.fold,
            "split": self.split,
            "seed": self.seed,
            "protocol": self.protocol.identity(),
        }

    def _named_by_content(self) -> dict[str, Any]:
        """Options, with the hash of a weights file in place of its path: a moved file is the same cell."""
        options = self.options if self.identity_options is None else self.identity_options
        path = str(self.start_file)
        return {key: self.start if self.start and value == path else value for key, value in options.items()}

    def started_from(self) -> str:
        """Returns what training starts from: ``scratch``, ``pretrained:HASH``, or ``imported:HASH`` (not trained)."""
        if self.weights:
            return f"imported:{self.weights}"
        return f"pretrained:{self.start}" if self.start else "scratch"

    def to_json(self) -> dict[str, Any]:
        """Returns the spec as JSON values; :meth:`from_json` reads it back."""
        part = {} if self.identity_options is None else {"identity_options": dict(self.identity_options)}
        return {
            **part,
            "dataset": self.dataset,
            "layout": self.layout,
            "dataset_revision": self.dataset_revision,
            "data": self.data,
            "root": str(self.root),
            "model": self.model,
            "model_revision": self.model_revision,
            "options": dict(self.options),
            "leading": self.leading,
            "fold": self.fold,
            "split": self.split,
            "seed": self.seed,
            "protocol": self.protocol.model_dump(mode="json"),
            "weights": self.weights,
            "weights_file": str(self.weights_file) if self.weights_file is not None else None,
            "start": self.start,
            "start_file": str(self.start_file) if self.start_file is not None else None,
            "started_from": self.started_from(),
            **({"paper_only": True} if self.paper_only else {}),
            "splits_file": str(self.splits_file) if self.splits_file is not None else None,
            **({"split_by": asdict(self.split_by)} if self.split_by is not None else {}),
            "train_share": self.train_share,
            "train_patients": self.train_patients,
            "packages": dict(self.packages),
            "numerics": NUMERICS,
            "id": self.id,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> CellSpec:
        """Reads what :meth:`to_json` wrote.

        Raises:
            ValueError: The identity does not match, or a value is refused: the file was changed by hand, or by another
                version.
        """
        try:
            protocol = Protocol.from_stored(values["protocol"])
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            raise ValueError(f"cell {values['id']}: this version refuses '{name}': {first['msg']}") from error
        special = {
            "protocol",
            "root",
            "weights_file",
            "start_file",
            "splits_file",
            "split_by",
            "identity_options",
            "paper_only",
        }
        special |= {"train_share", "train_patients"}
        fields = {key: values[key] for key in cls.__dataclass_fields__ if key not in special}
        spec = cls(
            **fields,
            root=_folder(values["dataset"], Path(values["root"])),
            protocol=protocol,
            weights_file=Path(values["weights_file"]) if values["weights_file"] else None,
            start_file=Path(values["start_file"]) if values["start_file"] else None,
            splits_file=Path(values["splits_file"]) if values["splits_file"] else None,
            split_by=SplitBy(**by) if (by := values.get("split_by")) else None,
            train_share=values.get("train_share", 1.0),
            train_patients=values.get("train_patients", 0),
            identity_options=values.get("identity_options"),
            paper_only=values.get("paper_only", False),
        )
        if spec.id != values["id"] or values["numerics"] != NUMERICS:
            raise ValueError(f"the identity of cell {values['id']} does not match its content")
        return spec


def path_word(name: str) -> str:
    """Returns a name as it stands in the names of cells."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", name)


def split_of_cell(spec: CellSpec, dataset: Dataset, reader: Reader) -> Split:
    """Returns the cases of a cell.

    Args:
        spec: The cell.
        dataset: Facts of its dataset.
        reader: Reader of the dataset's folder.

    Raises:
        DataError: They are not those that the cell was planned on. What the message says is stored with the cell, so it
            names no site.
    """
    try:
        folds = spec.folds.all(dataset, reader, spec.root)
        split = spec.folds.reduced(folds[spec.fold], reader, spec.seed) if spec.fold < len(folds) else None
    except DataError:
        if spec.split_by is None:
            raise
        split = None
    if split is None or split.hash != spec.split:
        raise DataError(
            f"The split of {dataset.name} changed since the study was planned.",
            hint="Restore the data or the file that the split comes from, or run the study again.",
        )
    return split


@cache
def numeric_packages() -> dict[str, str]:
    """Returns the installed versions; part of a cell's identity where its protocol promises bitwise equal results."""
    return {name: version(name) for name in _NUMERIC}


def _folder(dataset: str, recorded: Path) -> Path:
    """Returns where a dataset's files are; those that ship with the harness move with its installation.

    A published record names no folder: then they are where this machine has them.
    """
    if recorded == Path() and dataset in DATASETS.names():
        return DATASETS.get(dataset).locate()
    if recorded.exists() or dataset not in DATASETS.names():
        return recorded
    home = DATASETS.get(dataset).home
    return home if home is not None and home.name == recorded.name else recorded
