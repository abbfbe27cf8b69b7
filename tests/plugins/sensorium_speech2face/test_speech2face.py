"""Speech2Face by hand: what the losses ask, what finds a face, what hears and draws, and what the layouts hold."""

import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from torch.nn import functional as F

import sensorium_speech2face
from sensorium import Features, MediaError, Padded, UserError, narrow
from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.builtin.modalities import image as images
from sensorium.builtin.modalities.audio import Audio
from sensorium_speech2face import measures
from sensorium_speech2face.decoder import FaceDecoder
from sensorium_speech2face.layouts import AVSpeech, TalkingFaces, VoxCeleb, square
from sensorium_speech2face.linear import LeastSquares, mean_spectrum
from sensorium_speech2face.voice import VoiceEncoder
from sensorium_worlds.people import HEARD, UNHEARD, People

SMALL = ("dataset.train=32", "dataset.known=8", "dataset.held_out=12", "training.global_batch=8")
EXPERIMENTS = Path(sensorium_speech2face.__file__).parent / "experiments"


@pytest.fixture(scope="module")
def assembly():
    assembled = assemble(load("speech2face", SMALL))
    assembled.task.eval()
    return assembled


def batch_of(assembly, split="test", count=4, fields=None):
    samples = [assembly.splits[split][place] for place in range(count)]
    kept = assembly.modalities if fields is None else fields
    return assembly.task.batched([{name: sample[name] for name in ("id", "group", *kept)} for sample in samples])


# ---- the losses --------------------------------------------------------------------------------


def test_the_losses_worked_out_by_hand(assembly):
    task, random = assembly.task, torch.Generator().manual_seed(0)
    dim = task.face.encoder_of("image").dim
    heard, seen = torch.randn(2, 3, dim, generator=random)
    terms = task.losses({"audio": heard, "image": seen}, None)
    weight = task.decoder.first.weight
    torch.testing.assert_close(terms["first"], ((heard - seen) @ weight.T).abs().sum(1))
    cosine = F.cosine_similarity(heard, seen)
    torch.testing.assert_close(terms["normalised"], task.config.normalised * (2 - 2 * cosine))
    head = task.face.heads["identity"]
    said, told = (torch.softmax(head(each) / 2.0, 1) for each in (heard, seen))
    expected = task.config.distilled * -(told * said.log()).sum(1)
    torch.testing.assert_close(terms["distilled"], expected)


def test_nothing_is_asked_of_a_voice_that_says_what_the_face_does(assembly):
    task = assembly.task
    seen = torch.randn(3, task.join.out_features)
    heard = (1.0 * seen).requires_grad_()
    terms = task.losses({"audio": heard, "image": seen}, None)
    assert (terms["first"] + terms["normalised"]).detach().max() < 1e-3
    (slope,) = torch.autograd.grad(terms["distilled"].sum(), heard)
    assert slope.abs().max() < 1e-5, "cross entropy is least where both say the same"


def test_the_temperature_softens_both_sides(assembly):
    """With logits of 2 and 0 at T = 2: probabilities of e / (e + 1) and 1 / (e + 1)."""
    task = assemble(load("speech2face", [*SMALL, "model.distilled=1"])).task
    logits = torch.zeros(1, 8)
    logits[0, 0] = 2.0
    task.face.logits_of = lambda field, features: {"identity": logits}
    terms = task.losses(dict.fromkeys(("audio", "image"), torch.ones(1, task.join.out_features)), None)
    total = math.e + 7
    entropy = -(math.e / total * (1 - math.log(total)) - 7 / total * math.log(total))
    assert terms["distilled"].item() == pytest.approx(entropy, rel=1e-5)


def test_each_stage_teaches_its_own_part(assembly):
    taught = {stage.name: list(stage.objectives[0].updates) for stage in assembly.task.stages()}
    assert list(taught) == ["face", "decoder", "voice"]
    assert taught["decoder"] == ["decoder"]
    assert taught["voice"] == ["voice", "join"]


