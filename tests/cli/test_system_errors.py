"""What the operating system refuses names its place and a remedy, whichever command and library it comes through."""

from __future__ import annotations

import errno
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from stored import finish_whole, manifest

from harness.cli import main
from harness.files import atomic_folder, atomic_path, naming
from harness.results.store import Store
from harness.system_errors import explain_system_error


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Within the block no file grows beyond a size: what a full disk looks like to a program, without a disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "500")
    store = Store(tmp_path / "results")
    store.create()
    cell = store.cell("data_net_noleading_f0_s0_aaaaaaaaaaaa")
    finish_whole(cell)
    facts = {"name": "data", "title": "Data", "kind": "generated", "unit": "patient", "modalities": ["t1"],
             "regions": ["WT"], "notes": []}  # fmt: skip
    store.study("s", "default").write_manifest(manifest(cell.id, datasets=[facts]))


def test_a_full_disk_under_weights_names_them(tmp_path):
    weights = tmp_path / "w.safetensors"
    with pytest.raises(OSError) as full, files_of_at_most(10), naming(weights):
        save_file({"weight": torch.zeros(100_000)}, weights)
    assert (full.value.errno, full.value.filename) == (errno.EFBIG, str(weights))


def test_a_full_disk_under_a_copy_names_what_was_asked_for(tmp_path):
    (tmp_path / "source").write_bytes(bytes(100))
    with pytest.raises(OSError) as full, files_of_at_most(10), atomic_folder(tmp_path / "made") as temporary:
        shutil.copyfile(tmp_path / "source", temporary / "copy")
    assert "made" in explain_system_error(full.value).message
    assert ".tmp" not in explain_system_error(full.value).message


@pytest.mark.parametrize("form", ["csv", "markdown", "latex", "html"])
def test_a_report_that_cannot_be_written_names_its_file(study, capsys, form):
    with files_of_at_most(10):
        assert main(["report", "s", "--no-figures", "--format", form, "--out", "out"]) == 2
    error = capsys.readouterr().err
    assert str(Path("out", "")) in error
    assert ".tmp" not in error
    assert "--out" in error
    assert "--debug" not in error
    assert not list(Path("out").rglob("*.tmp"))


def test_a_report_whose_folder_is_a_file_names_it(study, capsys):
    Path("notes").touch()
    assert main(["report", "s", "--no-figures", "--format", "csv", "--out", "notes"]) == 2
    error = capsys.readouterr().err
    assert "notes" in error
    assert "--out" in error


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("writing", [atomic_path, atomic_folder])
def test_an_error_without_a_name_is_given_that_of_what_was_written(tmp_path, number, writing):
    with pytest.raises(OSError) as caught, writing(tmp_path / "table"):
        raise OSError(number, os.strerror(number))
    explained = explain_system_error(caught.value)
    assert str(tmp_path / "table") in explained.message
    assert str(tmp_path) in explained.hint
    assert not list(tmp_path.iterdir())


def test_the_temporary_name_is_never_shown(tmp_path):
    with pytest.raises(OSError) as caught, atomic_folder(tmp_path / "made") as folder:
        (folder / "absent" / "file").write_text("")
    assert caught.value.filename == str(tmp_path / "made")


def test_an_error_about_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, atomic_path(tmp_path / "made"):
        (tmp_path / "source").read_text()
    assert caught.value.filename == str(tmp_path / "source")


@pytest.mark.parametrize("arguments", [("only words",), (errno.ENOSPC, "x"), (9999, "odd", "f"), ()])
def test_whatever_the_system_says_becomes_a_message_and_a_remedy(arguments):
    explained = explain_system_error(OSError(*arguments))
    assert explained.message
    assert explained.hint
