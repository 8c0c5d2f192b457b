"""nnU-Net v2's raw format: ``dataset.json``, ``imagesTr/CASE_0000.nii.gz``, ``labelsTr/CASE.nii.gz``, ``imagesTs``.

Source of the format: ``documentation/dataset_format.md`` and ``region_based_training.md`` of MIC-DKFZ/nnUNet.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.data.contract import Dataset
from harness.data.datasets.layouts.document import (
    Facts,
    distinct,
    document_error,
    facts_to_dataset,
    listed_file,
    read_document,
)
from harness.data.datasets.layouts.modalities import (
    MODALITIES,
    CaseFiles,
    declare_missing,
    find_missing,
    with_declared,
)
from harness.data.datasets.layouts.reader import ListedReader, patient_notes
from harness.data.reading.files import visible
from harness.data.reading.itk_files import FLAT_ENDINGS
from harness.data.reading.nifti import IMAGE_ENDINGS

_CHANNEL = re.compile(r"(.+)_(\d{4})")


def describe(root: Path) -> Dataset:
    """Returns the dataset of a folder in nnU-Net's raw format.

    Raises:
        DataError: ``dataset.json`` is not usable, or no image can be read.
    """
    content = read_document(root)
    facts = _facts(root, content)
    ending = _ending(root, content)
    cases = with_declared(root, _cases(root, content, len(facts.channels)), distinct(facts.channels))
    guessed = () if "file_ending" in content else (f"`file_ending` is not stated: the files end with {ending}.",)
    facts = replace(facts, notes=(*facts.notes, *guessed, *_namesake_notes(root, ending, cases)))
    return facts_to_dataset(
        root, facts, [case.images[0] for case in cases.values()], "harness.data.datasets.layouts.nnunet_raw:open_folder"
    )


def open_folder(root: Path) -> ListedReader:
    """Returns a reader of a raw folder.

    Raises:
        DataError: As :func:`describe`.
    """
    content = read_document(root)
    facts = _facts(root, content)
    channels = distinct(facts.channels)
    cases = with_declared(root, _cases(root, content, len(channels)), channels)
    return ListedReader(root, cases, channels, facts.values)


def declare_missing_files(root: Path) -> tuple[Path, dict[str, list[str]]]:
    """Writes which modalities each case lacks into ``modalities.json``, where files are missing.

    Returns:
        The file, and the modalities that each case lacks; where none is missing, nothing is written.

    Raises:
        DataError: As :func:`describe`; a case has no image at all; or the file is there and says something else.
    """
    content = read_document(root)
    channels = distinct(_facts(root, content).channels)
    found = find_missing(_cases(root, content, len(channels)), channels)
    return (declare_missing(root, found) if found else root / MODALITIES), found


def _facts(root: Path, content: Mapping[str, Any]) -> Facts:
    channels = content.get("channel_names")
    labels = content.get("labels")
    if not isinstance(channels, dict) or not isinstance(labels, dict):
        raise document_error(
            root,
            "`channel_names` and `labels` must be mappings.",
            "Write it as nnU-Net v2 does; `nnUNetv2_convert_old_nnUNet_dataset` converts a v1 folder.",
        )
    if "ignore" in labels:
        raise document_error(
            root,
            "an ignore label is declared, which the harness cannot train or score with.",
            "Remove the voxels' ignore label from the files and from `labels`, or use nnU-Net itself.",
        )
    held = {str(name): _values(root, name, value) for name, value in labels.items()}
    if held.pop("background", None) != (0,):
        raise document_error(root, "`labels` must hold `background: 0`.")
    has_regions = any(isinstance(value, list) for value in labels.values())
    names = {0: "background", **{value: f"label {value}" for values in held.values() for value in values}}
    names.update({values[0]: name for name, values in held.items() if len(values) == 1})
    if has_regions:
        _check_order(root, content.get("regions_class_order"), held, names)
    return Facts(
        name=str(content.get("name") or re.sub(r"^Dataset\d{3}_", "", root.resolve().name)),
        channels=tuple(str(channels[key]) for key in _in_order(root, channels)),
        names=names,
        regions=held,
        licence=str(content.get("licence") or content.get("license") or ""),
        description=str(content.get("description") or ""),
        notes=(*patient_notes(root), *_normalisation_notes(channels), *_repeated_notes(channels)),
    )


def _in_order(root: Path, channels: Mapping[str, Any]) -> list[str]:
    keys = sorted(channels, key=lambda key: (len(key), key))
    if keys != [str(number) for number in range(len(keys))]:
        raise document_error(root, f"`channel_names` must be numbered 0, 1, ...: {', '.join(keys)}.")
    return keys


def _values(root: Path, name: object, value: object) -> tuple[int, ...]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in values):
        raise document_error(root, f"label '{name}' must be a number from 0, or a list of them: {value!r}.")
    return tuple(sorted(set(values)))


def _check_order(root: Path, order: object, regions: Mapping[str, tuple[int, ...]], names: Mapping[int, str]) -> None:
    """Regions need ``regions_class_order``: the value that each is written with, in the order of ``labels``."""
    if not isinstance(order, list) or len(order) != len(regions) or not all(value in tuple(names) for value in order):
        raise document_error(
            root,
            f"regions need `regions_class_order`, one value for each of {', '.join(regions)}; it is {order!r}.",
            "See nnU-Net's documentation on region-based training.",
        )


def _namesake_notes(root: Path, ending: str, cases: Mapping[str, CaseFiles]) -> tuple[str, ...]:
    labelled = {name for name, case in cases.items() if case.label is not None}
    namesakes = sorted(_names(root / "imagesTs", ending, True) & labelled)
    if not namesakes:
        return ()
    return (f"imagesTs/{namesakes[0]} is left out, as a labelled case is called so ({len(namesakes)} such names).",)


def _repeated_notes(channels: Mapping[str, Any]) -> tuple[str, ...]:
    names = [str(name) for name in channels.values()]
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    return tuple(f"{names.count(name)} channels are called '{name}': they are numbered from 1." for name in repeated)


def _normalisation_notes(channels: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(
        f"Channel '{name}' is normalised by its mean and SD, not as nnU-Net would by its name."
        for name in map(str, channels.values())
        if name.lower() in ("nonorm", "rescale_0_1", "rgb_to_0_1")
    )


def _cases(root: Path, content: Mapping[str, Any], channels: int) -> dict[str, CaseFiles]:
    ending = _ending(root, content)
    listed = content.get("dataset")
    if listed is not None and not isinstance(listed, dict):
        raise document_error(root, "`dataset` must map each case to its `images` and its `label`.")
    if isinstance(listed, dict):
        cases = {str(name): _listed(root, str(name), entry) for name, entry in listed.items()}
    else:
        names = _names(root / "imagesTr", ending, True) | _names(root / "labelsTr", ending, False)
        cases = {
            name: CaseFiles(_images(root, "imagesTr", name, channels, ending), root / "labelsTr" / f"{name}{ending}")
            for name in names
        }
    for name in _names(root / "imagesTs", ending, True) - set(cases):
        cases[name] = CaseFiles(_images(root, "imagesTs", name, channels, ending), None)
    return cases


def _listed(root: Path, name: str, entry: object) -> CaseFiles:
    images = entry.get("images") if isinstance(entry, dict) else None
    label = entry.get("label") if isinstance(entry, dict) else None
    if not isinstance(images, list) or not images or not isinstance(label, str):
        raise document_error(root, f"`dataset` must give case '{name}' `images` (a list) and a `label`.")
    return CaseFiles(tuple(_listed_file(root, image) for image in images), _listed_file(root, label))


def _listed_file(root: Path, entry: object) -> Path:
    """Returns where an entry leads, as nnU-Net follows it: variables expanded, then below ``root`` unless absolute."""
    path = listed_file(root, os.path.expandvars(entry) if isinstance(entry, str) else entry)
    missing = re.search(r"\$(\w+|\{\w+\})", str(path))
    if missing and not path.exists():
        raise document_error(
            root, f"`dataset` names {entry}, but the environment variable {missing[1]} is not set.", "Set it."
        )
    return path


def _images(root: Path, folder: str, name: str, channels: int, ending: str) -> tuple[Path, ...]:
    files = tuple(root / folder / f"{name}_{channel:04d}{ending}" for channel in range(channels))
    # A picture in colours holds all channels.
    return files[:1] if ending in FLAT_ENDINGS and not any(file.exists() for file in files[1:]) else files


def _ending(root: Path, content: Mapping[str, Any]) -> str:
    """Returns what the names of the files end with: as stated, or as the files that are there end."""
    known = " ".join(IMAGE_ENDINGS)
    stated = content.get("file_ending")
    if stated is not None and stated not in IMAGE_ENDINGS:
        raise document_error(
            root, f"`file_ending` is {stated!r}; files can be read that end with {known}.", "Convert them to NIfTI."
        )
    names = [path.name for path in visible(root / "imagesTr")] if (root / "imagesTr").is_dir() else []
    listed = content.get("dataset")
    entries = listed.values() if isinstance(listed, dict) else ()
    names += [str(entry["label"]) for entry in entries if isinstance(entry, dict) and "label" in entry]
    endings = sorted({max(fits, key=len) for name in names if (fits := [e for e in IMAGE_ENDINGS if name.endswith(e)])})
    if stated is not None:
        if endings and stated not in endings:
            raise document_error(root, f"`file_ending` is {stated!r}, but the files end with {' and '.join(endings)}.")
        return str(stated)
    if len(endings) != 1:
        there = f"the files end with {' and '.join(endings)}" if endings else f"no file ends with one of {known}"
        raise document_error(
            root, f"`file_ending` is missing, and {there}.", 'Write it, for example "file_ending": ".nii.gz".'
        )
    return endings[0]


def _names(folder: Path, ending: str, with_channel: bool) -> set[str]:
    if not folder.is_dir():
        return set()
    stems = [path.name.removesuffix(ending) for path in visible(folder) if path.name.endswith(ending)]
    if not with_channel:
        return set(stems)
    return {match[1] for stem in stems if (match := _CHANNEL.fullmatch(stem)) is not None}
