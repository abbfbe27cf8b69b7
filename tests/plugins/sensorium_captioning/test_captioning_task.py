"""The captioning tasks: what is taught and counted, what the sentences are compared with, and where was looked."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from sensorium import Batch, MediaError, UserError
from sensorium.builtin.datasets.coco import CocoCaptions
from sensorium.builtin.decoders.attention_lstm import AttentionLSTM
from sensorium.builtin.decoders.lstm import LSTM
from sensorium.builtin.encoders.convnet import ConvNet
from sensorium.builtin.encoders.torchvision import Backbone
from sensorium.builtin.losses.cross_entropy import CrossEntropy
from sensorium.builtin.metrics.captions import Captions
from sensorium.builtin.modalities.audio import Audio
from sensorium.builtin.modalities.heatmaps import Heat, Heatmaps
from sensorium.builtin.modalities.image import Image
from sensorium.builtin.modalities.tags import Tags
from sensorium.builtin.modalities.text import Text
from sensorium_captioning.attend import ShowAttendAndTell
from sensorium_captioning.report import captioned
from sensorium_captioning.task import ShowAndTell
from sensorium_recognition.task import Recognition
from sensorium_soundnet.network import SoundNet

CAPTIONS = ["a red three", "two blue sevens and a nine", "one"]
EYES = ConvNet.Config(widths=[4, 8], dim=6)


@pytest.fixture(scope="module")
def modalities():
    text, tags = Text.Config(max_length=10).build(), Tags.Config().build()
    text.fit(CAPTIONS)
    tags.fit([["red"], ["blue"]])
    return {"image": Image.Config(size=8).build(), "caption": text, "tags": tags}


@pytest.fixture
def batch(modalities):
    random = np.random.default_rng(0)
    samples = [
        {"id": str(i), "image": random.integers(0, 256, (8, 8, 3), dtype=np.uint8), "caption": caption, "scene": i}
        for i, caption in enumerate(CAPTIONS)
    ]
    return batched(modalities, samples)


def batched(modalities, samples):
    fields = {
        name: modalities[name].collate(
            [modalities[name].transform(modalities[name].decode(sample[name]), None) for sample in samples]
        )
        for name in ("image", "caption")
    }
    return Batch(samples, fields, seed=3)


def built(kind, modalities, **options):
    torch.manual_seed(0)
    decoder = LSTM.Config(dim=7) if kind is ShowAndTell else AttentionLSTM.Config(dim=7, attention_dim=5)
    parts = {"encoder": EYES, "decoder": decoder, "loss": CrossEntropy.Config()}
    return kind.Config(**{**parts, **options}).build(modalities).eval()


def test_the_loss_is_the_mean_over_real_words_after_the_first_sign(modalities, batch):
    task = built(ShowAndTell, modalities)
    sentences = batch["caption"]
    told = task.decoder.teacher_force(task.look(batch), sentences)
    terms = task(batch)["words"]
    for row in range(3):
        length = int(sentences.mask[row].sum())
        chances = told.logits[row, : length - 1].log_softmax(1)
        right = chances[torch.arange(length - 1), sentences.data[row, 1:length]]
        assert terms[row].item() == pytest.approx(-right.mean().item(), abs=1e-5)


def test_whatever_an_encoder_reads_is_told(modalities, batch):
    sound = Audio.Config(sample_rate=8000, seconds=0.5, view="waveform").build()
    heard, ears = {**modalities, "sound": sound}, SoundNet.Config(layers=5, width=0.1, pools=[4, 4, 4])
    with pytest.raises(UserError, match="'sound' is not a picture, nor a spectrogram"):
        built(ShowAttendAndTell, heard, image="sound", encoder=ears)
    task = built(ShowAndTell, heard, image="sound", encoder=ears)
    waves = [sound.example(torch.Generator().manual_seed(number)) for number in range(3)]
    samples = [{**sample, "sound": wave} for sample, wave in zip(batch.samples, waves, strict=True)]
    values = sound.collate([sound.transform(sound.decode(wave), None) for wave in waves])
    asked = Batch(samples, {**batch.fields, "sound": values}, seed=3)
    assert task(asked)["words"].isfinite().all()
    assert task.predict(asked)["caption"].shape[0] == 3
    assert task.plots({}, samples) == {}


def test_both_terms_stand_in_the_proportion_of_equation_14(modalities, batch):
    """With each sentence's number of words they are the paper's sums; looks of padded steps cost nothing."""
    task = built(ShowAttendAndTell, modalities, doubly_stochastic=0.5)
    sentences = batch["caption"]
    told = task.decoder.teacher_force(task.look(batch), sentences)
    terms = task(batch)
    for row in range(3):
        words = int(sentences.mask[row].sum()) - 1
        chances = told.logits[row, :words].log_softmax(1)
        right = chances[torch.arange(words), sentences.data[row, 1 : words + 1]]
        assert words * terms["words"][row].item() == pytest.approx(-right.sum().item(), abs=1e-4)
        looks = told.attention[row, :words].sum(0)
        penalty = 0.5 * (1 - looks).square().sum().item()
        assert words * terms["attention"][row].item() == pytest.approx(penalty, abs=1e-4)


def test_the_doubly_stochastic_term_can_be_left_out(modalities, batch):
    assert set(built(ShowAttendAndTell, modalities, doubly_stochastic=0.0)(batch)) == {"words"}


@pytest.mark.parametrize("kind", [ShowAndTell, ShowAttendAndTell])
def test_neighbours_change_nothing(kind, modalities, batch):
    task = built(kind, modalities)
    together = task(batch)
    for row, sample in enumerate(batch.samples):
        alone = task(batched(modalities, [sample]))
        for name, values in together.items():
            assert values[row].item() == pytest.approx(alone[name].item(), abs=1e-5)


def test_scheduled_sampling_follows_from_the_sample_and_ends_with_the_training(modalities, batch):
    plain, task = (built(ShowAndTell, modalities, scheduled_sampling=share) for share in (0.0, 0.7))
    assert torch.equal(task(batch)["words"], plain(batch)["words"])
    task.train()
    whole = task(batch)["words"]
    assert not torch.equal(whole, plain(batch)["words"])
    parts = torch.cat([task(part)["words"] for part in batch.split(3)])
    assert torch.allclose(whole, parts, atol=1e-5)


def test_scheduled_sampling_grows_as_the_training_goes_on(modalities, batch):
    task = built(ShowAndTell, modalities, scheduled_sampling=0.8).train()
    sentences = batch["caption"]
    assert task._own(sentences, replace(batch, progress=0.0)) is None
    early, late = (task._own(sentences, replace(batch, progress=share)) for share in (0.25, 1.0))
    assert 0 < early.sum() < late.sum()
    assert not (early & ~late).any()


def test_references_are_all_captions_of_the_picture(modalities, batch):
    task = built(ShowAndTell, modalities, keep=["scene"])
    batch.samples[0]["captions"] = ["one", "a three in red"]
    rows = task.rows(task(batch), batch)
    assert rows["references"] == [["one", "a three in red"], [CAPTIONS[1]], [CAPTIONS[2]]]
    assert rows["sample.scene"] == [0, 1, 2]
    assert rows["picture"] == ["0", "1", "2"]
    assert all("<" not in sentence for sentence in rows["generated"])


def test_a_field_to_keep_that_is_not_there_is_named(modalities, batch):
    task = built(ShowAndTell, modalities, keep=["scenes"])
    with pytest.raises(UserError, match=r"no field 'scenes' at model.keep.*Did you mean 'scene'"):
        task.rows(task(batch), batch)


def test_dollars_are_no_formulas():
    picture = io.BytesIO()
    Pillow.new("RGB", (4, 4)).save(picture, "PNG")
    assert captioned([picture.getvalue()], ["is it $5% or $10%?"])


def test_a_perfect_captioner_says_what_people_wrote(data):
    coco = CocoCaptions.Config(root=str(data / "tiny_coco"), captions=1).build().open("train")
    text = Text.Config(lowercase=True).build()
    text.fit([sample["text"] for sample in coco])
    said = [text.encode(text.transform(sample["text"], None)) for sample in coco]
    rows = {"generated": said, "references": [sample["captions"] for sample in coco]}
    assert Captions.Config().build()(rows)["bleu_1"] == pytest.approx(1)


def test_photographs_are_told_by_their_files(modalities, batch, tmp_path):
    task, file = built(ShowAndTell, modalities), str(tmp_path / "1.png")
    Pillow.fromarray(batch.samples[0]["image"]).save(file)
    samples = [{**sample, "image": file} for sample in batch.samples[:2]]
    shown = batched(modalities, samples)
    assert task.rows(task(shown), shown)["picture"] == [file, file]


def test_peaks_are_where_the_largest_weight_lies(modalities, batch):
    task = built(ShowAttendAndTell, modalities)
    rows, (said, features) = task.rows(task(batch), batch), task.said(batch)
    assert features.grid == (4, 4)
    for row, peaks in enumerate(rows["peaks"]):
        for place, (word, down, across) in enumerate(peaks):
            assert word == modalities["caption"].encode(said.words[row, place : place + 1])
            row_of, column_of = divmod(int(said.attention[row, place].argmax()), 4)
            assert (down, across) == ((2 * row_of + 1) / 8, (2 * column_of + 1) / 8)


def test_predict_gives_a_map_for_each_word(modalities, batch):
    task = built(ShowAttendAndTell, modalities)
    answer = task.predict(batch)
    heat = answer["attention"]
    assert heat.maps.shape == (3, answer["caption"].shape[1], 4, 4)
    assert torch.allclose(heat.maps.sum((2, 3)), torch.ones(heat.maps.shape[:2]), atol=1e-5)
    png = task.outputs["attention"].encode(Heat(heat.maps[0], heat.words[0], heat.picture[0]))
    assert Pillow.open(io.BytesIO(png)).format == "PNG"


def test_a_report_shows_sentences_and_looks(modalities, batch):
    task = built(ShowAttendAndTell, modalities)
    rows = {**task.rows(task(batch), batch), "id": batch.ids}
    assert set(task.plots(rows, batch.samples)) == {"captions.png", "attention_0.png", "attention_1.png"}
    assert "people say 'a red three'" in task.examples(rows, batch.samples)[0]


def test_a_recognition_sees_and_stays_as_it_is_unless_it_is_tuned(modalities):
    recognition = Recognition.Config(encoder=EYES, targets=["tags"])
    for tuned, expected in ((None, ["decoder"]), (False, ["decoder"]), (True, ["decoder", "recognition.encoder"])):
        task = built(ShowAndTell, modalities, encoder=None, recognition=recognition, fine_tune=tuned)
        stages = task.stages()
        assert [stage.name for stage in stages] == ["recognition", "caption"]
        assert stages[1].objectives[0].updates == expected


@pytest.mark.parametrize(
    ("weights", "tuned", "trained"),
    [(None, None, True), ("DEFAULT", None, False), ("DEFAULT", True, True), (None, False, False)],
)
def test_an_encoder_with_weights_stays_as_it_is_unless_it_is_tuned(modalities, weights, tuned, trained):
    eyes = Backbone.Config(model="mobilenet_v3_small", weights=weights)
    task = built(ShowAndTell, modalities, encoder=eyes, fine_tune=tuned)
    assert ("encoder" in task.stages()[0].objectives[0].updates) == trained


def test_what_does_not_fit_is_refused(modalities):
    with pytest.raises(ValueError, match="either an encoder or a recognition"):
        built(ShowAndTell, modalities, encoder=None)
    with pytest.raises(UserError, match="no modality text"):
        built(ShowAndTell, {"image": modalities["image"]})
    blind = built(ShowAttendAndTell, modalities, decoder=LSTM.Config(dim=7))
    with pytest.raises(UserError, match="no attention"):
        blind.terms(
            blind.decoder.teacher_force(blind.look(one := batched_one(modalities)), one["caption"]), one["caption"]
        )


def batched_one(modalities):
    return batched(modalities, [{"id": "0", "image": np.zeros((8, 8, 3), np.uint8), "caption": "one"}])


def test_heat_maps_show_words_up_to_the_end(modalities):
    shown = Heatmaps(Heatmaps.Config(), modalities["caption"], modalities["image"])
    words = modalities["caption"].transform("a red three", None)[1:]
    picture = torch.zeros(3, 8, 8)
    size = Pillow.open(
        io.BytesIO(shown.encode(Heat(torch.rand(9, 4, 4), torch.cat([words, words, words[:1]]), picture)))
    ).size
    assert size == (4 * 112, 112 + 16 + 16)  # the picture and three words, and the scale
    nothing = Heat(torch.rand(1, 4, 4), words[-1:], picture)
    assert Pillow.open(io.BytesIO(shown.encode(nothing))).size == (112, 112 + 16 + 16), "the end at once"


def test_heat_maps_lie_on_the_picture_that_was_sent(modalities):
    """The model sees the square in the middle of a picture of 8 x 16, and looks at its upper left place."""
    shown = Heatmaps(Heatmaps.Config(), modalities["caption"], modalities["image"], "image")
    geometry = modalities["image"].geometry(torch.zeros(3, 8, 16, dtype=torch.uint8), None)
    maps = torch.zeros(1, 4, 4)
    maps[0, 0, 0] = 1.0
    found = shown.put_back(Heat(maps, torch.tensor([9]), torch.ones(3, 8, 8)), geometry)
    assert found.picture.shape == (3, 112, 224)
    assert found.maps.shape == (1, 112, 224)
    assert found.maps[0, 14, 70] == pytest.approx(1, abs=0.05), "column 5 of 16, row 1 of 8"
    assert not found.maps[0, :, :56].any()
    assert found.maps[0, 60:].max() < 0.01
    assert torch.equal(found.picture[0, 50, [0, 55, 57, 167, 169, 223]], torch.tensor([0.0, 0, 1, 1, 0, 0]))
    assert Pillow.open(io.BytesIO(shown.encode(found))).size == (2 * 224, 112 + 16 + 16)


def test_heat_maps_refuse_what_is_none():
    with pytest.raises(MediaError, match="shape"):
        Heatmaps(Heatmaps.Config()).decode([[1.0]])
    with pytest.raises(MediaError, match="not numbers"):
        Heatmaps(Heatmaps.Config()).decode("warm")
