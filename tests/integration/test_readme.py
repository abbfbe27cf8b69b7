"""The README's commands run as they stand, their trainings cut short, and its encoder trains."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plot
import pytest
from sklearn.datasets import load_digits

from recording import warm
from sensorium.assembly.loading import STEPS

ROOT = Path(__file__).parents[2]
BLOCKS = dict(
    re.findall(r"<!-- tested: (\S+) -->\n```\w+\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    (folder / "row_reader.py").write_text(BLOCKS["row_reader.py"])
    return folder


def shell(commands: str, place: Path) -> str:
    variables = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    variables.pop("MLFLOW_TRACKING_URI", None)
    done = subprocess.run(
        ["bash", "-euc", commands], cwd=place, env=variables, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def on_ray(block: str) -> tuple[str, str]:
    """Returns the lines of a block that train in their own process, and those that train on Ray."""
    lines = block.splitlines(keepends=True)
    return tuple("".join(each for each in lines if ("--workers" in each) is ray) for ray in (False, True))


@pytest.fixture
def reader(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a reader types in, whose trainings are short."""
    monkeypatch.chdir(place)
    monkeypatch.setenv(STEPS, "5")
    monkeypatch.setenv("SENSORIUM_ALLOW_PLUGINS", "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return place


@pytest.mark.usefixtures("reader")
def test_train(type_in: Callable[[str], str]) -> None:
    said = "".join(type_in(line) for line in on_ray(BLOCKS["train"])[0].splitlines())
    assert len(re.findall(r"^ *zero_shot_accuracy +[\d.]+", said, re.MULTILINE)) == 2, "of the training, and anew"
    assert len(re.findall(r'^label +\{"', said, re.MULTILINE)) == 2, "of the picture, and of it moved by words"


@pytest.mark.usefixtures("reader")
def test_python(place: Path) -> None:
    furnished = place / "digit.png"
    if not furnished.exists():  # made by the commands above it
        plot.imsave(furnished, load_digits().images[-1], cmap="gray")
    found: dict[str, Any] = {}
    with warm():
        exec(BLOCKS["python"], found)
    assert found["run"].metrics["zero_shot_accuracy"] <= 1
    assert found["run"].plots["test/retrieval"].startswith(b"\x89PNG")
    assert set(found["answer"]) == {"label", "image_embedding"}
    assert found["vectors"].shape == (2, 64)


@pytest.mark.ray
@pytest.mark.cluster
def test_train_on_ray(place: Path) -> None:
    said = shell(f"export {STEPS}=5; {on_ray(BLOCKS['train'])[1]}", place)
    assert "zero_shot_accuracy" in said
    assert "sensorium predict runs/clip-" in said


@pytest.mark.ray
@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_submit(place: Path) -> None:
    shutil.copytree(ROOT / "clusters", place / "clusters", dirs_exist_ok=True)
    try:
        said = shell(BLOCKS["submit"], place)
    finally:  # where a command before the last one fails
        subprocess.run([sys.executable, "-m", "sensorium.cli", "cluster", "down", "laptop"], check=False)
    assert len(re.findall(r"^run +clip-", said, re.MULTILINE)) == 2, "the job's and one's own"
    assert "SUCCEEDED" in said
    assert "laptop is down" in said


@pytest.mark.ray
@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_search(place: Path) -> None:
    said = shell(BLOCKS["search"], place)
    assert re.search(r"^best +trial \d", said, re.MULTILINE)
    assert "zero_shot_accuracy" in said


@pytest.mark.ray
@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_serve(place: Path) -> None:
    if not (place / "digit.png").exists():  # made, like the model, by the commands above it
        shell(on_ray(BLOCKS["train"])[0], place)
    said = shell(BLOCKS["serve"], place)
    assert '{"status":"ok"}' in said
    assert "image_embedding" in said
    assert "text_embedding" in said
    assert len(re.findall(r'"id": ?"test/\d+"', said)) >= 3, "three hits of the search"
    assert "450 answers, 0 of them errors" in said


@pytest.mark.usefixtures("reader")
def test_extend(type_in: Callable[[str], str]) -> None:
    assert "zero_shot_accuracy" in type_in(BLOCKS["extend"])


def test_only_targets_that_exist_are_named() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8") + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^ {4}make (\w+)", text, re.MULTILINE))
    assert named >= {"demo", "test"}
    for target in named:
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
