"""BraTS-sized cases, side by side: batches against MONAI's dictionary pipeline, preparation against nnU-Net's."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from functools import partial
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch

from harness.cores import cores
from harness.data.batches.batches import TrainingBatches, stream
from harness.data.datasets.brats2023 import DATASET
from harness.data.preparation.normalisation import Normaliser
from harness.data.preparation.prepare import prepare
from harness.data.settings import AugmentationSettings, PreparationSettings, SamplingSettings
from harness.training.device import Precision, describe_device
from harness.training.transfer import on_device

pytestmark = pytest.mark.benchmark

SHAPE = (240, 240, 155)
AFFINE = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])
NATIVE = PreparationSettings(plane="native")
DISTINCT = 4


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Cases of the official shape, orientation and file type with a brain's extent; four differ, the rest are links."""
    root = tmp_path_factory.mktemp("brats")
    x, y, z = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]].astype(np.float32)
    for number in range(64):
        folder = root / f"BraTS-GLI-{number:05d}-000"
        folder.mkdir()
        files = [f"{folder.name}-{what}.nii.gz" for what in (*DATASET.modalities, "seg")]
        if number >= DISTINCT:
            source = root / f"BraTS-GLI-{number % DISTINCT:05d}-000"
            for file in files:
                (folder / file).hardlink_to(source / file.replace(folder.name, source.name))
            continue
        rng = np.random.default_rng(number)
        brain = ((x - 120) / 68) ** 2 + ((y - 125) / 85) ** 2 + ((z - 75) / 68) ** 2 < 1
        distance = np.sqrt(((x - 150 + 9 * number) / 25) ** 2 + ((y - 120) / 25) ** 2 + ((z - 80) / 22) ** 2)
        label = np.select([distance < 0.5, distance < 0.7, distance < 1], [1, 3, 2]).astype(np.uint8)
        for channel, file in enumerate(files[:-1]):
            image = 500 + 200 * np.sin(x / 9 + channel) * np.cos(y / 11) + 100 * label + rng.normal(0, 30, SHAPE)
            save(folder / file, np.where(brain, image.clip(1), 0).astype(np.int16))
        save(folder / files[-1], label)
    return root


def save(path, voxels):
    nib.save(nib.Nifti1Image(voxels, AFFINE), path)


def names(count):
    return [f"BraTS-GLI-{number:05d}-000" for number in range(count)]


@pytest.fixture(scope="module")
def prepared(tree, tmp_path_factory):
    return prepare(DATASET, DATASET.open(tree), names(DISTINCT), NATIVE, (128, 128), tmp_path_factory.mktemp("cache"))


def monai_pipeline(crop):
    from monai import transforms

    images = list(DATASET.modalities)
    every = [*images, "seg"]
    return transforms.Compose(
        [
            transforms.LoadImaged(every),
            transforms.EnsureChannelFirstd(every),
            transforms.Orientationd(every, axcodes="RAS", labels=None),
            transforms.ConcatItemsd(images, name="image"),
            transforms.DeleteItemsd(images),
            transforms.CropForegroundd(["image", "seg"], source_key="image", allow_smaller=False),
            transforms.NormalizeIntensityd("image", nonzero=True, channel_wise=True),
            crop,
        ]
    )


def files_of(tree, name):
    return {what: tree / name / f"{name}-{what}.nii.gz" for what in (*DATASET.modalities, "seg")}


def seconds(function, repeats):
    began = time.perf_counter()
    for index in range(repeats):
        function(index)
    return (time.perf_counter() - began) / repeats


