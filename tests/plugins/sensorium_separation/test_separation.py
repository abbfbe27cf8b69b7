"""Separation: spectra there and back, masks within their bound, faces in step, and no NaN from silence."""

import io
import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch

import sensorium_separation
from sensorium import Batch, Features
from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.builtin.datasets.grid import Clip
from sensorium.builtin.modalities.audio import Audio
from sensorium.builtin.modalities.video import Video
from sensorium.errors import MediaError, UserError
from sensorium.ops.spectra import Spectra
from sensorium_separation.grid import GridMixtures, Pairs
from sensorium_separation.masks import binary_mask, complex_mask, darkness, frame_mask, gates, ratio_mask
from sensorium_separation.measures import Separated, means, rows
from sensorium_separation.measures import metrics as measured
from sensorium_separation.network import Joining, Joint, VisualStream, Watching

BRIEF = ("dataset.train=16", "dataset.held_out=8")


@pytest.fixture(scope="module")
def assembly():
    return assemble(load("separation", BRIEF))


def batch_of(assembly, count=4):
    train = assembly.splits["train"]
    samples = [train[index] for index in range(count)]
    fields = {
        name: modality.collate([modality.transform(modality.decode(s[name]), None) for s in samples])
        for name, modality in assembly.modalities.items()
    }
    return Batch(samples, fields)


def exchanged(batch):
    fields = dict(batch.fields)
    fields["face_a"], fields["face_b"] = fields["face_b"], fields["face_a"]
    return Batch(batch.samples, fields)


def test_ideal_masks_give_back_what_they_can():
    spectra = Spectra(256, 128, 0.3)
    low = torch.sin(torch.arange(8000) * 2 * math.pi * 400 / 8000)
    high = torch.sin(torch.arange(8000) * 2 * math.pi * 2000 / 8000)
    voices = torch.stack([low, high])[None]
    mixture = voices.sum(1)
    compressed, clean = spectra.compressed(mixture), spectra.compressed(voices)
    for mask in (ratio_mask(clean, 0.3), binary_mask(clean), complex_mask(compressed, clean, 2.0)):
        best = spectra.sound(mask * compressed[:, None], 8000)
        assert (best - voices)[..., 300:-300].abs().max() < 0.02
    bounded = complex_mask(compressed * 1e-3, clean, 2.0)
    assert bounded.real.abs().max() <= 2
    assert bounded.imag.abs().max() <= 2


def test_ratio_mask_worked_out_by_hand():
    """Energies 3 and 1 of uncompressed spectrograms: shares 3/4 and 1/4, as magnitudes to the power p."""
    voices = torch.tensor([math.sqrt(3), 1.0]).pow(0.3).view(1, 2, 1, 1).to(torch.complex64)
    mask = ratio_mask(voices, 0.3).flatten()
    assert mask.tolist() == pytest.approx([0.75**0.15, 0.25**0.15], rel=1e-5)
    assert binary_mask(voices).flatten().tolist() == [1, 0]


def test_the_ideal_gate_worked_out_by_hand():
    """Voices (3, 0) and (0, 1) in two bins of one frame: what is left of (3, 1) is 9/10 and 1/10 of it."""
    voices = torch.tensor([[3.0, 0.0], [0.0, 1.0]]).view(1, 2, 2, 1).to(torch.complex64)
    gain = frame_mask(voices.sum(1), voices, 1.0)
    assert gain.shape == (1, 2, 1, 1)
    assert gain.flatten().tolist() == pytest.approx([0.9, 0.1], rel=1e-5)


def test_a_gate_follows_the_mouth_that_is_open_wider():
    video = torch.ones(1, 2, 1, 8, 8)
    video[:, 1, :, 2:6, 3:5] = 0  # the second frame is open in half of its height
    assert darkness(video).tolist() == [[-1, -0.5]]
    assert darkness(torch.ones(1, 2, 3, 1, 1)).shape == (1, 2)
    gain = gates(torch.tensor([[[0.0, 1.0, 1.0], [0.0, 0.0, 1.0]]]), 1.0)
    assert gain.shape == (1, 12, 2, 1, 3)
    assert torch.allclose(gain.sum(2), torch.ones(()))
    assert torch.allclose(gain[..., [0, 2]], torch.tensor(0.5))
    assert (gain[:, :, 0, 0, 1] > 0.6).all()


