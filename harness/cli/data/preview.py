"""``harness data preview``: a picture of several cases, to be looked at before anything is trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.data.listing import data
from harness.cli.shared.console import PlainConsole


@data.command(epilog="Example: harness data preview chaos ~/CHAOS --out chaos.png")
def preview(
    name: Annotated[
        str, typer.Argument(help="Registered dataset; `nnunet_raw` or `msd` for your own folder.", show_default=False)
    ],
    path: Annotated[
        Path | None,
        typer.Argument(help="Folder of the dataset; default: where studies look for it.", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option(help="Picture to write (PNG, PDF or SVG).")] = Path("preview.png"),
    cases: Annotated[
        int, typer.Option("--cases", min=1, max=20, help="Number of cases, evenly spaced in the list.")
    ] = 4,
) -> None:
    """Draw all modalities of several cases with coloured labels, in the slice with the most labelled voxels."""
    from harness.data.assumptions import collect_assumptions, sum_up
    from harness.data.datasets.layouts import find_dataset
    from harness.data.reading.preview import draw_preview
    from harness.files import check_writable

    check_writable(out)
    dataset = find_dataset(name, path)
    reader = dataset.open(path)
    console = PlainConsole()

    def draw() -> tuple[Sequence[str], list[str]]:
        with collect_assumptions() as noted:
            return draw_preview(dataset, reader, out, cases), sum_up(noted)

    drawn, assumed = dataset.read_apart(draw)
    console.print(f"Written: {out} (cases {', '.join(drawn)}).", soft_wrap=True)
    for sentence in assumed:
        console.print(sentence, style="yellow", markup=False, soft_wrap=True)
