"""How many cells share a GPU, by memory that was measured; with GPUs that exist on paper only."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stored import cell_record, summary

from harness.errors import HarnessError
from harness.execution.engines.gpu_sharing import Gpu, MeasuredMemory, SharedGpus, parse_gpus, query_gpus
from harness.execution.engines.local import plan_slots
from harness.results.store import Store

SMI = "0, GPU-aaaa, 80000, NVIDIA H100\n1, GPU-bbbb, 40000, NVIDIA H100\n"


def make_cell(store, name, model="unet", seed=0, peak=None, device="NVIDIA H100", **facts):
    cell = store.cell(name)
    cell.write_spec(cell_record(model=model, seed=seed))
    if peak is not None:
        with cell.writing_result() as result:
            summary(device=device, peak_memory_mb=peak, **facts).write(result / "summary.json")
    return cell


def test_an_index_that_means_two_gpus_is_refused(monkeypatch):
    mixed = SMI.replace("40000, NVIDIA H100", "40000, NVIDIA T4")
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    with pytest.raises(HarnessError, match="of different models"):
        parse_gpus(mixed, ["0", "1"])
    assert len(parse_gpus(mixed, ["GPU-aaaa", "GPU-bbbb"])) == 2
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert len(parse_gpus(mixed, ["0", "1"])) == 2


def test_a_driver_that_does_not_answer_is_said(monkeypatch):
    def hang(command, **options):
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(HarnessError, match="nvidia-smi did not answer"):
        query_gpus(["0"])


def test_gpus_are_named_by_index_or_uuid():
    assert [round(gpu.free_mb) for gpu in parse_gpus(SMI, ["GPU-bbbb", "0"])] == [41943, 83886]
    with pytest.raises(HarnessError, match="does not know GPU 7"):
        parse_gpus(SMI, ["7"])


def test_what_was_measured_counts_for_cells_alike_and_only_on_gpus(tmp_path):
    store = Store(tmp_path)
    make_cell(store, "measured", peak=10_000)
    make_cell(store, "cpu", model="other", peak=10_000, device="cpu (1 thread)")
    memory = MeasuredMemory(tmp_path)
    assert memory.need(make_cell(store, "next", seed=1)) == pytest.approx(10_000 * 1.15 + 900)
    assert memory.need(make_cell(store, "unknown", model="other")) is None


def test_memory_that_the_allocator_held_counts_where_it_was_recorded(tmp_path):
    store = Store(tmp_path)
    make_cell(store, "measured", peak=10_000, reserved_memory_mb=12_000)
    assert MeasuredMemory(tmp_path).need(make_cell(store, "next", seed=1)) == pytest.approx(12_000 * 1.15 + 900)


def test_an_unmeasured_cell_is_alone_and_its_followers_share(tmp_path):
    store = Store(tmp_path)
    memory = MeasuredMemory(tmp_path)
    places = SharedGpus([Gpu("0", 80_000)], memory, None, 16)
    cells = [make_cell(store, f"c{number}", seed=number) for number in range(9)]
    slot = places.take(cells[0])
    assert slot.gpu == "0"
    assert places.take(cells[1]) is None
    make_cell(store, "c0", peak=20_000)
    places.give_back(cells[0], slot)
    taken = [places.take(cell) for cell in cells[1:]]
    assert [slot is not None for slot in taken] == [True] * 3 + [False] * 5, "3 x 23.9 GB of 76 GB"


def test_a_cell_larger_than_the_gpu_gets_it_alone(tmp_path):
    store = Store(tmp_path)
    make_cell(store, "huge", peak=90_000)
    places = SharedGpus([Gpu("0", 80_000)], MeasuredMemory(tmp_path), None, 8)
    assert places.take(make_cell(store, "h1", seed=1)) is not None
    assert places.take(make_cell(store, "h2", seed=2)) is None


@given(st.lists(st.integers(500, 60_000), min_size=1, max_size=30), st.integers(1, 4), st.integers(1, 64))
def test_memory_is_never_given_twice(tmp_path_factory, peaks, count, cores):
    class Known:
        def need(self, cell):
            return float(peaks[int(cell.id)])

        def learn(self, cell):
            pass

    store = Store(tmp_path_factory.mktemp("s"))
    gpus = [Gpu(str(index), 80_000) for index in range(count)]
    places = SharedGpus(gpus, Known(), None, cores)
    held = {}
    for index, peak in enumerate(peaks):
        slot = places.take(store.cell(str(index)))
        if slot is not None:
            held.setdefault(slot.gpu, []).append((peak, slot.threads))
    for one in held.values():
        assert sum(peak for peak, _ in one) <= 80_000
    assert sum(threads for one in held.values() for _, threads in one) <= max(cores, count)


def test_a_number_of_cells_a_gpu_takes_turns_and_several_gpus_form_groups(monkeypatch):
    monkeypatch.setattr("harness.execution.engines.local.cores", lambda: 16)
    assert [slot.gpu for slot in plan_slots(["0", "1"], 4, None)] == ["0", "1", "0", "1"]
    groups = plan_slots(["0", "1", "2", "3", "4"], None, None, gpus_per_cell=2)
    assert [(slot.gpu, slot.ranks, slot.threads) for slot in groups] == [("0,1", 2, 4), ("2,3", 2, 4)]
