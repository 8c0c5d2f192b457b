"""The search space: from the draws of an Optuna trial to a protocol."""

import math
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import optuna

from harness.errors import StudyError, did_you_mean
from harness.study.document import Document, merge, validate
from harness.study.protocol import Protocol
from harness.study.tuning import Range, TuningSettings

Values = Mapping[str, Any]


def draw(trial: optuna.Trial, space: Mapping[str, Range]) -> dict[str, Any]:
    """Returns the draws of a trial: key of the protocol to value, or to factor."""
    drawn: dict[str, Any] = {}
    for key, one in space.items():
        if one.choices is not None:
            drawn[key] = trial.suggest_categorical(key, one.choices)
        else:
            low, high = _bounds(one)
            drawn[key] = trial.suggest_float(key, low, high, log=one.log)
    return drawn


def default_point(protocol: Protocol, space: Mapping[str, Range]) -> dict[str, Any] | None:
    """Returns the draws that give the protocol itself; None where it lies outside the space."""
    found: dict[str, Any] = {}
    for key, one in space.items():
        values = [value for _, value in _matching(protocol, key)]
        if one.choices is not None:
            if values[0] not in one.choices:
                return None
            found[key] = values[0]
            continue
        low, high = _bounds(one)
        value = 1.0 if one.factor is not None else values[0]
        if not isinstance(value, int | float) or not low <= value <= high:
            return None
        found[key] = float(value)
    own = protocol.model_dump(mode="json")
    # Several keys that match one name have one value in the space, and perhaps several in the protocol.
    return found if merge(own, overrides(protocol, space, found)) == own else None


def overrides(protocol: Protocol, space: Mapping[str, Range], drawn: Values) -> dict[str, Any]:
    """Returns what a trial changes in a protocol, as nested mappings."""
    changes: dict[str, Any] = {}
    for key, one in space.items():
        for path, value in _matching(protocol, key):
            new = drawn[key]
            if one.factor is not None:
                new = min(float(value) * drawn[key], one.most if one.most is not None else float("inf"))
            changes = merge(changes, _nested(path, new))
    return changes


def trial_protocol(protocol: Protocol, settings: TuningSettings, drawn: Values) -> Protocol:
    """Returns how a trial is trained.

    Raises:
        StudyError: The protocol refuses a value.
    """
    epochs = settings.epochs or protocol.training.epochs
    budget = {"epochs": epochs, "validate_every": settings.validate_every or max(1, epochs // 10)}
    changed = merge(protocol.model_dump(mode="json"), overrides(protocol, settings.space, drawn))
    return validate(Protocol, Document(merge(changed, {"training": budget}), {}, "tuning.space"))


def check_space(protocol: Protocol, settings: TuningSettings) -> None:
    """Refuses a space that no protocol can be drawn from.

    Raises:
        StudyError: A key is not in the protocol, a factor is given for something that is not a number, or the protocol
            refuses a choice, an end of a range or a value in between, as keys that take integers do.
    """
    for key, one in settings.space.items():
        found = list(_matching(protocol, key))
        if not found:
            raise StudyError(
                f"tuning.space: '{key}' is not a key of protocol {protocol.name}.",
                hint=did_you_mean(key, [".".join(path) for path, _ in _leaves(protocol.model_dump(mode="json"))]),
            )
        for path, value in found:
            if one.factor is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise StudyError(f"tuning.space: '{'.'.join(path)}' is not a number, so it cannot have a factor.")
    for end in (0, -1):
        drawn = {key: (one.choices or _bounds(one))[end] for key, one in settings.space.items()}
        trial_protocol(protocol, settings, drawn)
    inside = {key: _between(one) for key, one in settings.space.items()}
    trial_protocol(protocol, settings, inside)
    for key, one in settings.space.items():
        for choice in one.choices or ():
            trial_protocol(protocol, settings, {**inside, key: choice})


def _between(one: Range) -> Any:
    """Returns a value from inside a range that is not a round number."""
    if one.choices is not None:
        return one.choices[0]
    low, high = _bounds(one)
    return low + (high - low) / math.pi


def _bounds(one: Range) -> tuple[float, float]:
    bounds = one.between or one.factor
    assert bounds is not None  # only asked of ranges without choices
    return bounds


def _matching(protocol: Protocol, key: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    for path, value in _leaves(protocol.model_dump(mode="json")):
        if fnmatchcase(".".join(path), key):
            yield path, value


def _leaves(values: Values, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


def _nested(path: tuple[str, ...], value: object) -> dict[str, Any]:
    first, *rest = path
    return {first: _nested(tuple(rest), value)} if rest else {first: value}
