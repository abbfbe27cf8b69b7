"""Sound2Scene on small numbers: what is heard is aligned, chosen, mixed, made louder, drawn and counted as it should.

Shapes: B samples.
"""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import sensorium_sound2scene
from sensorium import Padded, UserError, workers
from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium_sound2scene import selection
from sensorium_sound2scene.level import Level
from sensorium_sound2scene.views import Views, viewed

SMALL = ("dataset.train=64", "dataset.held_out=8", "training.global_batch=8")
PAINTER = "model.painter.decoder={width: 8, sampled: 3}"
SPOILT = str(Path(sensorium_sound2scene.__file__).parent / "experiments/spoilt.yaml")


@pytest.fixture(scope="module")
def assembly():
    torch.set_num_threads(1)
    return assemble(load("sound2scene", [*SMALL, PAINTER]))


@pytest.fixture
def task(assembly):
    return copy.deepcopy(assembly.task).eval()


def batch_of(assembly, split, count=4, start=0):
    samples = [assembly.splits[split][place] for place in range(start, start + count)]
    return assembly.task.batched(samples)


# ---- what sees without labels --------------------------------------------------------------------


def test_a_view_that_changes_nothing_is_the_picture(assembly):
    batch = batch_of(assembly, "test")
    still = Views(shift=0, zoom=0, rotate=0, colour=0, brightness=0, noise=0)
    torch.testing.assert_close(viewed(batch["image"], still, batch, "any"), batch["image"], atol=1e-5, rtol=0)


def test_views_differ_by_name_and_seed_and_not_by_neighbour(assembly):
    batch = batch_of(assembly, "test")
    one = viewed(batch["image"], Views(), batch, "one")
    assert torch.equal(one, viewed(batch["image"], Views(), batch, "one"))
    assert not torch.allclose(one, viewed(batch["image"], Views(), batch, "other"))
    assert not torch.allclose(one, viewed(batch["image"], Views(), replace(batch, seed=1), "one"))
    first = batch.split(4)[0]
    torch.testing.assert_close(viewed(first["image"], Views(), first, "one"), one[:1])


def test_colours_are_mixed_and_brightness_is_kept(assembly):
    batch = batch_of(assembly, "test")
    white = torch.full((4, 3, 2, 2), -1.0)
    white[:, :, :, 1] = 1.0
    only = Views(shift=0, zoom=0, rotate=0, colour=1, brightness=0, noise=0)
    torch.testing.assert_close(viewed(white, only, batch, "any"), white, atol=1e-5, rtol=0)
    red = torch.full((4, 3, 2, 2), -1.0)
    red[:, 0, :, 1] = 1.0
    mixed = viewed(red, only, batch, "any")
    assert (mixed[:, :, 0, 0] + 1).abs().max() < 1e-5, "what is dark stays dark"
    assert (mixed[:, 1:, 0, 1] > -1).all(), "red is in every channel"


def test_spectrograms_have_views_too(assembly):
    sound = batch_of(assembly, "test")["audio"]
    batch = batch_of(assembly, "test")
    seen = viewed(sound, Views(), batch, "any")
    assert seen.data.shape == sound.data.shape
    assert torch.equal(seen.mask, sound.mask)


def test_what_is_embedded_has_unit_length_and_lies_in_the_space_of_the_views(task, assembly):
    eyes = task.painter.eyes
    batch = batch_of(assembly, "test")
    found = eyes(batch)["image"]
    torch.testing.assert_close(found.norm(dim=1), torch.ones(4))
    features = eyes.encoder_of("image")(batch["image"])
    torch.testing.assert_close(eyes.embedding_of("image", features), found)
    with pytest.raises(UserError, match="lends no encoder"):
        eyes.encoder_of("audio")


def test_neighbours_are_counted_without_oneself(task):
    embedding = F.normalize(torch.tensor([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1]]), dim=1)
    rows = {"embedding": embedding, "group": torch.tensor([1, 1, 2, 3])}
    assert task.painter.eyes.metrics(rows)["neighbour"] == 0.5


