"""SoundNet: the published shapes, the right divergence, and who is taught by whom."""

import math

import pytest
import torch

from sensorium import Batch, Features
from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.builtin.losses.kl_divergence import KLDivergence
from sensorium.builtin.modalities.audio import Audio
from sensorium.errors import UserError
from sensorium_soundnet.clusters import Clusters, Mixture
from sensorium_soundnet.network import Block, Heads, Layer, SoundNet
from sensorium_soundnet.report import confusion, untaught

BRIEF = ("dataset.train=64", "dataset.held_out=16", "model.network.width=0.25")


@pytest.fixture(scope="module")
def assembly():
    return assemble(load("soundnet", BRIEF))


def heard(seconds, rate=22050):
    return Audio(Audio.Config(sample_rate=rate, seconds=seconds, view="waveform"))


def batch_of(assembly, count=4):
    train = assembly.splits["train"]
    samples = [train[index] for index in range(count)]
    fields = {
        name: modality.collate([modality.transform(modality.decode(s[name]), None) for s in samples])
        for name, modality in assembly.modalities.items()
    }
    return Batch(samples, fields)


def test_eight_layers_at_width_one_are_the_published_ones():
    """Twenty seconds at 22,050 Hz give pool5 of 256 channels, and four predictions a head."""
    network = SoundNet(SoundNet.Config(), heard(20.0))
    heads = Heads(network, {"object": 1000})
    blocks = [*network.blocks, *heads.blocks]
    assert [block.conv.out_channels for block in blocks] == [16, 32, 64, 128, 256, 512, 1024]
    assert [block.conv.kernel_size[0] for block in blocks] == [64, 32, 16, 8, 4, 4, 4]
    assert {block.conv.stride[0] for block in blocks} == {2}
    assert [block.pool for block in blocks] == [8, 8, 1, 1, 4, 1, 1]
    assert network.dim == 256
    with torch.no_grad():
        grid, lengths = network.frames(torch.randn(1, 1, 20 * 22050))
        for block in heads.blocks:
            grid, lengths = block(grid, lengths)
        assert heads.convs["object"](grid).shape == (1, 1000, 4)


def test_five_layers_at_width_one_are_the_published_ones():
    network = SoundNet(SoundNet.Config(layers=5), heard(20.0))
    heads = Heads(network, {"scene": 401})
    assert [block.conv.out_channels for block in network.blocks] == [32, 64, 128, 256]
    assert [block.pool for block in network.blocks] == [8, 8, 8, 1]
    assert not heads.blocks
    assert (heads.kernel, heads.convs["scene"].stride[0], heads.padding) == (16, 12, 4)
    with torch.no_grad():
        assert heads(*network.frames(torch.randn(1, 1, 20 * 22050)))["scene"].shape == (1, 401)


def test_loudness_changes_nothing_and_silence_does_no_harm():
    network = SoundNet(SoundNet.Config(width=0.25), heard(1.0, 8000))
    wave = 0.1 * torch.randn(2, 1, 8000)
    quiet, loud = network(wave), network(9 * wave)
    assert isinstance(quiet, Features)
    assert torch.allclose(quiet.pooled, loud.pooled, atol=1e-5)
    assert network(torch.zeros(1, 1, 8000)).tokens.isfinite().all()


@pytest.mark.parametrize("layers", [8, 5])
def test_a_clip_hears_neither_its_neighbours_nor_what_pads_it(layers):
    modality = Audio(Audio.Config(sample_rate=8000, view="waveform"))
    network = SoundNet(SoundNet.Config(layers=layers, width=0.25, pools=[4, 4, 4]), modality)
    clips = [torch.randn(1, length) for length in (8000, 5003, 6100)]
    together = network(modality.collate(clips))
    for row, clip in enumerate(clips):
        alone = network(clip[None])
        assert torch.allclose(together.pooled[row], alone.pooled[0], atol=1e-5)
        assert together.mask[row].sum() == alone.tokens.shape[1]


def test_a_layer_worked_out_by_hand():
    """One tap doubles 1 and 3 to 2 and 6: mean 4, deviation 2, so -1 and 1, of which the rectifier leaves 0 and 1."""
    block = Block(1, 1, Layer(1, 1, 1, 0), 1)
    block.conv.weight.data.fill_(2.0)
    grid, lengths = block(torch.tensor([[[1.0, 3.0, 0.0]]]), torch.tensor([2]))
    assert grid.flatten().tolist() == pytest.approx([0, 1, 0], abs=1e-4)
    assert lengths.tolist() == [2]


def test_a_clip_shorter_than_the_head_gets_zeros():
    heads = Heads(SoundNet(SoundNet.Config(layers=5, width=0.02), heard(1.0)), {"object": 3})
    grid = torch.randn(2, 5, 2)
    padded = torch.cat([torch.zeros(2, 5, 3), grid, torch.zeros(2, 5, 3)], 2)
    conv = heads.convs["object"]
    assert torch.allclose(heads(grid, torch.tensor([2, 2]))["object"], conv(padded).mean(2), atol=1e-6)


def test_divergence_worked_out_by_hand():
    """KL((1/2, 1/2) || (1/4, 3/4)) = ln 2 - 1/2 ln 3 nats; it is not the other way round, nor a mean over classes."""
    logits = torch.tensor([[0.25, 0.75], [0.5, 0.5]]).log()
    teacher = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    loss = KLDivergence(KLDivergence.Config())(logits, teacher)
    assert loss.tolist() == pytest.approx([math.log(2) - 0.5 * math.log(3), math.log(2)], rel=1e-5)
    assert loss[0] != pytest.approx(0.25 * math.log(0.5) + 0.75 * math.log(1.5), rel=1e-3)


