"""Secrets are cut out of whatever is printed, logged, stored or reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli import main
from harness.redaction import without_secrets, without_tracking_variables
from harness.results.store import Store

SECRET = "hunter2-s3cr3t"
ADDRESS = f"https://alice:{SECRET}@mlflow.invalid/base?token={SECRET}"

LETTERS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.~!$@%", min_size=6, max_size=20)


@pytest.mark.parametrize(
    "text",
    [
        f"cannot reach {ADDRESS}",
        f"https://{SECRET}@host/path",
        f"postgresql+psycopg2://optuna:{SECRET}@db:5432/studies",
        f"GET /api?token={SECRET}&page=2",
        f"https://host/x?page=2&access_token={SECRET}",
        f"https://host/x?X-Amz-Signature={SECRET}",
        f"https://account.blob.invalid/x?sv=2020&sig={SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"{{'Authorization': 'Basic {SECRET}'}}",
        f'{{"password": "{SECRET}", "user": "alice"}}',
        f"api_key: {SECRET}",
        f" password={SECRET}",
    ],
)
def test_no_known_form_shows_the_secret(text):
    assert SECRET not in without_secrets(text)


@given(LETTERS, LETTERS)
def test_no_password_in_an_address_survives(user, password):
    shown = without_secrets(f"no answer from https://{user}:{password}@server.invalid:5000/base at all")
    assert shown == "no answer from https://***@server.invalid:5000/base at all"


@pytest.mark.parametrize(
    "text",
    [
        "https://mlflow.invalid:5000/base",
        "loss 0.5 at epoch 3; see https://pytorch.org/docs#basic",
        "sqlite:///mlflow.db",
        "a token of 16 x 16 pixels, key and value projections",
        "Write to name@example.org.",
        "tokens = self.embed(images); token = tokens[0]; sorted(names, key=len)",
        "RuntimeError: mat1 and mat2 shapes cannot be multiplied (4x8 and 6x2)",
    ],
)
def test_other_text_is_left_as_it_is(text):
    assert without_secrets(text) == text


def test_values_of_secret_variables_are_cut_out_wherever_they_stand(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://bob:p%40ssw%2Frd@server")
    shown = without_secrets(f"odd {SECRET}! and p@ssw/rd and p%40ssw%2Frd")
    assert shown == "odd ***! and *** and ***"


def test_workers_do_not_inherit_the_way_to_the_tracking_server():
    kept = without_tracking_variables({"MLFLOW_TRACKING_URI": ADDRESS, "MLFLOW_TRACKING_TOKEN": "x", "PATH": "/bin"})
    assert kept == {"PATH": "/bin"}


def everything_written(folder: Path) -> bytes:
    return b"\0".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_a_failure_is_stored_without_secrets(tmp_path):
    cell = Store(tmp_path).cell("cell")
    cell.fail(f"ConnectionError: {ADDRESS}", hint=f"curl {ADDRESS}", traceback=f"requests.get('{ADDRESS}')")
    written = everything_written(tmp_path)
    assert SECRET.encode() not in written
    assert b"https://***@mlflow.invalid" in written


@pytest.fixture
def leaking(project, monkeypatch):
    """A tracking server that cannot be reached, whose address and a variable hold the secret."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", ADDRESS.replace("mlflow.invalid", "127.0.0.1:9"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("HARNESS_TEST_SECRET", SECRET)  # the toy that leaks puts it into its error


@pytest.mark.usefixtures("toys", "leaking")
def test_a_run_that_fails_leaves_no_secret_anywhere(write_study, project, capfd):
    study = write_study(matrix={"dataset": ["cortex"], "model": ["toy_leaking"]})
    assert main(["run", str(study), "--workers", "1"]) == 1, "and the tracking server is not there, which is said"
    main(["status", "micro"])
    nowhere_to_be_seen(project, "".join(capfd.readouterr()))


@pytest.mark.slow
@pytest.mark.usefixtures("toys", "leaking")
def test_a_report_shows_no_secret(write_study, project, capfd):
    study = write_study(matrix={"dataset": ["cortex"], "model": ["toy", "toy_leaking"]})
    assert main(["run", str(study), "--workers", "2", "--no-mlflow"]) == 1
    main(["report", "micro", "--format", "all"])
    assert list(project.glob("results/reports/micro/default/*"))
    nowhere_to_be_seen(project, "".join(capfd.readouterr()))


def nowhere_to_be_seen(project, shown):
    written = everything_written(project)
    assert "leaked ***" in shown
    assert SECRET not in shown
    assert SECRET.encode() not in written
    assert b"leaked ***" in written
    assert [json.loads(path.read_text())["model"] for path in project.glob("results/cells/*/cell.json")]
