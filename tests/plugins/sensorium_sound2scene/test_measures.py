"""The loss over distances, and how pictures are counted, on numbers worked out by hand."""

import math

import pytest
import torch
from torch.nn import functional as F

from sensorium.builtin.losses import blocks
from sensorium_sound2scene import measures
from sensorium_sound2scene.loss import DistanceInfoNCE

# ---- the loss --------------------------------------------------------------------------------------


def unit(count, seed):
    return F.normalize(torch.randn(count, 5, generator=torch.Generator().manual_seed(seed)), dim=1)


def plain(a, b, groups, temperature):
    """The same, as one would write it."""
    logits = -torch.cdist(a, b) / temperature
    same = (groups[:, None] == groups).float()
    aim = same / same.sum(1, keepdim=True)
    both = (logits.log_softmax(1) * aim).sum(1) + (logits.T.log_softmax(1) * aim).sum(1)
    return -both.mean() / 2


def test_two_pairs_by_hand():
    """Each partner lies 1 away, each other row 2 sin(75 degrees) or 1."""
    angle = torch.tensor([0.0, math.pi / 2, math.pi / 3, math.pi / 2 + math.pi / 3])
    rows = torch.stack([angle.cos(), angle.sin()], 1)
    a, b = rows[:2], rows[2:]
    far, near = 2 * math.sin(math.radians(75)), 2 * math.sin(math.radians(15))
    one = math.log(math.exp(-1) + math.exp(-far)) + 1  # of the first of a, and of the second of b
    other = math.log(math.exp(-1) + math.exp(-near)) + 1
    found = DistanceInfoNCE(DistanceInfoNCE.Config(temperature=1.0))(a, b, torch.arange(2))
    assert found.item() == pytest.approx((one + other) / 2, rel=1e-5)


@pytest.mark.parametrize("block", [1024, 3], ids=["one tile", "tiles"])
@pytest.mark.parametrize(
    "groups", [torch.arange(8), torch.arange(8) // 3, torch.zeros(8)], ids=["apart", "some", "all"]
)
def test_value_and_gradients_are_those_of_the_formula(groups, block, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", block)
    results = []
    for loss in (
        lambda a, b: DistanceInfoNCE(DistanceInfoNCE.Config(temperature=0.3))(a, b, groups.long()),
        lambda a, b: plain(a, b, groups, 0.3),
    ):
        raw = [unit(8, seed).requires_grad_() for seed in (0, 1)]
        value = loss(*(F.normalize(each, dim=1) for each in raw))
        value.backward()
        results.append([value.detach(), *(each.grad for each in raw)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_where_partners_have_met_nothing_breaks():
    a = unit(4, 0).requires_grad_()
    loss = DistanceInfoNCE(DistanceInfoNCE.Config())(a, a.detach().clone(), torch.arange(4))
    loss.backward()
    assert a.grad.isfinite().all()


# ---- what pictures show ------------------------------------------------------------------------------


def test_all_that_is_true_comes_before_all_else():
    scores = torch.tensor([[3.0, 2, 1], [3, 2, 1], [3, 2, 1], [2, 2, 1], [1, 2, 3]])
    truth = torch.tensor([[1, 1, 0], [1, 0, 1], [1, 0, 0], [1, 0, 0], [0, 0, 0]]).bool()
    assert measures.first(scores, truth).tolist() == [True, False, True, False, False]


def test_shares_of_one_thing_and_of_two():
    rows = {
        "drawn.scores": torch.tensor([[3.0, 2, 1], [3, 1, 2]]),
        "drawn.truth": torch.tensor([[1, 1, 0], [1, 1, 0]]).bool(),
        "drawn.features": torch.eye(2),
        "real.scores": torch.tensor([[3.0, 2, 1], [3, 2, 1]]),
        "real.truth": torch.tensor([[1, 1, 0], [1, 1, 0]]).bool(),
        "real.features": torch.eye(2),
    }
    found = measures.measured(rows)
    assert (found["judge"], found["judge_some"], found["ceiling"]) == (0.5, 1.0, 1.0)
    assert found["fid"] == pytest.approx(0, abs=1e-6)
    assert "variation" not in found


class Tells:
    """A judge of labels or tags, whose features are what it looks at."""

    def __init__(self, rows):
        self.told = rows

    def __call__(self, batch):
        return None

    def rows(self, outputs, batch):
        return self.told

    def encoder_of(self, field):
        from sensorium import Features

        return lambda made: Features(made.flatten(1))


def test_a_judge_tells_classes_or_tags():
    from sensorium import Batch

    batch, made = Batch([{"id": "0"}, {"id": "1"}]), torch.ones(2, 1, 2, 2)
    scores = torch.tensor([[2.0, 1], [1, 2]])
    labels = {"logits.digit": scores, "target.digit": torch.tensor([0, -1])}
    tags = {"scores.things": scores, "truth.things": torch.tensor([[1.0, 0], [0, 0]])}
    for rows in (labels, tags):
        found = measures.looked_at(Tells(rows), batch, "image", made, "drawn")
        assert found["drawn.truth"].tolist() == [[True, False], [False, False]]
        assert found["drawn.features"].shape == (2, 4)


def test_the_distance_of_normal_distributions_by_hand():
    """Along one axis deviations 1 and 3, along the other 2 and 2; means 5 apart: 25 + (3 - 1)^2."""
    one = torch.tensor([[-1.0, -2], [-1, 2], [1, -2], [1, 2]])
    other = torch.tensor([[-3.0, -2], [-3, 2], [3, -2], [3, 2]]) + torch.tensor([3.0, 4])
    assert measures.frechet(one, other) == pytest.approx(29, abs=1e-4)
    assert measures.frechet(one, one) == pytest.approx(0, abs=1e-6)


def test_the_inception_score_is_one_for_the_same_and_as_many_as_there_are_for_sure_ones():
    assert measures.inception_score(torch.full((4, 3), 1 / 3)) == pytest.approx(1)
    assert measures.inception_score(torch.eye(3)) == pytest.approx(3)


def test_ink_is_the_brightness_of_the_brightest_channel():
    pictures = torch.full((2, 3, 2, 2), -1.0)
    pictures[0, 1, 0, 0] = 1.0
    assert measures.ink(pictures).tolist() == [0.25, 0]
    rows = {"louder": pictures, "quieter": pictures.flip(0)}
    assert measures.measured(rows) == {"louder_larger": 0.5}
