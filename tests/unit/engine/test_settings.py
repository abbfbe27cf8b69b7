import pytest

from sensorium.engine.settings import Checkpoints, Evaluation, Optimizer, Schedule, Training


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Optimizer(lr=0.0), "lr must be above 0, not 0.0"),
        (lambda: Schedule(warmup=1.0), "warmup must lie in"),
        (lambda: Schedule(final=1.1), "final in"),
        (lambda: Checkpoints(keep=0), "keep must be above 0"),
        (lambda: Checkpoints(steps=-1), "steps must be above 0"),
        (lambda: Training(global_batch=0), "global_batch must be above 0"),
        (lambda: Training(steps=0), "steps must be above 0"),
        (lambda: Training(accumulate=0), "accumulate must be above 0"),
        (lambda: Training(clip_norm=0.0), "clip_norm must be above 0"),
        (lambda: Training(epochs=-1), "epochs must be 0 or more"),
        (lambda: Evaluation(batch=0), "batch must be above 0"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_what_may_be_left_out():
    training = Training(clip_norm=None, epochs=0, checkpoints=Checkpoints(steps=None))
    assert (training.clip_norm, training.epochs, training.checkpoints.steps) == (None, 0, None)
