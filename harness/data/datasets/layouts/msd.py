"""The Medical Segmentation Decathlon's format: ``dataset.json`` lists files; all modalities lie in one 4D image.

Source of the format: the ``dataset.json`` files of medicaldecathlon.com.
"""

from collections.abc import Iterable, Mapping
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
from harness.data.datasets.layouts.modalities import CaseFiles, with_declared
from harness.data.datasets.layouts.reader import ListedReader, patient_notes
from harness.data.reading.nifti import IMAGE_ENDINGS


def describe(root: Path) -> Dataset:
    """Returns the dataset of a Decathlon folder.

    Raises:
        DataError: ``dataset.json`` is not usable, or no image can be read.
    """
    content = read_document(root)
    facts = _facts(root, content)
    cases = with_declared(root, _cases(root, content), distinct(facts.channels))
    images = [case.images[0] for case in cases.values()]
    return facts_to_dataset(root, facts, images, "harness.data.datasets.layouts.msd:open_folder")


def open_folder(root: Path) -> ListedReader:
    """Returns a reader of a Decathlon folder.

    Raises:
        DataError: As :func:`describe`.
    """
    content = read_document(root)
    facts = _facts(root, content)
    channels = distinct(facts.channels)
    return ListedReader(root, with_declared(root, _cases(root, content), channels), channels, facts.values)


def _facts(root: Path, content: Mapping[str, Any]) -> Facts:
    modalities, labels = content.get("modality"), content.get("labels")
    if not isinstance(modalities, dict) or not isinstance(labels, dict):
        raise document_error(root, "`modality` and `labels` must be mappings.", "Is it a Decathlon folder?")
    try:
        names = {int(value): str(name) for value, name in labels.items()}
        channels = tuple(str(modalities[str(number)]) for number in range(len(modalities)))
    except (ValueError, KeyError) as error:
        raise document_error(root, "`modality` and `labels` must be numbered from 0.") from error
    return Facts(
        name=str(content.get("name") or root.resolve().name),
        channels=channels,
        names=names,
        regions={name: (value,) for value, name in sorted(names.items()) if value},
        licence=str(content.get("licence") or content.get("license") or ""),
        description=str(content.get("description") or ""),
        notes=patient_notes(root),
    )


def _cases(root: Path, content: Mapping[str, Any]) -> dict[str, CaseFiles]:
    cases: dict[str, CaseFiles] = {}
    for entry in _list(root, content, "training"):
        if not isinstance(entry, dict) or not {"image", "label"} <= set(entry):
            raise document_error(root, "`training` must list mappings of `image` and `label`.")
        image, label = listed_file(root, entry["image"]), listed_file(root, entry["label"])
        name = _name(image)
        if name in cases:
            raise document_error(
                root,
                f"`training` lists two images called '{name}', the name of the case: {cases[name].images[0]} and "
                f"{image}.",
                "Give every image a file name of its own.",
            )
        cases[name] = CaseFiles((image,), label)
    for entry in _list(root, content, "test"):
        image = listed_file(root, entry)
        cases.setdefault(_name(image), CaseFiles((image,), None))
    return cases


def _list(root: Path, content: Mapping[str, Any], key: str) -> Iterable[object]:
    entries = content.get(key, [])
    if not isinstance(entries, list):
        raise document_error(root, f"`{key}` must be a list.")
    return entries


def _name(image: Path) -> str:
    name = image.name
    return name.removesuffix(max((ending for ending in IMAGE_ENDINGS if name.endswith(ending)), key=len, default=""))
