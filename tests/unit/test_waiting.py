"""What watches that the host waits for nothing notices each way of waiting, and lets pass what waits for nothing."""

import pytest
import torch
from torch import nn

from elsewhere import DEVICE, elsewhere
from sensorium import Batch, Padded, workers
from sensorium.builtin.losses.infonce import InfoNCE
from sensorium.builtin.losses.siglip import SigLIP
from sensorium.builtin.losses.triplet import Triplet
from sensorium_recipes.loss import Cosine


@pytest.mark.parametrize(
    ("does", "fault"),
    [
        (lambda x: float(x[0]), "_local_scalar_dense waits"),
        (lambda x: bool((x > 0).any()), "_local_scalar_dense waits"),
        (lambda x: x.tolist(), ".tolist() waits"),
        (lambda x: x.cpu(), ".cpu() waits"),
        (lambda x: x.to("cpu"), ".to('cpu') waits"),
        (lambda x: x[x > 0], "a choice by a mask waits"),
        (lambda x: (x > 0).nonzero(), "nonzero waits"),
        (lambda x: x.unique(), "_unique2 waits"),
        (lambda x: x.new_zeros(3).tolist(), ".tolist() waits"),
        (lambda x: torch.zeros(3, device=x.device).tolist(), ".tolist() waits"),
        (lambda x: torch.tensor([1.0], device=x.device).tolist(), ".tolist() waits"),
    ],
)
def test_waiting_is_noticed(does, fault):
    with elsewhere() as watch:
        does(watch.put(torch.ones(3)))
    assert any(fault in each for each in watch.faults)


@pytest.mark.parametrize(
    "does",
    [
        lambda x: x.where(x > 0, 0).sum() / 3,
        lambda x: x[torch.tensor([0, 1])],
        lambda x: x + torch.tensor(2.0),
        lambda x: torch.zeros(3).tolist(),
        lambda x: len(x) + x.shape[0],
    ],
)
def test_what_waits_for_nothing_passes(does):
    with elsewhere() as watch:
        does(watch.put(torch.ones(3)))
    assert watch.faults == []


def test_lengths_stay_on_the_host():
    padded = Padded(torch.zeros(2, 3), torch.tensor([[True, True, False], [True, True, True]]))
    assert padded.lengths.tolist() == [2, 3]
    with elsewhere() as watch:
        there = Batch([{"id": "a"}, {"id": "b"}], {"x": padded}).to(DEVICE)
        assert there["x"].lengths.tolist() == [2, 3]
        assert watch.lies(there["x"].data)
        assert watch.lies(there["x"].mask)
    assert watch.faults == []
    assert there.split(2)[1]["x"].lengths.tolist() == [3]


@pytest.mark.parametrize(
    "config",
    [InfoNCE.Config(), SigLIP.Config(), Triplet.Config(hardest=True), Triplet.Config(hardest=False), Cosine.Config()],
    ids=lambda config: config.owner.__name__,
)
@pytest.mark.parametrize("groups", [[0, 1, 2, 3], [5, 1, 5, 1]])
def test_losses_over_pairs_wait_for_nothing(config, groups):
    loss = config.build()
    with elsewhere() as watch:
        a, b = (watch.put(nn.functional.normalize(torch.randn(4, 8))).requires_grad_() for _ in range(2))
        for parameter in loss.parameters():
            watch.put(parameter)
        loss(a, b, torch.tensor(groups)).backward()
    assert watch.faults == []
    assert a.grad.any()


def test_chosen_samples_are_those_below_the_share():
    batch = Batch([{"id": str(number)} for number in range(50)], seed=3)
    below = (batch.uniform("x") < 0.3).nonzero().squeeze(1)
    assert 0 < len(below) < 50
    assert batch.chosen("x", 0.3).tolist() == below.tolist()


def test_a_mean_of_what_counts_chooses_nothing():
    batch = Batch([{"id": "a"}, {"id": "b"}])
    values, counts = torch.tensor([[1.0, torch.nan], [3.0, 5.0]]), torch.tensor([[True, False], [True, True]])
    assert workers.mean_over(values, batch, counts).item() == workers.mean_over(values[counts], batch).item() == 3
    assert workers.mean_over(values, batch, counts & False).item() == 0
