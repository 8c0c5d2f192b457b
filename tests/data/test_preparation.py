"""Preparation, its cache, normalisation, and the way there and back."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data import DATASETS, Case
from harness.data.preparation.cache import Moments, PreparedCase
from harness.data.preparation.geometry import from_slices, resize_label, resize_planes, to_slices
from harness.data.preparation.normalisation import Normaliser
from harness.data.preparation.prepare import prepare
from harness.data.settings import PreparationSettings
from harness.errors import DataError

DATASET = DATASETS.get("cortex")


@pytest.fixture(scope="module")
def reader(small_cortex):
    return DATASET.open(small_cortex)


def make(reader, cache, plane="resize", size=(64, 64), cases=None):
    return prepare(DATASET, reader, cases or reader.split(0).train[:2], PreparationSettings(plane=plane), size, cache)


def test_slices_come_first_and_planes_have_the_patch_size(reader, tmp_path):
    case = make(reader, tmp_path)[0]
    slices = reader.load(case.name).label.shape[1]
    assert case.images.shape == (2, slices, 64, 64)
    assert case.label.shape == (slices, 64, 64)
    assert case.images.dtype == np.float32
    assert case.label.dtype == np.uint8


def test_native_planes_are_left_alone(reader, tmp_path):
    case = make(reader, tmp_path, plane="native")[0]
    loaded = reader.load(case.name)
    assert np.array_equal(case.images, np.moveaxis(loaded.images, 2, 1))


def test_a_slice_of_all_modalities_lies_in_one_piece_of_the_file(reader, tmp_path):
    case = make(reader, tmp_path)[0]
    stored = np.load(case.folder / "images.npy", mmap_mode="r")
    assert stored[3].flags.c_contiguous
    assert np.array_equal(stored[3], case.images[:, 3])


def test_foreground_indices_point_at_their_class(reader, tmp_path):
    case = make(reader, tmp_path)[0]
    for value, voxels in case.foreground.items():
        assert (case.label[tuple(voxels.T)] == value).all()
        assert 0 < len(voxels) <= 10_000


def test_a_second_call_reads_the_cache(reader, tmp_path, monkeypatch):
    first = make(reader, tmp_path)
    monkeypatch.setattr(reader.__class__, "load", lambda *_: pytest.fail("read again"))
    second = make(reader, tmp_path)
    assert np.array_equal(first[0].images, second[0].images)
    assert first[0].moments == second[0].moments


def test_other_settings_have_another_entry(reader, tmp_path):
    sizes = {make(reader, tmp_path, size=size)[0].images.shape[-1] for size in ((64, 64), (32, 32))}
    assert sizes == {64, 32}


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_a_damaged_entry_is_prepared_again(reader, tmp_path, damage):
    good = {case.name: np.array(case.images) for case in make(reader, tmp_path)}
    path = next(tmp_path.rglob("images.npy"))
    data = bytearray(path.read_bytes())
    if damage == "truncate":
        path.write_bytes(data[:-100])
    elif damage == "flip":
        data[-5] ^= 255
        path.write_bytes(data)
    else:
        path.unlink()
    again = {case.name: np.array(case.images) for case in make(reader, tmp_path)}
    assert again.keys() == good.keys()
    assert all(np.array_equal(again[name], good[name]) for name in good)


def test_several_processes_may_prepare_the_same_case(reader, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: make(reader, tmp_path)[0].images.sum(), range(4)))
    assert len(set(found)) == 1
    assert not list(tmp_path.rglob("*.tmp")), "no half-written entry is left"


def test_an_empty_image_is_refused_by_name(reader, tmp_path, monkeypatch):
    loaded = reader.load(reader.split(0).train[0])
    empty = type(loaded)(loaded.images * 0, loaded.label, loaded.affine)
    monkeypatch.setattr(reader.__class__, "load", lambda *_: empty)
    with pytest.raises(DataError, match="is empty"):
        make(reader, tmp_path)


def test_training_statistics_are_those_of_the_training_cases(reader, tmp_path):
    cases = make(reader, tmp_path, "native")
    normaliser = Normaliser.fit("zscore_train", cases)
    voxels = np.concatenate([case.images[0][case.images[0] != 0] for case in cases])
    assert normaliser.training[0].mean == pytest.approx(voxels.mean(), rel=1e-5)
    assert normaliser.training[0].std == pytest.approx(voxels.std(), rel=1e-4)
    other = make(reader, tmp_path, "native", cases=reader.split(0).test[:1])[0]
    expected = (other.images[0] - voxels.mean()) / voxels.std()
    inside = other.images[0] != 0
    assert np.allclose(normaliser(other.images, other)[0][inside], expected[inside], atol=1e-3)
    assert (normaliser(other.images, other)[0][~inside] == 0).all()


def test_statistics_by_case_centre_each_case(reader, tmp_path):
    case = make(reader, tmp_path, "native")[1]
    images = Normaliser.fit("zscore_case", [case])(case.images, case)
    for modality in range(2):
        inside = images[modality][case.images[modality] != 0]
        assert inside.mean() == pytest.approx(0, abs=1e-3)
        assert inside.std() == pytest.approx(1, abs=1e-3)


def test_resized_planes_are_normalised_by_the_files_intensities_and_have_no_dark_rim(tmp_path):
    """A body that is bright all over stays so at its border, where a voxel is half outside."""
    body = np.zeros((40, 40, 3), np.float32)
    body[9:31, 9:31] = 500 + np.random.default_rng(0).normal(0, 10, (22, 22, 3))
    case = Case(np.stack([body, body]), np.zeros(body.shape, np.uint8), np.eye(4))
    held = type("Held", (Drawn,), {"load": lambda *_: case})()
    prepared = prepare(DATASET, held, ["one"], PreparationSettings(), (128, 128), tmp_path)[0]
    images = Normaliser.fit("zscore_case", [prepared])(prepared.images, prepared)
    assert prepared.moments[0] == Moments.of(body)
    assert np.abs(images).max() < 6
    assert (images == 0).mean() > 0.5


def test_a_constant_image_is_not_divided_by_zero():
    assert Moments(5, 10.0, 20.0).std == 1.0
    assert Moments(0, 0.0, 0.0).mean == 0.0


@given(st.integers(0, 2), st.tuples(*[st.integers(1, 5)] * 3))
def test_slicing_is_undone(axis, shape):
    volume = np.arange(np.prod(shape)).reshape(shape)
    assert np.array_equal(from_slices(to_slices(volume, axis), axis), volume)
    assert to_slices(volume, axis).shape[0] == shape[axis]


@settings(deadline=None, max_examples=examples(25))
@given(st.integers(0, 10_000), st.integers(24, 60), st.integers(24, 60))
def test_a_label_survives_there_and_back_within_the_interpolation(seed, height, width):
    """A blob resized to another plane and back keeps almost all of its pixels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    radius = rng.uniform(6, 10)
    centre = rng.uniform(10, 14, 2)
    label = torch.from_numpy(((y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2).astype(np.uint8))[None]
    there = resize_label(label, (128, 128), 2)
    back = resize_label(there, (height, width), 2)
    overlap = 2 * (label * back).sum() / (label.sum() + back.sum())
    assert overlap > 0.93


def test_resizing_keeps_a_constant_and_a_gradient():
    planes = torch.linspace(0, 1, 50)[None, None, None, :].expand(1, 2, 40, 50)
    resized = resize_planes(planes, (128, 128))
    assert resized.shape == (1, 2, 128, 128)
    assert torch.allclose(resized[..., 20:-20], torch.linspace(0, 1, 128)[20:-20].expand(1, 2, 128, 88), atol=0.02)


class Drawn:
    """A reader of small cases drawn from their names; ``bad`` ones cannot be read."""

    def fingerprint(self):
        return "drawn"

    def patient(self, case):
        return case

    def load(self, case):
        if case.startswith("bad"):
            raise DataError(f"{case}.nii.gz is truncated.", hint="Download it again.")
        rng = np.random.default_rng(len(case))
        images = rng.integers(-50, 900, (2, 20, 22, 18)).astype(np.float32)
        return Case(images, rng.integers(0, 3, (20, 22, 18)).astype(np.uint8), np.eye(4))


def drawn(cache, names, workers=0, progress=None):
    given = PreparationSettings(plane="native")
    return prepare(DATASET, Drawn(), names, given, (16, 16), cache, progress, workers)


def test_processes_prepare_what_one_would(tmp_path):
    names = [f"case{'x' * number}" for number in range(6)]
    seen = []
    together = drawn(tmp_path / "a", names, workers=3, progress=lambda done, total: seen.append((done, total)))
    alone = drawn(tmp_path / "b", names)
    assert [case.name for case in together] == names
    assert all(np.array_equal(a.images, b.images) for a, b in zip(together, alone, strict=True))
    assert seen == [(done, 6) for done in range(7)]


@pytest.mark.parametrize("workers", [0, 2])
def test_cases_that_cannot_be_read_are_all_named_and_the_others_kept(tmp_path, workers):
    with pytest.raises(DataError, match="2 of 4 cases") as error:
        drawn(tmp_path, ["good", "bad1", "better", "bad2"], workers)
    assert "bad1.nii.gz is truncated" in error.value.message
    assert "bad2.nii.gz is truncated" in error.value.message
    assert {path.parent.name for path in tmp_path.rglob("entry.json")} == {"good", "better"}
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.linux("processes inherit what is patched: they are forked")
def test_a_mistake_in_a_process_is_not_said_to_be_lack_of_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(Drawn, "load", lambda *_: (_ for _ in ()).throw(RuntimeError("a mistake of ours")))
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        drawn(tmp_path, ["one", "other"], workers=2)


@pytest.mark.integration
@pytest.mark.linux("processes inherit what is patched: they are forked")
def test_a_process_that_is_killed_is_said_with_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(Drawn, "load", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(DataError, match="was killed") as error:
        drawn(tmp_path, ["one", "other"], workers=2)
    assert "fewer `--workers`" in error.value.hint


def test_a_cache_that_cannot_be_written_is_named_with_a_remedy(tmp_path):
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(DataError, match=r"cache entry .* cannot be written") as error:
        drawn(tmp_path / "cache", ["case"])
    assert "HARNESS_CACHE" in error.value.hint


def test_a_file_that_may_not_be_read_is_not_said_to_be_the_cache_s(tmp_path, monkeypatch):
    monkeypatch.setattr(Drawn, "load", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(DataError, match=r"Case case: The files cannot be read: .*Permission denied"):
        drawn(tmp_path, ["case"])


def test_a_full_disk_is_named_and_leaves_nothing_behind(tmp_path, monkeypatch):
    save = np.save

    def full(path, array, **options):
        if path.name == "label.npy":
            raise OSError(errno.ENOSPC, "No space left on device")
        save(path, array, **options)

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(DataError, match="No space left on device"):
        drawn(tmp_path, ["case"])
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {".case.lock"}


def test_integers_are_kept_in_16_bits_and_nothing_is_lost(tmp_path):
    case = drawn(tmp_path, ["case"])[0]
    assert case.images.dtype == np.int16
    assert np.array_equal(case.images, np.moveaxis(Drawn().load("case").images, 2, 1))


class Slow(Drawn):
    """Says which case it reads, and takes its time."""

    def __init__(self, said, seconds):
        self.said, self.seconds = said, seconds

    def load(self, case):
        self.said.send(case)
        time.sleep(self.seconds)
        return super().load(case)


def in_a_process(cache, names, seconds, workers=0):
    """Starts a preparation in a process of its own; returns it and what its reader says."""
    context = multiprocessing.get_context("fork")
    heard, said = context.Pipe(duplex=False)
    given = PreparationSettings(plane="native")
    child = context.Process(
        target=prepare, args=(DATASET, Slow(said, seconds), names, given, (16, 16), cache, None, workers)
    )
    child.start()
    said.close()
    return child, heard


def kill(child):
    child.kill()
    child.join()


def everything(heard):
    """What is said until nobody can say more."""
    found = []
    with suppress(EOFError):
        while True:
            found.append(heard.recv())
    return found


@pytest.mark.integration
@pytest.mark.linux("processes inherit what is patched: they are forked")
def test_a_process_killed_while_it_writes_leaves_nothing_that_is_used(tmp_path, monkeypatch):
    save = np.save

    def slow(path, array, **options):
        save(path, array, **options)
        if path.name == "label.npy":
            (tmp_path / "writing").touch()
            time.sleep(60)

    with monkeypatch.context() as changed:
        changed.setattr(np, "save", slow)
        child, _ = in_a_process(tmp_path / "cache", ["case"], 0)
    while not (tmp_path / "writing").exists():
        assert child.is_alive()
        time.sleep(0.01)
    kill(child)
    assert list(tmp_path.rglob("*.tmp")), "it was killed in the middle"
    assert not list(tmp_path.rglob("entry.json"))
    case = drawn(tmp_path / "cache", ["case"])[0]
    assert np.array_equal(case.images, np.moveaxis(Drawn().load("case").images, 2, 1))
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.integration
@pytest.mark.linux("processes inherit what is patched: they are forked")
def test_a_killed_preparation_takes_its_processes_along_and_is_gone_on_with(tmp_path):
    """SIGKILL hits the parent only; what its processes finished is kept, and nobody holds a lock for ever."""
    names = [f"case{'x' * number}" for number in range(30)]
    child, heard = in_a_process(tmp_path, names, 0.1, workers=2)
    for _ in range(4):
        assert heard.recv()
    kill(child)
    assert len(everything(heard)) < 26, "its processes are gone: they said no more, long before the last case"
    made = drawn(tmp_path, names)
    assert [case.images.shape for case in made] == [(2, 22, 20, 18)] * 30
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.integration
@pytest.mark.linux("processes inherit what is patched: they are forked")
def test_two_processes_share_the_cases_and_none_is_prepared_twice(tmp_path):
    names = [f"case{'x' * number}" for number in range(8)]
    started = [in_a_process(tmp_path, names, 0.05) for _ in range(2)]
    read = [everything(heard) for _, heard in started]
    for child, _ in started:
        child.join()
        assert child.exitcode == 0
    assert sorted(read[0] + read[1]) == names
    assert {path.parent.name for path in tmp_path.rglob("entry.json")} == set(names)
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.linux("counts open files in /proc")
def test_many_cases_hold_no_open_files(tmp_path):
    cases = drawn(tmp_path, [f"case{'x' * number}" for number in range(40)])
    before = len(list(Path("/proc/self/fd").iterdir()))
    for case in cases:
        assert case.images.any()
        assert case.foreground
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2


def test_optional_settings_that_are_not_set_do_not_change_identities():
    assert PreparationSettings().identity() == {"plane": "resize"}
    given = PreparationSettings(spacing=(1, 1, 2))
    assert PreparationSettings.model_validate(given.model_dump(mode="json")) == given


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_mapped_as_their_headers_say_also_after_a_file_has_been_replaced(tmp_path, order):
    case = PreparedCase("anna", "anna", tmp_path, (), None, {})
    rng = np.random.default_rng(0)
    for shape, dtype in (((3, 4, 5), np.uint8), ((2, 6, 7), np.uint8), ((0, 3), np.int32)):
        array = np.asarray(rng.integers(0, 9, shape), dtype, order=order)
        np.save(tmp_path / "new.npy", array)
        (tmp_path / "new.npy").replace(tmp_path / "label.npy")
        for _ in range(2):
            found = case.label
            assert found.dtype == dtype
            assert np.array_equal(found, array)
            assert not found.flags.writeable
    np.save(tmp_path / "images.npy", rng.random((2, 3, 4, 5)))
    os.truncate(tmp_path / "images.npy", 200)
    (tmp_path / "intensities.npy").touch()
    for key in ("images", "intensities"):
        with pytest.raises(DataError, match="damaged while it was in use"):
            getattr(case, key)
