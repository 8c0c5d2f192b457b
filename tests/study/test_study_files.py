"""Study files: what is refused, by which line, and what a study expands to."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from functools import cache
from pathlib import Path

import pytest

from harness.data import DATASETS
from harness.data.synthetic.generated import generatable
from harness.errors import DataError, StudyError
from harness.segmenters import SEGMENTERS
from harness.study.expansion import LoadedStudy, load_study
from harness.study.json_schema import PATH, study_json_schema
from harness.study.protocol import load_protocol, protocol_names, resolve_protocol

ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / "studies").glob("*.yaml"))
PAPERS = ("hecktor21", "prostate158", "brats2019", "brats2023", "chaos", "brats2024")
NETWORKS = {
    "maml", "missformer", "unetr", "swinunet", "transunet", "nnunet", "ivdnet", "transbts", "nestedformer", "nnformer",
    "aahn",
}  # fmt: skip
ABLATIONS = ("ablation_tcfaf", "ablation_cmhgf", "ablation_modules", "leading_modality")

GOOD = """\
name: micro
question: Does it run?
protocol: demo
matrix:
  dataset: [cortex]
  model:
    - {name: toy, label: A}
    - {name: toy, width: 8, label: B}
  seed: [0, 1]
report: {reference: A}
profiles:
  short: {matrix: {seed: [5]}}
"""


@pytest.fixture
def study(project, toys):
    def write(text: str) -> Path:
        path = project / "study.yaml"
        path.write_text(text)
        return path

    return write


def test_a_study_expands_to_every_combination(study):
    loaded = load_study(study(GOOD))
    assert [(cell.label, cell.spec.seed) for cell in loaded.cells] == [("A", 0), ("A", 1), ("B", 0), ("B", 1)]
    assert loaded.cells[2].spec.options == {"width": 8, "switch": "on"}


def test_a_profile_replaces_lists_and_keeps_the_rest(study):
    loaded = load_study(study(GOOD), "short")
    assert [(cell.label, cell.spec.seed) for cell in loaded.cells] == [("A", 5), ("B", 5)]


def test_shared_options_reach_every_variant_and_a_variant_overrides_them(study):
    loaded = load_study(study(GOOD + "options: {toy: {width: 16, switch: 'off'}}\n"))
    options = {cell.label: cell.spec.options for cell in loaded.cells}
    assert options == {"A": {"width": 16, "switch": "off"}, "B": {"width": 8, "switch": "off"}}


def test_a_sweep_makes_one_labelled_variant_per_combination(study):
    text = GOOD.replace("- {name: toy, label: A}", "- {name: toy, sweep: {width: [1, 2], switch: [a, b]}}")
    loaded = load_study(study(text.replace("report: {reference: A}", "")))
    assert [variant.label for variant in loaded.variants][:4] == [
        "toy, width=1, switch=a",
        "toy, width=1, switch=b",
        "toy, width=2, switch=a",
        "toy, width=2, switch=b",
    ]


WAYS = """\
  protocol:
    complete: {}
    dropout: {sampling: {modality_dropout: {p: 0.5, fill: token}}}
