"""What every encoder promises, and what each of them computes."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torchvision import models

from sensorium import Padded, UserError
from sensorium.builtin.encoders.convnet import ConvNet, Halve
from sensorium.builtin.encoders.frames import Frames
from sensorium.builtin.encoders.mlp import MLP
from sensorium.builtin.encoders.pooling import grid_mask, max_pool, mean_pool
from sensorium.builtin.encoders.rnn import RNN
from sensorium.builtin.encoders.text_transformer import TextTransformer
from sensorium.builtin.encoders.torchvision import Backbone
from sensorium.builtin.encoders.transformer import TransformerBlock
from sensorium.builtin.encoders.vit import ViT, positions
from sensorium.builtin.modalities.video import Footages, Video
from sensorium.experiment.parsing import parse
from sensorium.plugins import Plugins

PICTURE = SimpleNamespace(form="image", shape=(1, 12, 10), vocabulary=0)
PHOTO = SimpleNamespace(form="image", shape=(3, 64, 64), vocabulary=0)
SOUND = SimpleNamespace(form="spectrogram", shape=(2, 13, None), vocabulary=0)
WORDS = SimpleNamespace(form="tokens", shape=(16,), vocabulary=50)

CONV = ConvNet.Config(widths=[8, 12, 16], depth=1, dim=10)
VIT = ViT.Config(patch=4, dim=24, depth=2, heads=3)
TEXT = TextTransformer.Config(dim=24, depth=2, heads=3)
GRU = RNN.Config(hidden=12, dim=10, layers=2)
LSTM = RNN.Config(cell="lstm", hidden=12, dim=10, bidirectional=False)

CASES = {
    "convnet-picture": (CONV, PICTURE),
    "convnet-sound": (CONV, SOUND),
    "vit-picture": (VIT, PICTURE),
    "vit-sound": (VIT, SOUND),
    "text": (TEXT, WORDS),
    "gru-words": (GRU, WORDS),
    "gru-sound": (GRU, SOUND),
    "lstm-words": (LSTM, WORDS),
    "torchvision": (Backbone.Config(model="mobilenet_v3_small"), PHOTO),
}
PADDED = [name for name, (_, modality) in CASES.items() if modality.form != "image"]


def built(name):
    torch.manual_seed(0)
    config, modality = CASES[name]
    return config.build(modality).eval()


def values(modality, lengths, seed=0):
    """Values of a modality of the given lengths, and what pads them to one more than the longest."""
    random = torch.Generator().manual_seed(seed)
    if modality.form == "image":
        return torch.randn(len(lengths), *modality.shape, generator=random)
    longest = max(lengths) + 1
    if modality.form == "tokens":
        data = torch.randint(0, modality.vocabulary, (len(lengths), longest), generator=random)
    else:
        data = torch.randn(len(lengths), *modality.shape[:2], longest, generator=random)
    return Padded(data, torch.arange(longest) < torch.tensor(lengths)[:, None])  # what pads is arbitrary


def one(batch, index):
    """One sample alone, without padding."""
    if not isinstance(batch, Padded):
        return batch[index : index + 1]
    length = int(batch.mask[index].sum())
    return Padded(batch.data[index : index + 1, ..., :length], batch.mask[index : index + 1, :length])


@pytest.mark.parametrize("name", CASES)
def test_shapes(name):
    encoder, modality = built(name), CASES[name][1]
    features = encoder(values(modality, [9, 5]))
    count = features.tokens.shape[1]
    assert features.pooled.shape == (2, encoder.dim)
    assert features.tokens.shape == (2, count, encoder.dim)
    assert (features.mask is None) == (modality.form == "image")
    if features.grid is not None:
        assert features.grid[0] * features.grid[1] == count
    if features.mask is not None:
        assert features.mask.shape == (2, count)


@pytest.mark.parametrize("name", CASES)
def test_the_rest_of_the_batch_and_padding_change_nothing(name):
    encoder, modality = built(name).eval(), CASES[name][1]
    batch = values(modality, [5, 9, 1, 12])
    together = encoder(batch)
    for index in range(4):
        alone = encoder(one(batch, index))
        torch.testing.assert_close(alone.pooled[0], together.pooled[index], atol=1e-5, rtol=1e-4)
        real = ... if together.mask is None else together.mask[index]
        torch.testing.assert_close(alone.tokens[0], together.tokens[index][real], atol=1e-5, rtol=1e-4)
        assert alone.mask is None or alone.mask.all()


@pytest.mark.parametrize("name", PADDED)
def test_gradients_do_not_see_padding(name):
    encoder, modality = built(name), CASES[name][1]
    batch = values(modality, [5, 9])
    other = Padded(torch.where(spread(batch), batch.data, values(modality, [5, 9], seed=1).data), batch.mask)
    gradients = []
    for padded in (batch, other):
        encoder.zero_grad()
        encoder(padded).pooled.square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in encoder.parameters()])
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second, atol=1e-6, rtol=1e-4)


def spread(batch):
    mask = batch.mask
    return mask if batch.data.ndim == 2 else mask[:, None, None].expand_as(batch.data)


@pytest.mark.parametrize("kind", ["pooled", "tokens"])
@pytest.mark.parametrize("name", CASES)
def test_gradients_reach_every_parameter(name, kind):
    encoder = built(name).train()
    getattr(encoder(values(CASES[name][1], [9, 5])), kind).square().sum().backward()
    assert [key for key, parameter in encoder.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("name", CASES)
def test_a_permuted_batch_gives_permuted_features(name):
    encoder, batch = built(name), values(CASES[name][1], [9, 5, 7])
    order = torch.tensor([2, 0, 1])
    turned = Padded(batch.data[order], batch.mask[order]) if isinstance(batch, Padded) else batch[order]
    torch.testing.assert_close(encoder(turned).pooled, encoder(batch).pooled[order], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("config", "modality"), [(CONV, WORDS), (VIT, WORDS), (TEXT, PICTURE), (GRU, PICTURE), (Backbone.Config(), SOUND)]
)
def test_another_modality_is_refused(config, modality):
    with pytest.raises(UserError, match=f"does not take '{modality.form}'"):
        config.build(modality)


def test_pooling_by_hand():
    tokens = torch.tensor([[[1.0, -4.0], [3.0, -2.0], [9.0, 9.0]]])
    mask = torch.tensor([[True, True, False]])
    assert mean_pool(tokens, mask).tolist() == [[2.0, -3.0]]
    assert max_pool(tokens, mask).tolist() == [[3.0, -2.0]]
    assert max_pool(tokens, None).tolist() == [[9.0, 9.0]]
    assert grid_mask(torch.tensor([[True, False]]), 2).tolist() == [[True, False, True, False]]


def test_convnet_halves_after_the_first_stage():
    assert built("convnet-picture")(values(PICTURE, [1])).grid == (3, 3)
    features = built("convnet-sound")(values(SOUND, [9, 5]))
    assert features.grid == (4, 3)
    assert features.mask.view(2, 4, 3)[:, 0].tolist() == [[True, True, True], [True, True, False]]


def test_halving_is_a_strided_convolution_of_the_normalised_grid():
    layer = Halve(1, 1)
    nn.init.ones_(layer.conv.weight)
    nn.init.zeros_(layer.conv.bias)
    nn.init.zeros_(layer.norm.weight)
    nn.init.ones_(layer.norm.bias)  # the normalised grid is 1 everywhere
    grid, mask = layer(torch.zeros(1, 1, 4, 4), torch.tensor([[True, True, True, False]]))
    assert grid[0, 0].tolist() == [[4, 4], [6, 6]]
    assert mask.tolist() == [[True, True]]


def test_positions_by_hand():
    codes = positions(2, 3, 8)
    assert codes.shape == (6, 8)
    # The token in row 1, column 2; frequencies 1 and 1 / 10000.
    angles = torch.tensor([1, 1e-4, 1, 1e-4, 2, 2e-4, 2, 2e-4])
    expected = torch.where(torch.tensor([1, 1, 0, 0] * 2).bool(), angles.sin(), angles.cos())
    torch.testing.assert_close(codes[5], expected)
    assert len(codes.unique(dim=0)) == 6


def test_vit_reads_patches_row_by_row():
    encoder = ViT.Config(patch=4, dim=8, depth=1, heads=2).build(PICTURE)
    seen = []
    encoder.blocks[0].register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    picture = values(PICTURE, [1])
    assert encoder(picture).grid == (3, 3)  # 10 columns are filled up to 12
    patch = picture[0, :, 4:8, 0:4]
    by_hand = (encoder.embed.weight * patch).sum((1, 2, 3)) + encoder.embed.bias + positions(3, 3, 8)[3]
    torch.testing.assert_close(seen[0][0, 3], by_hand)


def test_attention_agrees_with_pytorch():
    torch.manual_seed(0)
    block = TransformerBlock(8, 2).eval()
    theirs = nn.TransformerEncoderLayer(8, 2, 32, activation="gelu", batch_first=True, norm_first=True).eval()
    names = {
        "self_attn.in_proj_weight": "query_key_value.weight",
        "self_attn.in_proj_bias": "query_key_value.bias",
        "self_attn.out_proj.weight": "output.weight",
        "self_attn.out_proj.bias": "output.bias",
        "norm1.weight": "attention_norm.weight",
        "norm1.bias": "attention_norm.bias",
        "norm2.weight": "perceptron.0.weight",
        "norm2.bias": "perceptron.0.bias",
        "linear1.weight": "perceptron.1.weight",
        "linear1.bias": "perceptron.1.bias",
        "linear2.weight": "perceptron.3.weight",
        "linear2.bias": "perceptron.3.bias",
    }
    theirs.load_state_dict({key: block.state_dict()[ours] for key, ours in names.items()})
    tokens, mask = torch.randn(2, 5, 8), torch.arange(5) < torch.tensor([[5], [3]])
    torch.testing.assert_close(block(tokens, mask), theirs(tokens, src_key_padding_mask=~mask), atol=1e-5, rtol=1e-4)
    causal = nn.Transformer.generate_square_subsequent_mask(5)
    torch.testing.assert_close(block(tokens, causal=True), theirs(tokens, src_mask=causal), atol=1e-5, rtol=1e-4)


def test_text_is_causal_and_pools_the_last_token():
    encoder, batch = built("text"), values(WORDS, [9, 9])
    changed = batch.data.clone()
    changed[:, 5] = (changed[:, 5] + 1) % 50
    before, after = encoder(batch), encoder(Padded(changed, batch.mask))
    assert torch.equal(before.tokens[:, :5], after.tokens[:, :5])
    assert not torch.isclose(before.tokens[:, 5:9], after.tokens[:, 5:9]).all(2).any()
    assert torch.equal(before.pooled, before.tokens[:, 8])


def test_rnn_pools_the_last_state_of_each_direction():
    encoder = RNN.Config(hidden=3, dim=2).build(WORDS)
    batch = values(WORDS, [4, 6])
    outputs, _ = encoder.cell(encoder.embed(batch.data[:1, :4]))
    ends = torch.cat([outputs[0, 3, :3], outputs[0, 0, 3:]])
    torch.testing.assert_close(encoder(batch).pooled[0], encoder.project(ends))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_an_lstm_pools_all_its_states(bidirectional):
    torch.manual_seed(0)
    encoder = RNN.Config(cell="lstm", bidirectional=bidirectional, hidden=3, layers=2, pool="all", dim=4).build(WORDS)
    batch = values(WORDS, [4, 6, 1])
    features = encoder(batch)
    assert features.tokens is None
    theirs = nn.LSTM(3, 3, 2, batch_first=True, bidirectional=bidirectional)
    theirs.load_state_dict(encoder.cell.state_dict())
    for index, length in enumerate([4, 6, 1]):
        _, (hidden, cell) = theirs(encoder.embed(batch.data[index, :length]))
        states = torch.cat([hidden.flatten(), cell.flatten()])
        torch.testing.assert_close(features.pooled[index], encoder.project(states))
    features.pooled.square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_encoders_of_text_want_a_vocabulary_and_a_bound():
    for config in (TEXT, GRU):
        with pytest.raises(UserError, match="no vocabulary yet"):
            config.build(SimpleNamespace(form="tokens", shape=(16,), vocabulary=0))
    with pytest.raises(UserError, match="no size that is known along axis 0"):
        TEXT.build(SimpleNamespace(form="tokens", shape=(None,), vocabulary=9))


HEADS = {
    "resnet18": "fc",
    "densenet121": "classifier",
    "mobilenet_v2": "classifier",
    "efficientnet_b0": "classifier",
    "regnet_x_400mf": "fc",
    "shufflenet_v2_x0_5": "fc",
    "swin_t": "head",
    "vit_b_32": "heads",
}


@pytest.mark.parametrize("model", HEADS)
def test_backbones_are_the_networks_without_their_heads(model):
    torch.manual_seed(0)
    ours = Backbone.Config(model=model).build(PHOTO).eval()
    torch.manual_seed(0)
    theirs = models.get_model(model, **({"image_size": 64} if model.startswith("vit") else {})).eval()
    setattr(theirs, HEADS[model], nn.Identity())
    picture = torch.randn(1, 3, 64, 64)
    features = ours(picture)
    torch.testing.assert_close(features.pooled, theirs(picture), atol=1e-5, rtol=1e-4)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    assert features.grid == (2, 2)
    torch.testing.assert_close(ours(picture[:, :1]).pooled, ours(picture[:, :1].repeat(1, 3, 1, 1)).pooled)


@pytest.mark.parametrize("model", ["alexnet", "vgg11_bn", "squeezenet1_1", "mnasnet0_5"])
def test_backbones_of_plain_families(model):
    encoder = Backbone.Config(model=model).build(PHOTO)
    features = encoder(values(PHOTO, [1, 1]))
    assert features.pooled.shape == (2, encoder.dim)
    torch.testing.assert_close(features.pooled, features.tokens.mean(1))


@pytest.mark.parametrize(("model", "dim"), [("vgg11", 4096), ("mobilenet_v3_small", 1024)])
def test_connected_backbones_pool_what_the_classes_are_read_from(model, dim, monkeypatch):
    theirs = models.get_model(model).eval()
    monkeypatch.setattr(models, "get_model", lambda *_, **__: theirs)
    ours = Backbone.Config(model=model, connected=True).build(PHOTO).eval()
    read = []
    theirs.classifier[-1].register_forward_pre_hook(lambda module, arguments: read.append(arguments[0]))
    picture = torch.randn(2, 3, 64, 64)
    theirs(picture)
    features = ours(picture)
    assert ours.dim == dim
    assert features.tokens is None
    torch.testing.assert_close(features.pooled, read[0])


def test_trained_weights_are_taken_when_the_training_is_new(monkeypatch):
    fresh = models.get_model
    asked = []

    def get_model(name, weights, **options):
        asked.append(weights)
        torch.manual_seed(7)
        return fresh(name, weights=None, **options)

    monkeypatch.setattr(models, "get_model", get_model)
    encoder = Backbone.Config(model="resnet18", weights="DEFAULT").build(PHOTO)
    assert asked == [None], "a model that a checkpoint fills must not fetch anything"
    torch.nn.init.zeros_(next(encoder.parameters()))
    encoder.initialise()
    assert asked == [None, "DEFAULT"]
    assert next(encoder.parameters()).abs().sum() > 0


def test_unknown_networks_and_weights_are_refused():
    with pytest.raises(UserError, match="Did you mean 'resnet50'"):
        Backbone.Config(model="resnet5O").build(PHOTO)
    with pytest.raises(UserError, match="Did you mean 'IMAGENET1K_V1'"):
        Backbone.Config(weights="IMAGENET_V1").build(PHOTO)
    with pytest.raises(UserError, match="does not take pictures of 12 x 10"):
        Backbone.Config(model="vgg11").build(PICTURE)
    with pytest.raises(UserError, match="'resnet18' has no fully connected layer before"):
        Backbone.Config(connected=True).build(PHOTO)


@pytest.mark.parametrize(
    ("config", "options"),
    [
        (ConvNet.Config, {"widths": []}),
        (ViT.Config, {"dim": 30, "heads": 4}),
        (TextTransformer.Config, {"dim": 30, "heads": 4}),
        (RNN.Config, {"layers": 0}),
        (RNN.Config, {"pool": "all"}),
    ],
)
def test_options_that_make_no_sense_are_refused(config, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        config(**options)


def test_a_transformer_over_frames_tells_their_order_and_the_mean_does_not():
    video = Video(Video.Config(size=8, frame_rate=4, seconds=1))
    picture = {"name": "convnet", "widths": [4], "depth": 0, "dim": 8}
    plugins = Plugins()
    frames = torch.rand(2, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    batch = Footages(frames, torch.ones(2, 4, dtype=torch.bool), torch.zeros(2, 1, 0))
    back = Footages(frames.flip(1), batch.mask, batch.sound)
    for depth, least, most in ((0, 0.0, 1e-5), (1, 0.005, 1.0)):
        config = parse(Frames.Config, {"encoder": picture, "depth": depth, "heads": 2}, plugins)
        torch.manual_seed(0)
        encoder = config.build(video).eval()
        forth, changed = encoder(batch).pooled, encoder(batch).pooled - encoder(back).pooled
        assert least <= float(changed.norm() / forth.norm()) <= most, "from the first step on"
    with pytest.raises(UserError, match="8 channels, which 3 heads do not divide"):
        parse(Frames.Config, {"encoder": picture, "depth": 1, "heads": 3}, plugins).build(video)
    with pytest.raises(UserError, match="no size that is known"):
        parse(Frames.Config, {"encoder": picture, "depth": 1}, plugins).build(Video(Video.Config(size=8)))


def test_a_perceptron_is_linear_maps_with_relu_between_them():
    vector = SimpleNamespace(form="vector", shape=(2,), vocabulary=0)
    network = MLP.Config(widths=[2], dim=1).build(vector)
    with torch.no_grad():
        for name, value in (
            ("0.weight", [[1.0, 1.0], [1.0, -1.0]]),
            ("0.bias", [0.0, 0.0]),
            ("2.weight", [[1.0, -10.0]]),
            ("2.bias", [-4.0]),
        ):
            network.layers.get_parameter(name).copy_(torch.tensor(value))
    pooled = network(torch.tensor([[1.0, 2.0], [2.0, 1.0]])).pooled
    assert pooled.tolist() == [[-1.0], [-11.0]], "hidden (3, -1) and (3, 1); nothing cuts the result"
    linear = MLP.Config(widths=[], dim=5).build(vector)
    assert [type(layer) for layer in linear.layers] == [nn.Linear]
    with pytest.raises(ValueError, match="at least 1"):
        MLP.Config(widths=[0])
