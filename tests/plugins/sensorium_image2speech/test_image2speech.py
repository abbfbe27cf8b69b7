"""Image to speech by hand: what a step hears, units and their runs, lengths, sounds, what is counted, layouts."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

import sensorium_image2speech
from sensorium import Batch, Features, Padded, UserError, workers
from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.builtin.datasets.digits import Digits
from sensorium.builtin.modalities.text import BOS, EOS, PAD
from sensorium_image2speech import measures
from sensorium_image2speech.layouts import Flickr8kAudio, LJSpeech, SpokenCOCO
from sensorium_image2speech.spectrum import FLOOR, Mel, Spectrum
from sensorium_image2speech.tacotron import Tacotron
from sensorium_image2speech.units import (
    FIRST,
    STEP,
    Codebook,
    Hearing,
    Runs,
    as_units,
    as_words,
    collapsed,
    kmeans,
    within,
)
from sensorium_image2speech.voice import Voice
from sensorium_worlds.formants import VOICES, say
from sensorium_worlds.spoken_names import SpokenNames

SMALL = (
    "dataset.sources.pairs.train=80",
    "dataset.sources.pairs.held_out=20",
    "dataset.sources.voice.train=40",
    "dataset.sources.voice.held_out=20",
    "training.global_batch=20",
)
RATE = 8000


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def assembly():
    assembled = assemble(load("image2speech", SMALL))
    assembled.task.eval()
    with torch.no_grad():
        next(stage for stage in assembled.task.stages() if stage.prepare).prepare(
            [batch_of(assembled, "pairs_train", 20)]
        )
    return assembled


def batch_of(assembly, split, count=4):
    task = assembly.task
    samples = [assembly.splits[split][place] for place in range(count)]
    return task.batched(samples)


def sounds(*lengths, seed=0):
    """Noise of some lengths, in samples."""
    random = torch.Generator().manual_seed(seed)
    data = torch.zeros(len(lengths), 1, max(lengths))
    for row, length in zip(data, lengths, strict=True):
        row[0, :length] = torch.randn(length, generator=random)
    return Padded(data, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None])


def alone(batch, row):
    real = batch.mask[row]
    return Padded(batch.data[row : row + 1][..., real], real[real][None])


# ---- spectrograms and sounds -------------------------------------------------------------------


def test_silence_is_nothing_and_loudness_does_not_count():
    mel = Mel(Spectrum(n_mels=48), RATE)
    tone = Padded(torch.sin(torch.arange(4000) / 5)[None, None], torch.ones(1, 4000).bool())
    loud, faint = mel(tone).data, mel(Padded(0.01 * tone.data, tone.mask)).data
    torch.testing.assert_close(loud, faint, rtol=1e-4, atol=1e-4)
    assert float(mel(Padded(torch.zeros(1, 1, 800), torch.ones(1, 800).bool())).data.abs().max()) == 0
    magnitude = FLOOR * loud.exp()
    frequency = RATE / 5 / (2 * torch.pi)
    band = int(magnitude[0, :, 25].argmax())
    edges = 2595 * np.log10(1 + np.array([frequency, RATE / 2]) / 700)
    assert band == pytest.approx(edges[0] / edges[1] * 49 - 1, abs=1), "the bands lie evenly on the mel scale"


def test_a_sound_has_the_spectrogram_it_was_made_for():
    mel = Mel(Spectrum(n_mels=48), RATE)
    word = torch.from_numpy(say("seven", VOICES[1], np.random.default_rng(0)))
    right = mel(Padded(word[None, None], torch.ones(1, len(word)).bool()))
    found = mel(mel.sound(right))
    off = (found.data - right.data[..., : found.data.shape[2]])[right.data[..., : found.data.shape[2]] > 2]
    assert float(off.std()) < 0.3, "but for its level, where it is 17 dB above silence"
    assert float(right.data[right.data > 2].std()) > 0.7, "which is far from all the same"
    assert torch.equal(mel.sound(right).data, mel.sound(right).data)


def test_more_bands_than_bins_are_refused():
    with pytest.raises(UserError, match="some hold no bin"):
        Mel(Spectrum(n_fft=128, hop_length=64, n_mels=80), RATE)


# ---- units -------------------------------------------------------------------------------------


def test_what_pads_a_batch_is_not_heard_and_a_step_hears_what_is_around_it():
    mel = Mel(Spectrum(n_mels=48), RATE)
    hearing = Hearing(Hearing.Config(dim=8), mel, 50, 8).eval()
    batch = sounds(7321, 2222, 30)
    together = hearing(hearing.spectrogram(batch))
    assert together.mask.sum(1).tolist() == [(1 + 7321 // 80) // 4, (1 + 2222 // 80) // 4, 1]
    for row in range(3):
        single = hearing(hearing.spectrogram(alone(batch, row)))
        torch.testing.assert_close(single.tokens[0], together.tokens[row][together.mask[row]])
        torch.testing.assert_close(single.pooled[0], together.pooled[row])
    spectrogram = hearing.spectrogram(alone(batch, 0)).data.requires_grad_()
    tokens = hearing(Padded(spectrogram, torch.ones(1, spectrogram.shape[2]).bool())).tokens
    tokens[0, 10].sum().backward()
    heard = spectrogram.grad[0].abs().sum(0).nonzero()[:, 0]
    assert (int(heard.min()), int(heard.max())) == (4 * 10 - 7, 4 * 10 + 10)


def test_long_speech_is_cut():
    hearing = Hearing(Hearing.Config(dim=8), Mel(Spectrum(n_mels=48), RATE), 10, 8)
    assert hearing.spectrogram(sounds(8000)).data.shape[2] == 4 * 10


def test_runs_by_hand_and_back():
    units = torch.tensor([[3, 3, 5, 5, 5, 3], [7, 7, 0, 0, 0, 0], [1, 2, 2, 9, 9, 9]])
    mask = torch.arange(6) < torch.tensor([6, 2, 3])[:, None]
    runs = collapsed(units, mask)
    assert measures.lists(runs.units) == [[3, 5, 3], [7], [1, 2]]
    assert runs.steps.tolist() == [[2, 3, 1], [2, 0, 0], [1, 2, 0]]
    words = as_words(runs.units)
    assert words.data.tolist() == [
        [BOS, FIRST + 3, FIRST + 5, FIRST + 3, EOS],
        [BOS, FIRST + 7, EOS, PAD, PAD],
        [BOS, FIRST + 1, FIRST + 2, EOS, PAD],
    ]
    assert words.mask.sum(1).tolist() == [5, 3, 4]
    assert measures.lists(as_units(words.data[:, 1:])) == measures.lists(runs.units)
    assert measures.lists(as_units(torch.tensor([[EOS, FIRST], [FIRST, FIRST + 1]]))) == [[], [0, 1]]


def test_the_end_is_not_a_unit_of_silence(assembly):
    assert assembly.task.units.vocabulary == FIRST + assembly.task.config.hearing.units
    assert assembly.task.units.encode(torch.tensor([FIRST + 12, FIRST, EOS, FIRST + 3])) == "12 0"


def test_the_codebook_finds_heaps_whoever_holds_which_part(monkeypatch):
    random = torch.Generator().manual_seed(0)
    middles = 10 * torch.randn(5, 3, generator=random)
    rows = middles.repeat(40, 1) + 0.1 * torch.randn(200, 3, generator=random)
    keys = torch.rand(200, generator=random)
    whole, parted = Codebook(5, 3), Codebook(5, 3)
    whole.fit([(rows, keys)])
    parted.fit([(rows[cut], keys[cut]) for cut in torch.randperm(200, generator=random).chunk(7)])
    assert torch.equal(whole.centres, parted.centres)
    nearest = torch.cdist(middles, whole.centres)
    assert float(nearest.amin(1).max()) < 0.1
    units = whole(Features(rows[:0], rows[None]))[0]
    assert len({tuple(units[heap::5].tolist()) for heap in range(5)}) == 5
    assert all(len(set(units[heap::5].tolist())) == 1 for heap in range(5))
    monkeypatch.setattr(workers, "gather_rows", lambda mine: torch.cat([mine, mine.flip(0)[:0]]))
    assert torch.isfinite(kmeans(rows[:2], 5)).all(), "fewer rows than units"


# ---- voices ------------------------------------------------------------------------------------


def said(lengths, seed=0):
    random = torch.Generator().manual_seed(seed)
    units = torch.randint(0, 6, (len(lengths), max(lengths)), generator=random)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    steps = torch.randint(1, 4, units.shape, generator=random)
    return Runs(Padded(units * mask, mask), steps * mask)


def test_each_unit_lasts_as_long_as_it_is_told():
    voice = Voice(Voice.Config(hidden=4), 6, 3, 10)
    # A network that gives back what it is told: no state, the sums of its inputs.
    seen = []
    voice.speaks.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    runs = Runs(Padded(torch.tensor([[1, 2]]), torch.ones(1, 2).bool()), torch.tensor([[1, 3]]))
    read = torch.tensor([[[0.0] * 8, [1.0] * 8]])
    mel, mask = voice._spoken(read, runs.steps)
    assert mel.shape == (1, 3, 4 * STEP)
    assert mask.sum() == 4 * STEP
    told = seen[0].data
    assert told[:, 0].tolist() == [0, 1, 1, 1], "the first for one step, the second for three"
    assert told[:, -2].tolist() == pytest.approx([0.5, 1 / 6, 0.5, 5 / 6]), "how much of the unit is gone"
    assert told[:, -1].tolist() == pytest.approx([0, *[float(np.log(3))] * 3])


def test_losses_of_the_voice_by_hand(monkeypatch):
    voice = Voice(Voice.Config(hidden=4), 6, 3, 10)
    for layer in (voice.lasts, voice.bands):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    runs = Runs(
        Padded(torch.tensor([[1, 2], [4, 0]]), torch.tensor([[1, 1], [1, 0]]).bool()), torch.tensor([[1, 3], [2, 0]])
    )
    mel = torch.full((2, 3, 16), 2.0)
    mel[1] = 3.0
    losses = voice(runs, Padded(mel, torch.ones(2, 16).bool()))
    assert losses["spectrogram"].tolist() == pytest.approx([2 + 4, 3 + 9])
    assert losses["lengths"].tolist() == pytest.approx([np.log(3) ** 2 / 2, np.log(2) ** 2])


@pytest.mark.parametrize("kind", ["voice", "tacotron"])
def test_a_voice_says_alone_what_it_says_among_others(kind):
    torch.manual_seed(0)
    if kind == "voice":
        voice = Voice(Voice.Config(hidden=8), 6, 20, 12).eval()
    else:
        voice = Tacotron(Tacotron.Config(embedding=8, hidden=12, attention=4), 6, 20, 12).eval()
    units = said([5, 2, 7]).units
    with torch.no_grad():
        together = voice.speak(units)
        for row in range(3):
            real = units.mask[row]
            single = voice.speak(Padded(units.data[row, real][None], real[real][None]))
            assert single.data.shape == together.data[:1].shape
            torch.testing.assert_close(single.data[0], together.data[row])
            assert torch.equal(single.mask[0], together.mask[row])
        nothing = voice.speak(Padded(units.data, torch.zeros_like(units.mask)))
    assert nothing.data.shape == together.data.shape
    assert nothing.mask.any(1).all(), "of no unit at all something is heard and seen"
    assert not together.data[~together.mask[:, None].expand_as(together.data)].any()


def test_tacotron_learns_when_to_stop(monkeypatch):
    torch.manual_seed(0)
    voice = Tacotron(Tacotron.Config(embedding=8, hidden=12, attention=4), 6, 20, 12)
    runs = said([2, 3, 1])
    mel = within(Padded(torch.rand(3, 20, 48), torch.ones(3, 48).bool()), runs)
    assert mel.mask.sum(1).tolist() == (4 * runs.steps.sum(1)).tolist()
    given = {}
    stop = torch.full((3, mel.mask.shape[1]), -9.0)
    stop[torch.arange(3), mel.mask.sum(1) - 1] = 9.0

    def rigged(units, lengths, target, frames):
        given["lengths"] = lengths.tolist()
        order = runs.units.mask.sum(1).argsort(descending=True, stable=True)
        return target, target + 1, stop[order], None

    monkeypatch.setattr(voice.network, "forward", rigged)
    losses = voice(runs, mel)
    assert given["lengths"] == [3, 2, 1], "as its encoder wants them"
    assert losses["before"].tolist() == [0, 0, 0]
    assert losses["spectrogram"].tolist() == pytest.approx([1, 1, 1])
    assert float(losses["stop"].max()) < 1e-3
    stop.neg_()
    assert float(voice(runs, mel)["stop"].min()) > 8
    monkeypatch.undo()
    sum(term.mean() for term in voice(runs, mel).values()).backward()
    assert [name for name, each in voice.named_parameters() if each.grad is None or not each.grad.any()] == []


# ---- the task ----------------------------------------------------------------------------------


def test_stages_learn_apart_each_from_its_own_source(assembly):
    task, plan = assembly.task, assembly.loaded.experiment.training.plan
    found = {stage.name: (set(stage.objectives[0].updates), plan(stage.name).split) for stage in task.stages()}
    assert found == {
        "hearing": ({"seeing", "match", "hearing", "loss"}, "pairs_train"),
        "telling": ({"decoder"}, "pairs_train"),
        "speaking": ({"voice"}, "voice_train"),
        "judge": ({"judge.encoder", "judge.heads"}, "train"),
    }
    tuned = assemble(load("image2speech", [*SMALL, "model.fine_tune=true"])).task.stages()[1]
    assert set(tuned.objectives[0].updates) == {"decoder", "seeing"}
    assert "image" not in assembly.splits["voice_train"][0], "the voice never saw a picture"
    speakers = {
        split: {assembly.splits[f"{split}_train"][n]["speaker"] for n in range(40)} for split in ("pairs", "voice")
    }
    assert len(speakers["voice"]) == 1
    assert not speakers["pairs"] & speakers["voice"]


def test_a_picture_is_taught_the_units_of_its_own_speech(assembly):
    task = assembly.task
    batch = batch_of(assembly, "pairs_test")
    own = task.hearing.units(batch["audio"])
    words = as_words(own.units)
    logits = task.decoder.teacher_force(task.look(batch), words).logits
    right = logits.log_softmax(-1).gather(2, words.data[:, 1:, None])[..., 0]
    real = words.mask[:, 1:]
    torch.testing.assert_close(task.told(batch)["units"], -(right * real).sum(1) / real.sum(1))


def test_no_label_reaches_what_is_learnt(assembly):
    """With other labels and speakers everything but the judge learns and says the same."""
    task, batch = assembly.task, batch_of(assembly, "pairs_test")
    other = replace(batch, samples=[{**each, "label": "one", "speaker": "x"} for each in batch.samples])
    other.fields.pop("label", None)
    for stage in task.stages()[:3]:
        for objective in stage.objectives:
            if stage.name == "speaking":
                continue
            one, two = (objective.losses(objective.forward(each), each) for each in (batch, other))
            assert {name: term.tolist() for name, term in one.items()} == {name: t.tolist() for name, t in two.items()}
    asked = Batch([{"id": each["id"]} for each in batch.samples], {"image": batch["image"]})
    assert torch.equal(task.predict(asked)["speech"].data, task.predict(batch)["speech"].data)


def test_two_utterances_differ_where_they_are_drawn(assembly):
    task, batch = assembly.task, batch_of(assembly, "pairs_test", 8)
    assert not torch.equal(task.say(batch), task.say(batch, "again"))
    assert torch.equal(task.say(batch), task.say(batch))
    seeded = [replace(batch, samples=[{**each, "seed": seed} for each in batch.samples]) for seed in (1, 2)]
    assert not torch.equal(task.say(seeded[0]), task.say(seeded[1]))
    task.config, before = replace(task.config, temperature=0), task.config
    assert torch.equal(task.say(batch), task.say(batch, "again"))
    task.config = before


def test_the_judge_hears_wav_files(assembly, monkeypatch):
    task, batch = assembly.task, batch_of(assembly, "pairs_test")
    heard = []
    monkeypatch.setattr(task.judge, "forward", lambda seen: heard.append(seen["audio"]) or {"label": torch.eye(4, 10)})
    with torch.no_grad():
        outputs = task(batch)
        rows, made = task.rows(outputs, batch), task.predict(batch)["speech"]
    assert len(heard) == 4, "the last one for what it takes them for"
    assert rows["heard"] == [task.judge.outputs["label"].names[n] for n in range(4)]
    wav, rate = soundfile.read(io.BytesIO(task.audio.encode(Padded(made.data[0], made.mask[0]))))
    real = heard[0].mask[0]
    np.testing.assert_allclose(heard[0].data[0, 0, real], wav, atol=1e-4)
    assert (rate, len(wav)) == (RATE, int(made.mask[0].sum()))
    assert torch.equal(heard[2].data, batch["audio"].data), "the ceiling is people's own speech"
    assert rows["understood.all"].tolist() == [n == int(label) for n, label in enumerate(batch["label"])]
    assert set(task.metrics(rows)) >= {"understood", "resynthesised", "real", "differ"}


def test_what_does_not_fit_is_refused():
    for option, text in (
        ("model.loss=cross_entropy", "A loss over pairs"),
        ("modalities.audio={name: audio, sample_rate: 8000}", "a waveform 'audio'"),
        ("modalities.audio={name: audio, view: waveform, channels: 2}", "has 2 channels"),
        ("model.seconds=0.01", "hold no step"),
        ("model.temperature=-1", "temperature at least 0"),
        ("model.spectrum.hop_length=300", "windows overlap"),
        ("dataset.sources.voice.voice=9", "There is no speaker 9"),
    ):
        with pytest.raises(UserError, match=text):
            assemble(load("image2speech", [*SMALL, option]))


def test_paper_sizes_fit_together():
    path = Path(sensorium_image2speech.__file__).parent / "experiments/paper.yaml"
    model = load(str(path)).experiment.model
    assert model.tacotron == Tacotron.Config()
    assert model.beam == 5


# ---- what is counted ---------------------------------------------------------------------------


def test_edit_distance_by_hand():
    assert measures.distance([1, 2, 3], [1, 3]) == pytest.approx(1 / 3)
    assert measures.distance([1, 2], [3, 4, 5, 6]) == 1
    assert measures.distance([], []) == 0


def test_abx_asks_for_the_word_and_not_the_voice():
    labels, speakers = ["one", "one", "two", "two"], ["a", "b", "a", "b"]
    words = [[1, 5], [1, 6], [2, 5], [2, 6]]  # the word, then the voice
    assert measures.abx([row[:1] for row in words], labels, speakers) == 1
    assert measures.abx([row[1:] for row in words], labels, speakers) == 0.5
    assert measures.abx([[1], [2], [2], [1]], labels, speakers) == 0
    assert measures.abx(words[:1], labels[:1], speakers[:1]) is None


def test_what_is_found_by_hand():
    rows = {"said": [[1], [2, 3]], "other": [[1], [2]], "true": [[1], [2]], "real.all": torch.tensor([True, False])}
    assert measures.found(rows) == {"real": 0.5, "differ": 0.5, "units_each": 1.5}


# ---- data --------------------------------------------------------------------------------------


def world(**more):
    return SpokenNames(SpokenNames.Config(**{"source": Digits.Config(), "train": 60, "held_out": 60, **more}))


def test_no_take_and_no_handwriting_is_in_two_splits():
    kept = {name: [world().open(name)[n] for n in range(60)] for name in ("train", "validation", "test")}
    takes = {name: {each["take"] for each in samples} for name, samples in kept.items()}
    spoken = {name: {each["audio"][0].tobytes() for each in samples} for name, samples in kept.items()}
    pages = {name: {each["written"] for each in samples} for name, samples in kept.items() if name != "test"}
    for found in (takes, spoken, pages):
        names = list(found)
        assert not any(found[one] & found[other] for one in names for other in names if one < other)


def test_a_sound_says_what_the_picture_shows_unless_it_is_shuffled():
    split = world().open("train")
    first = split[0]
    assert first["take"] == f"{first['label']}/{first['speaker']}/{first['take'].rpartition('/')[2]}"
    shuffled = world(shuffle_pairs=True).open("train")
    same = [np.array_equal(split[n]["image"], shuffled[n]["image"]) for n in range(60)]
    moved = [split[n]["label"] != shuffled[n]["label"] for n in range(60)]
    assert all(same)
    assert np.mean(moved) > 0.75, "0.9 by chance"
    assert world(shuffle_pairs=True).open("test")[0]["take"] == world().open("test")[0]["take"]


def test_only_those_speak_who_are_asked_and_nobody_draws_what_is_not_read():
    split = world(who="voice", pictures=False).open("train")
    assert "image" not in split[0]
    assert len({split[n]["speaker"] for n in range(30)}) == 1
    narrow = world().open("train").narrow(["label"])
    assert set(narrow[0]) == {"id", "label", "speaker", "take"}
    assert narrow[0]["take"] == world().open("train")[0]["take"]


@pytest.fixture
def media(tmp_path):
    """Folders of the three layouts, with two photographs and two sounds each."""
    for folder in ("photos", "flickr/wavs", "coco/val2014", "spoken/wavs/val/0", "lj/wavs"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("photos/1_a.jpg", "photos/2_b.jpg", "coco/val2014/COCO_val2014_000000000009.jpg"):
        Image.fromarray(np.full((8, 8, 3), 99, np.uint8)).save(tmp_path / name)
    for name in ("flickr/wavs/1_a_0", "flickr/wavs/2_b_0", "spoken/wavs/val/0/m1-x_9_1", "lj/wavs/LJ001-0001"):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(800), RATE)
    return tmp_path


def test_flickr8k_audio_is_read(media):
    (media / "flickr/wav2capt.txt").write_text("1_a_0.wav 1_a.jpg #0\n2_b_0.wav 2_b.jpg #0\n")
    (media / "flickr/wav2spk.txt").write_text("1_a_0.wav 4\n2_b_0.wav 7\n")
    (media / "Flickr_8k.trainImages.txt").write_text("2_b.jpg\n")
    config = {"root": str(media / "flickr"), "images": str(media / "photos"), "lists": str(media)}
    split = Flickr8kAudio(Flickr8kAudio.Config(**config)).open("train")
    assert len(split) == 1
    assert split[0] == {
        "id": "2_b.jpg#0",
        "group": "2_b.jpg",
        "image": str(media / "photos/2_b.jpg"),
        "audio": str(media / "flickr/wavs/2_b_0.wav"),
        "speaker": "7",
    }
    (media / "flickr/wav2spk.txt").write_text("1_a_0.wav 4\n")
    with pytest.raises(UserError, match=r"wav2capt.txt:2: 2_b_0.wav has no speaker"):
        Flickr8kAudio(Flickr8kAudio.Config(**config)).open("train")
    (media / "flickr/wav2spk.txt").write_text("1_a_0.wav 4\n1_a_0.wav 4\n")
    with pytest.raises(UserError, match=r"'1_a_0\.wav' is there twice"):
        Flickr8kAudio(Flickr8kAudio.Config(**config)).open("train")
    (media / "flickr/wav2spk.txt").write_text("1_a_0.wav\n")
    with pytest.raises(UserError, match=r"wav2spk.txt:1 has 1 words"):
        Flickr8kAudio(Flickr8kAudio.Config(**config)).open("train")


def test_spoken_coco_is_read(media):
    spoken = {"text": "A dish.", "speaker": "m1", "uttid": "m1-x_9_1", "wav": "wavs/val/0/m1-x_9_1.wav"}
    content = {"data": [{"image": "val2014/COCO_val2014_000000000009.jpg", "captions": [spoken]}]}
    path = media / "spoken/SpokenCOCO_val.json"
    path.write_text(json.dumps(content))
    dataset = SpokenCOCO(SpokenCOCO.Config(root=str(media / "spoken"), images=str(media / "coco")))
    sample = dataset.open("validation")[0]
    assert (sample["id"], sample["text"], sample["speaker"]) == ("m1-x_9_1", "A dish.", "m1")
    assert Path(sample["image"]).is_file()
    assert Path(sample["audio"]).is_file()
    del spoken["wav"]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"data\[0\], captions\[0\] has no 'wav'"):
        dataset.open("validation")


def test_ljspeech_is_read_with_its_quotes(media):
    (media / "lj/metadata.csv").write_text('LJ001-0001|a "1|a "one\n')
    dataset = LJSpeech(LJSpeech.Config(root=str(media / "lj")))
    sample = dataset.open("train")[0]
    assert sample == {"id": "LJ001-0001", "audio": str(media / "lj/wavs/LJ001-0001.wav"), "text": 'a "one'}
    (media / "lj/metadata.csv").write_text("LJ001-0001|one\n")
    with pytest.raises(UserError, match=r"metadata.csv:1 has 2 cells"):
        dataset.open("train")
    (media / "lj/metadata.csv").write_text("LJ001-0002|one|one\n")
    with pytest.raises(UserError, match=r"names files that are not there, 1 in all"):
        dataset.open("train")
