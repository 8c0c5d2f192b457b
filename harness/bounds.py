"""Bounds of the numbers in settings: how they are declared, and what is allowed at a key.

Every number of our settings has a lower and an upper bound, so that what cannot be is refused before anything runs; a
test walks all classes. Bounds are pydantic's own constraints, so that JSON schemas and pages of reference show them.
"""

import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import annotated_types
from pydantic import AfterValidator, BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

Path = tuple[str | int, ...]

#: In the path of a bound: any index or key.
ANY = "*"


@dataclass(frozen=True)
class Bounds:
    """What a number may be; None where an end has no bound.

    Attributes:
        low: Smallest value.
        high: Largest value.
        low_open: Whether the number must be above ``low``.
        high_open: Whether the number must be below ``high``.
    """

    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False

    def __str__(self) -> str:
        low = "" if self.low is None else f"{'above' if self.low_open else 'at least'} {self.low:g}"
        high = "" if self.high is None else f"{'below' if self.high_open else 'at most'} {self.high:g}"
        if self.low is not None and self.high is not None and not (self.low_open or self.high_open):
            return f"{self.low:.10g} to {self.high:.10g}"
        return ", ".join(filter(None, [low, high]))


def numbers(kind: type[BaseModel], above: Path = ()) -> Iterator[tuple[Path, Bounds]]:
    """Yields the path of every number in a class of settings, nested ones too, and its bounds.

    Indices of lists and keys of mappings are :data:`ANY`; positions of tuples with a fixed length are numbers.
    """
    for name, field in kind.model_fields.items():
        yield from _numbers_in(field.annotation, (*above, name), field.metadata)


def bounds_at(kind: type[BaseModel], path: Path) -> Bounds | None:
    """Returns the bounds of the number at a path; None where there is none, or it has no bounds."""
    for pattern, bounds in numbers(kind):
        alike = zip(pattern, path, strict=False)
        if len(pattern) <= len(path) and all(one in (ANY, other) for one, other in alike) and str(bounds):
            return bounds
    return None


def admits(annotation: Any, kinds: tuple[type, ...]) -> bool:
    """Returns whether a value of one of some classes may stand in a type, or anything may."""
    if annotation is Any:
        return True
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        return issubclass(annotation, kinds)
    if typing.get_origin(annotation) is typing.Literal:
        return any(type(value) in kinds for value in typing.get_args(annotation))
    return any(admits(one, kinds) for one in typing.get_args(annotation))


def refuse(kind: type[BaseModel], path: Path, message: str, value: object) -> ValidationError:
    """Returns an error of one key, for validators that compare several keys."""
    error = PydanticCustomError("value_error", "{message}", {"message": message})
    return ValidationError.from_exception_data(kind.__name__, [InitErrorDetails(type=error, loc=path, input=value)])


def _ordered(values: tuple[float, float]) -> tuple[float, float]:
    if values[0] > values[1]:
        raise ValueError("the first number must not be above the second")
    return values


def _distinct(values: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(values)) < len(values):
        raise ValueError("an axis is repeated")
    return values


#: For a pair of numbers: the first is not above the second.
ORDERED = AfterValidator(_ordered)

#: For axes: none is repeated.
DISTINCT = AfterValidator(_distinct)


def _numbers_in(annotation: Any, path: Path, metadata: Sequence[Any]) -> Iterator[tuple[Path, Bounds]]:
    """Yields the numbers that a type admits, with the constraints that stand around it."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        yield from _numbers_in(arguments[0], path, [*metadata, *arguments[1:]])
    elif annotation in (int, float):
        yield path, bounds_of(metadata)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from numbers(annotation, path)
    elif origin is tuple and ... not in arguments:
        for index, one in enumerate(arguments):
            yield from _numbers_in(one, (*path, index), ())
    elif origin in (tuple, list, set, frozenset):
        yield from _numbers_in(arguments[0], (*path, ANY), ())
    elif origin is dict:
        yield from _numbers_in(arguments[1], (*path, ANY), ())
    elif origin is not typing.Literal:
        for one in arguments:  # a union: constraints around it hold for its numbers
            yield from _numbers_in(one, path, metadata)


def bounds_of(metadata: Sequence[Any]) -> Bounds:
    """Returns the bounds among the constraints of a field."""
    found: dict[str, Any] = {}
    for one in _flat(metadata):
        match one:
            case annotated_types.Ge(ge=value):
                found |= {"low": value}
            case annotated_types.Gt(gt=value):
                found |= {"low": value, "low_open": True}
            case annotated_types.Le(le=value):
                found |= {"high": value}
            case annotated_types.Lt(lt=value):
                found |= {"high": value, "high_open": True}
    return Bounds(**found)


def _flat(metadata: Sequence[Any]) -> Iterator[Any]:
    for one in metadata:
        yield from one.metadata if isinstance(one, FieldInfo) else (one,)
