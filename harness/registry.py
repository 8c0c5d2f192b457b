"""Finds plug-ins (segmenters, datasets, engines) through entry points, ours too, and imports what they name."""

import pkgutil
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from harness.errors import HarnessError, did_you_mean

T = TypeVar("T")


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
    except (ImportError, AttributeError, ValueError) as error:  # ValueError: not of the form module:object
        raise HarnessError(
            f"The {role} ({place}) cannot be imported: {error}",
            hint="Install what it needs; `pip install -e '.[dev]'` installs what ours need.",
        ) from error


class Registry(Generic[T]):
    """A lazy, collision-checked view of one entry-point group.

    Names are read from package metadata; an object is imported when it is asked for, so that one plug-in with a missing
    dependency stops nobody else.

    Args:
        group: The entry-point group, e.g. ``harness.segmenters``.
        kind: The class every object of the group must be an instance of.
        noun: What a member is called in messages.
    """

    def __init__(self, group: str, kind: type[T], noun: str) -> None:
        self._group = group
        self._kind = kind
        self._noun = noun

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
            raise HarnessError(f"Unknown {self._noun} '{name}'.", hint=did_you_mean(name, points) if points else again)
        point = points[name]
        try:
            found = point.load()
        except (ImportError, AttributeError) as error:
            raise HarnessError(
                f"The {self._noun} '{name}' ({point.value}) cannot be imported: {error}",
                hint=f"Install what it needs, or remove the package {_distribution(point)} that registers it.",
            ) from error
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

    def _points(self) -> dict[str, EntryPoint]:
        return _scan(self._group, self._noun)

    def refresh(self) -> None:
        """Forgets what was scanned; a package was installed while this process runs."""
        _scan.cache_clear()


@cache
def _scan(group: str, noun: str) -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=group):
        other = found.get(point.name)
        # The same distribution can be seen twice (an editable install beside a build folder); two owners are a clash.
        if other is not None and other.value != point.value:
            raise HarnessError(
                f"Two packages register the {noun} '{point.name}': "
                f"{_distribution(other)} ({other.value}) and {_distribution(point)} ({point.value}).",
                hint="Uninstall one of them, or ask its authors to choose another name.",
            )
        found[point.name] = point
    return found


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "(unknown package)"
