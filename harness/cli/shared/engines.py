"""The options that say where cells run and what to do about failures, shared by the verbs that run cells.

An engine's options are the fields of its settings class. Those of our own engines become flags here, once for all
verbs; those of an engine from another package are given by ``--engine-option``.
"""

from __future__ import annotations

import functools
import inspect
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_origin

import typer
from pydantic.fields import FieldInfo
from rich.console import Console

from harness.bounds import bounds_of
from harness.cli.shared.formatting import parse_duration
from harness.errors import HarnessError
from harness.execution.engines import ENGINES, EngineContext, EngineKind, EngineSettings
from harness.execution.engines.kind import Flag
from harness.execution.engines.local_settings import LOCAL
from harness.execution.engines.ray_settings import RAY
from harness.execution.engines.slurm_settings import SLURM
from harness.settings import parse_key_values

if TYPE_CHECKING:
    from harness.execution.engines.engine import Engine
    from harness.execution.schedule import Policy

RetriesOption = Annotated[
    int, typer.Option(min=0, max=10_000, help="Further attempts at a cell that crashed or reached the timeout.")
]
TimeoutOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="Longest time of one attempt at a cell, e.g. 90m or 2h.")
]
FailFastOption = Annotated[bool, typer.Option("--fail-fast", help="Stop all cells at the first failure.")]
MlflowOption = Annotated[bool, typer.Option("--mlflow/--no-mlflow", help="Show the runs in MLflow.")]

#: Engines whose settings are flags.
_FLAGGED = (LOCAL, RAY, SLURM)

_ENGINE = Annotated[
    str,
    typer.Option("--engine", "-e", metavar="NAME", help="Where cells run: local, ray, slurm, or an installed engine."),
]
_ENGINE_OPTION = Annotated[
    list[str] | None,
    typer.Option("--engine-option", metavar="KEY=VALUE", help="A setting of the engine; may be repeated."),
]


def make_policy(retries: int, timeout: str | None, fail_fast: bool) -> Policy:
    """Returns what to do about failures."""
    from harness.execution.schedule import Policy

    return Policy(retries, None if timeout is None else parse_duration(timeout), fail_fast)


@dataclass(frozen=True)
class EngineChoice:
    """The engine that the command line asks for.

    Attributes:
        kind: The engine.
        settings: Its settings, validated.
        arguments: The options of the command line that say so, for commands shown to the user.
    """

    kind: EngineKind
    settings: EngineSettings
    arguments: str

    def open(self, console: Console, results: Path, cache: Path, name: str) -> Engine:
        """Returns the engine.

        Args:
            console: Console to show messages on.
            results: Results folder.
            cache: Folder of prepared data.
            name: Name of the study.

        Raises:
            HarnessError: It is not installed or cannot be reached.
        """
        return self.kind.open(self.settings, EngineContext(results.resolve(), name, console.print, cache.resolve()))

    def batch_script(self, results: Path, cache: Path, name: str, cells: int) -> str:
        """Returns what a batch system would be given; it need not be installed here.

        Raises:
            HarnessError: The engine has no batch system.
        """
        if not self.kind.script:
            raise HarnessError(
                "--dry-run belongs to --engine slurm.", hint="`harness plan` shows what a study would run."
            )
        context = EngineContext(results.resolve(), name, print, cache.resolve())
        return self.kind.batch_script(self.settings, context, cells)


def engine_options(*, without: Collection[str] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a verb the options of engines in place of its parameter of type :class:`EngineChoice`.

    Args:
        without: Settings that the verb does not offer.
    """

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(verb, eval_str=True)
        (place,) = (one.name for one in signature.parameters.values() if one.annotation is EngineChoice)
        options = list(_options(without))

        @functools.wraps(verb)
        def run_verb(**given: Any) -> None:
            chosen = choose_engine({one.name: given.pop(one.name) for one in options}, without)
            verb(**given, **{place: chosen})

        parameters = []
        for one in signature.parameters.values():
            more = options if one.name == place else [one.replace(kind=inspect.Parameter.KEYWORD_ONLY)]
            parameters += more
        run_verb.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run_verb.__annotations__ = {one.name: one.annotation for one in parameters}
        return run_verb

    return decorate


def choose_engine(options: Mapping[str, Any], without: Collection[str] = ()) -> EngineChoice:
    """Returns the engine for what the command line says.

    Args:
        options: Values by name: ``engine``, ``engine_option``, and the flags of engines.
        without: Settings that the verb does not offer.

    Raises:
        HarnessError: An engine or option is unknown or invalid, or does not belong to the engine.
    """
    kind = ENGINES.get(options["engine"])
    flags = _flags(without)
    given = {key: options[key] for key, field in flags.items() if options[key] not in (None, field.default)}
    for key in given:
        if key not in kind.settings.model_fields:
            raise _foreign(kind, key)
    extra = parse_key_values(options["engine_option"] or (), "--engine-option", "threads=2")
    for key in set(extra) & set(without):
        raise HarnessError(f"--engine-option {key}: not used by this command.", hint="Leave it out.")
    return EngineChoice(kind, kind.parse({**given, **extra}), _arguments(kind, given, extra))


def local_engine(cpu: bool) -> EngineChoice:
    """Returns the engine of this machine as it is without options, or on the CPU."""
    return EngineChoice(LOCAL, LOCAL.parse({"cpu": True} if cpu else {}), "--cpu" if cpu else "")


def _foreign(kind: EngineKind, key: str) -> HarnessError:
    """Returns what is wrong with a flag of other engines."""
    flag = _flag(key)
    if key in kind.instead:
        return HarnessError(f"--engine {kind.name} does not use {flag}.", hint=f"Instead: {kind.instead[key]}")
    owners = [one.name for one in _FLAGGED if key in one.settings.model_fields]
    return HarnessError(f"{flag} belongs to --engine {' or '.join(owners)}.", hint=f"Add --engine {owners[0]}.")


def _flags(without: Collection[str]) -> dict[str, FieldInfo]:
    """Returns the settings that are flags; those that engines share stand once."""
    fields = {key: field for kind in _FLAGGED for key, field in kind.settings.model_fields.items()}
    return {key: field for key, field in fields.items() if key not in without}


def _options(without: Collection[str]) -> Iterator[inspect.Parameter]:
    """Yields the options as parameters that Typer understands."""
    yield _parameter("engine", _ENGINE, LOCAL.name)
    for key, field in _flags(without).items():
        # Typer reads a repeated option into a list.
        several = get_origin(field.annotation) is tuple
        kind = list[str] | None if several else field.annotation
        yield _parameter(key, Annotated[kind, _option(key, field)], None if several else field.default)
    yield _parameter("engine_option", _ENGINE_OPTION, None)


def _option(key: str, field: FieldInfo) -> Any:
    flag = next((one for one in field.metadata if isinstance(one, Flag)), Flag())
    bounds = bounds_of(field.metadata)
    names = [_flag(key), *([flag.short] if flag.short else [])]
    return typer.Option(*names, metavar=flag.metavar, min=bounds.low, max=bounds.high, help=field.description)


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def _arguments(kind: EngineKind, given: Mapping[str, Any], extra: Mapping[str, str]) -> str:
    """Returns e.g. '--engine slurm --slurm slurm.yaml'."""
    words = ["--engine", kind.name]
    for key, value in given.items():
        for one in value if isinstance(value, list) else [value]:
            words += [_flag(key)] if one is True else [_flag(key), str(one)]
    for key, text in extra.items():
        words += ["--engine-option", f"{key}={text}"]
    return shlex.join(words)