# ---- what draws ------------------------------------------------------------------------------------


def test_a_picture_follows_from_embedding_and_seed_alone(task, assembly):
    painter, batch = task.painter, batch_of(assembly, "test", 2)
    embedding = painter.embed(batch)
    drawn = painter.draw(embedding, batch)
    assert drawn.shape == (2, 3, 12, 12)
    assert drawn.abs().max() <= 1
    assert torch.equal(drawn, painter.draw(embedding, replace(batch, fields={})))
    assert not torch.allclose(drawn, painter.draw(embedding.flip(0), batch))
    assert not torch.allclose(drawn, painter.draw(embedding, batch, "another"))
    assert torch.equal(drawn, painter.predict(batch)["image"])
    given = replace(batch, fields={"embedding": 3 * embedding})
    torch.testing.assert_close(painter.predict(given)["image"], drawn, atol=1e-4, rtol=1e-4)
    with pytest.raises(UserError, match="Either image or embedding"):
        painter.predict(replace(batch, fields={}))


def test_a_withheld_or_blurred_embedding_is_another_one(task, assembly, monkeypatch):
    painter, batch = task.painter, batch_of(assembly, "test")
    told = []
    monkeypatch.setattr(
        type(painter.decoder), "forward", lambda self, noised, time, embedding, known: told.append(embedding) or noised
    )
    painter(batch)
    painter.config = replace(painter.config, blur=0.5)
    painter(batch)
    plain, blurred = (each / painter.scale for each in told)
    torch.testing.assert_close(plain, painter.embed(batch))
    torch.testing.assert_close(blurred.norm(dim=1), torch.ones(4))
    assert ((plain * blurred).sum(1) < 0.99).all()


# ---- what hears ------------------------------------------------------------------------------------


def test_only_what_hears_learns(task, assembly):
    stages = {stage.name: stage for stage in task.stages()}
    assert list(stages) == ["painter/eyes", "painter/decoder", "judge", "hear"]
    assert stages["hear"].prepare is None
    (hear,) = stages["hear"].objectives
    batch = batch_of(assembly, "train")
    sum(hear.losses(hear.forward(batch), batch).values()).backward()
    reached = {name.split(".")[0] for name, each in task.named_parameters() if each.grad is not None}
    assert reached == {"ears"} == set(hear.updates)


def test_both_sides_are_of_unit_length(task, assembly):
    outputs = task(batch_of(assembly, "test"))
    for name in ("heard", "seen"):
        torch.testing.assert_close(outputs[name].norm(dim=1), torch.ones(4))


def test_powers_of_two_sounds_add_up():
    mask = torch.ones(1, 2, dtype=torch.bool)
    one, other = (Padded(torch.tensor([[[level]]]), mask) for level in ([20.0, -10.0], [20.0, -70.0]))
    plain, scaled = Level(0, 1), Level(-40, 20)
    torch.testing.assert_close(
        plain.together(one, other).data[0, 0], torch.tensor([[23.0103, -10.0]]), atol=1e-4, rtol=0
    )
    assert plain.amplified(one, 6.0).data.tolist() == [[[[26.0, -4.0]]]]
    written = [replace(each, data=(each.data + 40) / 20) for each in (one, other)]
    torch.testing.assert_close(20 * scaled.together(*written).data - 40, plain.together(one, other).data)
    torch.testing.assert_close(20 * scaled.amplified(written[0], 6.0).data - 40, plain.amplified(one, 6.0).data)


