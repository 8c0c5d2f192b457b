"""The contract of a segmenter: a factory plus facts.

A segmenter is declared in a module that imports no torch, so that studies are checked and listed quickly; its network
is imported by :meth:`Segmenter.build`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from harness.errors import HarnessError, StudyError, did_you_mean
from harness.files import resolve_path
from harness.registry import resolve
from harness.settings import Settings

if TYPE_CHECKING:
    from torch import nn

    from harness.segmenters.external import Runner
    from harness.segmenters.released import Translator


@dataclass(frozen=True)
class Task:
    """A segmentation task, for which a network is built.

    Attributes:
        modalities: Names in channel order, e.g. ``("t1", "t1ce", "t2", "flair")``.
        leading: Index of the leading modality; ``None`` treats all alike (no discrimination).
        out_channels: Number of output channels K, background included.
        patch_size: Spatial size of the network's input in voxels; its length gives the spatial dimensions.
    """

    modalities: tuple[str, ...]
    leading: int | None
    out_channels: int
    patch_size: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.modalities:
            raise ValueError("a task needs at least one modality")
        if self.leading is not None and not 0 <= self.leading < len(self.modalities):
            raise ValueError(f"leading index {self.leading} is outside the {len(self.modalities)} modalities")
        if self.out_channels < 1:
            raise ValueError(f"out_channels must be positive, not {self.out_channels}")

    @property
    def in_channels(self) -> int:
        """Number of modalities M."""
        return len(self.modalities)

    @property
    def spatial_dims(self) -> int:
        """2 for slices, 3 for volumes."""
        return len(self.patch_size)


class Options(Settings):
    """Base class of a segmenter's options; unknown keys are refused.

    Every option is part of a cell's identity. One that is added later has the mark :class:`harness.settings.Added`, so
    that cells that were computed without it keep their names.
    """


#: What is said of a network wherever it appears, if there is nothing that it could be proven equal to.
PAPER_ONLY = "from the paper: no code to compare with"

#: What marks its name.
PAPER_ONLY_MARK = "‡"


@dataclass(frozen=True)
class Source:
    """Origin of a network.

    Attributes:
        paper: Title, venue and year.
        repository: Official repository, ``owner/name``.
        licence: Licence of the official repository, in words.
        paper_only: Whether the network is written from its paper alone, because its authors published no code to
            compare with. It is marked wherever it appears, and ranked apart.
    """

    paper: str
    repository: str = ""
    licence: str = ""
    paper_only: bool = False


@dataclass(frozen=True)
class Segmenter:
    """A network the harness can train: a factory plus facts.

    Attributes:
        name: Name in study files; equals the entry point's name.
        title: Name in tables and figures.
        summary: Description in one sentence.
        source: Paper and official code.
        factory: ``module:function`` of ``(task: Task, options: Options) -> nn.Module``. The module maps ``(B, M,
            *spatial)`` float to logits ``(B, K, *spatial)``. With deep supervision it returns, in training mode only,
            a list of logits (finest first) and has an attribute ``deep_supervision_weights``: one float per output.
            What else a training compares with the labels (decoders of single modalities, maps of regions) stands in
            that list too, each with its weight. A network made for missing modalities has an attribute
            ``takes_present = True`` and is called as ``network(images, present)`` where some may be absent: ``present``
            is ``(B, M)``, 1 where a modality is present and 0 where not, and what stands in the image of an absent one
            must not matter. Called without it, all are present. A product with it can be recorded, Boolean indexing
            cannot.
        options: The options' class, with types and defaults.
        presets: Named sets of options; a study writes ``preset: tiny``.
        spatial_dims: Dimensions it can be built in.
        adapted_dims: Those of ``spatial_dims`` that its authors did not publish; tables say so.
        contiguous_dims: Dimensions in which a protocol's ``channels_last: auto`` means false, since it is known to be
            slower on GPUs, as with ``InstanceNorm3d`` (pytorch #59168).
        modality_counts: Smallest and largest number of modalities.
        uses_leading: Whether the leading modality changes the function computed. Where not, a study's ``leading``
            axis is collapsed for it.
        official_task: The authors' configuration.
        official_options: Options of the authors' configuration.
        official_parameters: Trainable parameters of that configuration.
        translator: ``module:function`` that maps the authors' released state dict to ours; a
            :data:`harness.segmenters.released.Translator`. Empty where no weights of theirs can be taken.
        runner: ``module:function``, a :data:`harness.segmenters.external.Runner`: a framework that trains and predicts
            by itself; ``factory`` then builds a network like the one it plans, for size estimates.
        pretrained_option: Option that names the file of weights a training starts from, or is ``none``. Empty where
            there is none. A cell records the file's hash; nothing is ever downloaded.
        pretrained_finder: ``module:function`` of the options that returns the file where the option is a word instead
            of a path (``imagenet``).
        pretrained_source: Where the weights can be had; an error says so where the file is not there.
        native_recipe: Its authors' own training recipe, as what differs from protocol ``paper``; studies ask for it by
            ``protocol: native``.
        notes: Decisions and departures a reader of a table should know.
        revision: Raised whenever a change alters the numbers this network produces; part of a cell's identity.
    """

    name: str
    title: str
    summary: str
    source: Source
    factory: str
    options: type[Options] = Options
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    spatial_dims: frozenset[int] = frozenset({2})
    adapted_dims: frozenset[int] = frozenset()
    contiguous_dims: frozenset[int] = frozenset()
    modality_counts: tuple[int, int] = (1, 8)
    uses_leading: bool = False
    official_task: Task | None = None
    official_options: Mapping[str, Any] = field(default_factory=dict)
    official_parameters: int | None = None
    translator: str = ""
    runner: str = ""
    pretrained_option: str = ""
    pretrained_finder: str = ""
    pretrained_source: str = ""
    native_recipe: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    revision: int = 1

    @property
    def marked_title(self) -> str:
        """The title, with a mark where the network is written from its paper alone."""
        return self.title + PAPER_ONLY_MARK * self.source.paper_only

    def parse_options(self, given: Mapping[str, Any], *, stored: bool = False) -> Options:
        """Returns validated options: defaults, then the preset named by ``preset``, then the given values.

        Args:
            given: Option to value, perhaps with a preset.
            stored: Whether a cell recorded them, perhaps before an option existed: then that has its old meaning.

        Raises:
            StudyError: A preset, an option or a value is unknown; the message names the nearest valid one.
        """
        values = dict(given)
        preset = values.pop("preset", None)
        if preset is not None:
            if preset not in self.presets:
                raise StudyError(f"{self.name} has no preset '{preset}'.", hint=did_you_mean(str(preset), self.presets))
            values = {**self.presets[preset], **values}
        for key in values:
            if key not in self.options.model_fields:
                known = [*self.options.model_fields, "preset"]
                raise StudyError(f"{self.name} has no option '{key}'.", hint=did_you_mean(key, known))
        try:
            return self.options.from_stored(values) if stored else self.options.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "options"
            raise StudyError(
                f"{self.name}: option '{where}' = {first.get('input')!r}: {first['msg']}.",
                hint=f"`harness models show {self.name}` lists the options.",
            ) from error

    def check(self, task: Task) -> None:
        """Refuses a task this segmenter cannot be built for.

        Raises:
            StudyError: The spatial dimensions or the number of modalities are not supported.
        """
        if task.spatial_dims not in self.spatial_dims:
            dims = " and ".join(f"{d}D" for d in sorted(self.spatial_dims))
            raise StudyError(
                f"{self.name} works in {dims}, not in {task.spatial_dims}D.",
                hint="Choose another protocol (its `patch_size` sets the dimensions) or another model.",
            )
        low, high = self.modality_counts
        if not low <= task.in_channels <= high:
            raise StudyError(
                f"{self.name} takes {low} to {high} modalities, not {task.in_channels} ({', '.join(task.modalities)}).",
                hint="Choose another model for this dataset.",
            )

    def build(self, task: Task, options: Options | Mapping[str, Any] | None = None) -> nn.Module:
        """Builds the network.

        Args:
            task: Segmentation task.
            options: Validated options, or a mapping that is validated here.

        Raises:
            StudyError: The task or an option is refused, the factory finds them incompatible, or it returns no module.
            HarnessError: The factory cannot be imported.
        """
        from torch import nn

        self.check(task)
        if not isinstance(options, Options):
            options = self.parse_options(options or {})
        factory: Callable[[Task, Options], nn.Module] = self._load(self.factory)
        network = factory(task, options)
        if not isinstance(network, nn.Module):
            what = f"returned a {type(network).__name__}, not a torch.nn.Module"
            hint = f"`harness check {self.name}` says more."
            raise StudyError(f"The factory of {self.name} ({self.factory}) {what}.", hint=hint)
        return network

    def import_factory(self) -> None:
        """Imports the module of the factory.

        Raises:
            HarnessError: It cannot be imported.
        """
        self._load(self.factory)

    def load_translator(self) -> Translator:
        """Returns the function that maps the authors' released state dict to ours.

        Raises:
            HarnessError: There is none, or it cannot be imported.
        """
        if not self.translator:
            raise HarnessError(
                f"No released weights can be imported into '{self.name}'.",
                hint="`harness models` lists which models take their authors' weights.",
            )
        translator: Translator = self._load(self.translator)
        return translator

    def load_runner(self) -> Runner:
        """Returns the framework's own training and prediction.

        Raises:
            HarnessError: It cannot be imported.
        """
        runner: Runner = self._load(self.runner)
        return runner

    def pretrained_file(self, options: Options, beside: Path) -> Path | None:
        """Returns the file of weights that a training with these options starts from; ``None`` where from scratch.

        Args:
            options: Validated options.
            beside: Folder that a relative path is relative to.

        Raises:
            StudyError: The file is not on this disk.
            HarnessError: What finds it cannot be imported.
        """
        named = getattr(options, self.pretrained_option) if self.pretrained_option else "none"
        if named == "none":
            return None
        path = resolve_path(Path(named), beside)
        if path.is_file():
            return path
        if self.pretrained_finder:
            finder: Callable[[Options], Path] = self._load(self.pretrained_finder)
            return finder(options).resolve()
        raise StudyError(
            f"{self.name}: the file of pretrained weights {path} does not exist.",
            hint=f"Nothing is downloaded: put the weights there{self._where_to_get_them}, correct "
            f"`{self.pretrained_option}`, or write `none`.",
        )

    @property
    def _where_to_get_them(self) -> str:
        return f" ({self.pretrained_source})" if self.pretrained_source else ""

    def _load(self, place: str) -> Any:
        return resolve(place, f"segmenter '{self.name}'")
