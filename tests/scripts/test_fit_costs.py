"""Estimates of `harness plan --gpu-model` against times that were published, most of them not fitted."""

from __future__ import annotations

import csv
import importlib.util
import math
import statistics
from pathlib import Path

import pytest

from harness.execution.costs.gpus import GPUS
from harness.execution.costs.memory_and_time import Cases, Known, cost
from harness.study.protocol import load_protocol

PATH = Path(__file__).parents[2] / "scripts/fit_costs.py"

#: Medians over folds of six of 21 kinds, from the logs in the archives of automl/AutoNNUNet (BSD-3-Clause): nnU-Net 2
#: on one H100 PCIe; GPU energy of 1000 epochs. The parameters know nothing of Dataset003.
H100 = """\
dataset,network,channels,labels,batch_size,patch,levels,blocks,network_class,epoch_s_median,gpu_kwh
Dataset001_BrainTumour,nnunet,4,4,2,128x128x128,6,plain,PlainConvUNet,55.28,2.6552
Dataset001_BrainTumour,resenc_l,4,4,3,160x192x160,6,residual,ResidualEncoderUNet,181.81,
Dataset003_Liver,nnunet,1,3,2,128x128x128,6,plain,PlainConvUNet,22.45,1.9020
Dataset003_Liver,resenc_m,1,3,2,128x128x128,6,residual,ResidualEncoderUNet,25.66,2.4400
Dataset003_Liver,resenc_l,1,3,2,192x192x192,6,residual,ResidualEncoderUNet,82.30,6.6298
Dataset004_Hippocampus,resenc_m,1,3,58,40x56x40,4,residual,ResidualEncoderUNet,29.20,2.8093
"""
FEATURES, BLOCKS = [32, 64, 128, 256, 320, 320], {"plain": [2] * 6, "residual": [1, 3, 4, 6, 6, 6]}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("fit_costs", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _whole(row: dict[str, str]) -> dict[str, str]:
    """Adds what follows from the rest, as the table has it."""
    levels = int(row["levels"])
    return row | {
        "features": "-".join(map(str, FEATURES[:levels])),
        "strides": str([[1] * 3] + [[2] * 3] * (levels - 1)),
        "kernel_sizes": str([[3] * 3] * levels),
        "decoder": str(([2] if row["blocks"] == "plain" else [1]) * (levels - 1)),
        "blocks": str(BLOCKS[row["blocks"]][:levels]),
        "iterations": "250",
        "val_iterations": "50",
        "epochs": "1000",
    }


#: Rows that are looked at in every run, one of each kind of network; the others are slow.
QUICK = ("Dataset003_Liver,nnunet,", "Dataset004_Hippocampus,resenc_m,")


@pytest.mark.parametrize("chosen", ["some", pytest.param("all", marks=pytest.mark.slow)])
def test_epochs_and_energy_of_nnunet_in_three_dimensions(script, chosen):
    off = []
    head, *lines = H100.splitlines()
    lines = [line for line in lines if chosen == "all" or line.startswith(QUICK)]
    for row in map(_whole, csv.DictReader([head, *lines])):
        work, protocol, channels = script.nnunet_v2(row)
        found = cost(work, protocol, channels, Cases(0, 0, (1, 1, 1)), GPUS["h100-pcie"])
        seconds = float(row["epoch_s_median"])
        assert found.cell.low < seconds < found.cell.high
        off.append(abs(math.log(found.cell.usual / seconds)))
        if row["gpu_kwh"]:
            assert abs(math.log(found.energy.usual * 1000 / float(row["gpu_kwh"]))) < 0.2
    assert len(off) == len(lines) >= len(QUICK)
    assert statistics.median(off) < 0.1
    assert max(off) < 0.2


ALONE = Cases(0, 0, (1, 128, 128))
_SLOW = pytest.mark.slow


@pytest.mark.parametrize("name", ["nnunet", *(
    pytest.param(name, marks=_SLOW) for name in
    ("aahn", "ivdnet", "maml", "missformer", "nestedformer", "nnformer", "swinunet", "transbts", "transunet", "unetr")
)])  # fmt: skip
def test_steps_on_an_h200(script, name):
    """Recorded ones within a factor of 1.5, and as written where the host's launches were measured."""
    work, protocol, channels = script.slices(name, step="recorded")
    recorded = cost(work, protocol, channels, ALONE, GPUS["h200"]).step
    assert 1 / 1.5 < recorded.usual * 1e3 / script.RECORDED[name] < 1.5
    assert recorded.low * 1e3 < script.RECORDED[name] < recorded.high * 1e3
    eager = cost(work, load_protocol("paper"), channels, ALONE, GPUS["h200"], known=Known(launch=35e-6)).step
    assert 1 / 1.75 < eager.usual * 1e3 / script.EAGER[name] < 1.75
    if name in script.COMPILED:
        training = {"step": "recorded", "compile": "default"}
        compiled = load_protocol({"base": "paper", "sampling": {"workers": 1000}, "training": training})
        step = cost(work, compiled, channels, ALONE, GPUS["h200"]).step
        assert 1 / 1.5 < step.usual * 1e3 / script.COMPILED[name] < 1.5


@pytest.mark.parametrize(
    "name",
    ["prostate 3D", "heart 2D", *(
        pytest.param(name, marks=_SLOW) for name in ("liver 3D", "heart 3D", "liver 2D", "prostate 2D")
    )],
)  # fmt: skip
def test_close_to_the_times_that_nnunets_authors_publish(script, name):
    *_, seconds = script.AUTHORS[name]
    work, protocol, channels = script.nnunet_v1(name)
    for gpu, published in zip(("a100-40", "v100"), seconds, strict=True):
        step = cost(work, protocol, channels, Cases(0, 0, (1, 1, 1)), GPUS[gpu]).step
        assert 0.75 < step.usual * 250 / published < 1.35
        assert step.low * 250 < published < step.high * 250
