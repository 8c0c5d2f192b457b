"""``harness bench``: a network that cannot be measured costs its own row only."""

from __future__ import annotations

from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import pytest
import torch

from harness.cli import main
from harness.diagnostics import bench as module
from harness.diagnostics.bench import Measured, Setup, bench
from harness.errors import HarnessError
from harness.segmenters import SEGMENTERS
from harness.segmenters.size import Size

ENDS = {
    "large": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB\nmore"),
    "killed": BrokenProcessPool("A process in the process pool was terminated abruptly"),
    "refused": HarnessError("It has no preset.", hint="Choose another."),
    "good": Measured("good", "Good", 1, 1.0, 0.1, 0.2, 3.0, "cpu"),
}


#: What was asked of the pools: network, step, compile, and the size that is known.
ASKED: list[tuple] = []


class Pool:
    """A pool whose tasks end as :data:`ENDS` says."""

    def __init__(self, *_, **__):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, _, name, *how):
        ended = Future()
        ASKED.append((name, *how[1:]))
        if isinstance(ENDS[name], Exception):
            ended.set_exception(ENDS[name])
        else:
            ended.set_result(ENDS[name])
        return ended


@pytest.mark.parametrize(
    ("name", "said"), [("large", "CUDA out of memory"), ("killed", "BrokenProcessPool"), ("refused", "no preset")]
)
def test_one_that_cannot_be_measured_is_left_out_with_its_reason(monkeypatch, name, said):
    monkeypatch.setattr(module, "ProcessPoolExecutor", Pool)
    told = {}
    assert bench([name, "good"], Setup(), told.__setitem__) == [ENDS["good"]]
    assert isinstance(told[name], HarnessError)
    assert said in told[name].message
    assert "\n" not in told[name].message
    assert told[name].hint


def test_each_network_is_measured_in_all_ways_and_counted_once(monkeypatch):
    monkeypatch.setattr(module, "ProcessPoolExecutor", Pool)
    ASKED.clear()
    setup = Setup(steps=("eager", "recorded"), compiles=("none", "default"))
    assert len(bench(["good"], setup, lambda *_: None)) == 4
    assert [one[1:3] for one in ASKED] == [
        ("eager", "none"), ("eager", "default"), ("recorded", "none"), ("recorded", "default"),
    ]  # fmt: skip
    assert [one[3] for one in ASKED] == [None, *[Size(1, 1.0)] * 3]


def test_the_ways_stand_in_the_table_and_unknown_ones_are_refused(monkeypatch, capsys):
    monkeypatch.setattr(module, "ProcessPoolExecutor", Pool)
    assert main(["bench", "nnunet", "--step", "eager,fast"]) == 2
    assert "'fast'" in capsys.readouterr().err
    found = Measured("nnunet", "nnU-Net", 1, 1.0, 0.1, 0.2, 3.0, "cpu", "recorded", "default")
    monkeypatch.setitem(ENDS, "nnunet", found)
    monkeypatch.setitem(ENDS, "unetr", found)
    arguments = ["bench", "nnunet", "--reference", "nnunet", "--step", "recorded", "--compile", "none,default"]
    assert main(arguments) == 0
    assert "recorded, compile default" in capsys.readouterr().out


def test_volumes_are_for_networks_of_volumes(monkeypatch, capsys):
    monkeypatch.setattr(module, "ProcessPoolExecutor", Pool)
    ASKED.clear()
    for name in SEGMENTERS.names():
        monkeypatch.setitem(ENDS, name, ENDS["good"])
    assert main(["bench", "--patch", "32,32,32"]) == 0
    names = {one[0] for one in ASKED}
    assert "nnunet" in names
    assert "aahn" not in names
    capsys.readouterr()