def test_the_gate_that_suits_the_split_best_is_reported():
    """Two noises in turn: the best gate is far from the least one, and not above the ideal."""
    random = torch.Generator().manual_seed(0)
    turns = (torch.arange(63) // 8 % 2).float()
    voices = (
        torch.randn(2, 2, 8000, generator=random) * torch.stack([turns, 1 - turns]).repeat_interleave(128, 1)[:, :8000]
    )
    mouths = torch.stack([turns, 1 - turns]).expand(2, 2, 63)
    mixture = voices.sum(1)
    whole = mixture[:, None].expand_as(voices)
    found = rows(Separated(whole, whole, whole), voices, mixture, mouths, Spectra(256, 128, 0.3), 2.0, 8000)
    reached = measured(found)
    assert reached["gate_si_sdri"] == pytest.approx(float(found["gates"].mean(0).max()))
    assert reached["gate_si_sdri"] > 5
    assert reached["ideal_gate_si_sdri"] > reached["gate_si_sdri"] - 1
    assert reached["lead_over_gate"] == pytest.approx(-reached["gate_si_sdri"], abs=1e-4)
    assert reached["ideal_phase_gain"] > 0


def test_masks_stay_within_their_bound():
    joining = Joining(Joint(hidden=8, dense=[8]), 6, 2, 5, 1.5)
    masks = joining(1000 * torch.randn(3, 4, 6))
    assert masks.shape == (3, 2, 5, 4)
    joining.masks.weight.data.mul_(1e6)
    masks = joining(torch.randn(3, 4, 6))
    assert masks.real.abs().max() <= 1.5
    assert masks.imag.abs().max() <= 1.5


@pytest.mark.parametrize(
    ("samples", "hop", "count", "wanted"),
    [
        (16, 2, 4, [0, 0, 1, 1, 2, 2, 3, 3, 3]),
        (10, 4, 10, [0, 4, 8]),  # the last window lies before the end, at sample 8
        (11, 4, 11, [0, 4, 8, 10]),  # the last one behind it, at sample 12
        (8000, 128, 50, [math.floor(0.8 * frame) for frame in range(63)]),
    ],
)
def test_each_moment_sees_its_video_frame(samples, hop, count, wanted):
    """Window t lies at sample t hop, and each video frame is shown for S / V samples."""
    watching = Watching(VisualStream(channels=1, dilations=[]), 1)
    seen = watching(torch.arange(float(count)).view(1, count, 1), samples, hop)
    assert seen.flatten().tolist() == wanted


def test_both_faces_pass_through_the_same_stream(assembly):
    task, batch = assembly.task.eval(), batch_of(assembly)
    same = dict(batch.fields, face_b=batch["face_a"])
    outputs = task._watched(same["face_a"], 12800), task._watched(same["face_b"], 12800)
    assert torch.equal(*outputs)
    with torch.no_grad():
        assert not torch.equal(task(batch)["voices"], task(exchanged(batch))["voices"])


def test_without_faces_they_change_nothing():
    blind = assemble(load("separation", [*BRIEF, "model.blind=true"]))
    batch = batch_of(blind)
    with torch.no_grad():
        assert torch.equal(blind.task(batch)["voices"], blind.task(exchanged(batch))["voices"])


@pytest.mark.parametrize("silent", [("voice_a",), ("voice_b",), ("voice_a", "voice_b")])
def test_silence_gives_no_nan_and_no_infinite_gradient(assembly, silent):
    task, batch = assembly.task, batch_of(assembly)
    for name in silent:
        batch["mixture"].data.sub_(batch[name].data)
        batch[name].data.zero_()
    if len(silent) == 2:
        batch["mixture"].data.zero_()
    task.zero_grad()
    outputs = task(batch)
    loss = task.losses(outputs, batch)["spectrogram"]
    assert loss.shape == (4,)
    sounds = task.sounds(outputs, batch)
    (loss.mean() + sounds.square().mean()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in task.parameters())
    assert sounds.isfinite().all()
    rows = task.rows(outputs, batch)
    numbers = {name: row for name, row in rows.items() if not name.startswith("stoi")}
    assert {"si_sdr", "si_sdri", "sdri", "right", "ideal_irm_si_sdri", "sound"} <= numbers.keys()
    assert all(row.isfinite().all() for row in numbers.values())


def test_no_metric_hides_what_is_not_a_number():
    """STOI alone may be missing, for speech that is too short."""
    none = float("nan")
    found = means({"si_sdri": torch.tensor([none, none, 9.0]), "stoi": torch.tensor([none, 0.5, 0.7])})
    assert math.isnan(found["si_sdri"])
    assert found["stoi"] == pytest.approx(0.6)
    assert "stoi" not in means({"si_sdri": torch.tensor([9.0]), "stoi": torch.tensor([none])})


def test_loudness_changes_the_voices_alone(assembly):
    task, batch = assembly.task.eval(), batch_of(assembly)
    with torch.no_grad():
        quiet = task.predict(batch)["voice_a"]
        batch["mixture"].data.mul_(5)
        loud = task.predict(batch)["voice_a"]
    assert torch.allclose(5 * quiet, loud, atol=1e-4)


def test_figures_of_the_truth_and_of_the_wrong_one(assembly):
    """Were the voices themselves the answer, all would be right; exchanged, all wrong."""
    task, batch = assembly.task, batch_of(assembly)
    clean = task.spectra.compressed(task.voices(batch) / task.level(batch)[:, None])
    with torch.no_grad():
        right = task.metrics(task.rows({"voices": clean}, batch))
        wrong = task.metrics(task.rows({"voices": clean.flip(1)}, batch))
    assert right["right"] == 1
    assert wrong["right"] == 0
    assert right["si_sdri"] > 30
    assert wrong["si_sdri"] < 0
    for name in ("irm", "ibm", "crm", "magnitude", "gate"):
        assert right[f"ideal_{name}_si_sdri"] == pytest.approx(wrong[f"ideal_{name}_si_sdri"])
    assert right["gate_si_sdri"] == pytest.approx(wrong["gate_si_sdri"])
    # The truth without its phase is what the ideal mask without its phase is.
    assert right["magnitude_si_sdri"] == pytest.approx(right["ideal_magnitude_si_sdri"], abs=0.3)
    assert right["phase_gain"] == pytest.approx(right["si_sdri"] - right["magnitude_si_sdri"])
    assert right["magnitude_si_sdri"] > 5 > wrong["magnitude_si_sdri"]


def test_answers_are_sounds_that_play_and_their_pictures(assembly):
    task, batch = assembly.task.eval(), batch_of(assembly)
    inputs = Batch(batch.samples, {name: batch[name] for name in task.inputs})
    with torch.no_grad():
        answer = task.predict(inputs)
    assert answer.keys() == task.outputs.keys()
    samples, rate = soundfile.read(io.BytesIO(task.outputs["voice_a"].encode(answer["voice_a"][0])))
    assert (len(samples), rate) == (12800, 8000)
    assert task.outputs["spectrogram_b"].encode(answer["spectrogram_b"][0]).startswith(b"\x89PNG")


def grid(root, **options):
    return GridMixtures(GridMixtures.Config(root=str(root), **options))


def test_real_clips_are_mixed_in_pairs(data):
    split = grid(data / "GRID-samples").open("train")
    assert len(split) == 8 * 7
    sample = split[0]
    a, b = (sample[f"voice_{letter}"][0] for letter in "ab")
    assert np.allclose(a + b, sample["mixture"][0])
    assert np.sqrt(np.mean(a**2)) == pytest.approx(np.sqrt(np.mean(b**2)), rel=1e-3)
    assert sample["face_a"][0].endswith("bbaf2n.mpg")
    assert len(a) / 16000 == sample["face_a"][1] == 3.0


def test_the_first_pairs_of_clips_that_each_have_a_speaker_are_a_ring():
    split = Pairs([Clip(name, name, Path(name)) for name in "abcd"])
    pairs = ["".join(clip.id for clip in split.pair(index)) for index in range(len(split))]
    assert pairs == ["ab", "bc", "cd", "da", "ac", "bd", "ca", "db", "ad", "ba", "cb", "dc"]
    with pytest.raises(IndexError):
        split.pair(12)


@pytest.mark.parametrize("counts", [(1, 1), (3, 3, 3), (2, 4, 3), (1, 5)])
def test_nobody_is_mixed_with_himself_and_no_pair_comes_twice(counts):
    split = Pairs([Clip(f"{who}/{n}", str(who), Path()) for who, count in enumerate(counts) for n in range(count)])
    pairs = [split.pair(index) for index in range(len(split))]
    assert all(a.speaker != b.speaker for a, b in pairs)
    assert len(set(pairs)) == len(pairs) == sum(counts) * (len(counts) - 1) * min(counts)
    assert len({a for a, _ in pairs[: sum(counts)]}) == sum(counts), "each clip comes before one comes again"


def test_a_whole_copy_has_more_pairs_than_a_list_would_hold():
    split = Pairs([Clip(f"{who}/{n}", str(who), Path()) for who in range(34) for n in range(1000)])
    assert len(split) == 34000 * 33000
    last = split.pair(len(split) - 1)
    assert last[0].speaker == "33"
    first = [split.pair(index) for index in range(34 * 1000)]
    assert len({(a.speaker, b.speaker) for a, b in first}) == 34 * 33, "all meet all before a clip comes again"
    numbers = [[int(clip.id.partition("/")[2]) for clip in pair] for pair in first]
    assert sum(abs(a - b) < 10 for a, b in numbers) < 0.03 * len(first), "GRID's names spell the sentences"


def test_folders_of_speakers_are_read_as_grid_and_its_copies_have_them(data, tmp_path):
    names = sorted(path.name for path in (data / "GRID-samples" / "video").glob("*.mpg"))
    for folder, two in (("s1", names[:2]), ("s2/video", names[:2]), ("s13.mpg_vcd/s13", names[2:4])):
        (tmp_path / folder).mkdir(parents=True)
        for name in two:
            (tmp_path / folder / name).symlink_to(data / "GRID-samples" / "video" / name)
    split = grid(tmp_path).open("train")
    assert len(split) == 6 * 4
    pairs = [split.pair(index) for index in range(len(split))]
    assert {clip.speaker for pair in pairs for clip in pair} == {"s1", "s2", "s13"}
    assert all(a.speaker != b.speaker for a, b in pairs)
    assert split[0]["id"] == "s1/bbaf2n+s13/lbbc2a"
    apart = grid(tmp_path, test=("s1", "s2"))
    assert {clip.speaker for index in range(4) for clip in apart.open("test").pair(index)} == {"s1", "s2"}
    with pytest.raises(UserError, match=r"'train' of .* no two speakers"):
        apart.open("train")
    with pytest.raises(UserError, match="no speaker or clip 's3'"):
        grid(tmp_path, test=("s1", "s3")).open("train")


def test_the_published_experiment_keeps_four_speakers_apart(tmp_path):
    for number in range(1, 35):
        (tmp_path / f"s{number}").mkdir()
        (tmp_path / f"s{number}" / "bbaf2n.mpg").touch()
    paper = Path(sensorium_separation.__file__).parent / "experiments" / "paper.yaml"
    dataset = load(str(paper), [f"dataset.root={tmp_path}"]).experiment.dataset.build()
    train, test = dataset.open("train"), dataset.open("test")
    assert (len(train), len(test)) == (30 * 29, 4 * 3)
    kept = {clip.speaker for index in range(len(test)) for clip in test.pair(index)}
    assert kept == {"s1", "s2", "s20", "s22"}
    assert not any(clip.speaker in kept for index in range(len(train)) for clip in train.pair(index))


def test_clips_kept_apart_are_in_the_test_alone(tmp_path):
    lines = ["id,video"]
    for name in ("one", "two", "three", "four"):
        (tmp_path / f"{name}.mpg").write_bytes(b"film")
        lines.append(f"{name},{name}.mpg")
    (tmp_path / "index.csv").write_text("\n".join(lines))
    world = grid(tmp_path, test=("two", "four"))
    assert ids(world.open("train")) == {"one+three", "three+one"}
    assert ids(world.open("test")) == {"two+four", "four+two"}
    with pytest.raises(UserError, match="no films of speakers"):
        grid(tmp_path / "none").open("train")
    (tmp_path / "index.csv").write_text("id,video,speaker\na,one.mpg,s1\nb,two.mpg,s1\nc,three.mpg,s2")
    assert ids(grid(tmp_path).open("train")) in ({"a+c", "b+c", "c+a"}, {"a+c", "b+c", "c+b"})


def ids(split):
    return {"+".join(clip.id for clip in split.pair(index)) for index in range(len(split))}


def test_sound_and_film_stay_in_step_when_one_clip_is_longer(tmp_path):
    """Each person flashes and clicks at one moment, another one for each; after the cut it is still one."""
    film(tmp_path / "a.mpg", 5.0, 2.0)
    film(tmp_path / "b.mpg", 3.0, 1.2)
    (tmp_path / "index.csv").write_text("id,video\na,a.mpg\nb,b.mpg")
    sample = grid(tmp_path).open("train")[0]
    for seconds in (3.0, 2.92, 4.0):
        sound = Audio(Audio.Config(sample_rate=16000, seconds=seconds, view="waveform"))
        face = Video(Video.Config(size=16, channels=1, seconds=seconds))
        for letter, moment in (("a", 2.0), ("b", 1.2)):
            wave = sound.transform(sound.decode(sample[f"voice_{letter}"]), None)[0]
            frames = face.transform(face.decode(sample[f"face_{letter}"]), None).frames
            heard, seen = int(wave.abs().argmax()) / 16000, int(frames.mean((1, 2, 3)).argmax()) / 25
            assert heard == pytest.approx(seen, abs=1e-3)
            assert seen == pytest.approx(moment - max(0.0, 3.0 - seconds) / 2)


def film(path, seconds, moment):
    """Writes dark frames with a light one, and silence with a click, both at `moment`."""
    with av.open(str(path), "w", format="matroska") as container:
        picture = container.add_stream("ffv1", rate=25, options={"level": "3"})
        picture.width, picture.height, picture.pix_fmt = 32, 32, "gray"
        sound = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        for number in range(round(25 * seconds)):
            pixels = np.full((32, 32), 255 * (number == round(25 * moment)), np.uint8)
            container.mux(picture.encode(av.VideoFrame.from_ndarray(pixels, format="gray")))
            samples = np.zeros((1, 640), np.int16)
            samples[0, 0] = 20000 * (number == round(25 * moment))
            piece = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            piece.sample_rate, piece.pts, piece.time_base = 16000, 640 * number, Fraction(1, 16000)
            container.mux(sound.encode(piece))
        container.mux(picture.encode(None))
        container.mux(sound.encode(None))


def test_a_film_without_sound_is_refused(tmp_path):
    film(tmp_path / "a.mpg", 1.0, 2.0)
    film(tmp_path / "b.mpg", 1.0, 0.5)
    (tmp_path / "index.csv").write_text("id,video\na,a.mpg\nb,b.mpg")
    with pytest.raises(MediaError, match="no sound"):
        grid(tmp_path).open("train")[0]


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ("modalities.mixture.view=log_mel", "not a waveform of one length"),
        ("modalities.voice_b.seconds=2.0", "not read as the mixture"),
        (
            "modalities.voice_b={name: audio, sample_rate: 16000, seconds: 0.5, view: waveform}",
            "not read as the mixture",
        ),
        ("modalities.mixture.channels=2", "2 channels"),
        ("modalities.face_a.seconds=2.0;modalities.face_b.seconds=2.0", r"shows 2\.0 seconds of the mixture's 1\.6"),
        ("modalities.face_b.size=16", "not read alike"),
        ("model.hop_length=200", "windows overlap"),
        ("model.win_length=200", "windows overlap"),
        ("model.win_length=300", "not above n_fft"),
    ],
)
def test_what_does_not_fit_is_refused(overrides, says):
    with pytest.raises(UserError, match=says):
        assemble(load("separation", [*BRIEF, *overrides.split(";")]))


