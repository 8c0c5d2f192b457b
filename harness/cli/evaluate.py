"""``harness evaluate``: scores label maps, of a folder or kept by a study's cells; no model, no training."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.alike import name_some
from harness.cli.shared.console import PlainConsole, styled
from harness.cli.shared.options import ProfileOption, ResultsOption, study_arguments
from harness.cores import cores

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import pandas as pd
    from rich.table import Table

    from harness.data.assumptions import Assumption
    from harness.evaluation.folder import Convention, Pairing
    from harness.evaluation.scoring import Score
    from harness.execution.added_metrics import Work

#: Cases that a remark names; the table of `--out` has all of them.
_MOST_NAMED = 20


def evaluate(
    study: Annotated[
        str | None,
        typer.Argument(help="Study whose finished cells get scores by --metric, from the predictions they kept."),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(help="Instead of a study: folder of predicted label maps (NIfTI).", show_default=False),
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Folder of true label maps (NIfTI).", show_default=False)
    ] = None,
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
            help="Metric to compute, e.g. nsd, nsd_2mm, hd95_brats; may be repeated. Default: Dice, HD95 and the "
            "dataset's own; of a study, what its report shows.",
            show_default=False,
        ),
    ] = None,
    empty: Annotated[
        str | None,
        typer.Option(
            help="Policy for empty regions: worst, brats, nan_skip, of folders also a constant penalty like 100mm; "
            "default: the dataset's."
        ),
    ] = None,
    method: Annotated[str | None, typer.Option(help="Name of the method in the table; default: evaluated.")] = None,
    patient: Annotated[
        str | None,
        typer.Option(
            help="Regular expression; its group matches the patient in a case's name. Default: each case is a patient."
        ),
    ] = None,
    harness_labels: Annotated[
        bool, typer.Option("--harness-labels", help="The files contain the harness's label values, as in results/.")
    ] = False,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, max=1_000_000, help="Processes, at most one per core.")
    ] = 1,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write a CSV file with one row per score.")] = None,
    profile: ProfileOption = None,
    results: ResultsOption = Path("results"),
) -> None:
    """Score label maps against the truth, by case and region. A missing or damaged prediction counts as worst.

    Of a STUDY, finished cells are scored by further metrics; nothing is trained or predicted, and no score changes.
    """
    from harness.errors import HarnessError

    folders: dict[str, object] = {"--predictions": predictions, "--reference": reference}
    of_folders = {**folders, "--dataset": dataset, "--regions": regions, "--dataset-name": dataset_name}
    of_folders |= {"--method": method, "--patient": patient, "--harness-labels": harness_labels or None, "--out": out}
    if study is not None:
        if given := [name for name, value in of_folders.items() if value is not None]:
            raise HarnessError(f"{given[0]} does not go with a study.", hint="Name a study, or folders to be scored.")
        _evaluate_study(study, profile, results, metric or [], empty, jobs)
        return
    if predictions is None or reference is None:
        absent = next(name for name, value in folders.items() if value is None)
        raise HarnessError(
            f"{absent} is missing.", hint="Name a study, or folders to be scored: --predictions and --reference."
        )
    from harness.evaluation.folder import convention_of, parse_regions

    convention = convention_of(
        dataset,
        parse_regions(regions or []),
        metrics=metric or (),
        policy=empty,
        harness_labels=harness_labels,
        name=dataset_name,
    )
    _evaluate_folders(predictions, reference, convention, method or "evaluated", patient, jobs, out)


def _evaluate_folders(
    predictions: Path,
    reference: Path,
    convention: Convention,
    method: str,
    patient: str | None,
    jobs: int,
    out: Path | None,
) -> None:
    from rich.progress import track

    from harness.data.assumptions import sum_up
    from harness.evaluation.folder import FaultyCasesError, pair_files, summarise, to_rows
    from harness.evaluation.folder import evaluate as score
    from harness.evaluation.scoring import failures
    from harness.files import check_writable, naming

    console = PlainConsole()
    pairing = pair_files(predictions, reference)
    to_rows([(case, ()) for case in pairing.cases], convention, method=method, patient=patient)  # names that do not fit
    if out is not None:
        check_writable(out)
    _say_cores(console, jobs)
    noted: list[Assumption] = []
    scored: list[tuple[str, list[Score]]] = []
    fault: FaultyCasesError | None = None
    running = score(pairing, convention, jobs, noted)
    try:
        for one in track(running, "Scoring", total=len(pairing.cases), console=console, transient=True):
            scored.append(one)
    except FaultyCasesError as error:
        fault = error  # of single cases: the others are shown before it is raised
    rows = to_rows(scored, convention, method=method, patient=patient)
    if scored:
        console.print(_table(summarise(rows)))
    console.print(f"{len(scored)} cases; policy for empty regions: {convention.policy}")
    faulty = fault.cases if fault is not None else frozenset()
    reasons = failures(score for case, scores in scored if case not in faulty for score in scores)
    for remark in (*sum_up(noted), *_remarks(pairing, faulty, [case for case, _ in scored]), *reasons):
        console.print(remark, style="yellow", soft_wrap=True)
    # Where no prediction can be read there is one mistake to correct, not a result.
    if out is not None and {case for case, _ in scored} - faulty - set(pairing.missing):
        with naming(out):
            rows.to_csv(out, index=False)
        console.print(f"Written: {out}. Beside a study: harness report STUDY --with {out}", soft_wrap=True)
    if fault is not None:
        raise fault
    if reasons:
        raise typer.Exit(1)


def _remarks(pairing: Pairing, faulty: Collection[str], scored: Sequence[str]) -> Iterator[str]:
    """Yields what readers of the table must know of single cases."""
    named = {
        "Missing, counted as worst": pairing.missing,
        "Cannot be scored, counted as worst": [case for case in scored if case in faulty],
        "Not in the table, as their truth cannot be read": [case for case in pairing.cases if case not in scored],
        "Without a truth, not scored": [path.name for path in pairing.extra],
    }
    yield from (f"{head}: {name_some(names, _MOST_NAMED)}" for head, names in named.items() if names)


def _say_cores(console: PlainConsole, jobs: int) -> None:
    if jobs > cores():
        console.print(f"At most {cores()} processes: one per core.")


def _evaluate_study(
    name: str, profile: ProfileOption, results: Path, metrics: list[str], empty: str | None, jobs: int
) -> None:

    from harness.cli.shared.progress import task_bars
    from harness.errors import HarnessError
    from harness.evaluation.policy import POLICIES, empty_policy
    from harness.execution.added_metrics import add_metrics, plan_added
    from harness.results.store import Store

    console = PlainConsole(highlight=False)
    store = Store(results)
    folder = store.find_study(name, profile)
    wanted = list(dict.fromkeys(metrics or folder.manifest().report.metrics))
    if empty is not None and empty_policy(empty).name not in POLICIES:
        raise HarnessError(
            f"A constant penalty such as {empty} needs no new scores.", hint="Give it to the report: --empty."
        )
    if empty is not None:
        wanted = [f"{metric}_{empty}" for metric in wanted]
    works = plan_added(folder, store, wanted)
    _say_cores(console, jobs)
    faults: Mapping[str, Sequence[str]] = {}
    with task_bars(console) as show:
        for done, total, faults in add_metrics(works, jobs):  # noqa: B007 - the last of them is shown below
            show("Scoring", done, total)
    lacking = _print_added(console, works, faults, wanted)
    again = study_arguments(folder.study, folder.profile, results)
    shown = folder.manifest().report.metrics
    chosen = (
        "" if set(wanted) <= set(shown) else "".join(f" --metric {one}" for one in dict.fromkeys((*shown, *wanted)))
    )
    console.print(f"Tables and figures:  harness report {again}{chosen}", soft_wrap=True)
    if lacking:
        console.print(styled("bold red", f"{lacking} of {len(works)} cells lack scores."))
        raise typer.Exit(1)


def _print_added(
    console: PlainConsole, works: Sequence[Work], faults: Mapping[str, Sequence[str]], metrics: Sequence[str]
) -> int:
    """Shows the mean of every metric for each cell, and why there is none; returns how many cells lack one."""
    from harness.cli.shared.formatting import constant_axes, table
    from harness.cli.shared.status_table import AXES
    from harness.evaluation import METRICS
    from harness.results.scores import read_scores
    from harness.statistics.means import cell_means
    from harness.statistics.patients import MEAN_REGION

    records = [work.cell.known() for work in works]
    fixed, varying = constant_axes([{axis: getattr(record, axis) for axis in AXES} for record in records])
    listing = table("variant", *varying, *(METRICS.get(name).heading for name in metrics), "new")
    listing.title, listing.title_justify = fixed, "left"
    troubles: list[str] = []
    for work, record in zip(works, records, strict=True):
        found = faults.get(work.cell.id, [work.refusal] if work.refusal else [])
        means = cell_means(read_scores(work.cell)) if work.cell.status() == "done" else {}
        numbers = [METRICS.get(name).text(means.get((name, MEAN_REGION), math.nan)) for name in metrics]
        new = "" if found else ", ".join(work.metrics)
        listing.add_row(work.label, *(str(getattr(record, axis)) for axis in varying), *numbers, new)
        if found:
            more = f" (and {len(found) - 1} more cases)" if len(found) > 1 else ""
            troubles.append(f"{work.label}, {work.cell.id}: {found[0]}{more}")
    console.print(listing)
    for trouble in troubles:
        console.print(trouble, style="yellow", soft_wrap=True)
    return len(troubles)


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
