"""``harness init``: a folder to work in."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.shared.console import PlainConsole, styled
from harness.cli.shared.json_output import print_json
from harness.cli.shared.options import JsonOption
from harness.errors import HarnessError


def init(
    folder: Annotated[Path, typer.Argument(help="Folder of the project; default: this one.")] = Path(),
    study: Annotated[
        list[str] | None,
        typer.Option("--study", "-s", help="Shipped study to copy; may be repeated. Default: all.", show_default=False),
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="Only list the shipped studies, with their questions.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a project: shipped studies to change, a protocol of your own, Slurm's resources, and a .gitignore.

    Files that are there already stay as they are. Without a project, too, every shipped study runs by its name.
    """
    from harness.new_project import shipped_studies, write_project
    from harness.study.document import read_document

    console = PlainConsole(highlight=False)
    if as_json and not show:
        raise HarnessError("--json belongs to --list.", hint="Add --list, or leave --json out.")
    if show:
        questions = {name: read_document(path).values.get("question", "") for name, path in shipped_studies().items()}
        if as_json:
            print_json("init", [{"study": name, "question": question} for name, question in questions.items()])
            return
        for name, question in questions.items():
            console.print(styled("bold", name), f"  {question}", sep="\n")
        return
    written, there = write_project(folder, study or ())
    for path in written:
        console.print(f"wrote {path}")
    if there:
        console.print(f"kept {', '.join(map(str, there))}")
    first = next((path.stem for path in written if path.parent.name == "studies"), "ablation_tcfaf")
    here = "" if folder == Path() else f"cd {folder} && "
    console.print(
        styled("bold", "Next:"),
        f"  {here}harness doctor",
        f"  harness plan {first} --profile demo",
        f"  harness run {first} --profile demo",
        sep="\n",
    )
