"""The guide and the plugins' documents run as they are written, their trainings cut short by SENSORIUM_STEPS.

Those of README.md run in `test_readme.py`. What needs real data runs where there are any.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import typer

import needs
import reader
from documents import GUIDE, ROOT, blocks, documents, said, unknown, words
from drawn_once import drawn_once
from sensorium import Run, Task, hookimpl, tracking
from sensorium.assembly.build import Assembly
from sensorium.assembly.splits import Subset
from sensorium.cli.main import app
from sensorium.engine.loop import Work
from sensorium.experiment.overrides import override
from sensorium.experiment.reading import check, read
from sensorium.experiment.yamls import parse_yaml
from sensorium.plugins import Plugins
from sensorium.tracking import models

ELSEWHERE = {"README.md": "test_readme.py", "CONTRIBUTING.md": "none has a block"}
MOST, MEASURED = 600, 8
"""Samples of a split, enough for all words, and those that are measured: more cost more than all that is asked here."""
PLUGINS = [document for document in documents() if document not in (GUIDE, *ELSEWHERE)]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reader's folder: the repository's files, pictures of digits, real data if there are any."""
    reader.furnish(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SENSORIUM_STEPS", "1")
    monkeypatch.setenv("SENSORIUM_ALLOW_PLUGINS", "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


@pytest.fixture(autouse=True)
def few_samples() -> Iterator[None]:
    """Cuts splits, and keeps them from one training of a document to the next."""
    whole = Assembly.work

    def cut(assembly: Assembly) -> Work:
        work = whole(assembly)
        learnt_from = {work.training.plan(stage.name).split for stage in work.task.stages()}
        few = {name: Subset(split, range(min(len(split), MEASURED))) for name, split in work.splits.items()}
        return replace(work, splits={name: work.splits[name] if name in learnt_from else few[name] for name in few})

    with drawn_once(MOST), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Assembly, "work", cut)
        yield


@pytest.fixture(autouse=True)
def few_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records those trainings alone whose model a later line may ask: a record takes longer than such a training."""
    begin, store = tracking.sensorium_run_started, models.store

    @hookimpl
    def sensorium_run_started(run: Run) -> None:
        if run.tracking.get("register"):
            begin(run)

    def stored(run: Run, model: str, task: Task) -> models.Stored:
        return store(run, model, task) if run.tracking.get("register") else models.Stored("", model)

    monkeypatch.setattr(tracking, "sensorium_run_started", sensorium_run_started)
    monkeypatch.setattr(models, "store", stored)


@pytest.mark.learn
@pytest.mark.timeout(900)
@pytest.mark.parametrize("document", PLUGINS)
def test_the_commands_of_a_plugin_run(document: str, place: Path, type_in: Callable[[str], str]) -> None:
    left, done = 0, set()
    for block in blocks(document):
        for line in block.commands() if block.language == "sh" else ():
            if line.startswith("make criteria"):  # hours
                left_out = words(line)[2].removeprefix("TASK=")
                assert (ROOT / f"plugins/sensorium_{left_out}/criteria.yaml").is_file()
            elif re.search(r"\bdata/|/experiments/", line) and not os.environ.get(needs.DATA):
                left += 1
            elif (what := frozenset(words(line)) - {"--json", "run.seed=0"}) not in done:
                type_in(line)
                done.add(what)
    if left:
        needs.missing(needs.NO_DATA)


@pytest.mark.ray
@pytest.mark.timeout(900)
def test_the_guide_runs_from_its_first_line(place: Path, type_in: Callable[[str], str]) -> None:
    begin = next(block for block in blocks(GUIDE) if block.language == "sh")
    *lines, last = begin.commands()
    printed = [type_in(line) for line in lines]
    assert " 0 fail" in printed[2], "the check"
    assert "label_accuracy" in printed[3], "the training"
    assert printed[5].startswith("label"), "the prediction"
    asked = (place / "digit.png").read_bytes()
    with serving(words(last)) as at:
        assert set(httpx.post(f"{at}/predict", files={"image": asked}, timeout=60).json()) == {"label"}


def test_the_worlds_readme_has_a_section_for_each() -> None:
    plugins = Plugins()
    text = (ROOT / "plugins/sensorium_worlds/README.md").read_text(encoding="utf-8")
    kinds = ("dataset", "metric")
    ours = {n for k in kinds for n in plugins.names(k) if plugins.entries[k][n].plugin == "worlds"}
    assert set(re.findall(r"^## `(\w+)`$", text, re.MULTILINE)) == ours


@pytest.mark.parametrize("document", documents())
def test_every_block_is_tested(document: str) -> None:
    for block in blocks(document):
        if document in ELSEWHERE and block.language in ("sh", "python"):
            assert f'"{block.name}"' in (ROOT / "tests/integration/test_readme.py").read_text(encoding="utf-8")
        elif document == GUIDE:
            assert block.language in ("sh", "python", "toml"), "the latter two: test_guide.py"
        else:
            assert block.language in ("sh", "yaml", "mermaid")
            served = [line for line in block.commands() if line.startswith("sensorium serve")]
            assert not served, "it runs until Ctrl-C, and the test of the commands would too"


def test_readme_names_each_task_with_the_plugin_it_comes_from() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(.*?)\]\(plugins/(\w+)\)", readme, re.MULTILINE)
    named = {
        task: f"sensorium_{folder.removeprefix('sensorium_')}"
        for tasks, folder in rows
        for task in re.findall(r"`(\w+)`", tasks)
    }
    plugins = Plugins()
    assert named == {task: f"sensorium_{plugins.entries['task'][task].plugin}" for task in plugins.names("task")}


@pytest.mark.parametrize("document", PLUGINS)
def test_a_picture_that_is_shown_is_there(document: str) -> None:
    shown = re.findall(r"!\[[^]]+\]\(([^)]+)\)", (ROOT / document).read_text(encoding="utf-8"))
    assert shown, "a stranger understands a picture of what it made at first sight"
    assert [name for name in shown if not (ROOT / document).with_name(name).is_file()] == []


@pytest.mark.parametrize(
    ("document", "task"), [("README.md", "clip"), ("plugins/sensorium_recognition/README.md", "vqa")]
)
def test_pieces_of_experiments_are_taken(document: str, task: str) -> None:
    (piece,) = (block.text for block in blocks(document) if block.language == "yaml")
    plugins = Plugins()
    options = [
        f"{section}.{name}={json.dumps(value)}"
        for section, each in parse_yaml(piece, document).items()
        for name, value in each.items()
    ]
    check(override(read(task, plugins), options), plugins)


@pytest.mark.parametrize("document", documents())
def test_every_command_and_option_named_exists(document: str) -> None:
    command = typer.main.get_command(app)
    wrong = {" ".join(each): found for each in said(document) if (found := unknown(each, command))}
    assert not wrong


def test_an_option_that_is_not_there_is_noticed() -> None:
    command = typer.main.get_command(app)
    assert unknown(["sensorium", "train", "clip", "--worker", "2"], command) == ["--worker"]
    assert unknown(["sensorium", "plugin", "now"], command) == ["now"]
    assert unknown(["sensorium", "--versoin"], command) == ["--versoin"]
    assert unknown(["sensorium", "submit", "--", "train", "--any"], command) == []


@contextlib.contextmanager
def serving(command: list[str]) -> Iterator[str]:
    """An endpoint by the command of a document, at a port that is free, until Ctrl-C."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "sensorium.cli", *command[1:], "--port", str(port)])
    try:
        until = time.monotonic() + 240
        while not answers(f"http://127.0.0.1:{port}/healthz"):
            assert process.poll() is None, "it ended"
            assert time.monotonic() < until, "it does not answer"
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def answers(address: str) -> bool:
    try:
        return httpx.get(address).status_code == 200
    except httpx.TransportError:
        return False
