"""``harness view``: a page that scrolls through one case."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.shared.console import PlainConsole, styled
from harness.cli.shared.options import ResultsOption
from harness.errors import HarnessError


def view(
    cell: Annotated[str, typer.Argument(metavar="CELL", help="A cell: its name or a part of it.", show_default=False)],
    case: Annotated[
        str | None,
        typer.Argument(metavar="[CASE]", help="One of its test cases; default: the one with the least Dice."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write; default: cases/CASE.html beside the study's report, which links to it."),
    ] = None,
    results: ResultsOption = Path("results"),
) -> None:
    """Write one page that scrolls through all slices of a case: modalities, truth, and every variant's prediction.

    It opens from a file and loads nothing. It holds images of a patient: keep it where they may be.
    """
    from harness.execution.cell.viewed_case import read_viewed_case, worst_case
    from harness.files import atomic_path
    from harness.report.writers.case_viewer import view_page
    from harness.results.store import Store

    store = Store(results)
    folder = store.find_cell(cell)
    study, _ = store.study_of(folder) or (None, "")
    if study is None and out is None:
        raise HarnessError(f"No study holds cell {folder.id}.", hint="Name the page's file with --out.")
    viewed = read_viewed_case(folder, case or worst_case(folder), store.study_cells(study) if study else [])
    beside = store.root / "reports" / study.study / study.profile / "cases" if study else Path()
    path = out or beside / f"{viewed.name}.html"
    with atomic_path(path) as temporary:
        temporary.write_text(view_page(viewed), encoding="utf-8")
    console = PlainConsole(highlight=False)
    console.print(styled("bold", viewed.name, f": {', '.join(viewed.predictions)}"), soft_wrap=True)
    console.print(f"{path} ({path.stat().st_size / 1e6:.1f} MB; images of a patient)", soft_wrap=True)
