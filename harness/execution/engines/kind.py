"""What an engine declares: its name, its settings and where its code is. Nothing here imports an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, ValidationError

from harness.errors import HarnessError, did_you_mean
from harness.registry import resolve
from harness.settings import Settings

if TYPE_CHECKING:
    from harness.execution.engines.engine import Engine


@dataclass(frozen=True)
class Flag:
    """How the command line spells a setting, beyond its name, type, bounds and description.

    Attributes:
        short: One-letter form, e.g. ``-w``.
        metavar: Placeholder of the value in the help.
    """

    short: str = ""
    metavar: str | None = None


Workers = Annotated[
    int | None,
    Flag("-w"),
    Field(ge=1, le=65536, description="Cells that run at a time; default: one per GPU, or one per core."),
]
Threads = Annotated[
    int | None,
    Field(
        ge=1,
        le=65536,
        description="CPU threads per cell; default: one on a CPU, an equal share of the cores beside GPUs.",
    ),
]
Cpu = Annotated[bool, Field(description="Use no GPU.")]
GpusPerCell = Annotated[int, Field(ge=1, le=1024, description="GPUs that train one cell together.")]


class EngineSettings(Settings):
    """Base class of an engine's settings.

    Each field has a type that pydantic can read from text, and a description. The command line sets it by
    ``--engine-option KEY=VALUE``.
    """


@dataclass(frozen=True)
class EngineContext:
    """What an engine is opened for.

    Attributes:
        results: Results folder, absolute.
        name: Name of the study, for jobs and logs.
        say: Shows a line of text to the user as it is.
        cache: Folder of prepared data, absolute.
    """

    results: Path
    name: str
    say: Callable[[str], object]
    cache: Path | None = None


@dataclass(frozen=True)
class EngineKind:
    """An engine as it is registered under the entry point group ``harness.engines``.

    Attributes:
        name: Name on the command line, and of the entry point.
        summary: Description in one sentence.
        settings: Class of its settings.
        factory: ``module:function`` that takes the settings and an :class:`EngineContext` and returns the engine.
        script: ``module:function`` that takes the settings, an :class:`EngineContext` and a number of cells and returns
            the batch script, for ``--dry-run``; empty where there is none.
        detaches: Whether its jobs go on without the process that submitted them, for ``--detach``.
        instead: Options of other engines that this one spells differently, and how.
    """

    name: str
    summary: str
    settings: type[EngineSettings]
    factory: str
    script: str = ""
    detaches: bool = False
    instead: Mapping[str, str] = field(default_factory=dict)

    def parse(self, values: Mapping[str, Any]) -> EngineSettings:
        """Returns validated settings.

        Raises:
            HarnessError: A setting is unknown, missing or invalid; the message names it, the hint the valid ones.
        """
        fields = self.settings.model_fields
        for key in values:
            if key not in fields:
                raise HarnessError(f"Engine '{self.name}' has no option '{key}'.", hint=did_you_mean(key, fields))
        try:
            return self.settings.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            key = str(first["loc"][0]) if first["loc"] else ""
            given = f" (given: {values[key]!r})" if key in values else ""
            about = fields[key].description if key in fields else None
            raise HarnessError(
                f"Engine '{self.name}', option '{key}': {first['msg'].removeprefix('Value error, ')}{given}.",
                hint=f"{key}: {about}" if about else f"Options: {', '.join(fields)}.",
            ) from error

    def open(self, settings: EngineSettings, context: EngineContext) -> Engine:
        """Imports and opens the engine.

        Raises:
            HarnessError: It is not installed or cannot be reached.
        """
        engine: Engine = resolve(self.factory, f"engine '{self.name}'")(settings, context)
        return engine

    def batch_script(self, settings: EngineSettings, context: EngineContext, cells: int) -> str:
        """Returns what its batch system would be given for a number of cells."""
        return str(resolve(self.script, f"batch script of engine '{self.name}'")(settings, context, cells))
