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


def report(
    study: StudyName = None,
    format: Annotated[  # noqa: A002 - the option's name
        list[FormatName], typer.Option("--format", "-f", help="May be given several times.")
    ] = [FormatName.all],  # noqa: B006 - typer reads it
    profile: ProfileOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder; default: RESULTS/reports/STUDY/PROFILE.", show_default=False)
    ] = None,
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
    written = write_report(load_study(folder, store), target, [name.value for name in format])
    console = Console()
    console.print(f"[bold]{folder.study}[/] ({folder.profile}):")
    for path in written:
        console.print(f"  {path}", highlight=False)
