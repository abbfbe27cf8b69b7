"""Jobs against a cluster that is made up: what is sent, what is shown, and how it ends."""

import json
import shlex
import sys
import zipfile
from types import SimpleNamespace

import pytest
import typer

from sensorium.assembly.loading import load
from sensorium.cli import jobs as commands
from sensorium.cli.main import app
from sensorium.errors import SensoriumError, UserError
from sensorium.runtime import jobs as module
from sensorium.runtime.jobs import Job, Jobs, exit_status
from sensorium.training import runs
from sensorium.training.session import resumed


class Cluster:
    """What Ray's client shows of a cluster: one job, whose log comes in parts."""

    def __init__(self):
        self.sent, self.stopped = [], []
        self.lines = ["one\n", "two\n", "three\n"]
        self.breaks = 0
        self.status, self.code, self.message = "SUCCEEDED", 0, ""

    def submit_job(self, entrypoint, runtime_env):
        with zipfile.ZipFile(runtime_env["working_dir"]) as archive:
            names = set(archive.namelist())
        self.sent.append((entrypoint, runtime_env["env_vars"], names))
        return "job_1"

    def list_jobs(self):
        common = {"entrypoint": "sensorium train clip", "start_time": 5000, "message": self.message}
        driver = SimpleNamespace(submission_id=None, status="RUNNING", driver_exit_code=None, **common)
        return [
            driver,
            SimpleNamespace(submission_id="job_1", status=self.status, driver_exit_code=self.code, **common),
        ]

    def get_job_logs(self, job):
        return "".join(self.lines)

    async def tail_job_logs(self, job):
        yield self.lines[0]
        if self.breaks:
            self.breaks -= 1
            raise RuntimeError("connection lost")
        yield self.lines[1]

    def stop_job(self, job):
        self.stopped.append(job)
        self.status = "STOPPED"


@pytest.fixture
def made_up(monkeypatch, tmp_path):
    """A folder with a repository's files, and a cluster on this machine."""
    there = Cluster()

    def connect(self, address=None):
        self.address, self._client = "http://127.0.0.1:8265", there

    monkeypatch.setattr(Jobs, "__init__", connect)
    monkeypatch.setattr("sensorium.runtime.address.is_here", lambda address: True)
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mine.yaml").write_text("task: clip\n")
    return there


def test_a_job_is_sent_with_files_places_and_no_secret(made_up, sensorium, tmp_path, monkeypatch):
    monkeypatch.setenv("SENSORIUM_API_KEY", "canary-7c1f")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "canary-7c1f")
    answer = sensorium("submit", "--", "train", "clip", "--workers", "2", "tracking.experiment=a b")
    assert answer.status == 0, answer
    assert answer.out == "one\ntwo\nthree\n"
    assert "MLFLOW_TRACKING_PASSWORD does not travel" in answer.err
    ((command, variables, files),) = made_up.sent
    assert command == (
        f"sensorium train clip --workers 2 'tracking.experiment=a b' run.storage={tmp_path}/runs --address auto"
    )
    assert variables["MLFLOW_TRACKING_URI"] == f"sqlite:///{tmp_path}/mlflow.db"
    assert files == {"mine.yaml"}
    assert "canary" not in answer.out + answer.err + str(made_up.sent)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "clop"], "Did you mean 'clip'?"),
        (["train", "clip", "trainnig.epochs=3"], "Did you mean 'training'?"),
        (["train", "clip", "training.global_batch=5000"], "Set training.global_batch to 1347 at most."),
        (["train", "clip", "--worker", "2"], "No such option"),
        (["train", "clip", "--workers", "two"], "valid integer"),
        (["trian", "clip"], "No such command 'trian'"),
        (["train"], "The command names no task"),
        (["train", "nowhere.yaml"], "The experiment file 'nowhere.yaml' does not exist."),
        (["train", "../other.yaml"], "lies outside of this folder"),
        (["train", "--resume", "clip-1999"], "There is no run 'clip-1999'."),
        (["cluster", "up", "x.yaml"], "`cluster` is not run on a cluster."),
        (["submit", "train"], "`submit` is not run on a cluster."),
    ],
)
def test_a_typo_never_travels(made_up, sensorium, tmp_path, arguments, said):
    (tmp_path.parent / "other.yaml").write_text(sensorium("show", "clip").out)
    answer = sensorium("submit", "--", *arguments)
    assert answer.status == 2, answer
    assert said in answer.err
    assert "Traceback" not in answer.err
    assert made_up.sent == []


def test_detached_it_says_how_to_go_on(made_up, sensorium):
    lines = sensorium("submit", "--detach", "--", "train", "clip").out.splitlines()
    assert lines[0] == "job      job_1, with 1 files"
    assert lines[1] == "go on    sensorium logs job_1 --follow --address http://127.0.0.1:8265"
    assert sensorium("submit", "--detach", "--json", "--", "tasks").json["job"] == "job_1"
    assert made_up.sent[-1][0] == "sensorium tasks"


