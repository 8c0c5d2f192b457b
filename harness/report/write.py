"""Writes a report into a folder: the formats asked for, and the figures."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, did_you_mean
from harness.files import atomic_path, check_writable
from harness.report import PERSONAL, Format
from harness.report.analysis.analysis import StudyAnalysis, analyse_study
from harness.report.figures.build import draw_figures
from harness.report.figures.figure import Drawing, render
from harness.report.inputs.acquisition import NOTHING_ASKED, Acquisition
from harness.report.tables.build import build_tables
from harness.report.tables.table import Table
from harness.report.text.answer import answer_study
from harness.report.writers.csv import csv_files
from harness.report.writers.html import html_page
from harness.report.writers.latex import latex_document
from harness.report.writers.markdown import markdown_document
from harness.results.schema import StudyResults

#: What a report without figures says in their place.
NO_FIGURES = "Figures were left out on request (--no-figures)."


_PERSONAL_TEXT = "These files show columns of patients, which are personal data:"


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes:
        files: The files.
        warnings: Why methods are not ranked, what was mixed on request, and figures that are older than the tables.
    """

    files: tuple[Path, ...]
    warnings: tuple[str, ...]


def write_report(
    results: StudyResults,
    out: Path,
    formats: Sequence[str] = (Format.all,),
    *,
    allow_mixed: bool = False,
    rank_unproven: bool = False,
    budget: bool = False,
    figures: bool = True,
    question: Acquisition = NOTHING_ASKED,
) -> Report:
    """Writes tables, figures and page.

    Args:
        results: Results of one study.
        out: Folder; made if it does not exist. Files of an earlier report in it are replaced.
        formats: Formats to write; ``all`` for every one.
        allow_mixed: Rank methods even where they were trained under different conditions; every table then says so.
        rank_unproven: Rank networks that are written from their papers alone with the others.
        budget: Show in every table what its networks take: parameters, GFLOPs, memory and GPU hours.
        figures: Draw figures too, which takes most of the time; page and tables say where there are none.
        question: What the user asks of the sets of modalities.

    Returns:
        The files written, with warnings.

    Raises:
        HarnessError: No cell has finished, the folder cannot be written, a format is not known, or the question cannot
            be asked of the study.
    """
    wanted = _wanted(formats)
    _require_results(results)
    check_writable(out / "report.html")
    study = analyse_study(results, allow_mixed=allow_mixed, rank_unproven=rank_unproven, question=question)
    drawings = list(draw_figures(study)) if figures else []
    rendered = {drawing.name: render(drawing.figure) for drawing in drawings}
    contents = {
        f"figures/{name}.{suffix}": content for name, files in rendered.items() for suffix, content in files.items()
    }
    png = {name: files["png"] for name, files in rendered.items()}
    tables = build_tables(study, budget=budget)
    viewed = {path.stem for path in (out / "cases").glob("*.html")}
    contents |= dict(_documents(study, tables, wanted, drawings, png, "" if figures else NO_FIGURES, viewed))
    if results.columns:
        contents[PERSONAL] = ("\n".join([_PERSONAL_TEXT, *sorted(contents)]) + "\n").encode()
    _remove_personal(out, contents)
    for name, content in contents.items():
        with atomic_path(out / name) as temporary:
            temporary.write_bytes(content)
    warnings = [text for name in study.views if (text := study.comparability.sentence(name))]
    if not figures and (out / "figures").is_dir():
        warnings.append(f"The figures in {out / 'figures'} are those of an earlier report.")
    return Report(tuple(out / name for name in contents), tuple(warnings))


def _remove_personal(out: Path, written: Mapping[str, bytes]) -> None:
    """Removes the files of an earlier report that showed columns of patients and are not written anew."""
    path = out / PERSONAL
    if not path.is_file() or path.is_symlink():
        return
    for name in (*path.read_text(encoding="utf-8").splitlines()[1:], PERSONAL):
        file = out / name
        if name not in written and file.is_file() and file.resolve().is_relative_to(out.resolve()):
            file.unlink()


def _wanted(formats: Sequence[str]) -> set[str]:
    for name in formats:
        if name not in list(Format):
            raise HarnessError(f"There is no report format '{name}'.", hint=did_you_mean(name, list(Format)))
    return set(Format if Format.all in formats else formats)


def _require_results(results: StudyResults) -> None:
    if results.cases.empty:
        states = results.cells["status"].value_counts().sort_index()
        counted = ", ".join(f"{number} {state}" for state, number in states.items()) or "none"
        remedy = "Run it with `harness run`; where cells failed, `harness status` says why."
        if "damaged" in states:
            remedy = f"`harness status` names what is damaged; `harness retry {results.study} --damaged` makes it new."
        raise HarnessError(
            f"Study '{results.study}' (profile '{results.profile}') has no results to report. Its cells: {counted}.",
            hint=remedy,
        )


def _documents(
    study: StudyAnalysis,
    tables: Sequence[Table],
    wanted: set[str],
    drawings: Sequence[Drawing],
    png: Mapping[str, bytes],
    remark: str,
    viewed: Collection[str],
) -> Iterator[tuple[str, bytes]]:
    """Yields the files beside the figures, by their path in the report."""
    answers = answer_study(study)
    yield "answer.txt", ("\n\n".join(answers) + "\n").encode()
    if "latex" in wanted:
        yield "tables.tex", latex_document(tables, remark).encode()
        yield from ((f"latex/{table.name}.tex", latex_document([table], remark).encode()) for table in tables)
    if "markdown" in wanted:
        yield "tables.md", markdown_document(study.results, answers, tables, remark).encode()
    if "csv" in wanted:
        yield from ((f"csv/{name}", content) for name, content in csv_files(study))
    if "html" in wanted:
        yield "report.html", html_page(study, answers, tables, drawings, png, remark, viewed).encode()
