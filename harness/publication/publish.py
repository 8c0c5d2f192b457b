"""Writes a study as a folder for an archive or a hub."""

import getpass
import hashlib
import os
import socket
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.data import DATASETS
from harness.errors import HarnessError
from harness.files import atomic_folder
from harness.publication.cells import Copier
from harness.publication.derived import derived_files
from harness.publication.leaks import find_leaks
from harness.publication.names import Cleaner, Names, distinctive, own_names, pseudonyms
from harness.publication.record import KEPT, RECORD, SUMS, Publication, drawing_packages
from harness.publication.splits import Fold, read_folds
from harness.report.inputs.acquisition import NOTHING_ASKED, Acquisition
from harness.report.write import write_report
from harness.results.empty_cases import masks_of, under_policy
from harness.results.manifest import DatasetFacts, Manifest
from harness.results.reading import load_results
from harness.results.schema import StudyResults
from harness.results.scores import read_scores, unscored_metrics
from harness.results.store import CellFolder, Store, StudyFolder

#: User names that stand in texts as words.
_USUAL_USERS = {"root", "user", "admin", "ubuntu", "docker", "runner", "student", "jovyan", "nobody"}

#: Shorter names of machines and users, and shorter paths, are found everywhere.
_SHORTEST = 3

#: Notes on a dataset that cannot be read any more.
_UNSAID = ["Notes on this dataset are not published."]

#: What a refusal names of what a study lacks.
_MOST_NAMED = 20


@dataclass(frozen=True)
class Published:
    """What was published.

    Attributes:
        files: Number of files.
        cells: Number of finished cells.
        fingerprint: SHA-256 of the checksums: it names the content of the folder.
        missing: What the folder lacks of the study.
    """

    files: int
    cells: int
    fingerprint: str
    missing: tuple[str, ...]


def publish(
    store: Store,
    study: StudyFolder,
    out: Path,
    *,
    keep: Collection[str] = (),
    weights: bool = True,
    partial: bool = False,
    question: Acquisition = NOTHING_ASKED,
) -> Published:
    """Writes the folder, whole or not at all.

    Args:
        store: The results folder.
        study: The study.
        out: Folder to make; it may be there, empty.
        keep: What is published beside the rest: names, dates, paths of machines, slices of images.
        weights: Whether weights are published.
        partial: Whether a study that lacks something is published.
        question: What the report asks of the sets of modalities; it is recorded, so that it can be asked again.

    Raises:
        HarnessError: The study lacks something, the folder is not empty or lies in the results folder, or a file of it
            would hold a name, a path, a user or a machine that is not to be published.
    """
    _check_place(store, out)
    kept = frozenset(one for one in KEPT if one in keep)
    manifest = study.manifest()
    cells = list({cell.id: cell for _, cell in store.study_cells(study)}.values())
    done = [cell for cell in cells if cell.status() == "done"]
    folds, unread = read_folds(done)
    missing = (*_unfinished(manifest, cells), *unread)
    if not done or (missing and not partial):
        _refuse(study, missing)
    names = {name: _names(name, done, folds, own="names" in keep) for name in {one.record().dataset for one in done}}
    publication = Publication(
        study=study.study,
        profile=study.profile,
        kept=tuple(sorted(kept)),
        weights=weights,
        missing=tuple(Cleaner({}).text(text) for text in missing),
        licences=_licences(manifest.datasets),
        drawn_by=drawing_packages(),
        margin=question.margin,
        alpha=question.alpha,
        costs=question.costs,
    )
    cleaner = Cleaner(_renamed(names), paths="paths" in keep)
    with atomic_folder(out) as folder:
        target = Store(folder)
        target.create()
        copier = Copier(names, Cleaner({}, paths="paths" in keep), kept, weights)
        for cell in cells:
            if (cell.path / "cell.json").is_file() and not cell.spec_damages():
                copier.copy(cell, target.cell(cell.id))
        cleaned = _cleaned(
            manifest, cleaner, {fold.dataset for fold in folds} | ({*names} if "names" in keep else set())
        )
        target.study(study.study, study.profile).write_manifest(cleaned)
        for fold in folds:
            fold.write(folder, names[fold.dataset], "names" in keep)
        publication.write(folder / RECORD)
        for name, content in derived_files(folder, publication):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        results, place = report_results(folder, publication), report_folder(folder, publication)
        write_report(results, place, question=publication.question)
        _refuse_leaks(folder, _secret_words(store, done, names, keep))
        sums = checksums(folder)
        (folder / SUMS).write_text(sums, encoding="utf-8")
    if (out / SUMS).read_text(encoding="utf-8") != sums:
        raise HarnessError(f"Something else was written to {out} meanwhile.", hint="Name another folder.")
    return Published(sums.count("\n"), len(done), fingerprint(sums), missing)


def report_folder(folder: Path, publication: Publication) -> Path:
    """Returns where the report of a published folder lies."""
    return folder / "reports" / publication.study / publication.profile


def report_results(folder: Path, publication: Publication) -> StudyResults:
    """Returns what the report of a published folder is made of, as `harness report` reads it."""
    store = Store(folder)
    study = store.study(publication.study, publication.profile)
    results = load_results(study, store)
    if not results.empty:
        return results
    return under_policy(results, results.empty, masks_of([cell for _, cell in store.study_cells(study)]))