"""


def test_every_model_is_trained_in_every_way_and_its_label_says_which(study):
    text = GOOD.replace("  seed: [0, 1]\n", WAYS).replace("reference: A", "reference: 'A, dropout'")
    loaded = load_study(study(text))
    ways = {cell.label: cell.spec.protocol for cell in loaded.cells}
    assert list(ways) == ["A, complete", "B, complete", "A, dropout", "B, dropout"]
    assert ways["A, dropout"].sampling.modality_dropout.fill == "token"
    assert ways["A, dropout"].name == "demo, dropout"
    assert ways["A, complete"].identity() == load_protocol("demo").identity()
    assert len({cell.spec.id for cell in loaded.cells}) == 4


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("p: 0.5", "p: 1.5", 11, "less than 1"),
        ("p: 0.5", "q: 0.5", 11, "Known: fill, p."),
        ("fill: token", "fill: noise", 11, "zeros"),
    ],
)
def test_a_way_that_cannot_be_is_refused_with_its_line(study, old, new, line, words):
    text = GOOD.replace("  seed: [0, 1]\n", WAYS).replace("report: {reference: A}\n", "").replace(old, new)
    with pytest.raises(StudyError) as error:
        load_study(study(text))
    assert f"study.yaml:{line}:" in error.value.message
    assert words in error.value.message + error.value.hint


@pytest.mark.parametrize(
    ("rates", "words"),
    [("{epy: 0.2}", "'epi'"), ("{epi: 0.6, t1: 0.6}", "at most 1"), ("{epi: 1.2}", "less than 1")],
)
def test_shares_of_patients_that_lack_a_modality_must_fit_the_dataset(study, rates, words):
    text = GOOD.replace("protocol: demo", f"protocol: {{base: demo, sampling: {{missing: {{per_patient: {rates}}}}}}}")
    with pytest.raises(StudyError) as error:
        load_study(study(text))
    assert re.search(r"study.yaml:\d+:", error.value.message)
    assert words in error.value.message + error.value.hint


def test_models_without_a_leading_modality_are_not_computed_once_for_each(study):
    loaded = load_study(study(GOOD.replace("seed: [0, 1]", "leading: [all, none]")))
    assert len(loaded.cells) == 2
    assert loaded.collapsed == 4
    assert {cell.spec.leading for cell in loaded.cells} == {"-"}


def test_leading_all_means_each_modality_in_turn(study):
    text = GOOD.replace("{name: toy, label: A}", "{name: aahn, preset: tiny, label: A}")
    loaded = load_study(study(text.replace("seed: [0, 1]", "leading: [all, none]")))
    assert [cell.spec.leading for cell in loaded.cells if cell.label == "A"] == ["t1", "epi", "none"]


@pytest.mark.parametrize(
    ("old", "new", "line", "hint"),
    [
        ("question:", "qestion:", 2, "Did you mean 'question'?"),
        ("protocol: demo", "protocol: demmo", 3, "Did you mean 'demo'?"),
        ("protocol: demo", "protocol: {base: demo, training: {epoch: 3}}", 3, "Did you mean 'epochs'?"),
        ("dataset: [cortex]", "dataset: [cortx]", 5, "Did you mean 'cortex'?"),
        ("dataset: [cortex]", "dataset: [{nam: cortex}]", 5, "Did you mean 'name'?"),
        ("name: toy, label: A", "name: toi, label: A", 7, "Did you mean 'toy'?"),
        ("width: 8", "widht: 8", 8, "Did you mean 'width'?"),
        ("width: 8", "width: 0", 8, "harness models show toy"),
        ("width: 8", "preset: tinny", 8, "Did you mean 'tiny'?"),
        ("label: B", "label: A", 8, "label"),
        ("seed: [0, 1]", "seed: []", 9, ""),
        ("seed: [0, 1]", "seed: [-1]", 9, ""),
        ("seed: [0, 1]", "sead: [0]", 9, "Did you mean 'seed'?"),
        ("seed: [0, 1]", "leading: [t2]", 9, "Did you mean 't1'?"),
        ("seed: [0, 1]", "fold: [2]", 9, "Valid: 0, 1"),
        ("reference: A", "reference: AA", 10, "Did you mean 'A'?"),
        ("reference: A", "metrics: [dise]", 10, ""),
        ("{matrix: {seed: [5]}}", "{matrix: {sed: [5]}}", 12, ""),
    ],
)
def test_what_cannot_be_is_refused_with_its_line_and_the_nearest_name(study, old, new, line, hint):
    text = GOOD.replace(old, new)
    assert text != GOOD
    with pytest.raises(StudyError) as error:
        load_study(study(text), "short" if "sed:" in new else None)
    assert f"study.yaml:{line}:" in error.value.message
    assert hint in error.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "not valid YAML"),
        ("- a\n- b\n", "must hold a mapping .*, not list"),
        ("# nothing yet\n", "must hold a mapping .*; it is empty"),
        ("name: a\nname: b\n", "is repeated"),
        ("name: a\nprotocol: demo\n", "'matrix' is missing"),
        (GOOD.replace("name: micro", "name: ../escape"), "not a valid name"),
        (GOOD.replace("model:\n", "model: []\n  other:\n"), "unknown key 'other'|matrix.model"),
    ],
)
def test_malformed_files_are_refused_in_words(study, text, message):
    with pytest.raises(StudyError, match=message):
        load_study(study(text))


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("  model", "\tmodel", "in place of tabs"),
        ("name: micro", "name: micro: one", "colon in quotes"),
        ("  model:", " model:", "same column"),
    ],
)
def test_what_is_not_yaml_comes_with_what_usually_is_wrong(study, old, new, hint):
    with pytest.raises(StudyError, match=r"study\.yaml:\d+: not valid YAML") as error:
        load_study(study(GOOD.replace(old, new, 1)))
    assert hint in error.value.hint


def test_a_name_that_cannot_be_is_refused_with_its_line(study):
    with pytest.raises(StudyError, match=r"study\.yaml:1: 'name': 'Our Study' is not a valid name"):
        load_study(study(GOOD.replace("name: micro", "name: Our Study")))


def test_a_mapping_may_take_over_another_and_give_some_keys_itself(study):
    text = GOOD.replace("protocol: demo", "protocol: &short {base: demo, training: {epochs: 3}}")
    text += "  long: {protocol: {<<: *short, training: {epochs: 4}}}\n"
    assert load_study(study(text), "long").protocol.training.epochs == 4
    assert load_study(study(text)).protocol.training.epochs == 3
    with pytest.raises(StudyError, match=r"study\.yaml:13: key 'base' is repeated"):
        load_study(study(text.replace("<<: *short", "<<: *short, base: demo, base: paper")))


def test_yaml_that_would_run_code_is_refused(study):
    with pytest.raises(StudyError, match="not valid YAML"):
        load_study(study("name: !!python/object/apply:os.system ['true']\n"))


def test_an_unknown_profile_names_the_nearest(study):
    with pytest.raises(StudyError) as error:
        load_study(study(GOOD), "shrt")
    assert "Did you mean 'short'?" in error.value.hint


def test_a_folder_names_the_files_in_it(project):
    (project / "ablation.yaml").write_text("name: a\n")
    with pytest.raises(StudyError, match="is a folder") as error:
        load_study(project)
    assert "ablation.yaml" in error.value.hint


def test_a_missing_file_names_the_nearest(project):
    (project / "ablation.yaml").write_text("name: a\n")
    with pytest.raises(StudyError) as error:
        load_study(project / "ablatoin.yaml")
    assert "Did you mean 'ablation.yaml'?" in error.value.hint


def test_a_missing_data_folder_says_how_to_name_one(study):
    text = GOOD.replace("dataset: [cortex]", "dataset: [{name: cortex, root: nowhere}]")
    with pytest.raises(DataError, match=r"study.yaml:5: The folder of dataset 'cortex' does not exist") as error:
        load_study(study(text))
    assert "HARNESS_DATA_CORTEX" in error.value.hint


def test_protocols_beside_the_study_are_found_and_may_build_on_shipped_ones(study, project):
    (project / "protocols").mkdir()
    (project / "protocols" / "mine.yaml").write_text("base: demo\ntraining: {epochs: 3}\n")
    loaded = load_study(study(GOOD.replace("protocol: demo", "protocol: mine")))
    assert loaded.protocol.training.epochs == 3
    assert loaded.protocol.training.optimiser == load_protocol("demo").training.optimiser


def test_a_value_tuned_for_a_network_is_refused_with_the_networks_line(study, project):
    (project / "protocols").mkdir()
    per_model = "per_model: {toy: {cortex: {training: {optimiser: {lr: -1}}}}}"
    (project / "protocols" / "tuned.yaml").write_text(f"base: demo\n{per_model}\n")
    with pytest.raises(StudyError, match=r"study\.yaml:7: tuned\.yaml:2: 'training\.optimiser\.lr'"):
        load_study(study(GOOD.replace("protocol: demo", "protocol: tuned")))


def test_a_protocol_that_builds_on_itself_is_refused(study, project):
    (project / "protocols").mkdir()
    (project / "protocols" / "loop.yaml").write_text("base: loop\n")
    with pytest.raises(StudyError, match="builds on itself"):
        load_study(study(GOOD.replace("protocol: demo", "protocol: loop")))


def test_native_trains_every_network_by_its_own_recipe_and_the_study_has_the_last_word(study, monkeypatch):
    from dataclasses import replace

    toy = replace(SEGMENTERS.get("toy"), native_recipe={"training": {"epochs": 7, "optimiser": {"name": "adam"}}})
    real = SEGMENTERS.get
    monkeypatch.setattr(SEGMENTERS, "get", lambda name: toy if name == "toy" else real(name))
    text = GOOD.replace("{name: toy, width: 8, label: B}", "{name: aahn, label: B}")
    text = text.replace("protocol: demo", "protocol: {base: native, training: {steps_per_epoch: 3}}")
    trainings = {cell.label: cell.spec.protocol.training for cell in load_study(study(text)).cells}
    assert (trainings["A"].epochs, trainings["A"].optimiser.name, trainings["A"].steps_per_epoch) == (7, "adam", 3)
    assert (trainings["B"].epochs, trainings["B"].optimiser.name, trainings["B"].steps_per_epoch) == (300, "sgd", 3)
    assert {cell.spec.protocol.name for cell in load_study(study(text)).cells} == {"native"}


def test_the_paper_protocol_says_what_the_paper_says():
    paper = load_protocol("paper")
    assert paper.patch_size == (128, 128)
    assert paper.sampling.batch_size == 16
    assert (paper.training.epochs, paper.training.steps_per_epoch) == (300, 250)
    sgd = paper.training.optimiser
    assert (sgd.name, sgd.lr, sgd.momentum, sgd.nesterov, sgd.weight_decay, sgd.clip_norm) == (
        "sgd", 1e-3, 0.99, True, 3e-5, 12,
    )  # fmt: skip
    assert (paper.training.schedule.name, paper.training.schedule.power) == ("poly", 0.9)


@pytest.mark.parametrize("name", SEGMENTERS.names())
def test_every_native_recipe_is_a_valid_protocol(name):
    recipe = SEGMENTERS.get(name).native_recipe
    protocol = resolve_protocol("native").for_network(name, recipe)[""]
    assert protocol.name == "native"
    assert (protocol.identity() == load_protocol("paper").identity()) == (not recipe)


def test_both_readings_of_the_papers_slices_and_its_volumes_are_protocols():
    paper, patch, volumes = (load_protocol(name) for name in ("paper", "paper_patch", "paper_3d"))
    assert (paper.patch_size, paper.preparation.plane) == ((128, 128), "resize")
    assert (patch.patch_size, patch.preparation.plane) == ((128, 128), "native")
    assert volumes.patch_size == (128, 128, 128)
    for other in (patch, volumes):
        assert other.training == paper.training
    assert patch.augmentation == paper.augmentation


@pytest.mark.parametrize("name", protocol_names())
def test_every_shipped_protocol_is_valid_and_described(name):
    assert load_protocol(name).description


@pytest.fixture
def every_dataset(generated, kept_readers, monkeypatch):
    """Trees that stand for the archives a user would have downloaded; `cortex` as it ships."""
    monkeypatch.delenv("HARNESS_DATA_CORTEX", raising=False)
    for dataset in generatable():
        monkeypatch.setenv(dataset.variable, str(generated(dataset.name)))
    monkeypatch.chdir(ROOT)


@cache
def shipped(name: str, profile: str | None = None, assume_absent: bool = False) -> LoadedStudy:
    """Returns a study of ours on the generated trees, which are the same in all tests; use it with `every_dataset`.

    With ``assume_absent`` no tree is read; use that without `every_dataset`.

    Pretrained weights that it names are placeholders beside a copy of it: nothing loads them before a training.
    """
    path = ROOT / "studies" / f"{name}.yaml"
    with tempfile.TemporaryDirectory() as folder:
        if weights := re.findall(r"pretrained: (weights/[^,}]+)", path.read_text()):
            (Path(folder) / "weights").mkdir()
            path = Path(shutil.copy(path, folder))
        for place in weights:
            (Path(folder) / place).write_bytes(b"placeholder")
        return load_study(path, profile, assume_absent)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_shipped_study_is_valid_on_trees_of_its_datasets(path, every_dataset):
    loaded = shipped(path.stem)
    assert loaded.study.name == path.stem
    assert loaded.study.question.endswith("?")
    assert "demo" in loaded.study.profiles


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_profile_of_a_shipped_study_is_valid_without_data(path, monkeypatch):
    for dataset in generatable():
        monkeypatch.delenv(dataset.variable, raising=False)
    for profile in shipped(path.stem, assume_absent=True).study.profiles:
        shipped(path.stem, profile, assume_absent=True)


def switches(study, *keys):
    """Returns what each cell of an ablation is called, and its switches; the same on every dataset and seed."""
    cells = shipped(study).cells
    return {cell.label: tuple(cell.spec.options[key] for key in keys) for cell in cells}


def test_the_ablations_are_the_papers(every_dataset):
    assert switches("ablation_tcfaf", "tcfaf", "cmhgf") == {
        "w/o T-CFAF": ("none", "full"),
        "+ CA": ("ca", "full"),
        "+ CMA": ("cma", "full"),
        "AAHN": ("full", "full"),
    }
    assert switches("ablation_cmhgf", "tcfaf", "cmhgf") == {
        "Concatenation": ("full", "concat"),
        "CMA": ("full", "cma"),
        "w/o skip": ("full", "no_skip"),
        "w/o GNN update": ("full", "no_gnn"),
        "AAHN": ("full", "full"),
    }
    assert switches("ablation_modules", "tcfaf", "cmhgf", "auxiliary") == {
        "Baseline": ("none", "concat", "all"),
        "+ T-CFAF": ("full", "concat", "all"),
        "+ CMHGF": ("none", "full", "all"),
        "AAHN": ("full", "full", "all"),
        "AAHN, auxiliary: others": ("full", "full", "others"),
    }


def test_every_modality_of_every_dataset_leads_and_none_does(every_dataset):
    cells = shipped("leading_modality").cells
    for dataset in PAPERS:
        led = {cell.spec.leading for cell in cells if cell.spec.dataset == dataset}
        assert led == {*DATASETS.get(dataset).modalities, "none"}


def test_all_networks_meet_on_all_datasets_and_the_smaller_studies_share_their_cells(every_dataset):
    every = shipped("compare_all", "demo").cells
    assert len(every) == len(NETWORKS) * len(PAPERS)
    assert {cell.spec.model for cell in every} == NETWORKS
    assert {cell.spec.dataset for cell in every} == set(PAPERS)
    for dataset in PAPERS:
        one = shipped(f"compare_{dataset}", "demo").cells
        assert {cell.spec.id for cell in one} < {cell.spec.id for cell in every}


@pytest.mark.parametrize("name", [f"compare_{dataset}" for dataset in PAPERS] + ["compare_all", *ABLATIONS])
def test_comparisons_and_ablations_have_both_readings_of_the_papers_slices(name, every_dataset):
    resize, patch = (shipped(name, profile) for profile in (None, "patch"))
    assert (resize.protocol.name, patch.protocol.name) == ("paper", "paper_patch")
    assert {cell.spec.seed for cell in resize.cells} == {0, 1, 2}
    assert [cell.label for cell in resize.cells] == [cell.label for cell in patch.cells]


def test_networks_of_slices_and_of_volumes_meet_in_one_study_and_share_the_cells_of_others(every_dataset):
    both = shipped("slices_and_volumes").cells
    assert {len(cell.spec.protocol.patch_size) for cell in both if cell.spec.model == "aahn"} == {2}
    assert {len(cell.spec.protocol.patch_size) for cell in both if cell.spec.model == "nnunet"} == {2, 3}
    known = {cell.spec.id for name in ("native_3d", "compare_brats2023") for cell in shipped(name).cells}
    assert {cell.spec.id for cell in both} < known


def test_weights_that_are_not_there_are_named_with_the_place_to_get_them(every_dataset):
    with pytest.raises(StudyError, match=r"pretrained\.yaml:\d+: .*swin_tiny_patch4_window7_224\.pth") as refused:
        load_study(ROOT / "studies" / "pretrained.yaml")
    assert "https://" in refused.value.hint


def test_the_online_row_is_a_training_of_the_comparison(every_dataset):
    (cell,) = shipped("brats2023_online").cells
    compared = shipped("compare_brats2023").cells
    assert cell.spec.id in {other.spec.id for other in compared}


def test_a_model_may_be_trained_in_some_of_the_ways(study):
    ways = "matrix:\n  protocol: {short: {}, long: {training: {epochs: 20}}}\n"
    text = GOOD.replace("matrix:\n", ways).replace("label: A}", "label: A, protocol: short}")
    loaded = load_study(study(text.replace("reference: A", "reference: 'A, short'")))
    assert {cell.label for cell in loaded.cells} == {"A, short", "B, short", "B, long"}
    with pytest.raises(StudyError, match=r"study\.yaml:\d+: .*'shrt'.*\n?.*Did you mean 'short'"):
        load_study(study(text.replace("protocol: short}", "protocol: [shrt]}")))


def test_each_network_meets_itself_under_its_own_recipe(every_dataset):
    cells = shipped("native_recipes").cells
    budgets = {(cell.label, cell.spec.protocol.training.epochs) for cell in cells}
    assert ("UNETR, common", 300) in budgets
    assert ("UNETR, own recipe", 5000) in budgets
    assert len(budgets) == 2 * (len(NETWORKS) - 1)
    assert "aahn" not in {cell.spec.model for cell in cells}


def documented_studies():
    """Returns the rows of the table of studies in the documentation: cells by study, then those of its demo."""
    text = (ROOT / "docs" / "studies.md").read_text()
    rows = re.findall(r"^\| `([a-z0-9_]+)` \|.*\| (\d+) \| (\d+): [^|]*\|$", text, flags=re.MULTILINE)
    return {name: (int(full), int(demo)) for name, full, demo in rows}


def test_the_table_of_studies_in_the_documentation_is_complete_and_its_numbers_of_cells_are_right(every_dataset):
    counted = {path.stem: tuple(len(shipped(path.stem, one).cells) for one in (None, "demo")) for path in STUDIES}
    assert documented_studies() == counted


def test_the_shipped_json_schema_is_up_to_date():
    assert json.loads(PATH.read_text()) == study_json_schema(), "run `python -m harness.study.json_schema`"
