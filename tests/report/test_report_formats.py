from __future__ import annotations

import io
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from analysed import analysed

from harness.errors import HarnessError
from harness.evaluation import METRICS
from harness.report.analysis.analysis import analyse_study
from harness.report.figures.box_plots import box_plot
from harness.report.figures.learning_curves import training_curves
from harness.report.tables.build import build_tables
from harness.report.text.answer import answer_study
from harness.report.text.provenance import provenance_of
from harness.report.write import write_report
from harness.report.writers.csv import csv_files
from harness.report.writers.latex import escape_latex, latex_document
from harness.report.writers.markdown import escape_markdown
from harness.results.schema import StudyResults

REFUSAL = "1 patient: no significance test"
VOID = {"meta", "img", "br", "link", "hr"}
HOSTILE = 'A & B_1 % $x$ #2 {y} ~ ^ \\z <i>"q" | † –'


class Balance(HTMLParser):
    """Notes tags that do not close in order, and everything a browser would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.loads: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


@pytest.fixture
def hostile(builder) -> StudyResults:
    builder.dataset(title="Cortex & <co> 100%", notes=("Note_1 costs $5 & more: 日.",))
    builder.cell("AAHN", [(0.8, 0.9), (0.7, 0.8)], epochs=2)
    builder.cell(HOSTILE, [(0.7, 0.9), (0.7, 0.8)], epochs=2)
    builder.cell("broken_", status="failed", reason="CUDA <error> #1 & {more}")
    builder.floor("mirror_copy", [(0.5, 0.5), (0.5, 0.5)])
    return builder.build()


def test_layout_of_the_means(ablation: StudyResults) -> None:
    means, deltas, *_ = build_tables(analysed(ablation))
    assert [column.name for column in means.columns] == [
        "Dice Cortex ↑",
        "Dice White ↑",
        "HD95 (mm) Cortex ↓",
        "HD95 (mm) White ↓",
        "Mean Dice ↑",
        "Mean HD95 (mm) ↓",
    ]
    assert [row.header[0] for row in means.rows] == ["w/o T-CFAF", "+ CA", "+ CMA", "AAHN", "mirror copy (floor)"]
    assert [row.is_floor for row in means.rows] == [False] * 4 + [True]
    assert {entry.mark for entry in means.rows[-1].cells} == {""}
    assert means.rows[0].cells[0].text == "0.640 ± 0.053"
    assert means.rows[0].cells[2].text == "3.60 ± 0.53"
    assert [row.header[0] for row in deltas.rows] == ["w/o T-CFAF", "+ CA", "+ CMA"]
    assert deltas.rows[0].cells[0].text == "−0.120"


def test_a_table_says_what_it_stands_on(ablation: StudyResults) -> None:
    means, deltas, *_ = build_tables(analysed(ablation))
    for table in (means, deltas):
        said = " ".join([*table.caption, *table.notes])
        for fact in ("embedded data", "coronal block", "3 cases of 1 patient", "1 seed", "1 fold", "protocol demo"):
            assert fact in said
        for fact in ("medpy dice 0.5.2", "medpy hd95 0.5.2", "Commit 0123456789abcdef+dirty", "One person", REFUSAL):
            assert fact in said
        assert "embedded data" in table.title
    assert means.caption[0].startswith(ablation.question)


def test_failed_and_incomplete_say_so_in_every_column(builder) -> None:
    builder.cell("AAHN", [(0.8, 0.9)])
    builder.cell("B", status="failed", reason="the loss is not finite")
    builder.cell("C", status="running")
    means, differences, *_ = build_tables(analyse_study(builder.build()))
    for table in (means, differences):
        found = {row.header[0]: {entry.text for entry in row.cells} for row in table.rows}
        assert (found["B"], found["C"]) == ({"failed"}, {"incomplete"})
        assert "the loss is not finite" in " ".join(table.notes)


def test_fewer_cases_carry_a_dagger_that_is_explained(builder) -> None:
    builder.cell("AAHN", [(0.8, 0.9)] * 3)
    builder.cell("B", [(0.7, 0.8)] * 2)
    means, *others = build_tables(analyse_study(builder.build()))
    assert all(entry.dagger for entry in means.rows[1].cells)
    assert "† B: 2 of 3 results (2 cases); not ranked." in means.notes
    assert {table.kind for table in others} == {"medians", "efficiency"}, "nothing is compared"


def test_one_region_has_no_mean_columns(builder) -> None:
    builder.dataset("one", regions=("tumor",), kind="generated", title="One")
    builder.cell("A", [(0.5,), (0.7,)], dataset="one")
    (table, *_) = build_tables(analyse_study(builder.build()))
    assert [column.name for column in table.columns] == ["Dice tumor ↑", "HD95 (mm) tumor ↓"]
    assert "generated data" in table.title


def test_leading_modality_is_named_where_it_varies(builder) -> None:
    for leading in ("t1", "epi"):
        builder.cell("A", [(0.5, 0.5)], leading=leading)
    (table, *_) = build_tables(analyse_study(builder.build()))
    assert table.row_header == ("Variant", "Leading")
    assert [row.header for row in table.rows] == [("A", "t1"), ("A", "epi")]


def test_energy_is_a_dash_with_its_reason_where_nothing_counted_it(builder) -> None:
    for label in ("A", "B", "C"):
        builder.cell(label, [(0.5, 0.5)])
    results = builder.build()
    cells = results.cells.assign(device=["cpu (1 thread)", "NVIDIA H100", "NVIDIA H100"], energy_wh=[None, None, 12.34])
    (table,) = [
        each for each in build_tables(analyse_study(replace(results, cells=cells))) if each.kind == "efficiency"
    ]
    place = [column.title for column in table.columns].index("Energy (Wh)")
    assert [row.cells[place].text for row in table.rows] == ["–", "–", "12.3"]
    (said,) = [note for note in table.notes if note.startswith("Energy")]
    assert "1 cell computed on a processor" in said
    assert "1 cell computed on a GPU, whose counter (NVML by nvidia-ml-py) gave nothing" in said


def test_a_cell_whose_step_could_not_be_recorded_says_why(builder) -> None:
    for label in ("A", "B"):
        builder.cell(label, [(0.5, 0.5)])
    results = builder.build()
    cells = results.cells.assign(step=["recorded", "eager"], not_recorded=["", "It reads a value back."])
    notes = [
        note
        for table in build_tables(analyse_study(replace(results, cells=cells)))
        if table.kind == "efficiency"
        for note in table.notes
    ]
    assert any("in 1 of 2 cells" in note and "It reads a value back." in note for note in notes)


def test_where_batches_were_augmented_is_said_once(builder) -> None:
    for label in ("A", "B", "C"):
        builder.cell(label, [(0.5, 0.5)])
    results = builder.build()
    obstacle = "the GPU does not know Wobble"
    cells = results.cells.assign(augmentation=["gpu", "cpu", "cpu"], not_on_gpu=["", obstacle, obstacle])
    (note,) = [
        note
        for table in build_tables(analyse_study(replace(results, cells=cells)))
        for note in table.notes
        if "augmented" in note
    ]
    assert "in 1 of 3 cells" in note
    assert note.count(obstacle) == 1


def test_a_single_case_has_no_spread(builder) -> None:
    builder.cell("A", [(0.5, 0.5)])
    (table, *_) = build_tables(analyse_study(builder.build()))
    assert table.rows[0].cells[0].text == "0.500"


def test_signs_and_special_numbers() -> None:
    dice, hd95 = METRICS.get("dice"), METRICS.get("hd95")
    assert [dice.signed(value) for value in (0.0123, -0.0123, -0.0001, 0.0001)] == [
        "+0.012",
        "−0.012",
        "0.000",
        "0.000",
    ]
    assert (hd95.text(float("inf")), hd95.text(float("nan"))) == ("∞", "–")


def test_the_answer_names_best_margin_and_caveat(ablation: StudyResults) -> None:
    (answer,) = answer_study(analysed(ablation))
    assert re.search(r"AAHN .*highest Dice.* 0\.840 ± 0\.030 \(3 cases of 1 patient\)", answer)
    assert "next, + CA differs by −0.030" in answer
    assert REFUSAL in answer
    assert "embedded data" in answer


def test_the_answer_against_a_reference_that_lost(builder) -> None:
    builder.cell("AAHN", [(0.5, 0.5), (0.6, 0.6)])
    builder.cell("B", [(0.7, 0.7), (0.9, 0.9)])
    builder.cell("C", status="failed")
    (answer,) = answer_study(analyse_study(builder.build()))
    assert re.search(r"difference to .* AAHN is \+0\.250", answer)
    assert "Left out, because results are missing: C." in answer


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_answer_says_where_nothing_is_known_of_other_trainings(builder, seeds: int) -> None:
    for seed in range(seeds):
        for label in ("AAHN", "B"):
            builder.cell(label, [(0.5, 0.5), (0.6, 0.6)], seed=seed)
    assert ("Each was trained once" in answer_study(analyse_study(builder.build()))[0]) == (seeds == 1)


def test_a_dataset_without_results_has_not_enough_patients_for_a_test(builder) -> None:
    builder.cell("A", [(0.5, 0.5)] * 20, patients=[f"p{n}" for n in range(20)], cases=[f"c{n}" for n in range(20)])
    builder.dataset("other", title="Other").cell("A", dataset="other", status="failed")
    assert provenance_of(analyse_study(builder.build()))["Significance"] == "Other, embedded data, no results"


def test_methods_that_share_no_second_dataset_are_not_ranked_across(builder) -> None:
    people = [f"p{number}" for number in range(8)]
    for dataset, labels in (("cortex", ("A", "B")), ("other", ("A", "C"))):
        builder.dataset(dataset)
        for label in labels:
            builder.cell(label, [(0.5, 0.6)] * 8, dataset=dataset, patients=people, cases=people)
    assert analyse_study(builder.build()).across == {}


@pytest.mark.parametrize("name", ["report.html", "tables.md", "tables.tex"])
def test_a_page_says_once_what_all_its_tables_say(report: tuple[Path, list[Path]], name: str) -> None:
    text = (report[0] / name).read_text(encoding="utf-8")
    assert text.count("One person: it shows that the instrument works.") == 1


def test_a_table_in_a_file_of_its_own_says_everything(report: tuple[Path, list[Path]]) -> None:
    for kind in ("means", "medians", "comparisons-dice"):
        text = (report[0] / "latex" / f"{kind}-cortex.tex").read_text(encoding="utf-8")
        assert "One person: it shows that the instrument works." in text


def test_the_page_opens_with_answer_picture_and_means(report: tuple[Path, list[Path]]) -> None:
    text = (report[0] / "report.html").read_text(encoding="utf-8")
    opening, _, folded = text.partition('<details class="part">')
    assert opening.count("<figure>") == 1
    assert opening.count("<table") == 1
    assert opening.index('class="answer"') < opening.index("<figure>") < opening.index("<table")
    for name in ("tables", "figures", "cases", "provenance", "cells"):
        assert f'href="#{name}"' in opening
        assert f'id="{name}"' in folded


def test_nothing_under_a_table_repeats_its_caption(ablation: StudyResults) -> None:
    for table in build_tables(analysed(ablation)):
        assert not set(table.caption) & set(table.notes)


def test_a_tie_is_shared_in_the_answer(builder) -> None:
    for label in ("A", "B"):
        builder.cell(label, [(0.5, 0.5), (0.6, 0.6)])
    assert "A and B share the highest Dice" in answer_study(analyse_study(builder.build()))[0]


def test_no_answer_without_two_comparable_variants(builder) -> None:
    builder.cell("A", [(0.5, 0.5)])
    builder.cell("B", status="failed")
    assert "no two variants have comparable results" in answer_study(analyse_study(builder.build()))[0]


def test_latex_escapes() -> None:
    assert escape_latex("A & B_1 %") == r"A \& B\_1 \%"
    assert escape_latex("\\{}$#^~<>±−") == (
        r"\textbackslash{}\{\}\$\#\textasciicircum{}\textasciitilde{}\textless{}\textgreater{}$\pm$$-$"
    )
    assert escape_latex("é日") == "é[U+65E5]"
    assert escape_latex("--patient") == "-{}-patient"


def test_latex_is_well_formed(hostile: StudyResults) -> None:
    text = latex_document(build_tables(analyse_study(hostile)))
    assert re.findall(r"\\begin\{(\w+)\}", text).count("document") == 1
    opened: list[str] = []
    for what, name in re.findall(r"\\(begin|end)\{(\w+)\}", text.split(r"\fi", 1)[1].replace(r"\harnessend", "")):
        if what == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert not opened
    bare = re.sub(r"\\[\\{}]", "", text)
    assert bare.count("{") == bare.count("}")
    for tabular in re.findall(r"\\begin\{tabular\}(.*?)\\end\{tabular\}", text, re.S):
        widths = set()
        for line in re.findall(r"^(.*) \\\\$", tabular, re.M):
            spans = [int(width) - 1 for width in re.findall(r"\\multicolumn\{(\d+)\}", line)]
            widths.add(len(re.findall(r"(?<!\\)&", line)) + 1 + sum(spans))
        assert len(widths) == 1
    assert text.count(r"\textbf{0.") >= 1
    assert text.count(r"\underline{0.") >= 1
    assert text.isprintable() or "\n" in text


def test_latex_compiles_alone_and_inside_a_paper(hostile: StudyResults, tmp_path: Path) -> None:
    text = latex_document(build_tables(analyse_study(hostile)))
    (tmp_path / "tables.tex").write_text(text, encoding="utf-8")
    needed = re.findall(r"^% (\\usepackage.*)$", text, re.M)
    paper = [r"\documentclass{article}", *needed, r"\begin{document}", r"\input{tables.tex}After.", r"\end{document}"]
    (tmp_path / "paper.tex").write_text("\n".join(paper), encoding="utf-8")
    # The guard that lets one file be both is structure enough where there is no TeX.
    assert text.index(r"\ifx\csname @nodocument\endcsname\relax") < text.index(r"\documentclass") < text.index(r"\fi")
    assert text.rstrip().endswith(r"\harnessend")
    compiler = shutil.which("pdflatex")
    if compiler is None:
        pytest.skip("pdflatex is not installed: the structure above is checked, the compilation is not")
    for name in ("tables", "paper"):
        command = [str(compiler), "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
        assert run.returncode == 0, run.stdout[-2000:]
        assert (tmp_path / f"{name}.pdf").stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_every_kind_of_table_compiles_alone(every_table: StudyResults, tmp_path: Path) -> None:
    """Each file is a document of its own, and none is wider than its page."""
    written = [
        path for path in write_report(every_table, tmp_path, ["latex"], figures=False).files if path.suffix == ".tex"
    ]
    kinds = {path.stem.rsplit("-", 1)[0] for path in written}
    assert kinds >= {
        "means", "medians", "efficiency", "published", "comparisons-dice", "differences-hd95", "ablation-aahn",
        "leading-AAHN", "ranks-dice",
    }  # fmt: skip
    for path in written:
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", path.name]
        run = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, errors="replace", timeout=120)
        assert run.returncode == 0, f"{path.name}: {run.stdout[-2000:]}"
        assert path.with_suffix(".pdf").stat().st_size > 1000
        assert "Overfull" not in run.stdout, path.name


def test_markdown_rows_have_equal_columns(hostile: StudyResults, tmp_path: Path) -> None:
    write_report(hostile, tmp_path, ["markdown"], figures=False)
    text = (tmp_path / "tables.md").read_text(encoding="utf-8")
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
    assert REFUSAL in text
    assert "**0." in text
    assert escape_markdown("a|b_c") == r"a\|b\_c"


def test_csv_keeps_full_precision_and_context(ablation: StudyResults) -> None:
    files = {name: pd.read_csv(io.BytesIO(text)) for name, text in csv_files(analysed(ablation))}
    assert set(files) == {f"{name}.csv" for name in ("means", "comparisons", "ranks", "floors", "cases", "cells")}
    for name in ("means.csv", "comparisons.csv", "floors.csv", "cases.csv", "cells.csv"):
        assert set(files[name]["data_kind"]) == {"embedded data"}
    for name in ("means.csv", "comparisons.csv", "floors.csv"):
        assert files[name]["significance"].str.startswith(REFUSAL).all()
    means = files["means.csv"].query("label == 'w/o T-CFAF' and region == 'Cortex' and metric == 'dice'")
    assert means["sd"].item() == pytest.approx(0.0028**0.5, rel=1e-12)


def test_html_is_balanced_self_contained_and_escaped(hostile: StudyResults, tmp_path: Path) -> None:
    write_report(hostile, tmp_path, ["html"])
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Balance()
    page.feed(text)
    assert (page.wrong, page.open) == ([], [])
    assert page.loads
    assert all(each.startswith(("data:image/png;base64,", "#")) for each in page.loads)
    assert "http://" not in text
    assert "https://" not in text
    assert text.count("<script>") == 1
    assert not page.tags & {"i", "error", "co", "link", "iframe"}
    for said in (
        REFUSAL,
        "embedded data",
        "CUDA &lt;error&gt;",
        "split-hash",
        "data-hash",
        "torch 2.6.0",
        "cpu (1 thread)",
    ):
        assert said in text
    assert {"caption", "thead", "tbody", "figcaption"} <= page.tags


def test_a_folder_that_cannot_be_written_is_refused_before_the_report_is_computed(
    ablation: StudyResults, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HarnessError, match="cannot be written"):
        write_report(ablation, tmp_path / "file/report")


def test_every_format_refuses_in_words(report: tuple[Path, list[Path]]) -> None:
    folder, written = report
    texts = [path for path in written if path.suffix in (".tex", ".md", ".html") and path.parent == folder]
    texts += [folder / "csv" / "means.csv", folder / "csv" / "comparisons.csv"]
    assert len(texts) == 5
    for path in texts:
        assert REFUSAL in path.read_text(encoding="utf-8"), path.name
        assert "embedded data" in path.read_text(encoding="utf-8"), path.name


def test_write_returns_what_it_wrote_and_leaves_nothing_else(report: tuple[Path, list[Path]]) -> None:
    folder, written = report
    assert sorted(written) == sorted(path for path in folder.rglob("*") if path.is_file())
    figures = {
        f"figures/{name}_cortex.{suffix}"
        for name in ("boxes", "costs", "overlay", "curves")
        for suffix in ("pdf", "png")
    }
    tables = {f"csv/{name}.csv" for name in ("means", "comparisons", "ranks", "floors", "cases", "cells")}
    latex = {
        f"latex/{kind}-cortex.tex"
        for kind in (
            "means",
            "medians",
            "efficiency",
            *(f"{kind}-{metric}" for kind in ("differences", "comparisons") for metric in ("dice", "hd95")),
        )
    }
    names = {path.relative_to(folder).as_posix() for path in written}
    assert names == figures | tables | latex | {"tables.tex", "tables.md", "report.html", "answer.txt"}


def test_a_report_without_figures_says_so(builder, tmp_path: Path) -> None:
    builder.cell("A", [(0.5, 0.5)])
    made = write_report(builder.build(), tmp_path, figures=False)
    assert not (tmp_path / "figures").exists()
    assert made.warnings == ()
    for name in ("report.html", "tables.md", "tables.tex", "latex/means-cortex.tex"):
        assert "Figures were left out on request (--no-figures)" in (tmp_path / name).read_text().replace("\\", "")


def test_figures_of_an_earlier_report_are_not_taken_for_those_of_this_one(builder, tmp_path: Path) -> None:
    builder.cell("A", [(0.5, 0.5)])
    (tmp_path / "figures").mkdir()
    (said,) = write_report(builder.build(), tmp_path, ["markdown"], figures=False).warnings
    assert "those of an earlier report" in said


def test_only_the_formats_asked_for_are_written(builder, tmp_path: Path) -> None:
    builder.cell("A", [(0.5, 0.5)])
    names = {path.name for path in write_report(builder.build(), tmp_path, ["markdown"]).files}
    assert names == {"answer.txt", "tables.md", "boxes_cortex.pdf", "boxes_cortex.png"}


def drawn(results: StudyResults) -> list[Any]:
    """What the figures of rows show."""
    study = analyse_study(results)
    drawings = [draw(study, study.views["cortex"]) for draw in (box_plot, training_curves)]
    axes = [each for drawing in drawings for each in drawing.figure.axes]
    lines = [line.get_xydata().tolist() for each in axes for line in each.lines]
    return [lines, [dots.get_offsets().tolist() for each in axes for dots in each.collections]]


def test_the_same_results_give_the_same_report(ablation: StudyResults, shuffle, tmp_path: Path) -> None:
    shuffled = shuffle(ablation, 3)
    first, again = (
        write_report(results, tmp_path / name, figures=False).files
        for name, results in (("first", ablation), ("again", shuffled))
    )
    for one, other in zip(first, again, strict=True):
        assert one.name == other.name
        assert one.read_text(encoding="utf-8") == other.read_text(encoding="utf-8"), one.name
    np.testing.assert_equal(drawn(ablation), drawn(shuffled))


def test_no_result_is_an_error_with_a_hint(builder, tmp_path: Path) -> None:
    builder.cell("A", status="failed")
    with pytest.raises(HarnessError, match="1 failed") as caught:
        write_report(builder.build(), tmp_path)
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_format_is_an_error(ablation: StudyResults, tmp_path: Path) -> None:
    unknown = ["latx"]
    with pytest.raises(HarnessError, match="latx") as caught:
        write_report(ablation, tmp_path, unknown)
    assert "latex" in caught.value.hint