def test_the_decoder_is_asked_for_the_passport_and_its_feature(assembly):
    task, batch = assembly.task, batch_of(assembly)
    seen = task.see(batch["image"])
    outputs = {"face": seen, "drawn": batch["passport"]}
    terms = task.decoder_losses(outputs, batch)
    assert not terms["pixels"].any()
    like = F.cosine_similarity(task.see(batch["passport"]), seen)
    torch.testing.assert_close(terms["likeness"], 1 - like)


# ---- what needs no network, and what is measured -----------------------------------------------


def test_places_worked_out_by_hand():
    """Two galleries of two: in the first the voices are exchanged, in the second one is right and one is tied."""
    one, two = torch.eye(2)
    rows = {
        "feature.voice": torch.stack([two, one, one, F.normalize(one + two, dim=0)]),
        "feature.told": torch.stack([one, two, one, two]),
        "feature.face": torch.stack([two, one, two, one]),
        "group": torch.arange(4),
    }
    assert measures.places(rows, "voice", 2).tolist() == [2, 2, 1, 2], "a tie counts against the voice"
    assert measures.places(rows, "voice", 4).tolist()[:2] == [4, 4]
    assert measures.places(rows, "voice", 2, "face").tolist() == [1, 1, 2, 2], "by the whole feature"


def test_correlation_worked_out_by_hand():
    assert measures.correlation(torch.tensor([1.0, 2, 3]), torch.tensor([3.0, 5, 7])) == pytest.approx(1)
    assert measures.correlation(torch.tensor([1.0, 2, 3]), torch.tensor([1.0, 0, 1])) == pytest.approx(0)
    assert measures.correlation(torch.ones(3), torch.tensor([1.0, 2, 3])) == 0


def test_least_squares_find_the_map_and_a_few_samples_have_an_answer():
    random = torch.Generator().manual_seed(0)
    given, map_ = torch.randn(500, 6, generator=random), torch.randn(6, 2, generator=random)
    linear = LeastSquares(6, 2, 1e-3)
    linear.begin()
    for part in given.split(100):
        linear.see(part, part @ map_ + 3)
    linear.fit()
    torch.testing.assert_close(linear(given), given @ map_ + 3, atol=0.05, rtol=0)
    linear.begin()
    linear.see(given[:2], given[:2] @ map_)
    linear.fit()
    assert linear(given).isfinite().all()


def test_what_voices_tell_of_a_face_leaves_out_what_they_do_not():
    """A face of two features, of which the voice has the first: the map back keeps that one and forgets the other."""
    random = torch.Generator().manual_seed(0)
    faces = torch.randn(500, 2, generator=random) * torch.tensor([1.0, 5.0])
    voices = torch.cat([faces[:, :1] + 0.1 * torch.randn(500, 1, generator=random), torch.ones(500, 2)], 1)
    linear, told = LeastSquares(3, 2, 1e-4), LeastSquares(2, 2, 1e-4)
    assert torch.equal(told(faces), faces), "until it is fitted it keeps all"
    linear.begin()
    linear.see(voices[:200], faces[:200] + 3)
    linear.see(voices[200:], faces[200:] + 3)
    linear.fit(told)
    directly = torch.linalg.lstsq(torch.cat([faces + 3, torch.ones(500, 1)], 1), linear(voices)).solution
    torch.testing.assert_close(told.weight, directly, atol=0.03, rtol=0)
    spread = told(faces + 3).std(0)
    assert spread[0] > 0.9
    assert spread[1] < 0.5, "of what is five times as large"


def test_the_mean_spectrum_knows_neither_loudness_nor_length_of_silence():
    wave = torch.randn(2, 1, 4000)
    plain = mean_spectrum(Padded(wave, torch.ones(2, 4000).bool()), 256)
    assert plain.shape == (2, 129)
    for changed in (3 * wave, F.pad(wave, (0, 3000))):
        torch.testing.assert_close(mean_spectrum(Padded(changed, None), 256), plain, atol=1e-3, rtol=0)


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_linear_map_hears_half_of_a_stranger_s_face_and_nothing_on_shuffled_pairs(shuffled):
    world = People(People.Config(train=250, known=250, held_out=100, shuffle_pairs=shuffled))
    linear = LeastSquares(129, 6, 0.1)
    linear.begin()
    linear.see(*_spectra_and_faces(world.open("train")))
    linear.fit()
    given, expected = _spectra_and_faces(world.open("test"))
    found = [measures.correlation(*pair) for pair in zip(linear(given).T, expected.T, strict=True)]
    if shuffled:
        assert max(map(abs, found)) < 0.35
    else:
        assert min(found[:3]) > 0.5
        assert max(map(abs, found[3:])) < 0.35


