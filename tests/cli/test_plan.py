"""``harness plan``: every cell of a small study, a large one summed up, and hours on GPUs that are not here."""

from __future__ import annotations

import json
import re

import pytest
from stored import finish as write_result

from harness.cli import main
from harness.execution.costs.bench_figures import Benched, keep, keep_launch
from harness.results.store import Store
from harness.segmenters import SEGMENTERS
from harness.study.expansion import load_study, make_task

pytestmark = pytest.mark.usefixtures("toys")


def shown(capsys, study, *options: str) -> list[str]:
    assert main(["plan", str(study), *options]) == 0
    return capsys.readouterr().out.splitlines()


def row(lines: list[str], *begins: str) -> str:
    (found,) = [line for line in lines if line.split()[: len(begins)] == list(begins)]
    return found


def test_a_large_study_is_summed_up_by_variant_and_dataset(write_study, capsys):
    models = [{"name": "toy", "label": "Narrow"}, {"name": "toy", "label": "Wide", "width": 8}]
    matrix = {"dataset": ["cortex"], "model": models, "seed": [0, 1, 2]}
    listed = shown(capsys, write_study(matrix=matrix))
    assert sum(line.split()[:1] == ["Wide"] for line in listed) == 3
    summed = shown(capsys, write_study(matrix={**matrix, "seed": list(range(101))}))
    (row,) = [line.split() for line in summed if line.split()[:1] == ["Wide"]]
    assert row[1:4] == ["cortex", "101", "0"]
    assert [line for line in summed if line.startswith("About ")], "the time to go is that of all cells"


ABSENT = {"dataset": ["brats2023"], "model": ["toy"], "seed": [0, 1, 2]}


def test_hours_are_estimated_before_the_data_is_there(write_study, capsys):
    lines = shown(
        capsys,
        write_study(protocol="paper", matrix=ABSENT),
        "--gpu-model",
        "rtx3090",
        "--gpu-model",
        "h100",
        "--gpus",
        "3",
    )
    assert any(re.match(r"Assumed 1,251 cases of brats2023", line) for line in lines)
    assert any("Estimated from counted operations, not measured" in line for line in lines)
    size = 155 * 128 * 128 * (4 * 4 + 1)  # four float32 images and a label
    assert f"54.0 GB: 1,251 cases of {size / 1e6:.1f} MB (155 x 128 x 128)" in row(lines, "cache,")
    hours = [float(re.search(r"~([\d.]+) \(", line)[1]) for line in lines if line.split()[:2] == ["toy", "3"]]
    assert len(hours) == 2
    assert all(hour > 0 for hour in hours)
    totals = [line for line in lines if line.startswith("About ") and "GPU hours" in line]
    assert len(totals) == 2
    assert all("in 3 cells" in total and "with 3 GPUs, one cell each" in total for total in totals)


def test_a_batch_that_a_gpu_cannot_hold_is_named_with_one_that_it_can(write_study, capsys):
    matrix = {"dataset": ["brats2023"], "model": [{"name": "toy", "label": "Wide", "width": 64}]}
    study = write_study(protocol={"base": "paper", "sampling": {"batch_size": 8000}}, matrix=matrix)
    lines = shown(capsys, study, "--gpu-model", "rtx3090")
    said = re.search(r"8000 does not fit, (\d+) would", row(lines, "Wide", "1"))
    assert said is not None
    assert 0 < int(said[1]) < 8000
    assert "8000 fits" in row(shown(capsys, study, "--gpu-model", "h200"), "Wide", "1")


def test_without_a_gpu_absent_data_is_still_refused(write_study, capsys):
    assert main(["plan", str(write_study(matrix=ABSENT))]) == 2
    assert "No data for 'brats2023'" in capsys.readouterr().err


