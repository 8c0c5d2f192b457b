"""Makes damaged records of a study new, where nothing has to be computed for it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.execution.study import further_metrics, register
from harness.files import discard
from harness.results.cleaning import damaged_part
from harness.results.json_record import DamagedRecordError, UnreadableRecordError
from harness.results.store import CellFolder, Store, StudyFolder
from harness.results.subsets import CellSubsets
from harness.shipped import STUDIES, shipped
from harness.study.document import read_document
from harness.study.expansion import LoadedStudy, load_study


@dataclass(frozen=True)
class Repaired:
    """What was put right, and what is left.

    Attributes:
        to_compute: Cells that have to be computed anew.
        written: Records that were written anew.
        removed: Damaged files that nothing needs; tests with fewer modalities among them can be made again.
        left: What cannot be made new, and why.
    """

    to_compute: tuple[CellFolder, ...]
    written: tuple[Path, ...]
    removed: tuple[Path, ...]
    left: tuple[DamagedRecordError, ...]


def repair_records(folder: StudyFolder, store: Store) -> Repaired:
    """Writes ``study.json`` and ``cell.json`` anew from the study's file, and removes damaged files nothing needs.

    What a study file says is checked against the identities of the cells, so a file that was changed restores nothing.

    Args:
        folder: The study.
        store: Its store.

    Raises:
        HarnessError: ``study.json`` is damaged, and no study of that name lies here.
    """
    written: list[Path] = []
    if (damage := folder.damage()) is not None:
        if (source := _find_source(folder)) is None:
            raise damage
        register(source[1], store, source[0])
        written.append(damage.path)
    cells = list(dict.fromkeys(cell for _, cell in store.study_cells(folder)))
    lost = [cell for cell in cells if cell.spec_damages()]
    if lost and (source := _find_source(folder)) is not None:
        specs = {cell.spec.id: cell.spec for cell in source[1].cells}
        for cell in lost:
            if cell.id in specs:
                cell.write_spec(specs[cell.id].to_json())
                written.append(cell.path / "cell.json")
    for cell in (cell for cell in cells if cell.request_damages()):
        cell.want_metrics(further_metrics(folder.manifest().report.metrics))
        written.append(cell.path / "metrics.json")
    to_compute: list[CellFolder] = []
    removed: list[Path] = []
    left: list[DamagedRecordError] = []
    for cell in cells:
        state, damages = cell.status(), cell.damages()
        stuck = [one for one in damages if isinstance(one, UnreadableRecordError) or one.path.name == "cell.json"]
        if stuck:
            left += stuck
        elif state == "damaged":
            to_compute.append(cell)
        elif state == "done":
            removed += _remove(damages)
        removed += _remove(CellSubsets(cell).result_damages())
    return Repaired(tuple(to_compute), tuple(written), tuple(removed), tuple(left))


def _find_source(folder: StudyFolder) -> tuple[Path, LoadedStudy] | None:
    """Returns the study's file and what it says; None where none of that name lies here."""
    places = (Path(), STUDIES, shipped("studies"))
    for path in (path for place in places for path in sorted(place.glob("*.y*ml"))):
        try:
            if read_document(path).values.get("name") != folder.study:
                continue
            return path, load_study(path, None if folder.profile == "default" else folder.profile)
        except HarnessError:  # another file, or a study that is not what it was
            continue
    return None


def _remove(damages: Iterable[DamagedRecordError]) -> list[Path]:
    """Removes damaged files, and folders that are whole or not at all; returns them."""
    paths = list(dict.fromkeys(damaged_part(damage) for damage in damages))
    for path in paths:
        if path.is_dir():
            discard(path)
        else:
            path.unlink(missing_ok=True)
    return paths
