"""Base class of everything that can be set, and settings that are written as ``KEY=VALUE``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from harness.errors import HarnessError

__all__ = ["Settings", "parse_key_values", "parse_yaml"]


class Settings(BaseModel):
    """Immutable settings; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def parse_key_values(given: Iterable[str], flag: str, example: str) -> dict[str, str]:
    """Splits options of the form ``KEY=VALUE``; of a key that is repeated the last value counts.

    Args:
        given: Options, e.g. ``["width=32"]``.
        flag: Name of the option in messages, e.g. ``--option``.
        example: A valid value of the flag, for the hint.

    Raises:
        HarnessError: An option is not of this form.
    """
    values = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_][\w-]*", key):
            raise HarnessError(f"{flag} {text}: expected KEY=VALUE.", hint=f"E.g. {flag} {example}")
        values[key] = value
    return values


def parse_yaml(given: Iterable[str], flag: str, example: str) -> dict[str, Any]:
    """As :func:`parse_key_values`, with the values read as in a study file: numbers, booleans, lists.

    Raises:
        HarnessError: An option is not of this form, or its value is not valid YAML.
    """
    values: dict[str, Any] = {}
    for key, text in parse_key_values(given, flag, example).items():
        try:
            values[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise HarnessError(f"{flag} {key}={text}: {error}", hint=f"E.g. {flag} {example}") from error
    return values
