"""Finding folders: level by level, without hidden ones, and with an error for those that cannot be listed."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.data.reading.files import find_folder, levels
from harness.errors import DataError


def make(root, *folders):
    for folder in folders:
        (root / folder).mkdir(parents=True)


def names(found):
    return [[folder.name for folder in level] for level in found]


def test_folders_come_level_by_level_and_leaves_are_not_looked_into(tmp_path):
    make(tmp_path / "root", "b/leaf/inner", "a/c/d", ".hidden/a", "__MACOSX/b")
    assert names(levels(tmp_path / "root", 2, lambda folder: folder.name == "leaf")) == [
        ["root"],
        ["a", "b"],
        ["c", "leaf"],
    ]
    assert names(levels(tmp_path / "root", 3, lambda folder: folder.name == "leaf"))[3] == ["d"]


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    """Such as lost+found, where a whole disk was named."""
    make(tmp_path, "data", "lost+found")
    listing = Path.iterdir

    def refuse(folder):
        if folder.name == "lost+found":
            raise PermissionError(13, "Permission denied", str(folder))
        return listing(folder)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match=r"lost\+found cannot be listed") as caught:
        find_folder(tmp_path, lambda folder: (folder / "train.csv").is_file(), "train.csv")
    assert "name the dataset's own folder" in caught.value.hint


def test_of_two_folders_at_one_depth_neither_is_guessed(tmp_path):
    make(tmp_path, "a/data", "b/data")
    with pytest.raises(DataError, match="more than once") as caught:
        find_folder(tmp_path, lambda folder: folder.name == "data", "data")
    assert "Name one of these folders" in caught.value.hint
    assert find_folder(tmp_path / "a", lambda folder: folder.name == "data", "data") == tmp_path / "a" / "data"