def test_the_cache_holds_what_monai_reads(tree, prepared):
    from monai.transforms import CenterSpatialCropd

    size = (96, 96, 96)
    theirs = monai_pipeline(CenterSpatialCropd(["image", "seg"], size))(files_of(tree, names(1)[0]))
    case = prepared[0]
    start = [(extent - 96) // 2 for extent in (case.label.shape[1], case.label.shape[2], case.label.shape[0])]
    x, y, z = (slice(first, first + 96) for first in start)
    ours = Normaliser.fit(DATASET.normalisations, [case])(case.images[:, z, x, y], case)
    assert np.allclose(np.moveaxis(ours, 1, 3), theirs["image"].numpy(), atol=1e-3)
    assert np.array_equal(np.moveaxis(case.label[z, x, y], 0, 2), theirs["seg"][0].numpy())


@pytest.mark.parametrize("patch", [(128, 128), (128, 128, 128)], ids=["slices", "volumes"])
def test_batches_come_five_times_faster_than_monai_reads_nifti(tree, prepared, patch):
    from monai.transforms import RandSpatialCropd

    torch.set_num_threads(1)
    normaliser = Normaliser.fit(DATASET.normalisations, prepared)
    batches = TrainingBatches(
        prepared, normaliser, patch, SamplingSettings(batch_size=2), AugmentationSettings(), seed=0
    )
    roi = (*patch, 1) if len(patch) == 2 else patch
    pipeline = monai_pipeline(RandSpatialCropd(["image", "seg"], roi, random_size=False))

    def monai_batch(index):
        made = [pipeline(files_of(tree, names(DISTINCT)[(2 * index + one) % DISTINCT])) for one in range(2)]
        return torch.stack([one["image"] for one in made]), torch.stack([one["seg"] for one in made])

    monai_batch(0), batches[0]
    ours, theirs = seconds(lambda index: batches[index], 40), seconds(monai_batch, 3)
    print(
        f"\nbatch of 2 patches {patch}: cache {ours * 1e3:.1f} ms, MONAI {theirs * 1e3:.0f} ms, {theirs / ours:.0f} x"
    )
    assert theirs > 5 * ours


@pytest.mark.parametrize(
    ("name", "size", "count"), [("paper_patch", 16, 40), ("paper_3d", 2, 8)], ids=["slices", "volumes"]
)
def test_batches_a_second_of_both_augmentation_paths(prepared, name, size, count):
    """With all augmentation of the protocol, by loader processes; on a GPU where there is one. No threshold."""
    from harness.study.protocol import load_protocol

    torch.set_num_threads(1)
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    protocol, sampling = load_protocol(name), SamplingSettings(batch_size=size)
    patch = protocol.patch_size
    normaliser = Normaliser.fit(DATASET.normalisations, prepared)
    batches = TrainingBatches(prepared, normaliser, patch, sampling, protocol.augmentation, seed=0)
    precision, augment = Precision(device, None, torch.contiguous_format), batches.augmentation()
    print(f"\nbatches of {size} x 4 x {patch} a second, {describe_device(device)}, {cores()} cores")
    for workers in (1, 2, 4):
        rates = []
        for made, after in ((batches, None), (batches.unaugmented(), augment)):
            ready = on_device(stream(made, 0, count + 2 * workers, workers, device.type == "cuda"), precision, after)
            for _ in range(2 * workers):  # they start
                next(ready)
            began = time.perf_counter()
            for _ in range(count):
                last = next(ready)
            float(last.images.sum())  # waits for the device
            rates.append(count / (time.perf_counter() - began))
        alone, whole = rates
        print(f"  {workers} loader processes: by patch {alone:.2f}, whole batches {whole:.2f}, {whole / alone:.2f} x")
    raw = [batches.raw(step).to(device) for step in range(8)]
    reading = seconds(batches.raw, 8)
    taken = min(seconds(lambda step: float(augment(raw[step])[0].sum()), 8) for _ in range(3))
    by_patch = seconds(lambda step: batches[step], 8)
    print(
        f"  a batch by patch takes a core {by_patch * 1e3:.0f} ms; reading and drawing {reading * 1e3:.0f} ms, "
        f"augmentation of the whole {taken * 1e3:.1f} ms of the device"
    )


def nnunet_preprocess(tree, name, spacing, out):
    """Runs nnU-Net's preprocessor on a case, as its planner would configure it for the shape and spacing."""
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

    resample = partial(resample_data_or_seg_to_shape, order_z=0, force_separate_z=None)
    configuration = SimpleNamespace(
        spacing=list(spacing),
        patch_size=(128, 128, 128),
        normalization_schemes=["ZScoreNormalization"] * 4,
        use_mask_for_norm=[True] * 4,
        resampling_fn_data=partial(resample, is_seg=False, order=3),
        resampling_fn_seg=partial(resample, is_seg=True, order=1),
    )
    labels = SimpleNamespace(has_regions=False, has_ignore_label=False, foreground_labels=[1, 2, 3])
    plans = SimpleNamespace(
        transpose_forward=[0, 1, 2],
        foreground_intensity_properties_per_channel={str(channel): {} for channel in range(4)},
        get_label_manager=lambda _: labels,
        image_reader_writer_class=SimpleITKIO,
    )
    files = files_of(tree, name)
    DefaultPreprocessor(verbose=False).run_case_save(
        str(out / name), [str(files[what]) for what in DATASET.modalities], str(files["seg"]), plans, configuration, {}
    )


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.25, 1.25, 1.25)], ids=["as in the files", "resampled"])
def test_preparation_is_not_slower_than_nnunets(tree, tmp_path, spacing):
    torch.set_num_threads(1)
    reader = DATASET.open(tree)
    settings = PreparationSettings(plane="native", spacing=spacing)
    cases = names(DISTINCT)

    fresh = (tmp_path / str(number) for number in itertools.count())  # neither finds what it made before

    def ours(index):
        prepare(DATASET, reader, [cases[index]], settings, (128, 128, 128), next(fresh))

    def theirs(index):
        out = next(fresh)
        out.mkdir()
        nnunet_preprocess(tree, cases[index], spacing, out)

    ours(0), theirs(0)  # imports
    times = [(seconds(ours, DISTINCT), seconds(theirs, DISTINCT)) for _ in range(2)]
    mine, nnunets = (min(column) for column in zip(*times, strict=True))
    print(f"\na case at {spacing} mm: {mine:.2f} s, nnU-Net {nnunets:.2f} s, {nnunets / mine:.2f} x")
    assert mine <= nnunets