def test_an_encoder_of_frames_gives_one_token_a_frame(assembly):
    features = assembly.task.faces(batch_of(assembly)["face_a"])
    assert isinstance(features, Features)
    assert features.tokens.shape == (4, 80, assembly.task.faces.dim)


def test_a_row_that_names_no_film_is_refused(tmp_path):
    (tmp_path / "index.csv").write_text("id,video\na\n")
    with pytest.raises(UserError, match=r"index\.csv:2 does not have 2 cells"):
        GridMixtures(GridMixtures.Config(root=str(tmp_path))).open("train")


def test_a_mask_turns_the_phase(assembly):
    """A mask of i for one speaker and of 1 for the other gives the mixture a quarter turn on, and the mixture."""
    task, batch = assembly.task, batch_of(assembly, 2)
    outputs = task(batch)
    shape = outputs["voices"].shape
    turned = torch.ones(shape, dtype=torch.complex64)
    turned[:, 0] = 1j
    joining, task.joining = task.joining, torch.nn.Module()
    try:
        task.joining.forward = lambda streams: turned
        found = task(batch)
    finally:
        task.joining = joining
    assert torch.allclose(found["voices"][:, 0], 1j * found["mixture"], atol=1e-6)
    assert torch.allclose(found["voices"][:, 1], found["mixture"], atol=1e-6)


def test_masks_have_an_imaginary_part_that_is_learnt():
    torch.manual_seed(0)
    joining = Joining(Joint(hidden=4, dense=(6,)), dim=5, speakers=2, bins=3, bound=2.0)
    masks = joining(torch.randn(2, 7, 5))
    bias = joining.masks.bias
    (moved,) = torch.autograd.grad(masks.imag.square().sum(), bias)
    imaginary = moved.unflatten(0, (2, 2, 3))
    assert imaginary[:, 1].abs().min() > 0
    assert imaginary[:, 0].abs().max() == 0, "the real part has numbers of its own"
