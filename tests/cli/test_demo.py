"""``harness demo``: table, pictures and page of two short trainings, which all say that they are no result."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stored import finish_whole

from harness.cli import main
from harness.cli.demo import MINUTE, STUDY
from harness.execution.study import register
from harness.report.analysis.analysis import analyse_study
from harness.report.figures.build import draw_figures
from harness.results.reading import load_results
from harness.results.store import Store
from harness.shipped import shipped
from harness.study.expansion import load_study
from harness.study.protocol import caveat_of, load_protocol

CAVEAT = "60 steps: shows the instrument, no result"


@pytest.fixture
def trained(project: Path) -> Store:
    """The study of the demo, whose trainings have run."""
    store = Store(Path("results"))
    store.create()
    file = shipped("studies") / f"{STUDY}.yaml"
    for _, cell in store.study_cells(register(load_study(file, [MINUTE]), store, file)):
        finish_whole(cell, dataset="cortex", regions=("Cortex", "White"), leading="t1")
    return store


def test_every_file_says_that_it_is_no_result(trained: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo"]) == 0
    shown = capsys.readouterr().out
    assert shown.count(CAVEAT) == 3  # as the study begins, over its table, and in the end
    assert "harness run ablation_tcfaf --profile demo" in shown.splitlines()[-1]
    report = trained.root / "reports" / STUDY / MINUTE
    for name in ("report.html", "figures", "tables.md"):
        assert f"{report / name}\n" in shown
        assert (report / name).exists()
    texts = [path for path in report.rglob("*") if path.suffix in (".md", ".txt", ".html", ".csv", ".tex")]
    texts.remove(report / "csv" / "floors.csv")  # these cells have none: it is empty
    assert len(texts) > 10
    assert [path.name for path in texts if CAVEAT not in " ".join(path.read_text().split())] == []


def test_every_figure_says_so_too(trained: Store) -> None:
    study = analyse_study(load_results(trained.find_study(STUDY), trained))
    drawings = list(draw_figures(study))
    assert len(drawings) >= 3
    for drawing in drawings:
        drawn = " ".join(" ".join(text.get_text().split()) for text in drawing.figure.findobj(match=is_text))
        assert CAVEAT in drawn, drawing.name
        assert CAVEAT in drawing.caption + drawing.title


def is_text(artist: object) -> bool:
    return hasattr(artist, "get_text") and isinstance(artist.get_text(), str)


def test_trainings_of_other_protocols_need_no_words() -> None:
    assert load_protocol("minute").caveat == CAVEAT
    assert load_protocol("demo").caveat == ""
    assert caveat_of([{"name": "of an earlier version"}]) == ""
    short = [{"purpose": "instrument", "training": {"epochs": n, "steps_per_epoch": 10}} for n in (4, 1, 4)]
    assert caveat_of(short) == "10 to 40 steps: shows the instrument, no result"


@pytest.mark.slow
def test_it_trains_and_goes_on_after_ctrl_c(project: Path) -> None:
    command = [sys.executable, "-m", "harness", "demo"]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    while not list(Path("results").rglob("last.pt")) and started.poll() is None:
        time.sleep(0.2)
    started.send_signal(signal.SIGINT)
    said, _ = started.communicate(timeout=120)
    assert started.returncode == 130
    assert "Nothing is lost" in said
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert CAVEAT in done.stdout
    assert (project / "results/reports/ablation_tcfaf/minute/figures/overlay_cortex.png").is_file()
