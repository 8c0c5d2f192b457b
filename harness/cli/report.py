"""``harness report``: tables and figures from the results; no model is touched."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import ProfileOption, ResultsOption, StudyName

__all__ = ["report"]


class FormatName(StrEnum):
    """Output formats."""

    latex = "latex"
    markdown = "markdown"
    csv = "csv"
    html = "html"
    all = "all"


FormatOption = Annotated[
    list[FormatName] | None,
    typer.Option("--format", "-f", help="May be given several times; default: all.", show_default=False),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Folder; default: RESULTS/reports/STUDY/PROFILE.", show_default=False),
]


def report(
    study: StudyName = None,
    format: FormatOption = None,
    profile: ProfileOption = None,
    out: OutOption = None,
    results: ResultsOption = Path("results"),
) -> None:
    """Write tables and figures of a study; without a name, of the one run last."""
    from rich.console import Console

    from harness.report.write import write_report
    from harness.results.reading import load_study
    from harness.results.store import Store

    store = Store(results)
    folder = store.find_study(study, profile)
    target = out or results / "reports" / folder.study / folder.profile
    written = write_report(load_study(folder, store), target, [one.value for one in format or [FormatName.all]])
    console = Console(highlight=False)
    console.print(f"[bold]{folder.study}[/] ({folder.profile}):")
    for path in written:
        console.print(f"  {path}", soft_wrap=True)
