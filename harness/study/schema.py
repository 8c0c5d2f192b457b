"""Contents of a study file."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from harness.data.patients.by_column import Kind
from harness.errors import HarnessError, did_you_mean
from harness.evaluation import METRICS
from harness.evaluation.policy import empty_policy
from harness.files import check_path
from harness.settings import Settings
from harness.study.tuning import TuningSettings


def _registered(name: str) -> str:
    """Returns the name of a registered metric or its variant; the metric itself is not imported."""
    if not METRICS.knows(name):
        raise ValueError(f"unknown metric '{name}'. {did_you_mean(name, METRICS.names())}".strip())
    return name


def _policy(name: str) -> str:
    try:
        return empty_policy(name).name
    except HarnessError as error:
        raise ValueError(f"{error.message} {error.hint}".strip()) from error


Metric = Annotated[str, AfterValidator(_registered)]
#: Characters of a question, which is printed whole, and of a label, which heads rows and legends.
_LONGEST_TEXT, _LONGEST_LABEL = 10_000, 500
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def _name_only(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


def _one_or_several(value: object) -> object:
    """Puts a single name or number into a list: ``leading: all``."""
    return [value] if isinstance(value, str | int | float) else value


def _is_text(text: str) -> str:
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f"a text has at most {_LONGEST_TEXT:,} characters")
    if any(unicodedata.category(one) in {"Cc", "Cs"} and one not in "\n\t" for one in text):
        raise ValueError("a text cannot hold control characters")
    return text


def _is_label(text: str) -> str:
    if len(text) > _LONGEST_LABEL:
        raise ValueError(f"a label has at most {_LONGEST_LABEL:,} characters")
    if not text.strip() or "\n" in text or "\t" in text:
        raise ValueError("a label is one line, and not blank")
    return _is_text(text)


def _is_path(path: Path) -> Path:
    check_path(path)
    return path


Place = Annotated[Path, AfterValidator(_is_path)]
Text = Annotated[str, AfterValidator(_is_text)]
Label = Annotated[str, AfterValidator(_is_label)]
_SEVERAL = BeforeValidator(_one_or_several)
Column = Annotated[str, Field(min_length=1, max_length=80)]


class SplitEntry(Settings):
    """Folds that go by a column of the patients."""

    by: Column = Field(
        description="Column of `patients.json`, `patients.csv`, `participants.tsv` or of the dataset's own tables."
    )
    kind: Kind = Field(
        "leave-one-out",
        description="leave-one-out: one fold for each value, which tests its patients; the others train and validate. "
        "pairs: one fold for each value, whose patients train and validate but for a fifth; tested are these and the "
        "patients of every other value.",
    )


class DatasetEntry(Settings):
    """A registered dataset, and where its folder is if that is not the usual place; or a folder of the user's own."""

    name: str = Field("", description="Registered name; of a folder of your own, what to call it.")
    nnunet_raw: Place | None = Field(
        None,
        description="In place of a registered dataset: a folder of your own in nnU-Net v2's raw format (dataset.json, "
        "imagesTr, labelsTr); relative to the study file.",
    )
    msd: Place | None = Field(
        None, description="Likewise: a folder in the format of the Medical Segmentation Decathlon (4D images)."
    )
    leading: str | None = Field(
        None, description="Modality that 'default' in `leading` stands for; default: the dataset's."
    )
    root: Place | None = Field(
        None, description="Folder as unpacked; relative to the study file. Not part of a cell's identity."
    )
    splits: Place | None = Field(
        None,
        description="File of folds in place of the dataset's own, as `harness data splits` writes it; relative to the "
        "study file. Its content is part of a cell's identity.",
    )
    split: SplitEntry | None = Field(
        None,
        description="Folds that go by a column of the patients, in place of the dataset's own, in alphabetical order "
        "of its values; all of them are computed unless `fold` names some.",
    )

    @property
    def layout(self) -> str:
        """Layout of a folder of the user's own; empty for a registered dataset."""
        return "nnunet_raw" if self.nnunet_raw is not None else "msd" if self.msd is not None else ""

    @property
    def folder(self) -> Path | None:
        """Folder that is named, if any."""
        return self.nnunet_raw or self.msd or self.root

    @model_validator(mode="after")
    def _is_one_dataset(self) -> DatasetEntry:
        if sum(place is not None for place in (self.root, self.nnunet_raw, self.msd)) > 1:
            raise ValueError("give one of 'root', 'nnunet_raw' and 'msd'")
        if not self.layout and not self.name:
            raise ValueError("name a registered dataset, or a folder of your own by 'nnunet_raw' or 'msd'")
        if self.split is not None and self.splits is not None:
            raise ValueError("give one of 'split' and 'splits'")
        if self.layout and self.name and _NAME.fullmatch(self.name) is None:
            raise ValueError(f"'{self.name}' is not a valid name: use lower-case letters, digits, '_' and '-'")
        return self


