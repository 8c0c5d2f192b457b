"""Generated trees: reproducible, marked, whole or absent, and worth learning from in every modality."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from sklearn.ensemble import RandomForestClassifier

import harness
from harness.cli import main
from harness.data import DATASETS
from harness.data.datasets.brats.generate import brats2019
from harness.data.synthetic.generated import MARKER, generate, is_generated, kind_of
from harness.errors import DataError, HarnessError
from harness.execution.study import register
from harness.results.store import Store
from harness.study.expansion import load_study

MINE = ("brats2019", "brats2023", "brats2024", pytest.param("hecktor21", marks=pytest.mark.slow))


@pytest.mark.parametrize("name", MINE)
def test_the_seed_decides_the_images(name, generated, tmp_path):
    dataset = DATASETS.get(name)
    first = dataset.open(generated(name))
    generate(dataset, tmp_path / "again", 6, 0, 0.1)
    again = dataset.open(tmp_path / "again")
    assert again.cases() == first.cases()
    case = first.cases()[0]
    np.testing.assert_array_equal(again.load(case).images, first.load(case).images)
    np.testing.assert_array_equal(again.load(case).label, first.load(case).label)


def test_another_seed_gives_other_patients(generated, tmp_path):
    dataset = DATASETS.get("brats2023")
    generate(dataset, tmp_path / "other", 6, 1, 0.1)
    first, other = dataset.open(generated("brats2023")), dataset.open(tmp_path / "other")
    one, two = (reader.load(reader.cases()[0]).images for reader in (first, other))
    assert one.shape == two.shape
    assert (one != two).mean() > 0.1


@pytest.mark.parametrize(("name", "shape"), [("brats2019", (24, 24, 16)), ("brats2024", (18, 22, 18))])
def test_scale_shrinks_the_matrix_and_keeps_the_head(name, shape, generated):
    content = DATASETS.get(name).open(generated(name))
    found = content.load(content.cases()[0])
    assert found.label.shape == shape
    np.testing.assert_allclose(found.spacing, 10)


def test_generated_files_are_called_generated_wherever_they_lie(generated, tmp_path):
    dataset, root = DATASETS.get("brats2023"), generated("brats2023")
    (archive,) = root.glob("*TrainingData")
    assert dataset.kind == "real"
    for folder in (root, archive, archive / archive.name):
        assert kind_of(dataset, folder) == "generated"
    moved = tmp_path / "moved"
    moved.symlink_to(archive)
    assert is_generated(moved)
    assert not is_generated(tmp_path)


def test_a_study_on_generated_files_says_so(generated, project, write_study, toys):
    path = write_study(
        matrix={"dataset": [{"name": "brats2023", "root": str(generated("brats2023"))}], "model": ["toy"]}
    )
    folder = register(load_study(path), Store(project / "results"), path)
    assert [facts.kind for facts in folder.manifest().datasets] == ["generated"]


def test_nothing_that_trains_or_scores_knows_of_generated_data():
    home = Path(harness.__file__).parent
    for package in ("training", "inference", "evaluation", "segmenters", "statistics"):
        for module in (home / package).rglob("*.py"):
            assert not re.search(r"data\.generated|phantoms|is_generated|kind_of", module.read_text()), module


def test_the_command_writes_a_tree_that_is_listed_as_generated(project, capsys, monkeypatch):
    words = ["data", "generate", "brats2019", "--out", "data/brats2019", "--patients", "5", "--scale", "0.07"]
    assert main(words) == 0
    assert "5 labelled and 2 unlabelled" in capsys.readouterr().out
    assert main(["data"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("brats2019"))
    assert "generated" in row
    assert main(words) == 2
    assert "not empty" in capsys.readouterr().err


def test_one_command_writes_every_tree_where_studies_look_and_touches_none_that_is_there(project, capsys):
    kept = project / "data" / "prostate158"
    kept.mkdir(parents=True)
    (kept / "mine.txt").write_text("real")
    words = ["data", "generate", "--all", "--patients", "5", "--scale", "0.07"]
    assert main(words) == 0
    assert "data/prostate158 holds files that were not generated; left as it is" in capsys.readouterr().out
    assert [path.name for path in kept.iterdir()] == ["mine.txt"]
    names = sorted(path.name for path in (project / "data").iterdir())
    assert names == ["brats2019", "brats2023", "brats2024", "chaos", "hecktor21", "prostate158"]
    assert {kind_of(DATASETS.get(name), None) for name in names if name != "prostate158"} == {"generated"}
    assert main(words) == 0
    assert capsys.readouterr().out.count("5 generated patients (seed 0, scale 0.07); left as it is") == 5


@pytest.mark.parametrize(
    "verb", [["generate", "--out", "other"], ["check"], ["show"], ["prepare"]], ids=lambda one: one[0]
)
def test_a_variable_that_wins_over_generated_data_is_said(verb, generated, project, capsys, monkeypatch):
    shutil.copytree(generated("brats2023"), project / "data/brats2023")
    words = ["data", verb[0], "brats2023", *verb[1:], *(["--patients", "5", "--scale", "0.07"] if verb[1:] else [])]
    monkeypatch.setenv("HARNESS_DATA_BRATS2023", "elsewhere")
    assert main(words) == (0 if verb[0] == "generate" else 2)
    assert capsys.readouterr().err.count("unset HARNESS_DATA_BRATS2023") == 1
    shutil.rmtree(project / "other", ignore_errors=True)
    monkeypatch.setenv("HARNESS_DATA_BRATS2023", str(project / "data/brats2023"))
    assert main(words) == 0
    assert "warning" not in capsys.readouterr().err


def test_a_misspelt_variable_is_said(generated, project, capsys, monkeypatch):
    (project / "data").mkdir()
    (project / "data/chaos").symlink_to(generated("chaos"))
    monkeypatch.setenv("HARNESS_CHAOS", "elsewhere")
    monkeypatch.setenv("HARNESS_CACHE", "cache")
    assert main(["data", "show", "chaos"]) == 0
    assert "HARNESS_DATA_CHAOS" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "said"), [([], "Name one dataset, or give --all"), (["chaos", "--all"], "not both")])
def test_either_one_dataset_is_named_or_all(words, said, project, capsys):
    assert main(["data", "generate", *words]) == 2
    assert said in capsys.readouterr().err
    assert not (project / "data").exists()


@pytest.mark.parametrize(("name", "invents"), [("chaos", True), ("cortex", False)])
def test_who_lacks_the_data_is_told_how_to_try_without(name, invents, project, monkeypatch):
    lacking = dataclasses.replace(DATASETS.get(name), home=None)
    monkeypatch.delenv(lacking.variable, raising=False)
    with pytest.raises(DataError) as error:
        lacking.locate()
    assert (f"harness data generate {name}" in error.value.hint) == invents


@pytest.mark.parametrize(
    ("patients", "scale", "words"), [(4, 0.1, "too few"), (6, 0, "out of range"), (6, 1.5, "out of range")]
)
def test_what_cannot_be_drawn_is_refused(tmp_path, patients, scale, words):
    with pytest.raises(HarnessError, match=words):
        generate(DATASETS.get("brats2023"), tmp_path / "out", patients, 0, scale)
    with pytest.raises(HarnessError, match="has no generator"):
        generate(DATASETS.get("cortex"), tmp_path / "out", 6, 0, 0.1)
    assert not list(tmp_path.iterdir())


def fill_the_disk(out, patients, seed, scale):
    brats2019(out, patients, seed, scale)
    raise OSError("no space left")


def test_a_tree_is_whole_or_absent(tmp_path):
    full = dataclasses.replace(DATASETS.get("brats2019"), generator=f"{__name__}:fill_the_disk")
    with pytest.raises(OSError, match="no space"):
        generate(full, tmp_path / "out", 5, 0, 0.07)
    assert not list(tmp_path.iterdir())


def test_a_damaged_marker_is_said(copied):
    root = copied("brats2019")
    (root / MARKER).write_text("{")
    with pytest.raises(DataError, match="damaged"):
        is_generated(root)


def voxels_of(content, near_mm, step):
    """Returns features (n, M, 3) of voxels, their intensities at three blurs, and their labels."""
    label = content.label[::step, ::step, ::step]
    images = content.images[:, ::step, ::step, ::step]
    inside = images.any(axis=0)
    if near_mm is not None:
        inside &= ndimage.distance_transform_edt(label == 0) * step < near_mm
    features = []
    for image in images:
        scaled = (image - image[image != 0].mean()) / image[image != 0].std()
        features.append([scaled, *(ndimage.gaussian_filter(scaled, sigma) for sigma in (1, 2.5))])
    return np.array(features)[:, :, inside].transpose(2, 0, 1), label[inside]


def some(features, label, count, rng):
    """Returns as many voxels of each label, thrice as many of the background."""
    chosen = np.concatenate(
        [rng.permutation(np.flatnonzero(label == value))[: count * (1 if value else 3)] for value in np.unique(label)]
    )
    return features[chosen], label[chosen]


def forest_scores(train, test, keep, regions, trees):
    """Returns what a random forest on some modalities scores: Dice by region."""
    forest = RandomForestClassifier(trees, max_depth=12, random_state=0, class_weight="balanced_subsample")
    forest.fit(train[0][:, keep].reshape(len(train[0]), -1), train[1])
    found = forest.predict(test[0][:, keep].reshape(len(test[0]), -1))
    scores = {}
    for region, labels in regions.items():
        predicted, real = np.isin(found, labels), np.isin(test[1], labels)
        scores[region] = 2 * (predicted & real).sum() / (predicted.sum() + real.sum())
    return scores


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "patients", "scale", "near_mm", "step", "trees", "needs"),
    [
        ("brats2024", 5, 0.2, None, 1, 10, {"t1n": "ET", "t1c": "ET", "t2w": "NETC", "t2f": "SNFH"}),
        pytest.param("hecktor21", 7, 0.2, 20, 3, 25, {"ct": "tumor", "pet": "tumor"}, marks=pytest.mark.slow),
    ],
)
def test_every_modality_says_what_the_others_do_not(name, patients, scale, near_mm, step, trees, needs, tmp_path):
    """A forest that lacks one modality segments some region worse."""
    dataset = DATASETS.get(name)
    generate(dataset, tmp_path / name, patients, 3, scale)
    reader, rng, trained = dataset.open(tmp_path / name), np.random.default_rng(0), patients // 2 + 1
    cases = [voxels_of(reader.load(case), near_mm, step) for case in reader.cases()]
    train = tuple(
        np.concatenate(part) for part in zip(*(some(*case, 16 * trees, rng) for case in cases[:trained]), strict=True)
    )
    test = tuple(np.concatenate(part)[::4] for part in zip(*cases[trained:], strict=True))
    every = list(range(len(dataset.modalities)))
    whole = forest_scores(train, test, every, dataset.regions, trees)
    for index, modality in enumerate(dataset.modalities):
        others = [one for one in every if one != index]
        without = forest_scores(train, test, others, dataset.regions, trees)
        region = needs[modality]
        assert without[region] < whole[region] - 0.015, (modality, whole, without)
