import pytest

from sensorium.engine import clock
from sensorium.engine.clock import STEADY, Clock


@pytest.fixture
def seconds(monkeypatch):
    """A hand on the clock."""
    now = [100.0]
    monkeypatch.setattr(clock.time, "perf_counter", lambda: now[0])
    return now


def test_speed_is_that_of_steady_steps_without_pauses(seconds):
    timer = Clock()
    assert timer.rate == 0
    for step in range(STEADY + 3):
        seconds[0] += 10.0 if step < STEADY else 0.5
        timer.step(8)
        with timer.paused():
            seconds[0] += 7.0
    assert timer.rate == pytest.approx(8 / 0.5)
    assert timer.samples == 3 * 8


def test_a_pause_before_the_first_step_is_harmless(seconds):
    timer = Clock()
    with timer.paused():
        seconds[0] += 3
    timer.step(4)
    assert timer.rate == 0
