"""How like real embeddings drawn ones are, on small numbers worked out by hand, and a linear map's own."""

import pytest
import torch

from sensorium.ops.diffusion import Diffusion
from sensorium_dalle2 import report
from sensorium_dalle2.likeness import spread, told
from sensorium_dalle2.linear import LeastSquares


def test_the_spread_is_around_the_mean_of_each_sentence():
    """Around (1, 0) and (5, 3) the squares are 1 + 1 and 4 + 0 + 4; five embeddings less two means leave three."""
    embeddings = torch.tensor([[0.0, 0.0], [5.0, 1.0], [2.0, 0.0], [5.0, 3.0], [5.0, 5.0]])
    sentences = ["a", "b", "a", "b", "b"]
    assert spread(embeddings, sentences) == pytest.approx((10 / 3) ** 0.5)
    assert spread(embeddings, list("abcde")) is None
    assert spread(torch.ones(3, 2), ["a", "a", "b"]) == 0


def normal(seed, count=400, channels=4):
    return torch.randn(count, channels, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("drawn", "least", "most"),
    [
        (normal(1), 0.4, 0.6),
        (torch.zeros(400, 4), 0.99, 1.0),
        (2 * normal(1), 0.8, 1.0),
        (normal(1) + 1, 0.85, 1.0),
        (normal(1) @ torch.tensor([[1.0, 0.9, 0, 0], [0, 0.44, 0, 0], [0, 0, 1, 0.9], [0, 0, 0, 0.44]]), 0.75, 1.0),
    ],
    ids=["as real", "the mean", "wider", "elsewhere", "correlated"],
)
def test_what_lies_otherwise_than_real_ones_is_told(drawn, least, most):
    middles = 5 * normal(2)
    assert least <= told(middles + drawn, middles + normal(0), middles) <= most


def test_too_few_are_not_told():
    assert told(normal(0, 9), normal(1, 9), normal(2, 9)) is None


def test_the_linear_map_is_the_best_one_and_knows_what_it_leaves_open():
    """y = 3 a - b + 2 and an error of 0.5 up or down, in one channel of two."""
    sentence = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]).repeat(2, 1)
    error = torch.tensor([0.5] * 4 + [-0.5] * 4)
    image = torch.stack([3 * sentence[:, 0] - sentence[:, 1] + 2 + error, sentence[:, 1]], 1)
    linear = LeastSquares(2)
    assert linear(sentence).eq(0).all()
    linear.fit([(sentence[:3], image[:3]), (sentence[3:], image[3:])])
    assert torch.allclose(linear.weight, torch.tensor([[3.0, 0.0], [-1.0, 1.0], [2.0, 0.0]]), atol=1e-3)
    assert torch.allclose(linear.spread.abs(), torch.tensor([[0.0, 0.5], [0.0, 0.0]]), atol=2e-3)


def test_what_is_open_is_read_from_the_noised_value_and_nothing_else():
    linear, diffusion = LeastSquares(2), Diffusion(10)
    mean, value, time = torch.tensor([[1.0, 1.0]]), torch.tensor([[2.0, 2.0]]), torch.tensor([5])
    assert torch.equal(linear.posterior(diffusion, value, time, mean), mean), "it leaves nothing open"
    linear.spread.copy_(torch.tensor([[0.0, 0.5], [0.0, 0.0]]))
    kept = diffusion.kept[5].item()
    gain = kept**0.5 * 0.25 / (kept * 0.25 + 1 - kept)
    found = linear.posterior(diffusion, value, time, mean)[0]
    assert found.tolist() == pytest.approx([1 + gain * (2 - kept**0.5), 1.0])
    assert linear.posterior(diffusion, value, torch.tensor([0]), mean)[0].tolist() == pytest.approx([2.0, 1.0])


def rows(prior):
    """Four pictures of two sentences, real ones 4 apart in their embedding and 1 in each pixel."""
    real = torch.tensor([[0.0, 3.0], [4.0, 3.0], [0.0, -3.0], [4.0, -3.0]])
    pictures = torch.tensor([0.0, 1.0, 0.0, 1.0]).view(4, 1, 1, 1).expand(4, 3, 2, 2)
    return {
        "sentence": ["up", "up", "down", "down"],
        "embedding.real": real,
        "embedding.text": real,
        "embedding.prior": prior,
        "embedding.linear": torch.tensor([[2.0, 3.0], [2.0, 3.0], [2.0, -3.0], [2.0, -3.0]]),
        "real": pictures,
        "drawn": pictures / 2,
        "apart": torch.full((4,), 0.25),
    }


def test_prior_and_linear_map_are_measured_alike():
    drawn = torch.tensor([[1.0, 3.0], [3.0, 3.0], [1.0, -3.0], [3.0, -3.0]])
    found = report.metrics(rows(drawn))
    assert found["spread_prior"] == pytest.approx(0.5)
    assert found["spread_linear"] == 0
    assert found["cosine_text"] == pytest.approx(1)
    root = 13**0.5  # of the linear map's embeddings
    assert found["cosine_linear"] == pytest.approx((9 / (3 * root) + 17 / (5 * root)) / 2)
    assert found["diversity"] == pytest.approx(0.5)
    assert found["variation_diversity"] == pytest.approx(0.25)
    assert not any(name.startswith("told") for name in found), "four are too few"


def test_without_two_samples_of_a_sentence_nothing_is_compared():
    alone = rows(torch.ones(4, 2)) | {"sentence": list("abcd")}
    assert set(report.metrics(alone)) == {"cosine_text", "cosine_prior", "cosine_linear"}