@pytest.mark.parametrize(
    ("status", "code", "ended"), [("SUCCEEDED", 0, 0), ("FAILED", 2, 2), ("FAILED", -9, 137), ("STOPPED", None, 1)]
)
def test_waiting_ends_as_the_job_ends(made_up, sensorium, status, code, ended):
    made_up.status, made_up.code = status, code
    assert sensorium("submit", "--", "train", "clip").status == ended
    assert exit_status(Job("j", status, "", None, code, "")) == ended
    found = sensorium("submit", "--json", "--", "train", "clip")
    assert (found.status, found.json["exit_status"]) == (ended, ended)


def test_a_job_that_never_ran_says_why(made_up, sensorium):
    made_up.status, made_up.code, made_up.message = "FAILED", None, "Failed to set up runtime environment: no"
    answer = sensorium("submit", "--", "train", "clip")
    assert "was not run: Failed to set up runtime environment: no." in answer.err
    assert answer.err.splitlines()[-1].startswith("Error: ")


def test_a_lost_connection_repeats_nothing(made_up, sensorium):
    made_up.breaks = 3
    answer = sensorium("logs", "job_1", "--follow")
    assert answer.out == "one\ntwo\nthree\n"


def test_a_cluster_that_stays_away_is_told(made_up, monkeypatch):
    made_up.breaks = 10**9
    clock = iter(range(0, 10**6, 10))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    with pytest.raises(SensoriumError, match=r"no longer answers: connection lost.*sensorium logs job_1 --follow"):
        Jobs().follow("job_1", print)


def test_jobs_logs_and_stop(made_up, sensorium):
    (line,) = sensorium("jobs").out.splitlines()
    assert line.split()[:2] == ["job_1", "SUCCEEDED"]
    assert [job["id"] for job in json.loads(sensorium("jobs", "--json").out)] == ["job_1"]
    assert sensorium("logs", "job_1").out == "one\ntwo\nthree\n"
    assert sensorium("stop", "job_1").out == "job_1 SUCCEEDED\n"
    assert made_up.stopped == [], "it has ended already"
    made_up.status = "RUNNING"
    assert sensorium("stop", "job_1").out == "job_1 STOPPED\n"
    for arguments in (["logs", "job_2"], ["stop", "job_2"], ["logs", "job_2", "--follow"]):
        answer = sensorium(*arguments)
        assert answer.status == 2
        assert "Did you mean 'job_1'?" in answer.err


def test_an_interruption_without_a_terminal_leaves_the_job(made_up, sensorium, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Jobs, "follow", interrupted)
    answer = sensorium("submit", "--", "train", "clip")
    assert answer.status == 130
    assert "The job job_1 goes on: sensorium logs job_1 --follow, or sensorium stop job_1" in answer.err
    assert made_up.stopped == []


@pytest.mark.parametrize(("said", "stopped"), [(True, ["job_1"]), (False, [])])
def test_an_interruption_at_a_terminal_asks(made_up, sensorium, monkeypatch, said, stopped):
    def interrupted(*_):
        made_up.status = "RUNNING"
        raise KeyboardInterrupt

    asked = []
    monkeypatch.setattr(Jobs, "follow", interrupted)
    monkeypatch.setattr(commands, "_is_terminal", lambda: True)
    monkeypatch.setattr(commands.typer, "confirm", lambda text, **_: asked.append(text) or said)
    assert sensorium("submit", "--", "train", "clip").status == 130
    assert "Stop the job job_1?" in asked[0]
    assert made_up.stopped == stopped


def test_elsewhere_the_record_must_be_within_reach(made_up, sensorium, monkeypatch):
    monkeypatch.setattr("sensorium.runtime.address.is_here", lambda address: False)
    answer = sensorium("submit", "--", "train", "clip")
    assert answer.status == 2
    assert "cannot reach the storage 'runs'" in answer.err
    answer = sensorium("submit", "--", "train", "clip", "run.storage=/shared/runs")
    assert "cannot reach the record" in answer.err
    assert made_up.sent == []
    answer = sensorium("submit", "--", "train", "clip", "run.storage=/shared/runs", "tracking.uri=http://mlflow:5000")
    assert answer.status == 0
    ((command, variables, _),) = made_up.sent
    assert command.endswith("run.storage=/shared/runs tracking.uri=http://mlflow:5000 --address auto")
    assert "MLFLOW_TRACKING_URI" not in variables


