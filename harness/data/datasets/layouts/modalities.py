"""Which modalities a case lacks: ``modalities.json`` beside ``dataset.json``.

The file reads ``{"missing": {"CASE": ["T2"], ...}}``, with the names of ``dataset.json``; cases that it does not name
have all modalities. A patient of ``patients.json`` stands for all their cases.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.alike import name_some
from harness.data.patients.table import PATIENTS, read_patients
from harness.data.reading.special_files import refuse_special
from harness.errors import DataError, did_you_mean
from harness.files import read_json, write_json

MODALITIES = "modalities.json"

_KEY = "missing"
_HINT = f'It must read {{"{_KEY}": {{"CASE": ["MODALITY", ...], ...}}}}, with names of modalities as in dataset.json.'


@dataclass(frozen=True)
class CaseFiles:
    """The files of a case.

    Attributes:
        images: Image files; each holds one channel or several (4D), in channel order.
        label: ``None`` for a case that can only be predicted.
        absent: Channels that no file holds, as ``modalities.json`` says.
    """

    images: tuple[Path, ...]
    label: Path | None
    absent: tuple[int, ...] = ()


def with_declared(root: Path, cases: Mapping[str, CaseFiles], channels: Sequence[str]) -> dict[str, CaseFiles]:
    """Returns cases without the files of the modalities that ``modalities.json`` declares to be missing.

    Args:
        root: Holds ``dataset.json``.
        cases: Files of each case as if all were there.
        channels: Names in channel order.

    Raises:
        DataError: The file is invalid, names an unknown case or modality, leaves a case none, or declares to be missing
            what is there.
    """
    declared = _read(root, cases, channels)
    return {name: _lacking(root, name, files, channels, declared.get(name, ())) for name, files in cases.items()}


def find_missing(cases: Mapping[str, CaseFiles], channels: Sequence[str]) -> dict[str, list[str]]:
    """Returns the modalities whose files are not there, of each case that lacks some and has a file per modality.

    Args:
        cases: Files of each case as if all were there.
        channels: Names in channel order.

    Raises:
        DataError: A case has no image at all.
    """
    found: dict[str, list[str]] = {}
    for case, files in cases.items():
        if len(files.images) != len(channels) or len(channels) < 2:
            continue
        if lacking := [name for name, path in zip(channels, files.images, strict=True) if not os.path.lexists(path)]:
            found[case] = lacking
    if empty := [case for case, lacking in found.items() if len(lacking) == len(channels)]:
        raise DataError(
            f"No image is there of {name_some(empty)}.", hint="Put the images there, or take the label away."
        )
    return found


def declare_missing(root: Path, found: Mapping[str, Sequence[str]]) -> Path:
    """Writes ``modalities.json``; one that is there and says the same stays.

    Args:
        root: Holds ``dataset.json``.
        found: Modalities that each case lacks.

    Raises:
        DataError: The file is there and says something else.
    """
    path, content = root / MODALITIES, {_KEY: {case: list(lacking) for case, lacking in found.items()}}
    if path.exists():
        if _content(path) == content[_KEY]:
            return path
        raise DataError(
            f"{path} is there already, and does not say what the files say.",
            hint="Correct it, or take it away and type this again.",
        )
    write_json(path, content)
    return path


def _content(path: Path) -> Mapping[str, list[str]]:
    refuse_special(path)
    try:
        content = read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint=_HINT) from error
    entries = content.get(_KEY) if isinstance(content, dict) and set(content) == {_KEY} else None
    if not isinstance(entries, dict) or not all(isinstance(names, list) for names in entries.values()):
        raise DataError(f"{path} does not say which modalities each case lacks.", hint=_HINT)
    return entries


def _read(root: Path, cases: Mapping[str, CaseFiles], channels: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Returns the channels that each case is declared to lack."""
    path = root / MODALITIES
    if not path.exists():
        return {}
    patients = read_patients(root / PATIENTS)[0]
    lacking: dict[str, set[str]] = {}
    for key, names in _content(path).items():
        for name in names:
            if name not in channels:
                raise DataError(
                    f"{path}: '{name}' of '{key}' is no modality of the dataset.",
                    hint=did_you_mean(str(name), channels),
                )
        own = [key] if key in cases else [case for case in cases if patients.get(case) == key]
        if not own:
            raise DataError(f"{path}: there is no case or patient '{key}'.", hint=did_you_mean(key, cases))
        for case in own:
            lacking.setdefault(case, set()).update(names)
    for case, absent in lacking.items():
        if len(absent) == len(channels):
            raise DataError(f"{path}: '{case}' has no modality at all.", hint="Take the case away, or correct it.")
    return {case: tuple(c for c, name in enumerate(channels) if name in absent) for case, absent in lacking.items()}


def _lacking(root: Path, case: str, files: CaseFiles, channels: Sequence[str], absent: Iterable[int]) -> CaseFiles:
    """Returns the files of a case without those of the modalities that it lacks."""
    absent = tuple(absent)
    if not absent or len(files.images) != len(channels):  # a file of several channels holds those that are there
        return replace(files, absent=absent)
    for channel in absent:
        if os.path.lexists(path := files.images[channel]):
            raise DataError(
                f"{root / MODALITIES} says that '{case}' lacks {channels[channel]}, but {path} is there.",
                hint=f"Take {channels[channel]} of '{case}' out of {MODALITIES}, or the file away.",
            )
    images = tuple(image for channel, image in enumerate(files.images) if channel not in absent)
    return replace(files, images=images, absent=absent)
