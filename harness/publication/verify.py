"""Checks a published folder: is every file as published, and does every table and figure follow from the rows."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import HarnessError
from harness.files import read_json
from harness.publication.compare import difference
from harness.publication.derived import derived_files
from harness.publication.publish import checksums, fingerprint, report_folder, report_results
from harness.publication.record import RECORD, SUMS, Publication, drawing_packages
from harness.publication.splits import SIDES, published_folds
from harness.report.write import write_report
from harness.results.scores import read_scores
from harness.results.store import Store

#: Files whose bytes depend on the packages that drew them.
_PICTURES = (".png", ".pdf")

_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


@dataclass
class Verdict:
    """What was found.

    Attributes:
        files: Number of files that were compared with their checksums.
        recomputed: Files that were made again, by whether they are tables and texts or figures.
        differences: What is not as published, or does not follow; empty for an equal folder.
        remarks: What could not be compared, and why that says nothing against the folder.
        fingerprint: SHA-256 of the checksums.
    """

    files: int = 0
    recomputed: dict[str, int] = field(default_factory=lambda: {"tables": 0, "figures": 0, "other files": 0})
    differences: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    fingerprint: str = ""

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


def verify(folder: Path) -> Verdict:
    """Checks a folder that :func:`harness.publication.publish.publish` wrote; nothing in it is changed.

    Raises:
        HarnessError: It is none.
    """
    if not (folder / SUMS).is_file() or not (folder / RECORD).is_file():
        raise HarnessError(
            f"{folder} is not a published study: it has no {SUMS if not (folder / SUMS).is_file() else RECORD}.",
            hint="Name the folder that `harness publish STUDY --out FOLDER` wrote.",
        )
    verdict = Verdict()
    verdict.differences += changed_files(folder, verdict)
    try:
        publication = Publication.read(folder / RECORD)
        verdict.differences += _other_splits(folder)
        _compare(folder, publication, verdict)
    except Exception as error:  # of files that were changed, anything may be wrong
        verdict.differences.append(f"The numbers cannot be computed again: {str(error) or type(error).__name__}")
    return verdict


def changed_files(folder: Path, verdict: Verdict) -> Iterator[str]:
    """Yields which files are not what their checksums say."""
    links = [path for path in folder.rglob("*") if path.is_symlink()]
    yield from (f"{path.relative_to(folder)} is a link; a published folder has none." for path in links)
    found, content = checksums(folder), (folder / SUMS).read_bytes()
    verdict.files, verdict.fingerprint = found.count("\n"), fingerprint(found)
    if content == found.encode():
        return
    stated = _parse(content.decode("utf-8", errors="replace"))
    here = _parse(found)
    for name in sorted(stated.keys() | here.keys()):
        if name not in here:
            yield f"{name} is missing."
        elif name not in stated:
            yield f"{name} was not published."
        elif stated[name] != here[name]:
            yield f"{name} was changed: its checksum is not that of {SUMS}."
    if stated == here:
        yield f"{SUMS} was changed: it holds other lines than those of the files."


def _parse(text: str) -> dict[str, str]:
    matches = (_LINE.fullmatch(line) for line in text.splitlines())
    return {match[2]: match[1] for match in matches if match}


def _other_splits(folder: Path) -> Iterator[str]:
    """Yields which cells were scored on other cases than the test cases of their fold."""
    folds = {}
    for path in published_folds(folder):
        values = read_json(path)
        folds[values["dataset"], values["fold"], values["split"]] = path, values
        sides = [set(values["folds"][0][side]) for side in SIDES]
        if len(set.union(*sides)) != sum(map(len, sides)):
            yield f"{path.relative_to(folder)}: a case is on two sides."
    for cell in Store(folder).cells():
        record = cell.record()
        known = folds.get((record.dataset, record.fold, record.split))
        if known is not None and cell.status() == "done":
            path, values = known
            if set(read_scores(cell)["case"]) != set(values["folds"][0]["test"]):
                yield f"{path.relative_to(folder)}: cell {cell.id} was scored on other cases than the fold's tests."


def _compare(folder: Path, publication: Publication, verdict: Verdict) -> None:
    """Makes everything again that follows from the rows, and compares it with what was published."""
    drawn_by, here = dict(publication.drawn_by), drawing_packages()
    same_packages = drawn_by == here
    report = report_folder(folder, publication)
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary)
        write_report(report_results(folder, publication), made / "report", question=publication.question)
        for name, content in derived_files(folder, publication):
            (made / "other" / name).parent.mkdir(parents=True, exist_ok=True)
            (made / "other" / name).write_bytes(content)
        pictures = 0
        for root, published in ((made / "report", report), (made / "other", folder)):
            for path in sorted(path for path in root.rglob("*") if path.is_file()):
                is_picture = path.suffix in _PICTURES
                kind = "figures" if is_picture else "tables" if root.name == "report" else "other files"
                verdict.recomputed[kind] += 1
                other = published / path.relative_to(root)
                found = difference(other, path, pictures=same_packages)
                if found and is_picture and not same_packages:
                    pictures += 1
                elif found:
                    verdict.differences.append(f"{other.relative_to(folder)}: {found}")
        known = {path.relative_to(made / "report") for path in (made / "report").rglob("*")}
        extra = [path for path in report.rglob("*") if path.is_file() and path.relative_to(report) not in known]
        verdict.differences += [f"{path.relative_to(folder)} follows from nothing here." for path in extra]
    if pictures:
        others = [f"{name} {drawn_by.get(name)} (here {version})" for name, version in here.items()
                  if drawn_by.get(name) != version]  # fmt: skip
        verdict.remarks.append(
            f"{pictures} pictures were drawn by other versions of {', '.join(others)}, so their bytes differ; the "
            "tables that they show are compared."
        )
