"""What travels with a job, and what does not."""

import subprocess
import zipfile

import pytest

from sensorium.errors import UserError
from sensorium.runtime import connection, working_dir

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
    count = working_dir.pack(working_dir.choose(folder, named), target)
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
    monkeypatch.setattr(working_dir, "MOST", 20)
    with pytest.raises(UserError, match=r"too many to travel: 0 MiB, (big\.bin|small\.csv|\.gitignore)"):
        packed(folder)


def test_secrets_do_not_travel(monkeypatch):
    for name in SECRETS:
        monkeypatch.setenv(name, "canary-7c1f")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    monkeypatch.setenv("SENSORIUM_PLUGINS", "clip")
    monkeypatch.setenv("SENSORIUM_NODE", "laptop-1/head")
    found = working_dir.variables()
    assert "canary-7c1f" not in str(found)
    assert "SENSORIUM_NODE" not in found
    assert found["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
    assert found["SENSORIUM_PLUGINS"] == "clip"
    assert working_dir.credentials() == {"MLFLOW_TRACKING_PASSWORD": "canary-7c1f"}


def test_the_workers_of_a_training_get_no_secret_either(monkeypatch):
    for name in SECRETS:
        monkeypatch.setenv(name, "canary-7c1f")
    assert "canary-7c1f" not in str(connection.variables())


@pytest.fixture
def no_uri(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_here_a_job_writes_where_it_was_sent_from(folder, no_uri):
    assert working_dir.places("runs", None, folder, True) == (
        [f"run.storage={folder}/runs"],
        {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"},
    )
    assert working_dir.places("/shared/runs", "sqlite:///mine.db", folder, True) == (
        [f"tracking.uri=sqlite:///{folder}/mine.db"],
        {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"},
    )


def test_here_a_store_that_is_set_stays(folder, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    assert working_dir.places("s3://b/runs", None, folder, True) == (
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
        working_dir.places(storage, uri, folder, False)
    assert "s3cret" not in str(caught.value)


def test_elsewhere_what_can_be_reached_is_left_as_it_is(folder, no_uri, monkeypatch):
    assert working_dir.places("s3://b/runs", "http://mlflow:5000", folder, False) == ([], {})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    found = working_dir.places("/shared/runs", None, folder, False)
    assert found == ([], {"MLFLOW_TRACKING_URI": "http://mlflow:5000"})


def test_the_commit_goes_along(folder):
    assert working_dir.commit(folder) == ""
    git(folder, "init")
    git(folder, "commit", "--allow-empty", "-m", "first")
    assert len(working_dir.commit(folder)) == 40


@pytest.mark.parametrize("under_git", [True, False])
@pytest.mark.parametrize(
    "name",
    [
        *(".ssh/config", ".aws/credentials", ".netrc", ".git-credentials", "sub/id_rsa", "id_ed25519.old", "a.pem"),
        *("tls.key", ".env.local", ".kube/config", ".docker/config.json", ".pypirc", ".npmrc", "hf_token"),
        *("my-service-account-1.json", "client_secret_9.json", "kaggle.json", "secrets.yaml", "token.txt"),
    ],
)
def test_what_looks_like_a_secret_stays_and_is_listed(folder, name, under_git):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("canary")
    if under_git:
        git(folder, "init")
        git(folder, "add", "-f", name)
    choice = working_dir.choose(folder)
    assert name in {str(path) for path in choice.withheld}
    assert name not in packed(folder)


@pytest.mark.parametrize("text", ["-----BEGIN OPENSSH PRIVATE KEY-----\nx", '{"private_key": "x"}'])
def test_a_key_is_known_by_its_form(folder, text):
    (folder / "innocent.json").write_text(text)
    assert "innocent.json" not in packed(folder)


@pytest.mark.parametrize("name", ["token.py", "secrets.py", "tokenizer.json", "monkey.csv", "keys/a.csv"])
def test_code_and_data_are_taken_for_no_secret(folder, name):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("1")
    assert name in packed(folder)


@pytest.mark.parametrize("under_git", [True, False])
@pytest.mark.parametrize("target", ["outside.txt", "outside"])
def test_a_link_that_leads_outside_is_refused(folder, tmp_path, under_git, target):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside.txt").write_text("canary")
    (folder / "link").symlink_to(tmp_path / target)
    if under_git:
        git(folder, "init")
    with pytest.raises(UserError, match="link is a link that leads out of"):
        working_dir.choose(folder)


def test_a_link_to_a_secret_inside_stays(folder):
    (folder / "notes.txt").symlink_to(folder / ".env")
    assert "notes.txt" not in packed(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MLFLOW_TRACKING_URI", "http://me:canary-7c1f@mlflow"),
        ("MLFLOW_TRACKING_URI", "http://canary-7c1f@mlflow"),
        ("MLFLOW_TRACKING_URI", "postgresql://me:a/canary-7c1f@db/m"),
        ("MLFLOW_REGISTRY_URI", "postgresql://db/m?user=me&password=canary-7c1f"),
        ("MLFLOW_TRACKING_AUTH", "canary-7c1f"),
        ("SENSORIUM_DB_PASS", "canary-7c1f"),
    ],
)
def test_a_variable_that_reveals_something_does_not_travel(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert "canary-7c1f" not in str(working_dir.variables()) + str(connection.variables())
