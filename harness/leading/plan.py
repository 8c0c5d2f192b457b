"""Plan of a race: which trainings answer the request, one for each leading modality and seed."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.data import Dataset, Reader, Split
from harness.data.datasets.layouts import find_dataset
from harness.data.patients.by_column import Folds, SplitBy
from harness.data.splits import make_split, write_splits
from harness.data.synthetic.generated import kind_of
from harness.errors import DataError, HarnessError, StudyError
from harness.leading.race import Rule, rung_epochs
from harness.randomness import generator
from harness.report.analysis.modalities.lead_words import NONE
from harness.segmenters import SEGMENTERS
from harness.statistics.bootstrap import LEAST_PATIENTS
from harness.study.cell import CellSpec
from harness.study.document import Document
from harness.study.expansion import LoadedStudy, expand_study
from harness.study.protocol import Protocol, load_protocol

#: Epochs of the last rung, unless the protocol has fewer or the user says otherwise.
MOST_EPOCHS = 40

#: Default rule: two candidates are compared at full length, and one that is the best with a probability of at least one
#: in twenty continues.
RULE = Rule(n_final=2, keep_probability=0.05)

#: What a folder of the user's own may be called; also the name of a folder in the results.
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

#: Where a protocol of the user's own is looked for, in a folder `protocols`.
_BESIDE = (Path(), Path("studies"))


@dataclass(frozen=True)
class Request:
    """Request of the user.

    Attributes:
        dataset: Registered name; with ``nnunet_raw``, what to call the folder.
        root: Folder of a registered dataset; None for the usual place.
        nnunet_raw: Folder of the user's own in nnU-Net v2's raw format.
        splits: File of folds in place of the dataset's own.
        by: Column of the patients that folds go by, in place of the dataset's own; not with a file.
        fold: Fold whose training and validation cases are used.
        model: Registered segmenter with a leading modality.
        options: Options of the segmenter, perhaps with a preset.
        protocol: Name of the protocol.
        epochs: Epochs of the last rung; None for the protocol's, at most :data:`MOST_EPOCHS`.
        seeds: Number of trainings of each candidate; their seeds are 0, 1, ...
        with_none: Whether training without a leading modality takes part.
        rungs: Number of rungs.
        rule: Which candidates survive a rung.
    """

    dataset: str
    root: Path | None = None
    nnunet_raw: Path | None = None
    splits: Path | None = None
    by: SplitBy | None = None
    fold: int = 0
    model: str = "aahn"
    options: Mapping[str, Any] = field(default_factory=dict)
    protocol: str = "paper"
    epochs: int | None = None
    seeds: int = 3
    with_none: bool = False
    rungs: int = 3
    rule: Rule = RULE


@dataclass(frozen=True)
class Plan:
    """The trainings of a race.

    Attributes:
        request: Request of the user.
        dataset: Facts of the dataset.
        kind: Kind of the data in the folder: ``real``, ``embedded`` or ``generated``.
        candidates: Leading modalities in channel order, and perhaps ``none``.
        rungs: Epochs of the rungs, ascending.
        specs: (candidate, seed) to the cell that is trained.
        validation: Cases that are scored.
        own_split: Whether validation patients were drawn by this command, because the fold has too few.
        full_epochs: Epochs of the protocol itself.
        loaded: The same as a study.
    """

    request: Request
    dataset: Dataset
    kind: str
    candidates: tuple[str, ...]
    rungs: tuple[int, ...]
    specs: Mapping[tuple[str, int], CellSpec]
    validation: tuple[str, ...]
    own_split: bool
    full_epochs: int
    loaded: LoadedStudy

    @property
    def data(self) -> str:
        """What the data is called: the dataset's title, never without its kind where it is not real."""
        return self.dataset.title if self.kind == "real" else f"{self.dataset.title}, {self.kind} data"

    @property
    def split_words(self) -> str:
        """Says which fold of a split by a column is used; empty where the folds are others."""
        asked = self.request
        if asked.by is None:
            return ""
        return f"Fold {asked.fold} of the split by '{asked.by.column}' ({asked.by.kind}) trains and validates."

    @property
    def seeds(self) -> range:
        """Seeds of each candidate."""
        return range(self.request.seeds)

    @property
    def name(self) -> str:
        """Readable and unique name of the race: another model, budget, rule or other data is another race."""
        asked = self.request
        cells = sorted(spec.id for spec in self.specs.values())
        rules = [self.candidates, self.rungs, asked.rule.n_final, asked.rule.keep_probability, cells]
        mark = hashlib.sha256(json.dumps(rules).encode()).hexdigest()[:8]
        words = [asked.model, str(asked.options.get("preset", "")), asked.protocol, f"{self.rungs[-1]}ep", mark]
        return "_".join(re.sub(r"[^A-Za-z0-9-]+", "-", word) for word in words if word)