#: Runs in a process of its own, so that its peak memory is its own.
_MEMORY = """
import json, resource, sys
import torch
torch.set_num_threads(1)
from harness.data.batches.batches import TrainingBatches
from harness.data.datasets.brats2023 import DATASET
from harness.data.preparation.normalisation import Normaliser
from harness.data.preparation.prepare import prepare
from harness.data.settings import AugmentationSettings, PreparationSettings, SamplingSettings

root, cache, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
names = [f"BraTS-GLI-{number:05d}-000" for number in range(count)]
cases = prepare(DATASET, DATASET.open(root), names, PreparationSettings(plane="native"), (128, 128), cache)
batches = TrainingBatches(
    cases, Normaliser.fit(DATASET.normalisations, cases), (128, 128), SamplingSettings(), AugmentationSettings(), 0
)
for step in range(100):
    batches[step]
taken = sum(file.stat().st_size for file in cache.rglob("*") if file.is_file())
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps({"peak_gib": peak, "disk_mb": taken / count / 1e6}))
"""


def test_memory_does_not_grow_with_the_cases(tree, tmp_path):
    found = {}
    for count in (8, 64):
        done = subprocess.run(
            [sys.executable, "-c", _MEMORY, str(tree), str(tmp_path / str(count)), str(count)],
            capture_output=True,
            text=True,
            check=True,
        )
        found[count] = json.loads(done.stdout)
        row = found[count]
        print(
            f"\n{count} cases: peak {row['peak_gib']:.2f} GiB; {row['disk_mb']:.1f} MB a case on the disk, so 1,251 "
            f"cases need {row['disk_mb'] * 1.251:.0f} GB"
        )
    assert found[64]["peak_gib"] < 1.1 * found[8]["peak_gib"]


class Busy(torch.nn.Module):
    """A network whose forward pass leaves the processor alone for a while, as one on a GPU does."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds
        self.layer = torch.nn.Conv2d(4, 4, 1)

    def forward(self, images):
        time.sleep(self.seconds)
        return self.layer(images[..., ::8, ::8]).repeat_interleave(8, -1).repeat_interleave(8, -2)


def test_a_training_loop_does_not_wait_for_data(prepared, tmp_path):
    """The paper's batches of 16 with all augmentation, from one loader process, for steps of 0.12 s."""
    from harness.study.protocol import load_protocol
    from harness.training.checkpoint import Checkpoints
    from harness.training.device import Precision
    from harness.training.loop import Hooks, Trainer

    torch.set_num_threads(1)
    protocol = load_protocol({"base": "paper_patch", "training": {"epochs": 3, "steps_per_epoch": 40}})
    normaliser = Normaliser.fit(DATASET.normalisations, prepared)
    batches = TrainingBatches(prepared, normaliser, (128, 128), protocol.sampling, protocol.augmentation, seed=0)
    one = seconds(lambda step: batches[step], 20)
    device, network = torch.device("cpu"), Busy(0.12)
    quiet = Hooks(lambda _: 1.0, network.state_dict, lambda _: None, lambda _: None, lambda: False)
    precision = Precision.choose(device, protocol.training, 2)
    trainer = Trainer(network, batches, protocol.training, precision, Checkpoints(tmp_path), 0, 1, quiet)
    first, *later = trainer.run()
    waiting = max(epoch.waiting for epoch in later)
    print(
        f"\na batch of 16 takes a loader process {one * 1e3:.0f} ms; of steps of 0.12 s, {waiting:.1%} is waiting "
        f"({first.waiting:.1%} in the first epoch, which starts the loader)"
    )
    assert waiting < 0.05
