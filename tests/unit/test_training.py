"""Models that tests start from are trained once, and anew when what they are made of changes."""

import pytest

import training
from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load

BRIEF = (
    "training.steps=1",
    "dataset.train=64",
    "dataset.held_out=16",
    "model.encoder={name: convnet, widths: [4], dim: 4}",
    "tracking.system=false",
)


@pytest.fixture
def trainings(tmp_path, monkeypatch):
    """Counts the trainings, in a cache of its own."""
    monkeypatch.setattr(training, "CACHE", tmp_path / "trained")
    done, execute = [], training.execute

    def counted(assembly, run):
        done.append(run.name)
        return execute(assembly, run)

    monkeypatch.setattr(training, "execute", counted)
    return done


def test_a_model_is_trained_once_for_its_overrides_and_its_code(trainings, monkeypatch):
    first = training.trained("recognition", *BRIEF)
    assert training.trained("recognition", *BRIEF) == first
    assert len(trainings) == 1
    other = training.trained("recognition", *BRIEF, "run.seed=1")
    assert other != first
    monkeypatch.setattr(training, "WATCHED", training.WATCHED[:1])
    again = training.trained("recognition", *BRIEF)
    assert again not in (first, other)
    assert len(trainings) == 3
    kept = sorted(str(each) for each in training.CACHE.iterdir() if each.is_dir())
    assert kept == sorted([other, again]), "what is older than its code is deleted"


def test_a_task_starts_from_it(trainings):
    value = training.weights_of("recognition", *BRIEF)
    stages = assemble(load("vqa", [*BRIEF[1:3], f"model.recognition={value}"])).task.stages()
    assert [stage.name for stage in stages] == ["answer"]
    assert len(trainings) == 1
