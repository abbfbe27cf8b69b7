"""What is drawn at random for a sample, and which stranger it meets, whatever the number of workers.

Shapes: B samples.
"""

import pytest
import torch

from gloo import together
from sensorium import Batch, workers

SAMPLES = [{"id": f"s{i}", "group": "ab"[i % 2]} for i in range(7)]


def part(seed=5):
    """Returns a worker's slice of the seven samples."""
    per = -(-7 // workers.size())
    return Batch(SAMPLES[workers.rank() * per : (workers.rank() + 1) * per], seed=seed)


def drawn():
    batch = part()
    values = torch.tensor([float(name[1:]) for name in batch.ids])
    return batch.normal("noise", 2, 3), batch.uniform("time"), workers.mismatched(values, batch)


@pytest.fixture(scope="module")
def one():
    return drawn()


@pytest.mark.parametrize("count", [2, 3])
def test_the_number_of_workers_changes_no_number(count, one):
    for found, expected in zip(zip(*together(count, drawn), strict=True), one, strict=True):
        assert torch.equal(torch.cat(found), expected)


def met_without_pickles():
    def refused(*_, **__):
        raise AssertionError("an object travels in a step")

    for name in ("all_gather_object", "broadcast_object_list", "gather_object"):
        setattr(torch.distributed, name, refused)
    batch = part()
    pictures = torch.tensor([float(name[1:]) for name in batch.ids]).view(-1, 1, 1).expand(-1, 2, 3).requires_grad_()
    met = workers.mismatched(pictures, batch)
    assert not met.requires_grad
    return met[:, 0, 0]


@pytest.mark.parametrize("count", [2, 3])
def test_strangers_travel_as_tensors(count, one):
    assert torch.equal(torch.cat(together(count, met_without_pickles)), one[2])


def test_numbers_have_the_distribution_that_they_name():
    batch = Batch([{"id": str(i)} for i in range(500)])
    normal, uniform = batch.normal("a", 40), batch.uniform("a", 40)
    assert abs(normal.mean()) < 0.02
    assert abs(normal.std() - 1) < 0.02
    assert 0 <= uniform.min() < 0.01
    assert 0.99 < uniform.max() < 1
    assert abs(uniform.std() - 12**-0.5) < 0.01


@pytest.mark.parametrize(
    "other",
    [Batch([{"id": "s1"}], seed=5), Batch([{"id": "s0"}], seed=6), Batch([{"id": "s0", "seed": 3}], seed=5)],
    ids=["id", "seed of the step", "seed of the sample"],
)
def test_numbers_follow_from_sample_and_seed(other):
    batch = Batch([{"id": "s0"}], seed=5)
    assert torch.equal(batch.normal("a", 4), Batch([{"id": "x"}, {"id": "s0"}], seed=5).normal("a", 4)[1:])
    assert not torch.equal(batch.normal("a", 4), batch.normal("b", 4))
    assert not torch.equal(batch.normal("a", 4), other.normal("a", 4))


def test_parts_of_a_batch_keep_its_seed():
    whole = Batch(SAMPLES, seed=9)
    assert torch.equal(torch.cat([piece.normal("a", 2) for piece in whole.split(3)]), whole.normal("a", 2))


@pytest.mark.parametrize("seed", range(20))
def test_a_stranger_is_of_another_group(seed):
    batch = Batch(SAMPLES, seed=seed)
    met = workers.mismatched(torch.arange(7), batch)
    assert all(int(other) % 2 != place % 2 for place, other in enumerate(met))


def test_mismatched_change_from_step_to_step():
    found = {tuple(workers.mismatched(torch.arange(7), Batch(SAMPLES, seed=seed)).tolist()) for seed in range(10)}
    assert len(found) > 5


def test_where_all_are_of_one_group_nobody_meets_itself():
    batch = Batch([{"id": str(i), "group": "same"} for i in range(5)])
    met = workers.mismatched(torch.arange(5), batch)
    assert not (met == torch.arange(5)).any()


def test_a_single_sample_meets_itself():
    assert workers.mismatched(torch.tensor([4.0]), Batch([{"id": "only"}])).tolist() == [4.0]