def test_a_named_folder_that_is_not_there_is_never_assumed(write_study, capsys):
    study = write_study(matrix={**ABSENT, "dataset": [{"name": "brats2023", "root": "nowhere"}]})
    assert main(["plan", str(study), "--gpu-model", "a100"]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_an_unknown_gpu_model_is_refused_with_the_nearest_name(write_study, capsys):
    assert main(["plan", str(write_study()), "--gpu-model", "a10"]) == 2
    said = capsys.readouterr().err
    assert "Unknown GPU model 'a10'" in said
    assert "Did you mean 'a100'?" in said
    assert "h200" in said
    assert "harness bench" in said


def test_energy_and_the_co2_of_a_grid_that_the_user_names(write_study, capsys):
    study = write_study(protocol="paper", matrix=ABSENT)

    def planned(*options: str) -> dict:
        (one,) = json.loads("\n".join(shown(capsys, study, "--gpu-model", "h100", "--json", *options)))["rows"]
        return one

    plain, carbon, slow_host = planned(), planned("--grid-factor", "380"), planned("--launch-us", "400")
    assert plain["kwh_at_least"] < plain["kwh_per_cell"] < plain["kwh_at_most"]
    assert not [name for name in plain if "co2" in name]
    assert carbon["co2_kg_per_cell"] == pytest.approx(0.38 * plain["kwh_per_cell"])
    assert slow_host["seconds_per_cell"] > plain["seconds_per_cell"]
    said = shown(capsys, study, "--gpu-model", "h100", "--grid-factor", "380")
    assert any(re.search(r"kg CO2 \(.*\) at 380 g per kWh", line) for line in said)
    assert not any("CO2" in line for line in shown(capsys, study, "--gpu-model", "h100"))


@pytest.mark.parametrize("options", [["--grid-factor", "380"], ["--launch-us", "8"]])
def test_what_is_known_of_a_gpu_needs_one_that_is_named(write_study, capsys, options):
    assert main(["plan", str(write_study()), *options]) == 2
    assert "--gpu-model" in capsys.readouterr().err


def test_a_launch_that_doctor_measured_counts_on_its_gpu_model(write_study, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    study = write_study(protocol="paper", matrix=ABSENT)
    keep_launch("NVIDIA H200", 400e-6)
    lines = shown(capsys, study, "--gpu-model", "h200", "--gpu-model", "h100")
    slow, usual = (float(line.split()[2].strip("~")) for line in lines if line.split()[:2] == ["toy", "3"])
    assert slow > usual
    assert any("400.0 us, measured beside NVIDIA H200" in line for line in lines)


def test_data_that_is_there_is_looked_at(write_study, capsys):
    lines = shown(capsys, write_study(), "--gpu-model", "a100")
    assert not [line for line in lines if line.startswith("Assumed")]
    assert re.match(r"cache, cortex: [\d.]+ [kM]B: \d+ cases of [\d.]+ [kM]B \(\d+ x 64 x 64\)", row(lines, "cache,"))


def finish(results, spec, seconds: float) -> None:
    """Writes a cell as it would lie in the store of a machine with an A100."""
    store = Store(results)
    store.create()
    folder = store.cell(spec.id)
    folder.write_spec(spec.to_json())
    write_result(folder, train_seconds=seconds, device="NVIDIA A100-SXM4-80GB")


def test_a_measured_time_replaces_the_estimate_on_its_gpu_model_alone(write_study, capsys, project):
    planned = write_study(matrix={"dataset": ["cortex"], "model": ["toy"], "seed": [1, 2]})
    other = write_study(name="other", matrix={"dataset": ["cortex"], "model": ["toy"], "seed": [0]})
    (cell,) = load_study(other).cells
    finish(project / "results", cell.spec, seconds=7200)

    lines = shown(capsys, planned, "--gpu-model", "a100", "--gpu-model", "h100")
    measured, estimated = (line for line in lines if line.split()[:2] == ["toy", "2"])
    assert "2.0 measured" in measured
    assert "measured" not in estimated
    assert row(lines, "About", "4").startswith("About 4 GPU hours (4 to 4) in 2 cells; 4 h 0 min with 1 GPU")

    lines = shown(capsys, other, "--gpu-model", "a100")
    assert "1 of the cells has a result and is not counted." in lines


def test_steps_that_were_measured_on_a_gpu_replace_their_estimate_on_its_model_alone(
    write_study, capsys, monkeypatch, tmp_path
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    study = write_study(protocol="paper", matrix=ABSENT)
    (cell, *_) = load_study(study, assume_absent=True).cells
    toy, protocol = SEGMENTERS.get("toy"), cell.spec.protocol
    task = make_task(cell.spec.facts(), cell.spec.leading, protocol)
    step = Benched.of(toy, task, toy.parse_options({}), protocol.sampling.batch_size, "eager", "none")
    keep("NVIDIA H200", step, 0.123)
    lines = shown(capsys, study, "--gpu-model", "h200", "--gpu-model", "h100")
    measured, estimated = (line.split() for line in lines if line.split()[:2] == ["toy", "3"])
    assert measured[2:4] == ["123", "ms"]
    assert estimated[2].startswith("~")
    (note,) = [line for line in lines if "harness bench` measured them on NVIDIA H200" in line]
    assert "NVIDIA-H200.json" in note + lines[lines.index(note) + 1]