def test_a_mixture_is_what_is_heard_of_both_at_once(assembly):
    audio = assembly.modalities["audio"]
    one, other = (assembly.splits["test"][place]["audio"][0] for place in (0, 1))
    apart = [audio.collate([audio.transform(audio.decode((each, 8000)), None)]) for each in (one, other)]
    real = audio.transform(audio.decode((one + other, 8000)), None)
    level = assembly.task.level
    difference = (level.together(*apart).data[0] - real)[real > 1]  # where there is something to be heard
    assert 25 * difference.abs().median() < 2, "dB"
    louder = audio.transform(audio.decode((10 ** (6 / 20) * one, 8000)), None)
    torch.testing.assert_close(level.amplified(apart[0], 6.0).data[0], louder, atol=1e-2, rtol=0)


def test_a_question_is_mixed_and_made_louder_before_it_is_heard(task, assembly, monkeypatch):
    batch, heard = batch_of(assembly, "test", 2), []
    task.ears.register_forward_pre_hook(lambda ears, given: heard.append(given[0]))
    audio, gain = batch["audio"], torch.tensor([6.0, -6.0])
    other = Padded(audio.data.flip(0), audio.mask)
    only = replace(batch, fields={"audio": audio})
    plain = task.predict(only)["image"]
    asked = replace(batch, fields={"audio": audio, "other": other, "gain": gain})
    assert not torch.allclose(task.predict(asked)["image"], plain)
    expected = task.level.amplified(task.level.together(audio, other), gain.view(2, 1, 1, 1))
    torch.testing.assert_close(heard[1].data, expected.data)
    seeded = replace(only, samples=[{**sample, "seed": 5} for sample in only.samples])
    assert not torch.allclose(task.predict(seeded)["image"], plain)


def test_rows_are_of_the_sound_as_it_is_and_louder_and_quieter(task, assembly):
    batch = batch_of(assembly, "together", 2)
    rows = task.rows(task(batch), batch)
    for name, gain in (("drawn", 0.0), ("quieter", -9.0), ("louder", 9.0)):
        asked = replace(batch, fields={"audio": batch["audio"], "gain": torch.full((2,), gain)})
        torch.testing.assert_close(task.predict(asked)["image"], rows[name], atol=1e-5, rtol=0)
    assert rows["drawn.truth"].sum(1).tolist() == [2, 2]
    assert torch.equal(rows["drawn.truth"], rows["real.truth"])


def test_it_learns_where_pictures_lie_and_from_shuffled_pairs_it_does_not(task, assembly, monkeypatch):
    """Pictures lie in one of two places, by the digit that they show."""
    split = assembly.splits["train"]
    chosen = [split[place] for place in range(64) if len(split[place]["things"]) == 1]
    samples = [sample for sample in chosen if sample["things"][0] in ("six", "nine", "two", "four", "one")]
    batch = task.batched(samples)
    places = F.one_hot(torch.tensor([sample["things"][0] in ("six", "two") for sample in samples]).long(), 64).float()

    def reached(seen):
        model = copy.deepcopy(task)
        monkeypatch.setattr(type(model.painter), "embed", lambda self, batch: seen)
        learnt = torch.optim.Adam(model.ears.parameters(), lr=3e-3)
        for _ in range(40):
            learnt.zero_grad()
            model.losses(model(batch), batch)["pairs"].mean().backward()
            learnt.step()
        return (model(batch)["heard"] * places).sum(1).mean().item()

    assert reached(places) > reached(places[torch.randperm(len(places))]) + 0.15


# ---- which moments are learnt from -----------------------------------------------------------------


def test_the_best_moments_of_each_video_are_chosen():
    scored = [((1, 10), 0.5), ((1, 11), 0.9), ((1, 12), 0.7), ((2, 20), 0.1), ((2, 21), 0.1)]
    assert selection.best(scored, 1) == {11, 20}
    assert selection.best(scored, 2) == {11, 12, 20, 21}


class Knows(torch.nn.Module):
    """A localizer that scores a moment by what its sample says."""

    def forward(self, batch):
        return None

    def rows(self, outputs, batch):
        return {"best": torch.tensor([sample["score"] for sample in batch.samples])}


