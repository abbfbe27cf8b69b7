"""What travels with a job, and what does not."""

import subprocess
import zipfile

import pytest

from sensorium.errors import UserError
from sensorium.runtime import connection, package

SECRETS = ("SENSORIUM_API_KEY", "RAY_AUTH_TOKEN", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD")


def git(folder, *arguments):
    identity = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "work"
    for name in (
        "mine.py",
        "data/small.csv",
        "data/big.bin",
        "runs/r1/run.json",
        ".venv/bin/python",
        "mlflow.db",
        ".env",
    ):
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (place / ".gitignore").write_text("*.bin\n")
    return place


def packed(folder, named=()):
    target = folder.parent / "files.zip"
    count = package.pack(folder, target, named)
    with zipfile.ZipFile(target) as archive:
        names = set(archive.namelist())
        assert count == len(names)
        return names


def test_what_git_ignores_stays_and_so_do_results(folder):
    git(folder, "init")
    git(folder, "add", "mine.py")
    assert packed(folder) == {"mine.py", "data/small.csv", ".gitignore"}, "also what is not committed yet"
    assert packed(folder, [folder / "data" / "big.bin"]) >= {"data/big.bin"}
    (folder / "mine.py").unlink()  # git still lists it
    assert packed(folder) == {"data/small.csv", ".gitignore"}


def test_below_the_top_of_a_repository_that_folder_alone_travels(folder):
    git(folder, "init")
    assert packed(folder / "data") == {"small.csv"}


def test_without_git_all_but_results_travels(folder):
    assert packed(folder) == {"mine.py", "data/small.csv", "data/big.bin", ".gitignore"}


def test_modules_from_elsewhere_travel_to_the_top(folder, tmp_path):
    (tmp_path / "elsewhere" / "parts").mkdir(parents=True)
    (tmp_path / "elsewhere" / "single.py").write_text("")
    (tmp_path / "elsewhere" / "parts" / "one.py").write_text("")
    named = [tmp_path / "elsewhere" / name for name in ("single.py", "parts")]
    assert packed(folder, named) >= {"single.py", "parts/one.py"}


def test_too_much_is_refused_with_the_largest_named(folder, monkeypatch):
    monkeypatch.setattr(package, "MOST", 20)
    with pytest.raises(UserError, match=r"too many to travel: 0 MiB, (big\.bin|small\.csv|\.gitignore)"):
        packed(folder)


def test_secrets_do_not_travel(monkeypatch):
    for name in SECRETS:
        monkeypatch.setenv(name, "canary-7c1f")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    monkeypatch.setenv("SENSORIUM_PLUGINS", "clip")
    monkeypatch.setenv("SENSORIUM_NODE", "laptop-1/head")
    found = package.variables()
    assert "canary-7c1f" not in str(found)
    assert "SENSORIUM_NODE" not in found
    assert found["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
    assert found["SENSORIUM_PLUGINS"] == "clip"
    assert package.credentials() == {"MLFLOW_TRACKING_PASSWORD": "canary-7c1f"}


def test_the_workers_of_a_training_get_no_secret_either(monkeypatch):
    for name in SECRETS:
        monkeypatch.setenv(name, "canary-7c1f")
    assert "canary-7c1f" not in str(connection.variables())


@pytest.fixture
def no_uri(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_here_a_job_writes_where_it_was_sent_from(folder, no_uri):
    assert package.places("runs", None, folder, True) == (
        [f"run.storage={folder}/runs"],
        {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"},
    )
    assert package.places("/shared/runs", "sqlite:///mine.db", folder, True) == (
        [f"tracking.uri=sqlite:///{folder}/mine.db"],
        {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"},
    )


def test_here_a_store_that_is_set_stays(folder, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    assert package.places("s3://b/runs", None, folder, True) == (
        [],
        {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/other.db"},
    )


@pytest.mark.parametrize(
    ("storage", "uri", "said"),
    [
        ("runs", "http://mlflow:5000", "cannot reach the storage 'runs'"),
        ("/shared/runs", None, "cannot reach the record"),
        ("/shared/runs", "sqlite:///mlflow.db", "the path is relative"),
        ("s3://b/runs", "postgresql://me:s3cret@db/mlflow", "holds a password"),
    ],
)
def test_elsewhere_what_cannot_be_reached_is_refused(folder, no_uri, storage, uri, said):
    with pytest.raises(UserError, match=said) as caught:
        package.places(storage, uri, folder, False)
    assert "s3cret" not in str(caught.value)


def test_elsewhere_what_can_be_reached_is_left_as_it_is(folder, no_uri, monkeypatch):
    assert package.places("s3://b/runs", "http://mlflow:5000", folder, False) == ([], {})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    found = package.places("/shared/runs", None, folder, False)
    assert found == ([], {"MLFLOW_TRACKING_URI": "http://mlflow:5000"})


def test_the_commit_goes_along(folder):
    assert package.commit(folder) == ""
    git(folder, "init")
    git(folder, "commit", "--allow-empty", "-m", "first")
    assert len(package.commit(folder)) == 40
