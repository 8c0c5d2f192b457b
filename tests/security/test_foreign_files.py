"""Results, checkpoints, caches and studies of others are opened without executing what they hold."""

from __future__ import annotations

import ast
import io
import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from harness.errors import DataError, HarnessError, StudyError

ROOT = Path(__file__).parents[2]


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.fixture
def bomb(tmp_path):
    """Returns the malicious object; fails the test if it went off."""
    mark = tmp_path / "executed"
    armed = Bomb(mark)
    pickle.loads(pickle.dumps(armed))
    assert mark.exists(), "the bomb works"
    mark.unlink()
    yield armed
    assert not mark.exists(), "code of a foreign file was executed"


def array_bomb(bomb) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([bomb], dtype=object), allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_a_malicious_training_checkpoint_counts_as_damaged(bomb, tmp_path, form):
    from harness.training.checkpoint import Checkpoints

    torch.save({"network": bomb}, tmp_path / "last.pt")
    if form == "pickle":
        (tmp_path / "last.pt").write_bytes(pickle.dumps({"network": bomb}))
    (tmp_path / "best.pt").write_bytes((tmp_path / "last.pt").read_bytes())
    assert Checkpoints(tmp_path).load_best() is None
    assert Checkpoints(tmp_path).load() is None


def test_a_malicious_released_checkpoint_is_refused(bomb, tmp_path):
    from harness.segmenters.released import read_checkpoint

    torch.save({"state_dict": {"weight": torch.ones(1)}, "extra": bomb}, tmp_path / "model.model")
    with pytest.raises(HarnessError):
        read_checkpoint(tmp_path / "model.model")


@pytest.mark.parametrize("content", [b"", b".", b"J", b"h\x00.", b"c\x9b\n\n.", b"text"])
def test_what_is_no_checkpoint_is_refused_in_words(tmp_path, content):
    from harness.segmenters.released import read_checkpoint

    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(HarnessError, match=r"model\.pt cannot be read safely: ."):
        read_checkpoint(tmp_path / "model.pt")


@pytest.mark.parametrize("special", ["pipe", "device", "folder"])
def test_a_special_file_in_place_of_a_checkpoint_is_refused_before_it_blocks(tmp_path, special):
    from harness.segmenters.released import read_checkpoint

    path = tmp_path / "model.pt"
    if special == "pipe":
        os.mkfifo(path)
    elif special == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(HarnessError, match="not a file"):
        read_checkpoint(path)


def test_malicious_weights_are_refused(bomb, tmp_path):
    from harness.execution.cell.weights import load_weights

    torch.save({"weight": bomb}, tmp_path / "weights.safetensors")
    with pytest.raises(HarnessError, match="do not fit"):
        load_weights(torch.nn.Conv2d(1, 1, 1), tmp_path / "weights.safetensors")


def test_a_malicious_overlay_is_not_unpickled(bomb, tmp_path):
    from harness.results.overlay import Overlay

    np.savez(tmp_path / "overlay.npz", spacing=np.array([bomb], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        Overlay.load(tmp_path / "overlay.npz")


def test_malicious_pretrained_weights_are_refused(bomb, tmp_path):
    from baselines.shared.pretrained import read

    for name in ("weights.npz", "weights.pth"):
        if name.endswith("npz"):
            np.savez(tmp_path / name, a=np.array([bomb], dtype=object), allow_pickle=True)
        else:
            torch.save({"a": bomb}, tmp_path / name)
        with pytest.raises(HarnessError):
            read(tmp_path / name)


def test_a_malicious_leading_encoder_is_refused(bomb, tmp_path):
    from aahn.leading_encoder import _read

    torch.save({"a": bomb}, tmp_path / "encoder.pth")
    with pytest.raises(HarnessError):
        _read(tmp_path / "encoder.pth")


def test_a_malicious_cache_entry_is_not_unpickled(bomb, tmp_path):
    from harness.data.preparation.cache import PreparedCase

    (tmp_path / "images.npy").write_bytes(array_bomb(bomb))
    case = PreparedCase(name="a", patient="a", folder=tmp_path, moments=(), geometry=None, counts={})
    with pytest.raises(DataError, match="damaged"):
        case.images  # noqa: B018 - opens the file


def test_a_malicious_study_is_not_constructed(bomb, tmp_path):
    from harness.study.document import read_document

    path = tmp_path / "study.yaml"
    path.write_text(f"name: !!python/object/apply:pathlib.Path.touch [{str(bomb.mark)!r}]\n")
    with pytest.raises(StudyError, match="not valid YAML"):
        read_document(path)
    path.write_text("name: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(yaml.YAMLError):
        yaml.safe_load(path.read_text())


def test_a_malicious_table_is_not_unpickled(bomb, tmp_path):
    """A pickle that bears a table's name, and pickled bytes within a table."""
    (tmp_path / "cases.parquet").write_bytes(pickle.dumps(bomb))
    with pytest.raises(Exception, match=r"(?i)parquet|magic"):
        pd.read_parquet(tmp_path / "cases.parquet")
    pd.DataFrame({"value": [pickle.dumps(bomb)]}).to_parquet(tmp_path / "cases.parquet")
    assert isinstance(pd.read_parquet(tmp_path / "cases.parquet")["value"][0], bytes)


#: Calls that run what they read, unless told not to.
UNSAFE = {
    "pickle.load",
    "pickle.loads",
    "pd.read_pickle",
    "pandas.read_pickle",
    "joblib.load",
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "dill.load",
    "dill.loads",
    "marshal.loads",
    "marshal.load",
    "eval",
    "exec",
    "os.system",
    "os.popen",
}
TOLD = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False), "numpy.load": ("allow_pickle", False)}


def dangers(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        options = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
        if name in UNSAFE or options.get("shell") is True:
            found.append(f"{node.lineno}: {name}")
        if name in TOLD and options.get(TOLD[name][0]) is not TOLD[name][1]:
            found.append(f"{node.lineno}: {name} without {TOLD[name][0]}={TOLD[name][1]}")
    return found


def test_no_loader_in_the_tree_executes_what_it_reads():
    files = [path for part in ("harness", "aahn", "baselines", "scripts") for path in (ROOT / part).rglob("*.py")]
    assert len(files) > 100
    found = {str(path.relative_to(ROOT)): dangers(path.read_text(encoding="utf-8")) for path in files}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line", ["torch.load(p)", "np.load(p)", "np.load(p, allow_pickle=True)", "yaml.load(p)", "run(c, shell=True)"]
)
def test_the_search_finds_what_it_looks_for(line):
    assert dangers(line)
