"""``harness missing``: what finished cells score when modalities are missing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.cli.shared.console import PlainConsole, styled
from harness.cli.shared.engines import EngineChoice, RetriesOption, TimeoutOption, engine_options, make_policy
from harness.cli.shared.formatting import constant_axes, duration, table
from harness.cli.shared.graceful_shutdown import graceful_shutdown
from harness.cli.shared.options import (
    AlphaOption,
    CacheOption,
    CostsOption,
    MarginOption,
    ProfileOption,
    ResultsOption,
    StudyName,
    study_arguments,
)
from harness.statistics.sample_size import ALPHA

if TYPE_CHECKING:
    from harness.execution.missing_modalities import Work
    from harness.report.inputs.acquisition import Acquisition
    from harness.results.store import StudyFolder

_LINE_EVERY = 30.0  # seconds between lines where there is no terminal


@engine_options(without=("gpus_per_cell",))
def missing(
    study: StudyName = None,
    profile: ProfileOption = None,
    fill: Annotated[
        Literal["zeros", "mean", "token"] | None,
        typer.Option(
            help="What replaces an absent modality; default: as in each training, or zeros if it dropped no modality.",
            show_default=False,
        ),
    ] = None,
    subsets: Annotated[
        Literal["all", "leave-one-out", "single"],
        typer.Option(help="Subsets to test: all, those without one modality, or single modalities."),
    ] = "all",
    label: Annotated[
        str | None, typer.Option(help="Only this variant of the study; default: all.", show_default=False)
    ] = None,
    margin: MarginOption = None,
    alpha: AlphaOption = ALPHA,
    costs: CostsOption = None,
    *,
    engine: EngineChoice,
    retries: RetriesOption = 0,
    timeout: TimeoutOption = None,
    results: ResultsOption = Path("results"),
    cache: CacheOption = Path("cache"),
) -> None:
    """Test the finished cells of a study on subsets of the modalities, with their trained weights.

    Nothing is trained. Run the same command again after an interruption: finished subsets are not computed again.
    In the end it says what each modality is worth, and with --margin which sets of them suffice; `harness report` shows
    all results.
    """
    from harness.execution.missing_modalities import plan_missing, run_missing
    from harness.report.analysis.analysis import analyse_study
    from harness.report.inputs.acquisition import read_acquisition
    from harness.report.text.modality_value import value_answer
    from harness.results.reading import load_results
    from harness.results.store import Store

    console = PlainConsole(highlight=False)
    store = Store(results)
    question = read_acquisition(margin, alpha, costs)
    folder = store.find_study(study, profile)
    works = plan_missing(folder, store, subsets, fill, label)
    _check_question(question, folder, works)
    total, left = sum(len(work.subsets) for work in works), sum(work.n_remaining for work in works)
    console.print(
        styled("bold", folder.study, f" ({folder.profile}): {total} subsets of modalities, {total - left} done before.")
    )
    opened = engine.open(console, results, cache, folder.study)
    policy = make_policy(retries, timeout, fail_fast=False)
    with graceful_shutdown(console), _Display(console, works) as display:
        lacking = run_missing(works, opened, cache, policy, display.update)
    console.print(_table(works))
    found = load_results(folder, store)
    if not found.subsets.empty:
        study_analysis = analyse_study(found, question=question)
        for text in filter(None, (value_answer(study_analysis, view) for view in study_analysis.views.values())):
            console.print(text, markup=False, soft_wrap=True)
    again = study_arguments(folder.study, folder.profile, results)
    console.print(f"Tables and figures:  harness report {again}{_asked(margin, alpha, costs)}", markup=False)
    if lacking:
        console.print(styled("bold red", f"{len(lacking)} of {len(works)} cells lack results."))
        raise typer.Exit(1)


def _check_question(question: Acquisition, folder: StudyFolder, works: Sequence[Work]) -> None:
    """Refuses a question that cannot be asked of these cells, before hours of tests."""
    manifest = folder.manifest()
    tested = {work.cell.known().dataset for work in works if not work.refusal}
    modalities = [name for facts in manifest.datasets if facts.name in tested for name in facts.modalities]
    question.check(manifest.report.metrics[0], list(dict.fromkeys(modalities)))


def _asked(margin: float | None, alpha: float, costs: Path | None) -> str:
    """The same question for another verb."""
    level = "" if alpha == ALPHA else f" --alpha {alpha:g}"
    return "" if margin is None else f" --margin {margin:g}{level}{'' if costs is None else f' --costs {costs}'}"


class _Display:
    """Shows how many test cases of all subsets are done, and the time to go."""

    def __init__(self, console: Console, works: Sequence[Work]) -> None:
        from harness.cli.shared.progress import counting_bar

        self._console, self._works = console, [work for work in works if work.n_remaining]
        self._before = sum(work.done for work in works)
        self._total = sum(len(work.subsets) for work in works)
        self._began = self._spoke = time.monotonic()
        self._looked = 0.0
        self._progress = counting_bar(console, disable=not console.is_terminal)
        self._task = self._progress.add_task("subsets", total=self._total, completed=self._before)

    def __enter__(self) -> _Display:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self) -> None:
        """Shows what is new, about once a second."""
        now = time.monotonic()
        if now - self._looked < 1:
            return
        self._looked = now
        done = self._total - sum(work.n_remaining for work in self._works)
        self._progress.update(self._task, completed=done)
        if self._console.is_terminal or now - self._spoke < _LINE_EVERY:
            return
        self._spoke = now
        self._console.print(f"{done}/{self._total} subsets done{self._to_go(now)}")

    def _to_go(self, now: float) -> str:
        """Time to go by the cases done so far in what is under way."""
        from harness.results.subsets import CellSubsets

        seen = [CellSubsets(work.cell).progress() for work in self._works]
        shares = [one.cases / one.of for one in seen if one.of]
        if not sum(shares):
            return ""
        left = len(self._works) - sum(shares)
        return f", about {duration((now - self._began) * left / sum(shares))} to go"


def _table(works: Sequence[Work]) -> Table:

    from harness.results.subsets import CellSubsets

    axes = ("dataset", "leading", "fold", "seed")
    cells = [work.cell.known() for work in works]
    specs = [{axis: str(getattr(cell, axis)) for axis in axes} for cell in cells]
    fixed, varying = constant_axes(specs)
    listing = table("variant", *varying, "filled by", "subsets", "note")
    listing.title, listing.title_justify = fixed, "left"
    for work, spec in zip(works, specs, strict=True):
        note: str | Text
        note, failure = work.refusal, CellSubsets(work.cell).failure()
        if not note and work.n_remaining and failure:
            note = styled("red", "failed", f" {failure.reason} {failure.hint}")
        elif not note and work.n_remaining:
            note = "another process evaluates it" if CellSubsets(work.cell).owner() else "stopped"
        filled = work.subsets[0].fill if work.subsets else "–"
        counted = f"{work.done}/{len(work.subsets)}" if work.subsets else "–"
        listing.add_row(work.label, *(spec[axis] for axis in varying), filled, counted, note)
    return listing
