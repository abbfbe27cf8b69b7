"""What a Ray worker says when its part fails."""

import types

import pytest
import ray.train
from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

from sensorium.errors import UserError
from sensorium.runtime import train


@pytest.mark.parametrize(
    ("error", "told"), [(ValueError("no picture"), True), (UserError("No such file."), False), (SystemExit(1), False)]
)
def test_a_worker_shows_where_it_failed_but_for_a_mistake_of_the_user(monkeypatch, capsys, error, told):
    def fail(config):
        raise error

    context = types.SimpleNamespace(get_world_rank=lambda: 1)
    monkeypatch.setattr(ray.train, "get_context", lambda: context)
    monkeypatch.setattr(train, "_work", fail)
    with pytest.raises(type(error)):
        train._worker({})({})
    err = capsys.readouterr().err
    assert ("Worker 1 failed:\nTraceback (most recent call last):" in err) is told
    assert ("in fail" in err) is told


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ControllerError(OSError("the disk is full.")), "the disk is full"),
        (WorkerGroupError("Two failed.", {1: ValueError("no picture")}), "worker 1: no picture"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_why_a_training_ended_is_told_by_its_cause(error, told):
    assert train._reason(error) == told