def checksums(folder: Path) -> str:
    """Returns the checksum of every file, as `sha256sum` writes them; of its own file there is none."""
    lines = []
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not path.is_symlink() and name != SUMS:
            with path.open("rb") as file:
                lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n")
    return "".join(lines)


def fingerprint(sums: str) -> str:
    """Returns the SHA-256 of the checksums."""
    return hashlib.sha256(sums.encode()).hexdigest()


def _check_place(store: Store, out: Path) -> None:
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise HarnessError(f"{out} is no folder.", hint="Name a new folder with --out.")
    if out.is_dir() and any(out.iterdir()):
        raise HarnessError(f"{out} is not empty.", hint="Name a new folder with --out, or remove this one yourself.")
    if out.resolve().is_relative_to(store.root.resolve()):
        raise HarnessError(f"{out} lies in the results folder.", hint="Name a folder beside it with --out.")


def _unfinished(manifest: Manifest, cells: Sequence[CellFolder]) -> Iterator[str]:
    """Yields what a study lacks."""
    labels = {entry.cell: entry.label for entry in reversed(manifest.cells)}
    for cell in cells:
        state, name = cell.status(), f"{labels[cell.id]} ({cell.id})"
        if state != "done":
            failure = cell.failure() if state == "failed" else None
            yield f"{name}: {state}" + (f", {failure.kind}" if failure else "")
        elif lacking := unscored_metrics(cell, manifest.report.metrics):
            yield f"{name}: not scored by {', '.join(lacking)}"


def _refuse(study: StudyFolder, missing: Sequence[str]) -> None:
    more = f"\n  and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
    listed = "".join(f"\n  {one}" for one in missing[:_MOST_NAMED])
    raise HarnessError(
        f"Study '{study.study}' ({study.profile}) is not complete. It lacks:{listed}{more}",
        hint="Finish it (`harness run`, `harness retry`; `harness evaluate` for metrics), or publish what there is, "
        "with the rest named: --partial.",
    )


def _names(dataset: str, cells: Sequence[CellFolder], folds: Sequence[Fold], own: bool) -> Names:
    """Returns what the patients and cases of a dataset are called."""
    patients: dict[str, str] = {}
    for cell in cells:
        if cell.record().dataset == dataset:
            rows = read_scores(cell)[["case", "patient"]].drop_duplicates()
            patients |= dict(zip(rows["case"].astype(str), rows["patient"].astype(str), strict=True))
    for fold in folds:
        if fold.dataset == dataset:
            patients |= {**fold.others, **fold.patients}
    return own_names(patients) if own else pseudonyms(patients)


def _renamed(names: Mapping[str, Names]) -> dict[str, str]:
    """Returns what stands for each name that names somebody in a text."""
    every = {old: new for one in names.values() for old, new in (*one.patients.items(), *one.cases.items())}
    return {old: every[old] for old in distinctive(every) if every[old] != old}


def _cleaned(manifest: Manifest, cleaner: Cleaner, known: Collection[str]) -> Manifest:
    """Returns the record of the study without names of patients and paths in its texts.

    Args:
        manifest: The record.
        cleaner: Knows the names.
        known: Datasets whose names are all known: notes on others may name anybody, and are left out.
    """
    places = Cleaner({}, cleaner.paths)
    datasets = [
        {**places.value(vars(facts)), "notes": cleaner.value(facts.notes) if facts.name in known else _UNSAID}
        for facts in manifest.datasets
    ]  # fmt: skip
    values = {**places.value(manifest.to_json()), "question": cleaner.text(manifest.question), "datasets": datasets}
    return Manifest.model_validate(values)


def _licences(datasets: Sequence[DatasetFacts]) -> dict[str, str]:
    known = [DATASETS.get(facts.name) for facts in datasets if facts.name in DATASETS.names()]
    return {one.name: f"Licence: {one.licence}. Access: {one.access}." for one in known}


def _secret_words(
    store: Store, cells: Sequence[CellFolder], names: Mapping[str, Names], keep: Collection[str]
) -> set[str]:
    """Returns what no file of the folder may hold."""
    words = set(_renamed(names))
    if "paths" in keep:
        return words
    user, home = _person()
    places = [home, Path.cwd(), store.root.resolve(), *(Path(cell.record().root) for cell in cells)]
    words |= {str(place) for place in places if place.is_absolute() and len(place.parts) > 1}
    people = {os.environ.get("USER", ""), user} - _USUAL_USERS
    machines = {socket.gethostname(), socket.gethostname().partition(".")[0]} - {"localhost"}
    return words | {word for word in people | machines if len(word) >= _SHORTEST}


def _person() -> tuple[str, Path]:
    """Returns name and home of the user; nothing for a number without an account, as containers run under."""
    try:
        return getpass.getuser(), Path.home()
    except (KeyError, OSError, RuntimeError):
        return "", Path()


def _refuse_leaks(folder: Path, words: Collection[str]) -> None:
    found = list(find_leaks(folder, words))
    if not found:
        return
    name, word = found[0]
    more = f", and {len(found) - 1} more places" if len(found) > 1 else ""
    raise HarnessError(
        f"Nothing was published: {name} would hold '{word}'{more}.",
        hint="It comes from a label, a question, an option or a name in the study. Change it there, or publish names "
        "of patients (--keep names), or those of machines and their paths (--keep paths).",
    )
