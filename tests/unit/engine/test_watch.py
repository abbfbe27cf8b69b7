import math
import pickle

import pytest
import torch

from gloo import together
from sensorium.contracts import workers
from sensorium.engine.watch import NotFiniteError, Watch

IDS = ["a", "b", "c"]


def watch(**losses):
    watch = Watch()
    terms = {name.replace("_", "/"): torch.tensor(values) for name, values in losses.items()}
    watch.expect(7, {name: values.mean() for name, values in terms.items()}, terms, IDS)
    return watch


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_error_names_step_term_and_samples(bad):
    with pytest.raises(
        NotFiniteError, match=r"'main/two' is not finite at step 7, for the samples b\. No check"
    ) as error:
        watch(main_one=[1.0, 2.0, 3.0], main_two=[1.0, bad, 3.0]).check()
    assert (error.value.step, error.value.loss, error.value.ids) == (7, "main/two", ["b"])


def test_a_mean_names_all_samples_that_it_was_taken_over():
    with pytest.raises(NotFiniteError) as error:
        watch(main_one=math.nan).check()
    assert error.value.ids == IDS


def test_finite_losses_pass_even_when_their_sum_overflows():
    watch(main_one=[1.0, 2.0, 3.0]).check()
    watch(**{f"main_{term}": [1e38] * 3 for term in ("a", "b", "c", "d")}).check()
    Watch().check()


def test_a_step_is_looked_at_once():
    guard = watch(main_one=[math.nan] * 3)
    with pytest.raises(NotFiniteError):
        guard.check()
    guard.check()


def test_long_lists_are_cut_and_the_error_travels_between_processes():
    error = pickle.loads(pickle.dumps(NotFiniteError(3, "main/x", [str(i) for i in range(12)])))
    assert "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more" in str(error)
    assert (error.step, error.loss, len(error.ids)) == (3, "main/x", 12)


def only_worker_1_is_bad():
    losses = torch.tensor([1.0, 2.0, math.nan if workers.rank() else 3.0])
    guard = Watch()
    guard.expect(2, {"main/x": workers.add(losses.mean())}, {"main/x": losses}, [f"{workers.rank()}{i}" for i in IDS])
    try:
        guard.check()
    except NotFiniteError as error:
        return error.ids
    return None


def test_all_workers_name_the_same_samples():
    assert together(2, only_worker_1_is_bad) == [["1c"], ["1c"]]