def test_stages_and_who_learns_in_each(assembly):
    stages = assembly.task.stages()
    assert [stage.name for stage in stages] == ["object", "scene", "student", "classifier"]
    assert [list(stage.objectives[0].updates) for stage in stages[2:]] == [["network", "heads"], ["classifier"]]
    assert all(name.startswith("object.") for name in stages[0].objectives[0].updates)


def test_the_student_learns_what_the_teachers_see_without_labels(assembly):
    task, batch = assembly.task, batch_of(assembly)
    student = task.stages()[2].objectives[0]
    del batch.fields["label"], batch.fields["speaker"]
    outputs = student.forward(batch)
    assert torch.allclose(outputs["teacher_object"], task.object(batch)["label"].softmax(-1))
    assert outputs["teacher_scene"].sum(1) == pytest.approx(torch.ones(4).numpy(), abs=1e-5)
    assert not outputs["teacher_object"].requires_grad
    losses = student.losses(outputs, batch)
    assert {name: value.shape for name, value in losses.items()} == {"object": (4,), "scene": (4,)}


def test_prediction_needs_sound_alone(assembly):
    batch = batch_of(assembly)
    answer = assembly.task.predict(Batch(batch.samples, {"audio": batch["audio"]}))
    assert {name: tuple(value.shape) for name, value in answer.items()} == {
        "object": (4, 10),
        "scene": (4, 6),
        "label": (4, 10),
    }
    assert all(torch.allclose(value.sum(1), torch.ones(4)) for value in answer.values())


def test_posterior_of_a_mixture_worked_out_by_hand():
    """Two clusters at 0 and 2, one statistic, width 1: at 0.5 the odds are exp((1.5**2 - 0.5**2) / 2) = e."""
    mixture = Mixture(2, 1, 1.0)
    mixture.middles.data = torch.tensor([[0.0], [2.0]])
    posterior = mixture(torch.tensor([[0.5]])).softmax(-1)[0]
    assert float((posterior[0] / posterior[1]).detach()) == pytest.approx(math.e, rel=1e-4)


def clusters(view, seconds=2.5):
    return Clusters.Config(view=view).build({"audio": heard(seconds, rate=16000)})


@pytest.mark.parametrize("view", ["timbre", "rhythm"])
def test_loud_neighbours_do_not_change_what_is_said_of_a_clip(view):
    waves = torch.randn(3, 1, 40000, generator=torch.Generator().manual_seed(0))
    waves = waves.cumsum(2) / 100 * torch.tensor([1e-4, 1.0, 100.0]).view(3, 1, 1)
    task = clusters(view)
    alone = torch.cat([task.statistics(wave[None]) for wave in waves])
    assert torch.allclose(task.statistics(waves), alone, atol=1e-4)


def test_clips_too_short_for_their_rhythm_are_refused():
    with pytest.raises(UserError, match=r"too short for the view 'rhythm': 1 s"):
        clusters("rhythm", 1.0)
    assert clusters("timbre", 1.0)


def test_clips_of_no_class_are_left_out_of_the_table():
    assert confusion(torch.tensor([0, 1, 1]), torch.tensor([0, 1, -100]), ["a", "$b$"])


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("model.network=convnet", "does not take"),
        ("model.loss=cross_entropy", "loss over distributions"),
        ("model.object.targets=[label,speaker]", "One label was expected"),
        ("modalities.audio.seconds=null", "no length that is known"),
    ],
)
def test_what_does_not_fit_is_refused(override, says):
    with pytest.raises(UserError, match=says):
        assemble(load("soundnet", [*BRIEF[:2], override]))


def test_what_no_teacher_was_taught_is_counted_apart():
    logits = torch.eye(3)[[0, 1, 2, 2]]
    rows = {"logits.pool5": logits, "target.pool5": torch.tensor([0, 1, 2, 1]), "taught": torch.tensor([True] * 4)}
    assert untaught(rows) == {}
    assert untaught(rows | {"taught": torch.tensor([True, False, True, False])}) == {"untaught_accuracy": 0.5}
    assert untaught(rows | {"taught": torch.tensor([False, True, True, True])}) == {"untaught_accuracy": 1.0}


def test_rows_compare_heads_with_truth_and_with_their_teachers(assembly, monkeypatch):
    """Agreement is with what the teacher saw, also where the teacher is wrong."""
    task, batch = assembly.task, batch_of(assembly)
    said = {name: torch.zeros(4, head) for name, head in (("object", 10), ("scene", 6))}
    for chances in said.values():
        chances[:, 3] = 1.0
    monkeypatch.setattr(task, "_teachers", lambda batch: {f"teacher_{name}": each for name, each in said.items()})
    outputs = {"object": torch.randn(4, 10), "scene": torch.randn(4, 6), "label": torch.randn(4, 10)}
    rows = task.rows(outputs, batch)
    for name, field in (("object", "label"), ("scene", "place")):
        assert torch.equal(rows[f"logits.{name}"], outputs[name])
        assert torch.equal(rows[f"logits.{name}_agreement"], outputs[name])
        assert rows[f"target.{name}_agreement"].tolist() == [3] * 4
        assert torch.equal(rows[f"target.{name}"], batch[task.told[name][0]]), field
        assert torch.equal(rows[f"target.{name}_teacher"], batch[task.told[name][0]])
        assert torch.equal(rows[f"logits.{name}_teacher"], said[name])
    assert torch.equal(rows["logits.pool5"], outputs["label"])
    assert torch.equal(rows["target.pool5"], batch["label"])
