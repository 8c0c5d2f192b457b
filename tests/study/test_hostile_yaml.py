"""Study files that nobody should write: each ends as one line that names the place, soon and in little memory."""

from __future__ import annotations

import os

import pytest

from harness.errors import HarnessError, StudyError, did_you_mean
from harness.study.expansion import load_study

HEAD = """\
name: a
protocol: demo
matrix:
  dataset: [{name: cortex}]
  model: [{name: toy}]
"""


@pytest.fixture
def refusal(project, toys):
    """Returns a function from the text of a study to the error that refuses it."""

    def load(text: str) -> HarnessError:
        (project / "study.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
        with pytest.raises(HarnessError) as error:
            load_study(project / "study.yaml")
        assert "\n" not in error.value.message
        assert len(str(error.value)) < 1000
        return error.value

    return load


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        (HEAD + "question: 2026-13-45\n", "study.yaml:6", "'2026-13-45' is not a valid timestamp"),
        (HEAD + "question: !!int foo\n", "study.yaml:6", "'foo' is not a valid int"),
        (HEAD + "question: !!bool maybe\n", "study.yaml:6", "not a valid bool"),
        (HEAD + "question: !!timestamp soon\n", "study.yaml:6", "not a valid timestamp"),
        (HEAD + "question: !!binary 'é'\n", "study.yaml:6", "not valid YAML"),
        (HEAD + "question: &a [*a]\n", "study.yaml:6", "holds itself"),
        (HEAD + "options: &a {<<: *a}\n", "study.yaml:6", "holds itself"),
        (HEAD + "options: {<<: 3}\n", "study.yaml:6", "not valid YAML"),
        (BOMB + HEAD, "study.yaml:1", "100,000 values"),
        (BOMB + HEAD + "? *a11\n: x\n", "study.yaml:1", "100,000 values"),
        (HEAD + "? [1]\n: x\n", "study.yaml:6", "a key that is a list"),
        (HEAD + "question: " + "[" * 100_000, "study.yaml:6", "nesting"),
        (HEAD + "question: " + "{a: " * 500, "study.yaml:6", "nested deeper"),
        (HEAD + "question: 2026-10-12\n", "study.yaml:6", "Put text in quotes"),
        (HEAD + "1: x\n", "study.yaml", "Keys should be strings"),
        (HEAD + "question: \0\n", "study.yaml", "control characters"),
        (HEAD + 'question: "\\0"\n', "study.yaml:6", "control characters"),
        (HEAD + 'question: "\\e[31m"\n', "study.yaml:6", "control characters"),
        (HEAD + "name: b\n", "study.yaml:6", "is repeated"),
        (HEAD + "x: " + "9" * 6000 + "\n", "study.yaml:6", "not a valid int"),
        ("x" * 5_000_000, "study.yaml", "longer than"),
        (HEAD.replace("name: a", 'name: "\\r\\n"'), "study.yaml", "not a valid name"),
        (HEAD + '"\\r\\n": x\n', "study.yaml:6", "unknown key"),
        (HEAD + "question: " + "x" * 20_000, "study.yaml:6", "at most 10,000 characters"),
        (
            HEAD.replace("{name: toy}", "{name: toy, label: " + "x" * 600 + "}"),
            "study.yaml:5",
            "at most 500 characters",
        ),
    ],
)
def test_each_fault_of_the_yaml_is_one_line(refusal, text, place, said):
    error = refusal(text)
    assert error.message.startswith(place)
    assert said in str(error)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("matrix", "matrx", "study.yaml:3: 'matrix' is missing.\nDid you mean 'matrix' by 'matrx'?"),
        ("matrix", "m\u0430trix", "Did you mean 'matrix' by 'm\u0430trix'? '\u0430' is CYRILLIC SMALL LETTER A."),
        ("protocol", "protocl", "study.yaml:2: 'protocol' is missing.\nDid you mean 'protocol'"),
        ("{name: toy}", "{nam: toy}", "study.yaml:5: 'matrix.model.0.name' is missing.\nDid you mean 'name' by 'nam'?"),
        ("toy", "t\u043ey", "Did you mean 'toy'? '\u043e' is CYRILLIC SMALL LETTER O."),
        ("toy", "t" * 1_000_000, "(1,000,002 characters)"),
        ("toy", "'" + "t " * 500_000 + "'", "characters)"),
        ("{name: toy}", "{name: toy, width: " + "w" * 100_000 + "}", "(100,002 characters)"),
    ],
)
def test_a_name_that_is_wrong_is_shown_short_and_with_the_right_one(refusal, old, new, said):
    assert said in str(refusal(HEAD.replace(old, new)))