def moments(assembly, *scores, video="one"):
    sample = assembly.splits["train"][0]
    samples = [
        {**sample, "id": f"{video} {number}", "group": video, "score": score} for number, score in enumerate(scores)
    ]
    return assembly.task.batched(samples)


def test_moments_are_chosen_over_batches_and_workers(task, assembly, monkeypatch):
    task.selection, task.config = Knows(), replace(task.config, moments=2)
    batches = [moments(assembly, 0.1, 0.8), moments(assembly, 0.3, 0.2, 0.9, video="two")]
    assert task.choose(iter(batches)) == ["one 0", "one 1", "two 0", "two 2"]
    group = int(batches[0].groups[0])
    more = {torch.int64: torch.tensor([[group, 1, 0], [group, 1, 1]]), torch.float64: torch.tensor([0.7, 0.6])}
    monkeypatch.setattr(workers, "gather_rows", lambda rows: torch.cat([rows, more[rows.dtype]]))
    assert task.choose(iter(batches)) == ["one 1", "two 0", "two 2"], "a better moment lies with another worker"


LOCALIZER = (
    "model.selection={name: localization, loss: infonce, supervised: 0, eyes: {name: convnet, widths: [8]},"
    " hearing: {name: simclr, input: audio, encoder: {name: convnet, widths: [8]}, loss: infonce}}"
)


@pytest.mark.parametrize(
    ("options", "stages"),
    [((), ["scout", "hear"]), ((LOCALIZER,), ["selection/localize", "judge", "hear"])],
    ids=["ears", "localizer"],
)
def test_two_moments_of_each_video_are_chosen_before_what_hears_learns(options, stages):
    small = ("dataset.train=40", "dataset.held_out=8", "training.global_batch=8", "training.stages={}", PAINTER)
    spoilt = assemble(load(SPOILT, [*small, *options]))
    task = spoilt.task.eval()
    assert [stage.name for stage in task.stages()][-len(stages) :] == stages
    samples = [spoilt.splits["train"][place] for place in range(20)]
    ids = task.stages()[-1].prepare(iter(task.batched(samples).split(3)))
    assert len(ids) == 8
    of_video = [int(name.split("/")[1]) // 5 for name in ids]
    assert "scout" not in task.stages()[-1].objectives[0].updates
    assert of_video == [0, 0, 1, 1, 2, 2, 3, 3]


def test_what_does_not_say_how_sound_and_picture_correlate_is_refused(task, assembly):
    with pytest.raises(UserError, match="Take `localization`"):
        selection.localized(task.judge, batch_of(assembly, "test"))


# ---- what does not fit -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("modalities.audio={name: audio, sample_rate: 8000, seconds: 1.0}", "as levels in dB"),
        ("modalities.audio={name: audio, sample_rate: 8000, seconds: 1.0, view: mel}", "as levels in dB"),
        ("modalities.audio.standardise=true", "standardise: false"),
        ("model.loss=cross_entropy", "A loss over pairs"),
        ("model.painter.eyes.loss=cross_entropy", "A loss over pairs"),
        ("model.painter.eyes.input=audio", "does not embed 'image'"),
        ("model.painter={name: recognition, encoder: convnet, targets: [things]}", "`variations` was expected"),
        ("modalities.image.std=[0.3]", "between -1 and 1"),
        ("model.moments=0", "at least 1"),
        ("model.selection={name: recognition, encoder: convnet, targets: [things]}", "how many of each video"),
        ("model.painter.blur=-1", "at least 0"),
    ],
)
def test_what_does_not_fit_is_refused(option, text):
    with pytest.raises(UserError, match=text):
        assemble(load("sound2scene", [*SMALL, option]))


def test_paper_sizes_fit_together():
    path = Path(sensorium_sound2scene.__file__).parent / "experiments/paper.yaml"
    loaded = load(str(path), ["model.selection=null", "model.judge=null"])
    assert loaded.experiment.model.painter.eyes.dim == 2048