def _spectra_and_faces(split):
    samples = list(narrow(split, {"audio"}))
    waves = torch.stack([torch.from_numpy(sample["audio"][0]) for sample in samples])[:, None]
    faces = torch.tensor([[sample[name] for name in (*HEARD, *UNHEARD)] for sample in samples])
    return mean_spectrum(Padded(waves, torch.ones(len(waves), waves.shape[2]).bool()), 256), faces


# ---- what hears and what draws -----------------------------------------------------------------


def test_the_voice_encoder_keeps_the_bins_and_hears_no_loudness():
    audio = Audio(Audio.Config(sample_rate=8000, seconds=1.0, view="waveform"))
    config = VoiceEncoder.Config(n_fft=256, hop_length=128, widths=[[4], [4], [6, 6]], taps=3, dim=5)
    encoder = VoiceEncoder(config, audio)
    assert encoder.project.in_features == 65 * 6, "129 bins, halved once by the last layer"
    wave = torch.randn(2, 1, 8000)
    mask = torch.ones(2, 8000).bool()
    plain = encoder(Padded(wave, mask)).pooled
    torch.testing.assert_close(encoder(Padded(7 * wave, mask)).pooled, plain, atol=1e-4, rtol=1e-4)
    longer = Padded(F.pad(wave, (0, 5000)), F.pad(mask, (0, 5000)))
    torch.testing.assert_close(encoder(longer).pooled, plain, atol=1e-5, rtol=1e-4)


def test_the_voice_encoder_hears_the_phase_too():
    """Its spectrogram is complex: of a sound and of the same one turned upside down it makes something else."""
    audio = Audio(Audio.Config(sample_rate=8000, seconds=1.0, view="waveform"))
    torch.manual_seed(0)
    encoder = VoiceEncoder(VoiceEncoder.Config(n_fft=256, widths=[[4], [4, 4]], dim=5), audio)
    wave = torch.randn(1, 1, 8000)
    assert not torch.allclose(encoder(wave).pooled, encoder(-wave).pooled, atol=1e-4)


def test_published_sizes_fit_together():
    audio = Audio(Audio.Config(sample_rate=16000, seconds=6, view="waveform"))
    with torch.device("meta"):
        encoder = VoiceEncoder(VoiceEncoder.Config(win_length=400), audio)
    assert [layer.conv.out_channels for layer in encoder.layers] == [64, 64, 128, 128, 128, 256, 512, 512, 512]
    assert encoder.spectra.compressed(torch.zeros(1, 16000 * 6)).shape == (1, 257, 601)
    assert (encoder.project.in_features, encoder.dim) == (65 * 512, 4096)
    experiment = load(str(EXPERIMENTS / "paper.yaml"), ["model.face={name: recognition, encoder: vit, targets: [a]}"])
    assert (experiment.experiment.model.distilled, experiment.experiment.model.normalised) == (200, 0.025)
    assert load(str(EXPERIMENTS / "faces.yaml")).experiment.model.encoder.connected


def test_what_is_drawn_lies_between_black_and_white():
    modality = images.Image(images.Image.Config(size=24, mean=[0.2], std=[0.5]))
    decoder = FaceDecoder(FaceDecoder.Config(first=8, width=4), 3, modality)
    drawn = decoder(1e3 * torch.randn(4, 3))
    assert drawn.shape == (4, 3, 24, 24)
    assert -0.4 <= drawn.min() < drawn.max() <= 1.6
    for size in (25, (24, 32)):
        with pytest.raises(UserError, match="cannot be drawn"):
            FaceDecoder(FaceDecoder.Config(), 3, images.Image(images.Image.Config(size=size)))


