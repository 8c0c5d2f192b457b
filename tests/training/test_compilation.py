"""Compiled code lies in a folder of the user alone, and a missing compiler is named."""

from __future__ import annotations

import pytest

from harness.errors import TrainingError
from harness.training.compilation import prepare_compilation


def test_the_folder_is_the_users_alone_whatever_it_was_before(tmp_path):
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    (tmp_path / "aahn-harness/inductor").mkdir(mode=0o777, parents=True)
    prepare_compilation(environment, lambda name: name)
    assert environment["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "aahn-harness/inductor")
    assert (tmp_path / "aahn-harness/inductor").stat().st_mode & 0o777 == 0o700


def test_without_a_variable_it_lies_in_the_home(tmp_path):
    environment = {"HOME": str(tmp_path)}
    prepare_compilation(environment, lambda name: name)
    assert environment["TORCHINDUCTOR_CACHE_DIR"].startswith(str(tmp_path / ".cache"))


def test_a_folder_of_the_users_choice_stays(tmp_path):
    environment = {"TORCHINDUCTOR_CACHE_DIR": "/somewhere", "XDG_CACHE_HOME": str(tmp_path)}
    prepare_compilation(environment, lambda name: name)
    assert environment["TORCHINDUCTOR_CACHE_DIR"] == "/somewhere"
    assert not list(tmp_path.iterdir())


def test_a_missing_compiler_is_named_with_the_remedy(tmp_path):
    with pytest.raises(TrainingError, match=r"icpx, g\+\+") as error:
        prepare_compilation({"CXX": "icpx", "XDG_CACHE_HOME": str(tmp_path)}, lambda _: None)
    assert "training.compile: none" in error.value.hint
    prepare_compilation({"CXX": "icpx", "XDG_CACHE_HOME": str(tmp_path)}, lambda name: name if name == "icpx" else None)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="No folder for compiled code") as error:
        prepare_compilation({"XDG_CACHE_HOME": str(tmp_path / "file")}, lambda name: name)
    assert "TORCHINDUCTOR_CACHE_DIR" in error.value.hint