class ModelEntry(Settings):
    """A variant: a registered segmenter with options; every further key is an option of that segmenter."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    label: Label | None = Field(None, description="What tables call this variant; default: the title and its options.")
    preset: str | None = Field(None, description="A named set of options of the segmenter.")
    weights: Place | None = Field(
        None,
        description="Weights to test as they are, without training: a .safetensors file of ours, or one written by "
        "`harness import-checkpoint`; relative to the study file.",
    )
    protocol: Annotated[list[Label], _SEVERAL, Field(min_length=1)] | None = Field(
        None, description="Those of the ways under `matrix.protocol` in which it is trained; default: all of them."
    )
    sweep: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        default_factory=dict, description="Option to list of values: one variant for every combination."
    )

    @property
    def options(self) -> dict[str, Any]:
        """What was given beyond the keys above, and the preset."""
        given = dict(self.model_extra or {})
        return {"preset": self.preset, **given} if self.preset is not None else given


_Fold = Annotated[int, Field(ge=0, le=10_000)]
_Seed = Annotated[int, Field(ge=0, lt=2**32)]
_Share = Annotated[float, Field(gt=0, le=1)]
Datasets = Annotated[list[Annotated[DatasetEntry, BeforeValidator(_name_only)]], _SEVERAL, Field(min_length=1)]
Models = Annotated[list[Annotated[ModelEntry, BeforeValidator(_name_only)]], _SEVERAL, Field(min_length=1)]


class Matrix(Settings):
    """The axes of a study; every combination is a cell."""

    dataset: Datasets
    model: Models
    leading: Annotated[list[str], _SEVERAL, Field(min_length=1)] = Field(
        ["default"],
        description="Modality names, 'default' (the dataset's), 'second' (the dataset's second, which leads in the "
        "authors' released code), 'all' (each in turn) or 'none' (no discrimination).",
    )
    protocol: dict[Label, dict[str, Any]] = Field(
        default_factory=dict,
        description="Words to what differs from the study's protocol: every model is trained in each of these ways, "
        "and its label says which. Default: one way, the protocol's.",
    )
    fold: Annotated[list[_Fold], _SEVERAL, Field(min_length=1)] = Field([0], description="Fold indices.")
    seed: Annotated[list[_Seed], _SEVERAL, Field(min_length=1)] = Field([0], description="Training seeds.")
    train_share: Annotated[list[_Share], _SEVERAL, Field(min_length=1)] = Field(
        [1.0],
        description="Shares of the training patients that train, each nested in the larger ones as the seed draws "
        "them; validation and test patients stay. The report draws learning curves.",
    )


class ReportSettings(Settings):
    """What the report compares; not part of any cell's identity."""

    reference: str | None = Field(None, description="Label of the variant the others are compared with.")
    metrics: list[Metric] = Field(["dice", "hd95"], min_length=1, description="What tables show, in order.")
    empty: Annotated[str, AfterValidator(_policy)] | None = Field(
        None,
        description="Policy for empty regions: worst, brats, nan_skip, or a constant penalty like 100mm; default: each "
        "dataset's own.",
    )

    by: Annotated[list[Column], _SEVERAL] = Field(
        [],
        description="Columns of the patients that the report shows scores by, e.g. site. Their values are personal "
        "data: they stand on the page then, and never in MLflow or in what is published.",
    )


class Study(Settings):
    """A study: a question and the matrix of cells that answers it."""

    name: str = Field(description="Letters, digits, '_' and '-'; names the experiment and the folders.")
    question: Text = Field("", description="What the study asks, in one sentence.")
    answers: Text = Field("", description="What of a publication it answers, e.g. Table I of the paper.")
    protocol: str | dict[str, Any] = Field(
        description="Name of a protocol, or {base: NAME, ...} with what differs; under `with`, protocols whose changes "
        "are laid over that of `base`."
    )
    matrix: Matrix
    options: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Model name to options that all its variants share (a profile's size, say)."
    )
    report: ReportSettings = ReportSettings()
    tuning: TuningSettings = Field(TuningSettings(), description="How `harness tune` searches; part of no cell.")
    profiles: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Profile name to what it changes: mappings are merged, lists replaced. Several may be chosen at "
        "once.",
    )

    @field_validator("name", "profiles")
    @classmethod
    def _names_are_safe(cls, value: Any) -> Any:
        for name in [value] if isinstance(value, str) else value:
            if _NAME.fullmatch(name) is None:
                raise ValueError(
                    f"'{name}' is not a valid name: use lower-case letters, digits, '_' and '-', at most 64"
                )
        return value