def make_plan(request: Request, folder: Path) -> Plan:
    """Plans a race; trains nothing.

    Args:
        request: Request of the user.
        folder: Folder for a split of this command's own, if one is needed.

    Raises:
        StudyError: The model has no leading modality, or an option, the protocol or the fold cannot be.
        DataError: The dataset has one modality, or its folder is not what it should be.
    """
    _check_model(request.model)
    layout = "nnunet_raw" if request.nnunet_raw is not None else ""
    named = request.nnunet_raw or request.root
    if layout and _NAME.fullmatch(request.dataset) is None:
        raise HarnessError(
            f"'{request.dataset}' is not a valid name.", hint="Use lower-case letters, digits, '_' and '-', at most 64."
        )
    dataset = find_dataset(request.dataset, named, layout)
    root = dataset.locate(named).resolve()
    if len(dataset.modalities) < 2:
        raise DataError(
            f"{dataset.title} has one modality, {dataset.modalities[0]}: there is no leading modality to choose.",
            hint="Train on it directly; this command needs two or more modalities.",
        )
    reader = dataset.open(root)
    split, own = _choose_split(request, dataset, reader, root)
    splits = request.splits.resolve() if request.splits is not None else None
    fold = request.fold
    if own:
        splits, fold = folder.resolve() / f"split_{split.hash[:12]}.json", 0
        write_splits(splits, [split])
    entry: dict[str, Any] = {"name": request.dataset, "nnunet_raw" if layout else "root": str(root)}
    if splits is not None:
        entry["splits"] = str(splits)
    elif request.by is not None:
        entry["split"] = {"by": request.by.column, "kind": request.by.kind}
    protocol = load_protocol(request.protocol, _beside(request.protocol))
    loaded = expand_study(_study(request, entry, fold, protocol), _beside(request.protocol))
    specs = {(cell.spec.leading, cell.spec.seed): cell.spec for cell in loaded.cells}
    last = next(iter(specs.values())).protocol.training.epochs
    candidates = (*dataset.modalities, *([NONE] if request.with_none else []))
    kind = kind_of(dataset, root)
    rungs = rung_epochs(last, request.rungs)
    full = max(protocol.training.epochs, last)
    return Plan(request, dataset, kind, candidates, rungs, specs, split.val, own, full, loaded)


def _check_model(name: str) -> None:
    segmenter = SEGMENTERS.get(name)
    if not segmenter.uses_leading or segmenter.runner:
        leading = [other for other, one in SEGMENTERS.load_all()[0].items() if one.uses_leading]
        raise StudyError(f"{name} has no leading modality.", hint=f"Models that have one: {', '.join(leading)}.")


def _choose_split(request: Request, dataset: Dataset, reader: Reader, root: Path) -> tuple[Split, bool]:
    """Returns the fold's split, and whether its validation patients were drawn anew.

    A ranking over a handful of patients says nothing. Where a fold validates on fewer than 6, a third of its training
    and validation patients validates, unless the user wrote the fold; test patients stay what they are.
    """
    folds = Folds(request.splits, request.by).all(dataset, reader, root)
    if request.fold >= len(folds):
        raise StudyError(
            f"{dataset.name} has {len(folds)} folds, so there is no fold {request.fold}.",
            hint=f"Valid: {', '.join(map(str, range(len(folds))))}.",
        )
    split = folds[request.fold]
    if not split.val and (request.splits is not None or dataset.split_within_patient):
        raise DataError(f"Fold {request.fold} of {dataset.name} has no validation cases.", hint="Name some in `val`.")
    patients = {case: reader.patient(case) for case in (*split.train, *split.val, *split.test)}
    few = len({patients[case] for case in split.val}) < LEAST_PATIENTS
    if not few or request.splits is not None or dataset.split_within_patient:
        return split, False
    test = {patients[case] for case in split.test}
    others = sorted(set(patients.values()) - test)
    count = min(max(math.ceil(len(others) / 3), LEAST_PATIENTS), len(others) // 2)
    chosen = generator(request.fold, "lead", "validation").choice(len(others), count, replace=False)
    return make_split(patients, test, {others[index] for index in chosen}), True


def _study(request: Request, dataset: Mapping[str, Any], fold: int, protocol: Protocol) -> Document:
    """Returns the race as a study: every modality leads, with every seed, under one protocol of one length."""
    epochs = request.epochs or min(protocol.training.epochs, MOST_EPOCHS)
    training: dict[str, Any] = {"epochs": epochs}
    if protocol.training.checkpoint.select == "final":
        training["validate_every"] = epochs  # rungs are scored by themselves; other looks would only cost time
    values = {
        "name": "lead",
        "question": "Which modality should lead?",
        "protocol": {"base": request.protocol, "name": request.protocol, "training": training},
        "matrix": {
            "dataset": [dict(dataset)],
            "model": [{"name": request.model, **request.options}],
            "leading": ["all", *([NONE] if request.with_none else [])],
            "fold": [fold],
            "seed": list(range(request.seeds)),
        },
    }
    return Document(values, {}, "harness lead")


def _beside(protocol: str) -> Path:
    """Returns the folder whose ``protocols/`` holds a protocol of the user's own."""
    for folder in _BESIDE:
        if (folder / "protocols" / f"{protocol}.yaml").is_file():
            return folder
    return _BESIDE[0]
