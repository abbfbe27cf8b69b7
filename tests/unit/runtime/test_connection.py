"""Ray that does not start, or is not there, is a sentence."""

import pytest
import ray

from sensorium.errors import SensoriumError, UserError
from sensorium.plugins import Plugins
from sensorium.runtime import connection, internals


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (Exception("The current node timed out during startup."), SensoriumError, "less busy"),
        (ConnectionError("nobody answers"), UserError, "cannot be reached"),
    ],
)
def test_ray_that_does_not_come_up_is_told_in_a_sentence(monkeypatch, error, kind, said):
    def init(**_):
        raise error

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(internals, "listen", lambda: None)
    with pytest.raises(kind, match=said) as caught:
        connection.connect(None, Plugins())
    assert str(error).rstrip(".") in str(caught.value)
