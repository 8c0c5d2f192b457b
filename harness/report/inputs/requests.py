"""What the command line says about results of others."""

import re
from collections.abc import Sequence
from pathlib import Path

from harness.errors import HarnessError
from harness.report.inputs.readers.label_names import read_label_names
from harness.report.inputs.readers.mapped import parse_columns
from harness.report.inputs.readers.source import Request


def parse_requests(
    texts: Sequence[str],
    *,
    columns: Sequence[str] = (),
    dataset_json: Path | None = None,
    dataset: str = "",
    patient: str | None = None,
) -> list[Request]:
    """Returns what to read.

    Args:
        texts: ``LABEL=PATH`` or ``PATH``; one that is a path as it stands has no label.
        columns: Columns of a table, see :func:`~harness.report.inputs.readers.mapped.parse_columns`.
        dataset_json: File that names labels; None for the one beside the results.
        dataset: Name of the dataset.
        patient: Regular expression of the patient in a case's name.

    Raises:
        HarnessError: A label or a path is empty, or the expression is none.
        DataError: The ``dataset.json`` cannot be read.
    """
    try:
        pattern = None if patient is None else re.compile(patient)
    except re.error as error:
        raise HarnessError(f"--patient '{patient}' is no regular expression: {error}.") from error
    named = parse_columns(columns)
    names = None if dataset_json is None else read_label_names(dataset_json)
    return [Request(path, label, named, names, dataset, pattern) for label, path in map(_split, texts)]


def _split(text: str) -> tuple[str, Path]:
    label, separator, path = text.partition("=")
    if not separator or Path(text).exists():
        return "", Path(text)
    if not label.strip() or not path.strip():
        raise HarnessError(f"--with '{text}' is refused.", hint="Write LABEL=PATH, or PATH alone.")
    return label.strip(), Path(path)
