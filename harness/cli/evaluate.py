"""``harness evaluate``: scores a folder of label maps predicted elsewhere; no model, no training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.shared.console import PlainConsole

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from harness.data.assumptions import Assumption
    from harness.evaluation.scoring import Score


def evaluate(
    predictions: Annotated[Path, typer.Option(help="Folder of predicted label maps (NIfTI).", show_default=False)],
    reference: Annotated[Path, typer.Option(help="Folder of true label maps (NIfTI).", show_default=False)],
    dataset: Annotated[
        str | None, typer.Option(help="Registered dataset: its labels, regions, metrics.", show_default=False)
    ] = None,
    regions: Annotated[
        list[str] | None,
        typer.Option(
            help="Instead of a dataset: a region and its labels, e.g. 'whole tumor=1,2'; may be repeated.",
            show_default=False,
        ),
    ] = None,
    dataset_name: Annotated[
        str | None,
        typer.Option(
            help="What the CSV file calls the dataset, e.g. as a study calls your own; default: --dataset, or 'files'.",
            show_default=False,
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Metric to compute; may be repeated. Default: Dice, HD95 and the dataset's own.", show_default=False
        ),
    ] = None,
    empty: Annotated[
        str | None,
        typer.Option(help="Policy for empty regions: worst, brats, nan_skip; default: the dataset's."),
    ] = None,
    method: Annotated[str, typer.Option(help="Name of the method in the table.")] = "evaluated",
    patient: Annotated[
        str | None,
        typer.Option(
            help="Regular expression; its group matches the patient in a case's name. Default: each case is a patient."
        ),
    ] = None,
    harness_labels: Annotated[
        bool, typer.Option("--harness-labels", help="The files contain the harness's label values, as in results/.")
    ] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes, at most four per core.")] = 1,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write a CSV file with one row per score.")] = None,
) -> None:
    """Score label maps against the truth, by case and region. A missing prediction counts as worst and is listed."""
    from rich.progress import track

    from harness.cores import cores
    from harness.data.assumptions import sum_up
    from harness.errors import DataError
    from harness.evaluation.folder import convention_of, pair_files, parse_regions, summarise, to_rows
    from harness.evaluation.folder import evaluate as score
    from harness.files import check_writable

    console = PlainConsole()
    convention = convention_of(
        dataset,
        parse_regions(regions or []),
        metrics=metric or (),
        policy=empty,
        harness_labels=harness_labels,
        name=dataset_name,
    )
    pairing = pair_files(predictions, reference)
    to_rows([(case, ()) for case in pairing.cases], convention, method=method, patient=patient)  # names that do not fit
    if out is not None:
        check_writable(out)
    noted: list[Assumption] = []
    scored: list[tuple[str, list[Score]]] = []
    fault: DataError | None = None
    if jobs > cores():
        console.print(f"At most {cores()} processes: one per core.", markup=False)
    running = score(pairing, convention, jobs, noted)
    try:
        for one in track(running, "Scoring", total=len(pairing.cases), console=console, transient=True):
            scored.append(one)
    except DataError as error:
        fault = error  # of single cases: the others are shown before it is raised
    rows = to_rows(scored, convention, method=method, patient=patient)
    if scored:
        console.print(_table(summarise(rows)))
    console.print(f"{len(scored)} cases; policy for empty regions: {convention.policy}", markup=False)
    for sentence in sum_up(noted):
        console.print(sentence, style="yellow", markup=False, soft_wrap=True)
    if pairing.missing:
        console.print(f"Missing, counted as worst: {', '.join(pairing.missing)}", style="yellow", markup=False)
    if pairing.extra:
        names = ", ".join(path.name for path in pairing.extra)
        console.print(f"Without a truth, not scored: {names}", style="yellow", markup=False)
    if fault is not None:
        skipped = len(pairing.cases) - len(scored)
        console.print(f"Not in the table: {skipped} cases that cannot be scored.", style="yellow", markup=False)
        if out is not None:
            console.print(f"{out} is not written: it would lack them.", style="yellow", markup=False)
        raise fault
    if out is not None:
        rows.to_csv(out, index=False)
        console.print(f"Written: {out}. Beside a study: harness report STUDY --with {out}", markup=False)


def _table(summary: pd.DataFrame) -> Table:
    from harness.cli.shared.formatting import table
    from harness.evaluation import METRICS

    listing = table("region", "metric", "n", "mean", "SD", "median", "missing", "empty", "skipped")
    for row in summary.to_dict("records"):
        metric = METRICS.get(row["metric"])
        title = f"{row['metric']} ({metric.unit})" if metric.unit else row["metric"]
        numbers = (f"{row[key]:.3f}" for key in ("mean", "sd", "median"))
        counts = (str(row[key]) for key in ("missing", "empty", "skipped"))
        listing.add_row(row["region"], title, str(row["n"]), *numbers, *counts)
    return listing