def test_a_voice_a_photograph_and_nothing_are_asked_about(assembly):
    task = assembly.task
    both = task.predict(batch_of(assembly, fields=("audio", "image")))
    assert set(both) == set(task.outputs)
    for field in ("audio", "image"):
        batch = batch_of(assembly, fields=(field,))
        answer = task.predict(batch)
        assert set(answer) == {"face", f"{field}_embedding"}
        torch.testing.assert_close(answer["face"], task.decoder(task(batch)[field]))
        torch.testing.assert_close(answer[f"{field}_embedding"].norm(dim=1), torch.ones(4))
        features = task.encoder_of(field)(batch[field])
        torch.testing.assert_close(answer[f"{field}_embedding"], task.embedding_of(field, features))
        whole = task(batch)[field]
        whole = task.told(whole) if field == "image" else whole
        torch.testing.assert_close(answer[f"{field}_embedding"], F.normalize(whole, dim=1))
    torch.testing.assert_close(both["face"], task.predict(batch_of(assembly, fields=("audio",)))["face"])
    with pytest.raises(UserError, match="nothing to draw"):
        task.predict(batch_of(assembly, fields=()))


def test_features_are_told_apart_by_who_they_are(assembly):
    task, batch = assembly.task, batch_of(assembly)
    told = task.face(batch)["identity"]
    features = task.face.encoder_of("image")(batch["image"])
    torch.testing.assert_close(task.face.logits_of("image", features)["identity"], told)
    with pytest.raises(UserError, match="tells no classes of features of 'audio'"):
        task.face.logits_of("audio", Features(torch.zeros(1, 3)))


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("modalities.passport={name: image, size: 32}", "not pictures of one size"),
        ("modalities.audio={name: audio, sample_rate: 8000, seconds: 1.5}", "not a waveform"),
        ("model.attributes=[identity]", "'identity' is not a number"),
        ("modalities.audio.channels=2", "one channel"),
        ("model.gallery=1", "at least 2"),
        ("model.voice.power=0", "power lies above 0"),
        ("model.voice.win_length=512", "not above n_fft"),
        ("model.voice.widths=[[8], []]", "one layer at least"),
        ("model.decoder.first=0", "at least 1"),
    ],
)
def test_what_does_not_fit_is_refused(option, text):
    with pytest.raises(UserError, match=text):
        assemble(load("speech2face", [*SMALL, option]))


# ---- data --------------------------------------------------------------------------------------


def film(path, brightness, hertz, sound=True):
    """Writes a second of a frame that is light on its right, with a tone."""
    with av.open(str(path), "w", format="matroska") as container:
        picture = container.add_stream("ffv1", rate=25, options={"level": "3"})
        picture.width, picture.height, picture.pix_fmt = 64, 32, "gray"
        tone = container.add_stream("pcm_s16le", rate=16000, layout="mono") if sound else None
        for number in range(25):
            pixels = np.full((32, 64), brightness, np.uint8)
            pixels[:, 32:] += 100
            container.mux(picture.encode(av.VideoFrame.from_ndarray(pixels, format="gray")))
            if tone is not None:
                moments = (640 * number + np.arange(640)) / 16000
                samples = (8000 * np.sin(2 * np.pi * hertz * moments)).astype(np.int16)[None]
                piece = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
                piece.sample_rate, piece.pts, piece.time_base = 16000, 640 * number, Fraction(1, 16000)
                container.mux(tone.encode(piece))
        container.mux(picture.encode(None))
        if tone is not None:
            container.mux(tone.encode(None))


