"""``harness status``: what has become of a study's cells."""

from pathlib import Path

from harness.cli.shared.console import PlainConsole
from harness.cli.shared.json_output import print_json
from harness.cli.shared.options import JsonOption, ProfileOption, ResultsOption, StudyName


def status(
    study: StudyName = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
    results: ResultsOption = Path("results"),
) -> None:
    """Show the state of every cell of a study, with its progress or what is wrong.

    A cell is done, running, interrupted, failed, damaged or new.
    """
    from harness.cli.shared.status_table import status_rows, status_table
    from harness.results.store import Store
    from harness.study.protocol import caveat_of

    console, store = PlainConsole(), Store(results)
    folder = store.find_study(study, profile)
    if as_json:
        caveat = caveat_of(cell.known().protocol for _, cell in store.study_cells(folder))
        print_json("status", status_rows(folder, store), study=folder.study, profile=folder.profile, caveat=caveat)
        return
    console.print(status_table(folder, store))
    cells = {cell.id: cell for _, cell in store.study_cells(folder)}.values()
    unchecked = sum(not cell.has_checksums() for cell in cells if cell.status() == "done")
    if unchecked:
        console.print(
            f"{unchecked} of {len(cells)} cells were stored without checksums, before version 0.3.0: it is checked "
            "whether their files can be read, not whether they are what was written."
        )