def test_a_resumed_run_is_looked_for_before_it_travels(made_up, sensorium, trained, monkeypatch, tmp_path):
    monkeypatch.chdir(trained.folder)
    answer = sensorium("submit", "--", "train", "--resume", trained.result["run"])
    assert answer.status == 0, answer
    ((command, _, files),) = made_up.sent
    folder = f"{trained.folder}/runs/{trained.result['run']}"
    assert command.endswith(f"run.storage={trained.folder}/runs --resume {folder} --address auto")
    assert not any(name.startswith("runs/") for name in files)
    job = tmp_path / "job"
    job.mkdir()
    monkeypatch.chdir(job)
    taken = []
    monkeypatch.setattr(
        "sensorium.training.session.resumed", lambda *given: taken.append(resumed(*given)) or sys.exit(7)
    )
    assert sensorium(*shlex.split(command)[1:]).status == 7, "the job's command is taken as it was sent"
    taken[0].claim.release()
    assert (taken[0].run.name, taken[0].run.folder) == (trained.result["run"], folder), "and finds the run"


@pytest.mark.parametrize("command", ["train", "tune"])
def test_what_is_resumed_is_found_from_the_jobs_folder(made_up, sensorium, tmp_path, monkeypatch, command):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    options = [
        "run.storage=kept",
        "search.space={training.optimizer.lr: {log_uniform: [1e-4, 1e-2]}}",
        "search.metric=recall",
    ]
    experiment = load("clip", options).plain()
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    files = {"train": ("run.json", {"tracking": {"uri": uri}}), "tune": ("search.json", {"uri": uri})}
    name, told = files[command]
    runs.write("kept/mine", name, json.dumps({"name": "mine", "experiment": experiment, "learnt": {}, **told}))
    answer = sensorium("submit", "--", command, "--resume", "kept/mine")
    assert answer.status == 0, answer
    ((sent, _, _),) = made_up.sent
    options = jobs_options(sent)
    assert options["resume"] == f"{tmp_path}/kept/mine", "the last one counts"
    assert options["address"] == "auto"


def jobs_options(command):
    return commands._parsed(shlex.split(command), typer.main.get_command(app))


def test_a_module_that_plugins_names_travels(made_up, sensorium, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere" / "mine_too.py").write_text(
        "from sensorium import hookimpl\n\n\n@hookimpl\ndef sensorium_losses():\n"
        "    return {'mine_too': 'mine_too:Mine'}\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path / "here")
    assert sensorium("submit", "--", "train", "clip", "plugins=[mine_too]").status == 0
    assert made_up.sent[0][2] == {"mine_too.py"}


def test_a_user_error_of_the_environment(made_up):
    with pytest.raises(UserError, match="was not run"):
        module.check_ended_well(Job("j", "FAILED", "", None, None, "runtime_env setup failed"))


def test_a_dry_run_lists_what_travels_and_asks_no_cluster(made_up, sensorium, tmp_path, monkeypatch):
    def asked(*_):
        raise AssertionError("a dry run asks no cluster")

    monkeypatch.setattr(Jobs, "__init__", asked)
    (tmp_path / "large.csv").write_text("x" * 5000)
    (tmp_path / ".netrc").write_text("canary-7c1f")
    lines = sensorium("submit", "--dry-run", "--", "train", "clip").out.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["5,000", "large.csv"], ["11", "mine.yaml"]]
    assert lines[2].split()[:5] == ["5,011", "bytes", "in", "2", "files"]
    assert lines[3].startswith("stays here   .netrc")
    found = sensorium("submit", "--dry-run", "--json", "--", "tasks").json
    assert (found["bytes"], found["withheld"]) == (5011, [".netrc"])


@pytest.mark.parametrize("how", ["variable", "experiment", "file", "argument"])
def test_a_password_does_not_travel_and_is_told_where_it_belongs(made_up, monkeypatch, sensorium, tmp_path, how):
    address = "http://me:canary-7c1f@h"
    monkeypatch.setenv("SENSORIUM_TRACKING_URI", "")
    arguments = {"experiment": [f"tracking.uri={address}"], "argument": [f"tracking.experiment={address}"]}
    if how == "variable":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    uri = address if how == "file" else "http://h"
    written = sensorium("show", "clip").out.replace("uri: null", f"uri: {uri}")
    assert uri in written
    (tmp_path / "mine.yaml").write_text(written)
    answer = sensorium("submit", "--", "train", "mine.yaml", *arguments.get(how, []))
    assert answer.status == 2, answer
    assert "holds a password" in answer.err
    assert "A cluster's nodes hold it" in answer.err
    assert "canary" not in answer.out + answer.err
    assert made_up.sent == []


@pytest.mark.parametrize("command", ["tasks", "train clip", "tune clip"])
def test_an_address_with_a_password_reaches_no_job(made_up, sensorium, monkeypatch, command):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:canary-7c1f@db/m")
    answer = sensorium("submit", "--detach", "--", *command.split())
    assert "canary" not in answer.out + answer.err + str(made_up.sent)
    answer = sensorium("submit", "--", *command.split(), "tracking.uri=postgresql://me:canary-7c1f@db/m")
    assert answer.status == 2
    assert "canary" not in answer.out + answer.err + str(made_up.sent)
