"""Finds plug-ins (segmenters, datasets, engines) through entry points, ours too, and imports what they name."""

import pkgutil
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points
from typing import Any, Generic, Protocol, TypeVar

from harness import import_probe
from harness.errors import HarnessError, did_you_mean

T = TypeVar("T")

#: What the import of somebody's module may raise; a module that ends the process raises ``SystemExit``.
_RAISED = (Exception, SystemExit)

#: The distribution whose modules are ours.
_OWN = "aahn-harness"


class Selectable(Protocol):
    """What :func:`entry_points` returns; its class depends on the version of Python."""

    def select(self, *, group: str) -> Iterable[EntryPoint]:
        """Returns the entry points of a group."""


def resolve(place: str, role: str) -> Any:
    """Imports an object that a segmenter or dataset names, so that its module is loaded only when it is needed.

    Args:
        place: Module and object, e.g. ``package.module:function``.
        role: Role of the object in messages, e.g. ``reader of 'cortex'``.

    Raises:
        HarnessError: The module cannot be imported, or the object is not in it.
    """
    try:
        return pkgutil.resolve_name(place)
    except _RAISED as error:
        absent = isinstance(error, ModuleNotFoundError)
        raise HarnessError(
            f"The {role} ({place}) cannot be imported: {_said(error)}",
            hint="Install what it needs; `pip install -e '.[dev]'` installs what ours need."
            if absent
            else "Correct that module, or what is declared: PACKAGE.MODULE:NAME.",
        ) from error


class Registry(Generic[T]):
    """A lazy, collision-checked view of one entry-point group.

    Names are read from package metadata; an object is imported when it is asked for, so that one plug-in that cannot be
    imported stops nobody else. A module that is not ours is imported in a process of its own first: it may end the
    process, or never return.

    Args:
        group: The entry-point group, e.g. ``harness.segmenters``.
        kind: The class every object of the group must be an instance of.
        noun: What a member is called in messages.
        patience: Seconds that an import may take.
    """

    def __init__(self, group: str, kind: type[T], noun: str, patience: float = import_probe.PATIENCE) -> None:
        self._group = group
        self._kind = kind
        self._noun = noun
        self._patience = patience

    def names(self) -> list[str]:
        """Returns every registered name, sorted."""
        return sorted(self._points())

    def get(self, name: str) -> T:
        """Imports and returns the object registered under ``name``.

        Raises:
            HarnessError: The name is unknown, its module cannot be imported, or the object breaks the contract.
        """
        points = self._points()
        if name not in points:
            again = "None is registered: install the harness again, e.g. `pip install -e .` in its folder."
            own = " One of your own is known once its package is installed here: `pip install -e FOLDER`."
            hint = did_you_mean(name, points) + own if points else again
            raise HarnessError(f"Unknown {self._noun} '{name}'.", hint=hint)
        point = self._only(name, points[name])
        remedy = f"Install what it needs, or remove the package {_distribution(point)} that registers it."
        what = f"The {self._noun} '{name}' ({point.value}) cannot be imported"
        if _is_foreign(point) and (problem := import_probe.problem(point.module, self._patience)):
            raise HarnessError(f"{what}: {problem}.", hint=remedy)
        try:
            found = point.load()
        except _RAISED as error:
            raise HarnessError(f"{what}: {_said(error)}", hint=remedy) from error
        if not isinstance(found, self._kind):
            raise HarnessError(
                f"The {self._noun} '{name}' ({point.value}) is a {type(found).__name__}, not a {self._kind.__name__}.",
                hint="See CONTRIBUTING.md for what a plug-in registers.",
            )
        registered = getattr(found, "name", name)
        if registered != name:
            raise HarnessError(
                f"The {self._noun} registered as '{name}' calls itself '{registered}'.",
                hint=f"Use one name in the entry point and in the object ({point.value}).",
            )
        return found

    def is_foreign(self, name: str) -> bool:
        """Returns whether a package other than ours registers a name; so is one that nobody registers."""
        return any(map(_is_foreign, self._points().get(name, []))) or name not in self._points()

    def load_all(self) -> tuple[dict[str, T], dict[str, str]]:
        """Returns all objects that can be loaded, by name, and why the others cannot.

        However many never return, that takes no longer than one of them.
        """
        points = (point for found in self._points().values() for point in found)
        import_probe.try_all({point.module for point in points if _is_foreign(point)}, self._patience)
        loaded: dict[str, T] = {}
        broken: dict[str, str] = {}
        for name in self.names():
            try:
                loaded[name] = self.get(name)
            except HarnessError as error:
                broken[name] = error.message
        return loaded, broken

    def refresh(self) -> None:
        """Forgets what was scanned; a package was installed while this process runs."""
        _scan.cache_clear()
        _read_all.cache_clear()
        _name_of.cache_clear()
        import_probe.forget()

    def _points(self) -> dict[str, list[EntryPoint]]:
        return _scan(self._group, tuple(sys.path))

    def _only(self, name: str, points: list[EntryPoint]) -> EntryPoint:
        first, *others = points
        if others:
            both = [f"{_distribution(point)} ({point.value})" for point in (first, others[0])]
            raise HarnessError(
                f"Two packages register the {self._noun} '{name}': {both[0]} and {both[1]}.",
                hint="Uninstall one of them, or ask its authors to choose another name.",
            )
        return first


@cache
def _scan(group: str, path: tuple[str, ...]) -> dict[str, list[EntryPoint]]:
    """Returns the entry points of a group by name, several where packages clash, on what is the search path now."""
    found: dict[str, list[EntryPoint]] = {}
    for point in _read_points(group, path):
        same = found.setdefault(point.name, [])
        # The same distribution can be seen twice (an editable install beside a build folder); two owners are a clash.
        if all(other.value != point.value for other in same):
            same.append(point)
    return found


def _read_points(group: str, path: tuple[str, ...]) -> Iterable[EntryPoint]:
    try:
        return list(_read_all(path).select(group=group))
    except Exception:  # the metadata of one package is damaged: the others' are read one by one
        return [point for package in distributions() for point in _points_of(package, group)]


@cache
def _read_all(_path: tuple[str, ...]) -> Selectable:
    """Reads the entry points of all groups on the search path; that of one group takes as long."""
    return entry_points()


def _points_of(package: Distribution, group: str) -> list[EntryPoint]:
    try:
        return list(package.entry_points.select(group=group))
    except Exception:
        return []


def _is_foreign(point: EntryPoint) -> bool:
    return point.dist is None or _name_of(point.dist) != _OWN


def _said(error: BaseException) -> str:
    """Returns the first line of an error; that of an import says what is missing, of others also their kind is told."""
    text = str(error).strip().partition("\n")[0]
    return text if isinstance(error, ImportError | AttributeError) and text else f"{type(error).__name__}: {text}"


def _distribution(point: EntryPoint) -> str:
    return _name_of(point.dist) if point.dist is not None else "(unknown package)"


@cache
def _name_of(package: Distribution) -> str:
    """Returns the name of a package, whose metadata would be parsed anew each time."""
    return package.name
