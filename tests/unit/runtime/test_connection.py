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


def test_what_an_address_lacks_is_told_as_it_is(monkeypatch):
    def join(address):
        raise UserError("There is no Ray cluster.", "", "Start one.")

    monkeypatch.setattr(connection, "join", join)
    monkeypatch.setattr(internals, "listen", lambda: None)
    with pytest.raises(UserError, match=r"^There is no Ray cluster\. Start one\.$"):
        connection.connect("127.0.0.1:9", Plugins())
