"""A tracking server or database that cannot be used: one message, within seconds, without a secret."""

from __future__ import annotations

import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import mlflow
import pytest
from mlflow import MlflowClient

from harness.tracking import server
from harness.tracking.experiment import open_experiment
from harness.tracking.server import TrackingError, knock, tracking, tracking_place


@pytest.fixture
def track(monkeypatch, tmp_path):
    """Returns a function that names the tracking server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(server, "PATIENCE", 0.3)
    yield mlflow.set_tracking_uri
    mlflow.set_tracking_uri(None)


@contextmanager
def answering(status: int, body: bytes = b"") -> Iterator[str]:
    """An HTTP server on this machine that gives every request one answer; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_HEAD = answer

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{found.server_port}"
        found.shutdown()
        thread.join()


def refused() -> str:
    """Returns what is said where an experiment cannot be opened."""
    with pytest.raises(TrackingError) as caught, tracking("MLflow cannot be used", "Use --no-mlflow."):
        open_experiment("study")
    assert caught.value.hint == "Use --no-mlflow."
    assert "\n" not in caught.value.message
    assert "secret" not in caught.value.message
    return caught.value.message


def test_nobody_listens(track, monkeypatch):
    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", lambda *_: pytest.fail("it was not asked first"))
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    track(f"http://user:secret@127.0.0.1:{port}/base")
    assert f"http://127.0.0.1:{port}/base" in refused()


def test_a_server_that_takes_the_call_and_says_nothing(track, monkeypatch):
    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", lambda *_: pytest.fail("it was not asked first"))
    with closing(socket.create_server(("127.0.0.1", 0))) as mute:
        track(f"http://127.0.0.1:{mute.getsockname()[1]}")
        assert "timed out" in refused()


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, b"You are not authenticated.", "401"),
        (403, b'{"error_code": "PERMISSION_DENIED", "message": "not yours"}', "not yours"),
        (404, b"<html>no such page</html>", "404"),
        (200, b"<html>sign in</html>", "JSON"),
    ],
)
def test_what_a_server_refuses_is_said_in_a_line(track, status, body, said):
    with answering(status, body) as address:
        track(address.replace("//", "//user:secret@"))
        knock()
        assert said in refused()


@pytest.mark.parametrize(
    "uri", ["http://", "http://[", "postgresql+psycopg2://user:secret@127.0.0.1:1/x", "nonsense://x"]
)
def test_addresses_that_lead_nowhere(track, uri):
    track(uri)
    assert tracking_place() in refused()


@pytest.mark.parametrize("content", [b"", b"just text\n" * 200, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_file_that_is_no_database(track, tmp_path, content):
    (tmp_path / "mlflow.db").write_bytes(content)
    track(f"sqlite:///{tmp_path}/mlflow.db")
    if content:
        assert "not a database" in refused() or "malformed" in refused()
        assert (tmp_path / "mlflow.db").read_bytes() == content
    else:
        knock()  # MLflow fills an empty file


def test_a_database_of_another_program_is_left_as_it_is(track, tmp_path):
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE recipes (name TEXT)")
    before = path.read_bytes()
    track(f"sqlite:///{path}")
    assert "recipes" in refused()
    assert path.read_bytes() == before


def test_a_database_of_another_version_of_mlflow(track, tracking_database):
    with closing(sqlite3.connect(tracking_database)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'future'")
    track(f"sqlite:///{tracking_database}")
    assert "schema" in refused()


def test_a_locked_database(track, tracking_database):
    track(f"sqlite:///{tracking_database}")
    with closing(sqlite3.connect(tracking_database)) as database:
        database.execute("BEGIN EXCLUSIVE")
        assert "locked" in refused()
    knock()


def test_a_folder_and_a_place_that_is_not_there(track, tmp_path):
    (tmp_path / "mlflow.db").mkdir()
    track(f"sqlite:///{tmp_path}/mlflow.db")
    assert "no file" in refused()
    (tmp_path / "file").touch()
    track(f"sqlite:///{tmp_path}/file/mlflow.db")
    assert str(tmp_path) in refused()
