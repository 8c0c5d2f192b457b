"""``harness data prepare``: says what it takes, goes on where it stopped, and names what is wrong."""

from __future__ import annotations

from harness.cli import main


def test_a_part_is_prepared_and_the_whole_estimated(project, capsys):
    words = ["data", "prepare", "cortex", "--protocol", "demo", "--workers", "0"]
    assert main([*words, "--limit", "2"]) == 0
    shown = capsys.readouterr().out.replace("\n", " ")
    assert "2 of" in shown
    assert "cases need about" in shown
    assert len(list((project / "cache").rglob("entry.json"))) == 2
    before = {path: path.stat().st_mtime_ns for path in (project / "cache").rglob("images.npy")}
    assert main(words) == 0
    assert "a case." in capsys.readouterr().out
    assert all(path.stat().st_mtime_ns == time for path, time in before.items()), "what was there is kept"


def test_an_unknown_protocol_is_named_with_the_nearest(project, capsys):
    assert main(["data", "prepare", "cortex", "--protocol", "papr"]) == 2
    assert "Did you mean 'paper'?" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_named(project, capsys):
    assert main(["data", "prepare", "brats2023", "--root", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err