def test_stretches_of_avspeech_are_cut_to_the_face(tmp_path):
    lines = [
        "aaaaaaaaaaa,90.000000,91.000000,0.750000,0.500000",
        "bbbbbbbbbbb,1.5,2.5,0.1,0.1",
        "gone,0,1,0.5,0.5",
    ]
    (tmp_path / "avspeech_train.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "train").mkdir()
    film(tmp_path / "train/aaaaaaaaaaa_90.000000_91.000000.mp4", 10, 1000)
    film(tmp_path / "train/bbbbbbbbbbb_1.5_2.5.mp4", 20, 500)
    split = AVSpeech(AVSpeech.Config(root=str(tmp_path))).open("train")
    assert len(split) == 2, "what is gone from the web is left out"
    right, left = split[0], split[1]
    assert right["image"].shape == left["image"].shape == (16, 16, 3)
    assert abs(int(right["image"].mean()) - 110) < 8, "the centre lies in the light half"
    assert abs(int(left["image"].mean()) - 20) < 8
    for sample, hertz in ((right, 1000), (left, 500)):
        wave, rate = sample["audio"]
        assert (len(wave), rate) == (16000, 16000)
        assert np.abs(np.fft.rfft(wave)).argmax() == hertz
    (tmp_path / "avspeech_train.csv").write_text("aaaaaaaaaaa,90,91,1.75,0.5\n")
    with pytest.raises(UserError, match=r"avspeech_train.csv:1 is 'aaaaaaaaaaa,90,91,1.75,0.5'"):
        AVSpeech(AVSpeech.Config(root=str(tmp_path))).open("train")


def test_a_square_stays_inside_the_frame():
    frame = np.arange(8 * 16).reshape(8, 16, 1).repeat(3, 2)
    assert np.array_equal(square(frame, (0.5, 0.5), 0.5), frame[2:6, 6:10])
    assert np.array_equal(square(frame, (0.0, 1.0), 0.5), frame[4:8, 0:4])
    assert np.array_equal(square(frame, (1.0, 0.0), 1.0), frame[0:8, 8:16])


def test_voices_of_voxceleb_get_faces_of_the_same_film(tmp_path):
    table = ["VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet"]
    for number, name, home in (("id10001", "A.J._Buckley", "dev"), ("id10270", "Eartha_Kitt", "test")):
        table.append(f"{number}\t{name}\tm\tIreland, or so\t{home}")
        for film_name, voices in (("1zcIwhmdeo4", 3), ("unseen", 1)):
            (tmp_path / "wav" / number / film_name).mkdir(parents=True)
            for turn in range(voices):
                soundfile.write(tmp_path / "wav" / number / film_name / f"0000{turn + 1}.wav", np.zeros(800), 16000)
        faces = tmp_path / "unzippedFaces" / name / "1.6" / "1zcIwhmdeo4"
        faces.mkdir(parents=True)
        for turn in (100, 125):
            Image.fromarray(np.full((8, 8, 3), turn, np.uint8)).save(faces / f"0000{turn}.jpg")
    (tmp_path / "vox1_meta.csv").write_text("\n".join(table))
    world = VoxCeleb(VoxCeleb.Config(root=str(tmp_path)))
    train, test = world.open("train"), world.open("test")
    assert [sample["id"] for sample in train] == [f"id10001/1zcIwhmdeo4/0000{turn}" for turn in (1, 2, 3)]
    assert [Path(sample["image"]).stem for sample in train] == ["0000100", "0000125", "0000100"]
    assert {sample["identity"] for sample in train} == {"id10001"}
    assert {sample["identity"] for sample in test} == {"id10270"}
    with pytest.raises(UserError, match="no split 'validation'"):
        world.open("validation")


def test_clips_of_grid_are_read(data):
    split = TalkingFaces(TalkingFaces.Config(root=str(data / "GRID-samples"))).open("train")
    sample = split[0]
    assert (len(split), sample["id"], sample["identity"]) == (8, "bbaf2n", "bbaf2n")
    assert sample["image"].shape == (288, 360, 3)
    assert sample["audio"][0].shape == (48000,)
    assert np.abs(sample["audio"][0]).max() > 0.1


def test_a_film_without_sound_is_refused(tmp_path):
    film(tmp_path / "a.mpg", 10, 0, sound=False)
    (tmp_path / "index.csv").write_text("id,video,speaker\na,a.mpg,s1\n")
    split = TalkingFaces(TalkingFaces.Config(root=str(tmp_path))).open("test")
    with pytest.raises(MediaError, match="has no sound"):
        split[0]
