"""Separation: spectra there and back, masks within their bound, faces in step, and no NaN from silence."""

import io
import math

import numpy as np
import pytest
import soundfile
import torch

from sensorium import Batch, Features
from sensorium.assembly import assemble
from sensorium.errors import UserError
from sensorium.experiment import load
from sensorium_separation.grid import GridMixtures
from sensorium_separation.network import Joining, Joint, VisualStream, Watching
from sensorium_separation.spectra import Spectra, complex_mask, ratio_mask

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


def test_compression_worked_out_by_hand():
    """The phase stays, the magnitude is raised to 0.3, and nothing stays nothing."""
    spectra = Spectra(8, 4, 0.3)
    wave = torch.zeros(32)
    wave[16] = 1.0
    plain = torch.stft(wave, 8, 4, window=torch.hann_window(8), return_complex=True)
    compressed = spectra.compressed(wave)
    loud = plain.abs() > 1e-6
    assert torch.allclose(compressed.abs()[loud], plain.abs()[loud] ** 0.3, atol=1e-5)
    assert torch.allclose(compressed.angle()[loud], plain.angle()[loud], atol=1e-5)
    assert not compressed[~loud].abs().any()


def test_there_and_back():
    spectra = Spectra(256, 128, 0.3)
    wave = torch.randn(2, 3, 8000)
    assert torch.allclose(spectra.sound(spectra.compressed(wave), 8000), wave, atol=1e-4)


def test_ideal_masks_give_back_what_they_can():
    spectra = Spectra(256, 128, 0.3)
    low = torch.sin(torch.arange(8000) * 2 * math.pi * 400 / 8000)
    high = torch.sin(torch.arange(8000) * 2 * math.pi * 2000 / 8000)
    voices = torch.stack([low, high])[None]
    mixture = voices.sum(1)
    compressed, clean = spectra.compressed(mixture), spectra.compressed(voices)
    for mask in (ratio_mask(compressed, clean, 0.3), complex_mask(compressed, clean, 2.0)):
        best = spectra.sound(mask * compressed[:, None], 8000)
        assert (best - voices)[..., 300:-300].abs().max() < 0.02
    bounded = complex_mask(compressed * 1e-3, clean, 2.0)
    assert bounded.real.abs().max() <= 2
    assert bounded.imag.abs().max() <= 2


def test_ratio_mask_worked_out_by_hand():
    """Energies 3 and 1 of uncompressed spectrograms: shares 3/4 and 1/4, as magnitudes to the power p."""
    voices = torch.tensor([math.sqrt(3), 1.0]).pow(0.3).view(1, 2, 1, 1).to(torch.complex64)
    mask = ratio_mask(voices.sum(1), voices, 0.3).flatten()
    assert mask.tolist() == pytest.approx([0.75**0.15, 0.25**0.15], rel=1e-5)


def test_masks_stay_within_their_bound():
    joining = Joining(Joint(hidden=8, dense=[8]), 6, 2, 5, 1.5)
    masks = joining(1000 * torch.randn(3, 4, 6))
    assert masks.shape == (3, 2, 5, 4)
    joining.masks.weight.data.mul_(1e6)
    masks = joining(torch.randn(3, 4, 6))
    assert masks.real.abs().max() <= 1.5
    assert masks.imag.abs().max() <= 1.5


def test_each_moment_sees_its_video_frame():
    """Nine frames of a spectrogram, from 0 to 1 of the sound, over four of a video."""
    watching = Watching(VisualStream(channels=1, dilations=[]), 1)
    seen = watching(torch.tensor([[[0.0], [1.0], [2.0], [3.0]]]), 9)
    assert seen.flatten().tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 3]


def test_both_faces_pass_through_the_same_stream(assembly):
    task, batch = assembly.task.eval(), batch_of(assembly)
    same = dict(batch.fields, face_b=batch["face_a"])
    outputs = task._watched(same["face_a"], 63), task._watched(same["face_b"], 63)
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
    figures = task.figures({"id": batch.ids, **task.rows(outputs, batch)})
    assert all(math.isfinite(figures[name]) for name in ("si_sdr", "si_sdri", "sdri", "ideal_irm_si_sdri"))


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
        right = task.figures(task.rows({"voices": clean}, batch))
        wrong = task.figures(task.rows({"voices": clean.flip(1)}, batch))
    assert right["right"] == 1
    assert wrong["right"] == 0
    assert right["si_sdri"] > 30
    assert wrong["si_sdri"] < 0
    assert right["ideal_irm_si_sdri"] == pytest.approx(wrong["ideal_irm_si_sdri"])


def test_answers_are_sounds_that_play_and_their_pictures(assembly):
    task, batch = assembly.task.eval(), batch_of(assembly)
    inputs = Batch(batch.samples, {name: batch[name] for name in task.inputs})
    with torch.no_grad():
        answer = task.predict(inputs)
    assert answer.keys() == task.outputs.keys()
    samples, rate = soundfile.read(io.BytesIO(task.outputs["voice_a"].encode(answer["voice_a"][0])))
    assert (len(samples), rate) == (8000, 8000)
    assert task.outputs["spectrogram_b"].encode(answer["spectrogram_b"][0]).startswith(b"\x89PNG")


def test_real_clips_are_mixed_in_pairs(data):
    split = GridMixtures(GridMixtures.Config(root=str(data / "GRID-samples"))).open("train")
    assert len(split) == 8 * 7
    sample = split[0]
    a, b = (sample[f"voice_{letter}"][0] for letter in "ab")
    assert np.allclose(a + b, sample["mixture"][0])
    assert np.sqrt(np.mean(a**2)) == pytest.approx(np.sqrt(np.mean(b**2)), rel=1e-3)
    assert sample["face_a"].endswith(".mpg")


def test_clips_kept_apart_are_in_the_test_alone(tmp_path):
    lines = ["id,video,audio"]
    for name in ("one", "two", "three", "four"):
        soundfile.write(tmp_path / f"{name}.wav", np.random.default_rng(0).normal(0, 0.1, 800), 8000)
        (tmp_path / f"{name}.mpg").write_bytes(b"film")
        lines.append(f"{name},{name}.mpg,{name}.wav")
    (tmp_path / "index.csv").write_text("\n".join(lines))
    world = GridMixtures(GridMixtures.Config(root=str(tmp_path), test=("two", "four")))
    assert {world.open("train")[i]["id"] for i in range(2)} == {"one+three", "three+one"}
    assert {world.open("test")[i]["id"] for i in range(2)} == {"two+four", "four+two"}
    with pytest.raises(UserError, match="no table of clips"):
        GridMixtures(GridMixtures.Config(root=str(tmp_path / "none"))).open("train")


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("modalities.mixture.view=log_mel", "no waveform of one length"),
        ("modalities.voice_b.seconds=2.0", "not read as the mixture"),
        ("modalities.face_b.size=16", "not read alike"),
        ("model.hop_length=200", "windows overlap"),
    ],
)
def test_what_does_not_fit_is_refused(override, says):
    with pytest.raises(UserError, match=says):
        assemble(load("separation", [*BRIEF, override]))


def test_an_encoder_of_frames_gives_one_token_a_frame(assembly):
    features = assembly.task.faces(batch_of(assembly)["face_a"])
    assert isinstance(features, Features)
    assert features.tokens.shape == (4, 50, assembly.task.faces.dim)
