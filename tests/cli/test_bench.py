"""``harness bench``: a network that cannot be measured costs its own row only."""

from __future__ import annotations

import pytest

from harness.child_process import ChildEndedError
from harness.cli import main
from harness.diagnostics import bench as module
from harness.diagnostics.bench import Measured, Setup, bench
from harness.errors import HarnessError
from harness.segmenters import SEGMENTERS
from harness.segmenters.size import Size

ENDS = {
    "large": HarnessError("OutOfMemoryError: CUDA out of memory. Tried to allocate 9 GiB"),
    "killed": ChildEndedError("the process that tried it was killed by signal 9."),
    "refused": HarnessError("It has no preset.", hint="Choose another."),
    "good": Measured("good", "Good", 1, 1.0, 0.1, 0.2, 3.0, "cpu"),
}


#: What was asked of the processes: network, how it is measured, and the size that is known.
ASKED: list[tuple] = []


def ended(function, patience, method):
    """Stands for a process that ends as :data:`ENDS` says."""
    assert patience == 3600
    assert method == "spawn"
    name, _, *how = function.args
    ASKED.append((name, *how))
    if isinstance(ENDS[name], Exception):
        raise ENDS[name]
    return ENDS[name]


@pytest.mark.parametrize(
    ("name", "said"), [("large", "CUDA out of memory"), ("killed", "signal 9"), ("refused", "no preset")]
)
def test_one_that_cannot_be_measured_is_left_out_with_its_reason(monkeypatch, name, said):
    monkeypatch.setattr(module, "in_child", ended)
    told = {}
    assert bench([name, "good"], Setup(), told.__setitem__) == [ENDS["good"]]
    assert isinstance(told[name], HarnessError)
    assert said in told[name].message
    assert "\n" not in told[name].message
    assert told[name].hint


def test_each_network_is_measured_in_all_ways_and_counted_once(monkeypatch):
    monkeypatch.setattr(module, "in_child", ended)
    ASKED.clear()
    setup = Setup(steps=("eager", "recorded"), compiles=("none", "default"), memory_formats=(True, False))
    assert len(bench(["good"], setup, lambda *_: None)) == 8
    pairs = ("eager", "none"), ("eager", "default"), ("recorded", "none"), ("recorded", "default")
    assert [one[1] for one in ASKED] == [(*pair, last) for pair in pairs for last in (True, False)]
    assert [one[2] for one in ASKED] == [None, *[Size(1, 1.0)] * 7]


def test_the_ways_stand_in_the_table_and_unknown_ones_are_refused(monkeypatch, capsys):
    monkeypatch.setattr(module, "in_child", ended)
    assert main(["bench", "nnunet", "--step", "eager,fast"]) == 2
    assert "'fast'" in capsys.readouterr().err
    assert main(["bench", "nnunet", "--channels-last", "yes"]) == 2
    assert "'yes'" in capsys.readouterr().err
    found = Measured("nnunet", "nnU-Net", 1, 1.0, 0.1, 0.2, 3.0, "cpu", "recorded", "default", channels_last=False)
    monkeypatch.setitem(ENDS, "nnunet", found)
    monkeypatch.setitem(ENDS, "unetr", found)
    arguments = ["bench", "nnunet", "--reference", "nnunet", "--step", "recorded", "--compile", "none,default"]
    assert main(arguments) == 0
    assert "recorded, compile default, contiguous" in " ".join(capsys.readouterr().out.split())


def test_volumes_are_for_networks_of_volumes(monkeypatch, capsys):
    monkeypatch.setattr(module, "in_child", ended)
    ASKED.clear()
    for name in SEGMENTERS.names():
        monkeypatch.setitem(ENDS, name, ENDS["good"])
    assert main(["bench", "--patch", "32,32,32"]) == 0
    names = {one[0] for one in ASKED}
    assert "nnunet" in names
    assert "aahn" not in names
    capsys.readouterr()


@pytest.mark.slow
def test_a_network_of_others_that_dies_is_named_and_the_others_are_measured(toys, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    small = ["--patch", "16,16", "--preset", "tiny", "--rounds", "1", "--reference", "toy"]
    assert main(["bench", "toy", "toy_dying", "toy_crashing", *small]) == 1
    shown = capsys.readouterr().out
    assert "toy_dying is left out: the process that tried it was killed by signal 9" in shown
    assert "toy_crashing is left out: RuntimeError: the network fell over" in shown
    assert "toy: forward" in shown


def test_a_measurement_that_takes_too_long_is_given_up(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(module, "in_child", lambda function, patience, method: asked.append(patience) or ENDS["good"])
    assert main(["bench", "unetr", "--reference", "unetr", "--timeout", "20m"]) == 0
    assert asked == [1200]
    assert main(["bench", "unetr", "--timeout", "soon"]) == 2
    assert "soon" in capsys.readouterr().err