def test_a_name_in_other_cases_is_near():
    assert did_you_mean("T1C", ["t1c", "t1n", "t2f"]).startswith("Did you mean 't1c'?")


def test_letters_of_other_scripts_are_named_only_where_they_may_deceive():
    assert "CYRILLIC" in did_you_mean("d\u0456ce", ["dice"])
    assert did_you_mean("Tumör", ["Tumör"]) == "Did you mean 'Tumör'? Known: Tumör."


@pytest.fixture
def strange_files(project):
    (project / "loop").symlink_to("loop")
    os.mkfifo(project / "pipe")
    (project / "folder").mkdir()
    (project / "deep.json").write_text("[" * 100_000)
    (project / "nul.json").write_bytes(b"\0")
    (project / "list.json").write_text("[1, 2]")
    (project / "texts.json").write_text('{"folds": ["a"]}')
    (project / "latin.json").write_bytes(b'["\xff"]')
    (project / "digits.json").write_text('{"folds": [' + "1" * 5000 + "]}")


FILES = ["loop", "pipe", "folder", "deep.json", "nul.json", "list.json", "texts.json", "latin.json", "digits.json"]
LONG = "x" * 5000


@pytest.mark.parametrize("name", [*FILES, "/dev/zero", '"a\\0b"', LONG, '""'])
def test_a_file_of_folds_that_is_none_is_refused_in_a_line(refusal, strange_files, name):
    error = refusal(HEAD.replace("{name: cortex}", f"{{name: cortex, splits: {name}}}"))
    assert error.message.startswith("study.yaml:4: ")


@pytest.mark.parametrize("key", ["root", "nnunet_raw", "msd"])
@pytest.mark.parametrize("name", ["loop", "pipe", "/dev/zero", '"a\\0b"', LONG])
def test_a_folder_that_is_none_is_refused_in_a_line(refusal, strange_files, key, name):
    error = refusal(HEAD.replace("{name: cortex}", f"{{name: cortex, {key}: {name}}}"))
    assert error.message.startswith("study.yaml:4: ")


@pytest.mark.parametrize("name", ["loop", "pipe", "folder", '"a\\0b"', LONG, "~nobody_has_this_name/x"])
@pytest.mark.parametrize("entry", ["{name: toy, weights: NAME}", "{name: toy_started, pretrained: NAME}"])
def test_weights_that_are_none_are_refused_in_a_line(refusal, strange_files, entry, name):
    error = refusal(HEAD.replace("{name: toy}", entry.replace("NAME", name)))
    assert error.message.startswith("study.yaml:5: ")


@pytest.mark.parametrize("name", ["loop", '"a\\0b"', LONG, "../protocols/demo", "."])
def test_a_protocol_that_is_none_is_refused_in_a_line(refusal, strange_files, name):
    error = refusal(HEAD.replace("protocol: demo", f"protocol: {name}"))
    assert error.message.startswith("study.yaml:2: Unknown protocol")


def test_a_study_that_is_no_file_is_refused_and_not_waited_for(strange_files, project):
    for name in ("loop", "pipe", "folder", "/dev/zero"):
        with pytest.raises(StudyError, match="cannot be read"):
            load_study(project / name)
