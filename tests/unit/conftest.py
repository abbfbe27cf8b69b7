"""The command line, and one small model that was trained, interrupted and resumed by it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from command import Answer, call
from recording import warm

TINY = (
    "dataset.limit={train: 192, test: 48}",
    "model.encoders.image.widths=[8, 16]",
    "model.encoders.image.dim=16",
    "model.encoders.text.dim=16",
    "model.encoders.text.depth=1",
    "model.encoders.text.heads=2",
    "model.fusion.dim=8",
    "model.tags=[sloped, round, angular]",
    "training.epochs=2",
    "training.global_batch=32",
    "training.checkpoints.steps=2",
    "run.threads=2",
)
"""Options that make the default experiment of CLIP a matter of a second: 12 steps."""


@pytest.fixture(scope="session")
def sensorium() -> Callable[..., Answer]:
    """Runs the command line in this process."""
    return call


@dataclass(frozen=True)
class Trained:
    """A model of the command line's making.

    Attributes:
        folder: Working folder: a git repository.
        uri: MLflow's store.
        commit: The commit of the repository.
        broken: The answer of `train` that was interrupted at step 7 of 12.
        answer: The answer of `train --resume` that went on.
        calls: What every_hook was told.
    """

    folder: Path
    uri: str
    commit: str
    broken: Answer
    answer: Answer
    calls: list[tuple[str, dict[str, Any]]]

    @property
    def result(self) -> dict[str, Any]:
        """What `train --json` printed."""
        return self.answer.json

    def at(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Moves a test to where it was trained."""
        monkeypatch.chdir(self.folder)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", self.uri)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """CLIP on a few digits: trained, interrupted, resumed, recorded and registered."""
    import every_hook

    folder = tmp_path_factory.mktemp("trained")
    commit = repository(folder)
    with warm(), pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setattr(every_hook, "CALLS", calls := [])
        patch.setattr(every_hook, "stop_at", 7)
        patch.setattr("sensorium.tracking.recorder.EVERY", 0.1)
        recorded = ("plugins=[every_hook]", "tracking.experiment=digits", "tracking.register=tiny")
        broken = call("train", "clip", *TINY, *recorded)
        assert broken.status == 1, broken.err
        patch.setattr(every_hook, "stop_at", None)
        (run,) = (folder / "runs").iterdir()
        answer = call("train", "--resume", run.name, "--json")
    assert (broken.status, answer.status) == (1, 0), broken.err + answer.err
    return Trained(folder, f"sqlite:///{folder}/mlflow.db", commit, broken, answer, calls)


def repository(folder: Path) -> str:
    git = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "first"], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
