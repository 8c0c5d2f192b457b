"""``harness export``: a trained cell as a folder that predicts without the harness."""

import io
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from harness.data import Dataset
from harness.data.preparation.normalisation import Normaliser
from harness.data.preparation.preprocessing import PreprocessingPlan
from harness.errors import HarnessError
from harness.execution.cell.absences import Absences
from harness.execution.cell.prediction import trained_network, trained_normaliser
from harness.execution.cell.weights import SpacingRange, read_training_spacing
from harness.files import atomic_folder, write_json
from harness.inference.standalone.program import FORMAT
from harness.publication.cards import model_card
from harness.publication.exported_program import export_network, program_text
from harness.results.store import CellFolder, Store, StudyFolder
from harness.study.protocol import Protocol

_USE = """
## Use

```sh
python predict.py --images NAME_0000.nii.gz NAME_0001.nii.gz --out predicted
```

It needs Python 3.11, torch {torch} or newer, numpy and nibabel. Images are NIfTI files on one grid per patient, named
by modality: {modalities}.
`--modality NAME=FILE` names one file of one patient instead. It writes a label map per patient and `volumes.csv`, in
ml, and says where voxel sizes or intensities are unlike the training's. {absent}
`model.json` holds how images are prepared, `model.pt2` is the network.
"""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        folder: Folder with ``model.pt2``, ``model.json``, ``predict.py`` and ``README.md``.
        study: Study that the card is of.
        label: What that study calls the cell.
    """

    folder: Path
    study: StudyFolder
    label: str


def export_cell(
    store: Store, cell: CellFolder, out: Path, cache: Path, progress: Callable[[str, int, int], None]
) -> Exported:
    """Writes a finished cell as a folder that predicts without the harness.

    Args:
        store: The results.
        cell: Finished cell.
        out: Folder to write; it must not exist.
        cache: Folder of prepared data, for weights of older versions.
        progress: Called where training cases must be prepared.

    Raises:
        HarnessError: The cell is not finished, ``out`` exists, or the network cannot be exported.
    """
    if out.exists():
        raise HarnessError(f"{out} is there already.", hint="Name another folder with --out, or remove it.")
    if cell.status() != "done":
        raise HarnessError(f"Cell {cell.id} is not finished.", hint="`harness status` shows how far it is.")
    found = store.study_of(cell)
    if found is None:
        raise HarnessError(
            f"No study in {store.root} holds cell {cell.id}, so its model card has no protocol and no scores.",
            hint="Run the study that it belongs to again: cells that are done are kept.",
        )
    study, label = found
    spec, weights = cell.spec(), cell.result / "weights.safetensors"
    dataset = spec.facts()
    network = trained_network(cell)
    absences = Absences.of(cell, network)
    program, batch = export_network(
        network,
        spec.model,
        len(dataset.modalities),
        spec.protocol.patch_size,
        spec.protocol.inference.batch_size,
    )
    normaliser = trained_normaliser(cell, cache, 0, progress)
    spacing = read_training_spacing(weights)
    facts = model_facts(dataset, spec.protocol, spec.leading, normaliser, spacing, batch, absences)
    with atomic_folder(out) as folder:
        write_model(folder, program, {"cell": cell.id, "network": spec.model, **facts})
        card = model_card(study.manifest(), label, cell, dataset.licence)
        named = ", ".join(f"`_{number:04d}` {name}" for number, name in enumerate(dataset.modalities))
        use = _USE.format(torch=torch.__version__.split("+")[0], modalities=named, absent=_in_words(absences))
        (folder / "README.md").write_text(card + use, encoding="utf-8")
    return Exported(out, study, label)


def _in_words(absences: Absences) -> str:
    if not absences.may_lack:
        return "Each patient needs every modality."
    return f"A patient may lack some of {', '.join(absences.may_lack)}: leave the file out. One must be there."


def write_model(folder: Path, program: ExportedProgram, facts: Mapping[str, Any]) -> None:
    """Writes a program with all that it takes to predict.

    Args:
        folder: Folder that exists.
        program: The network.
        facts: What :func:`model_facts` returns.
    """
    content = io.BytesIO()  # torch ends the process where its own writing fails, on a full disk for instance
    torch.export.save(program, content)
    (folder / "model.pt2").write_bytes(content.getbuffer())
    write_json(folder / "model.json", facts)
    (folder / "predict.py").write_text(program_text(), encoding="utf-8")


def model_facts(
    dataset: Dataset,
    protocol: Protocol,
    leading: str,
    normaliser: Normaliser,
    training_spacing: SpacingRange | None,
    batch: int | None,
    absences: Absences | None = None,
) -> dict[str, Any]:
    """Returns what the program must know besides the network, as JSON values.

    Args:
        dataset: Facts of the dataset.
        protocol: How the network was trained.
        leading: Its leading modality.
        normaliser: Normaliser fitted on the training cases.
        training_spacing: Least and greatest voxel size of the training cases.
        batch: Windows that the program takes; None for any number.
        absences: What it does where a patient lacks modalities; None where each patient needs all of them.
    """
    labels = sorted(dataset.labels)
    return {
        "format": FORMAT,
        "torch": torch.__version__,
        "dataset": dataset.name,
        "modalities": dataset.modalities,
        "leading": leading,
        "labels": {str(value): dataset.labels[value] for value in labels},
        "values": [dataset.file_labels.get(value, value) for value in labels],
        "regions": {name: list(values) for name, values in dataset.regions.items()},
        "preprocessing": asdict(PreprocessingPlan.choose(dataset, protocol.preparation, protocol.patch_size)),
        "normalisation": normaliser.to_json(),
        "training_spacing": training_spacing,
        "absent": None if absences is None else absences.to_json(),
        "inference": {
            **protocol.inference.model_dump(mode="json"),
            "patch_size": protocol.patch_size,
            "program_batch": batch,
        },
    }
