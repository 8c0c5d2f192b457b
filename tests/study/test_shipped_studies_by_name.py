"""Studies are found by their path, by their name in studies/, and by their name among the shipped ones."""

from pathlib import Path

import pytest

from harness.errors import HarnessError, StudyError
from harness.new_project import shipped_studies, write_project
from harness.shipped import find_study_file, home_of, shipped


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("named", ["ablation_tcfaf", "studies/ablation_tcfaf.yaml"])
def test_a_shipped_study_is_found_from_anywhere_and_writes_beside_the_users(project: Path, named: str) -> None:
    found = find_study_file(Path(named))
    assert found == shipped("studies") / "ablation_tcfaf.yaml"
    assert home_of(found) == Path("studies")


def test_a_file_of_the_user_wins(project: Path) -> None:
    write_project(Path(), ["ablation_tcfaf"])
    mine = Path("studies/ablation_tcfaf.yaml")
    assert find_study_file(Path("ablation_tcfaf")) == mine
    assert find_study_file(mine) == mine
    assert home_of(mine) == Path("studies")


def test_an_unknown_name_is_refused_with_what_is_near_and_names_each_study_once(project: Path) -> None:
    write_project(Path(), ["compare_chaos"])
    with pytest.raises(StudyError) as refused:
        find_study_file(Path("ablation_tcfa"))
    assert "ablation_tcfaf" in refused.value.hint
    assert refused.value.hint.count("compare_chaos") == 1


@pytest.mark.parametrize("path", ["elsewhere/ablation_tcfaf.yaml", "ablation_tcfaf.yaml", "."])
def test_any_other_path_means_itself(project: Path, path: str) -> None:
    assert find_study_file(Path(path)) == Path(path)


def test_a_project_holds_what_was_chosen_and_keeps_what_is_there(project: Path) -> None:
    written, there = write_project(Path("new"), ["compare_chaos"])
    assert not there
    assert {path.relative_to("new").as_posix() for path in written} == {
        "studies/compare_chaos.yaml",
        "studies/protocols/mine.yaml",
        "slurm.yaml",
        ".gitignore",
    }
    Path("new/slurm.yaml").write_text("partition: mine\n")
    written, there = write_project(Path("new"))
    assert len(written) == len(shipped_studies()) - 1
    assert Path("new/slurm.yaml").read_text() == "partition: mine\n"
    assert len(there) == 4


def test_what_a_project_holds_is_valid(project: Path) -> None:
    from harness.execution.engines.slurm_settings import SlurmResources
    from harness.study.protocol import load_protocol

    write_project(Path(), ["ablation_tcfaf"])
    assert load_protocol("mine", Path("studies")).training.epochs == 100
    assert SlurmResources.load(Path("slurm.yaml")).partition == "gpu"


def test_an_unknown_study_is_not_written(project: Path) -> None:
    with pytest.raises(HarnessError, match="no shipped study 'nothing'"):
        write_project(Path("new"), ["nothing"])
    assert not Path("new").exists()
