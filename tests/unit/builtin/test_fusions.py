import pytest
import torch

from sensorium import Features, UserError
from sensorium.builtin.fusions import Bilinear, Concatenation, FiLM, Gated, Normalised, Product, Projection, Sum

FEATURES = {
    "image": Features(torch.tensor([[3.0, 4.0], [0.0, 2.0]])),
    "text": Features(torch.tensor([[1.0, 0.0], [-6.0, 8.0]]), tokens=torch.ones(2, 3, 2)),
}
DIMS = {"image": 2, "text": 2}


def identity(fusion):
    """Returns the fusion with each of its linear maps set to the identity."""
    with torch.no_grad():
        for name, parameter in fusion.named_parameters():
            parameter.copy_(torch.zeros(2) if name.endswith("bias") else torch.eye(2))
    return fusion


def test_projection_gives_unit_rows_for_each_field():
    fusion = identity(Projection(Projection.Config(dim=2), DIMS))
    joint = fusion(FEATURES)
    assert fusion.dims == {"image": 2, "text": 2}
    torch.testing.assert_close(joint["image"].pooled, torch.tensor([[0.6, 0.8], [0.0, 1.0]]))
    torch.testing.assert_close(joint["text"].pooled, torch.tensor([[1.0, 0.0], [-0.6, 0.8]]))
    assert joint["text"].tokens is None


def test_projection_keeps_lengths_when_asked_and_takes_one_field_alone():
    fusion = identity(Projection(Projection.Config(dim=2, normalise=False), DIMS))
    joint = fusion({"text": FEATURES["text"]})
    assert list(joint) == ["text"]
    assert torch.equal(joint["text"].pooled, FEATURES["text"].pooled)


def test_projection_maps_each_field_by_its_own_weights():
    fusion = Projection(Projection.Config(dim=3), {"image": 2, "text": 5})
    assert fusion.maps["image"].weight.shape == (3, 2)
    assert fusion.maps["text"].weight.shape == (3, 5)


def test_projection_without_channels_takes_what_lies_in_one_space_already():
    fusion = Projection(Projection.Config(dim=None), DIMS)
    joint = fusion(FEATURES)
    assert fusion.dims == {"image": 2, "text": 2}
    assert list(fusion.parameters()) == []
    torch.testing.assert_close(joint["image"].pooled, torch.tensor([[0.6, 0.8], [0.0, 1.0]]))
    with pytest.raises(UserError, match=r"has no `dim`, and the fields differ: \{'image': 2, 'text': 5\}"):
        Projection(Projection.Config(dim=None), {"image": 2, "text": 5})


def test_concatenation_follows_the_order_of_the_fields():
    fusion = Concatenation(Concatenation.Config(), DIMS)
    joint = fusion({"text": FEATURES["text"], "image": FEATURES["image"]})
    assert fusion.dims == {"joint": 4}
    assert joint["joint"].pooled.tolist() == [[3, 4, 1, 0], [0, 2, -6, 8]]


def test_product_multiplies_bounded_fields():
    fusion = identity(Product(Product.Config(dim=2), DIMS))
    joint = fusion(FEATURES)["joint"].pooled
    assert fusion.dims == {"joint": 2}
    # tanh 3 * tanh 1 = 0.995055 * 0.761594; tanh 2 * tanh 8 = 0.964028 * 0.99999977.
    torch.testing.assert_close(joint, torch.tensor([[0.757828, 0.0], [0.0, 0.964027]]), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("fusion", [Projection, Product])
def test_an_empty_space_is_refused(fusion):
    with pytest.raises(ValueError, match="at least 1"):
        fusion.Config(dim=0)


def test_sum_adds_squashed_fields():
    joint = identity(Sum(Sum.Config(dim=2), DIMS))(FEATURES)["joint"].pooled
    expected = torch.tanh(torch.tensor([[3.0, 4.0], [0.0, 2.0]])) + torch.tanh(torch.tensor([[1.0, 0.0], [-6.0, 8.0]]))
    torch.testing.assert_close(joint, expected)


def test_bilinear_is_a_weighted_sum_of_products():
    fusion = identity(Bilinear(Bilinear.Config(dim=2, rank=2), DIMS))
    torch.testing.assert_close(fusion(FEATURES)["joint"].pooled, torch.tensor([[3.0, 0.0], [0.0, 16.0]]))
    with torch.no_grad():
        fusion.join.weight.copy_(torch.tensor([[1.0, 2.0], [0.0, -1.0]]))
        fusion.join.bias.copy_(torch.tensor([0.5, 0.0]))
    torch.testing.assert_close(fusion(FEATURES)["joint"].pooled, torch.tensor([[3.5, 0.0], [32.5, -16.0]]))


def test_bilinear_joins_two():
    with pytest.raises(UserError, match="two fields, not 3"):
        Bilinear(Bilinear.Config(), {"a": 1, "b": 1, "c": 1})


def test_normalised_fields_count_alike_however_large_they_are():
    fusion = Normalised(Normalised.Config(dim=2), DIMS)
    for layer in fusion.maps.values():
        layer[0].weight.data.copy_(torch.eye(2))
        layer[0].bias.data.zero_()
    joint = fusion(FEATURES)["joint"].pooled
    assert fusion.dims == {"joint": 4}
    # (3, 4) and (1, 0) become (-1, 1) and (1, -1) but for the epsilon of the normalisation.
    torch.testing.assert_close(joint[0].abs(), torch.ones(4), atol=1e-4, rtol=0)
    large = {"image": Features(1000 * FEATURES["image"].pooled), "text": FEATURES["text"]}
    torch.testing.assert_close(fusion(large)["joint"].pooled, joint, atol=1e-4, rtol=0)


def test_gates_weigh_the_fields_channel_by_channel():
    fusion = Gated(Gated.Config(dim=2), DIMS)
    identity(fusion.maps)
    for gate in fusion.gates.values():
        gate.weight.data.zero_()
    one, two = fusion.gates.values()
    one.bias.data.copy_(torch.tensor([0.0, 50.0]))
    two.bias.data.copy_(torch.tensor([0.0, 0.0]))
    first, second = (torch.tanh(FEATURES[name].pooled) for name in DIMS)
    expected = torch.stack([(first[:, 0] + second[:, 0]) / 2, first[:, 1]], 1)
    torch.testing.assert_close(fusion(FEATURES)["joint"].pooled, expected)


def test_film_scales_and_shifts_the_first_field_by_the_second():
    fusion = FiLM(FiLM.Config(), DIMS)
    first, second = DIMS
    fusion.change.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 2.0]]))
    fusion.change.bias.data.zero_()
    one, other = FEATURES[first].pooled, FEATURES[second].pooled
    expected = torch.stack([(1 + other[:, 0]) * one[:, 0], one[:, 1] + 2 * other[:, 1]], 1)
    torch.testing.assert_close(fusion(FEATURES)["joint"].pooled, expected)
    with pytest.raises(UserError, match="two fields, not 3"):
        FiLM(FiLM.Config(), {"a": 1, "b": 1, "c": 1})
