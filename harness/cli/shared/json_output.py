"""What ``--json`` prints, of every verb: one object, and nothing else on standard output."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import typer


def print_json(command: str, rows: Iterable[Mapping[str, Any]], **facts: Any) -> None:
    """Prints one object: ``command``, ``rows`` with one object per thing listed, and further facts.

    Numbers that are no numbers are null.

    Args:
        command: The verb, e.g. ``data check``.
        rows: What is listed.
        facts: What is said of all of it.
    """
    typer.echo(json.dumps(_plain({"command": command, "rows": list(rows), **facts}), indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
