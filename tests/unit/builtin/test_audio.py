"""The audio modality: exactness of its views, and what it reads and refuses."""

import io
import struct
import time

import fsspec
import numpy as np
import pytest
import scipy.fft
import soundfile
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from sensorium import MediaError, Padded
from sensorium.builtin.modalities.audio import Audio

RATE = 8000


def audio(**options):
    return Audio.Config(**{"sample_rate": RATE, "n_fft": 256, "hop_length": 128, "n_mels": 40, **options}).build()


def tone(hertz, seconds=0.5, rate=RATE):
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate).astype(np.float32) * 0.5


def file(samples, rate=RATE, kind="WAV", subtype=None):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def generator(seed):
    return torch.Generator().manual_seed(seed)


@settings(deadline=None, max_examples=30)
@given(st.floats(100, 3900), st.sampled_from(["hann", "hamming"]))
def test_a_tone_peaks_in_its_bin(hertz, window):
    modality = audio(view="spectrogram", window=window)
    middle = modality.transform(modality.decode((tone(hertz), RATE)), None)[0, :, 15]
    assert abs(int(middle.argmax()) - hertz * 256 / RATE) <= 0.51


@pytest.mark.parametrize(("window", "shape"), [("hann", np.hanning), ("hamming", np.hamming)])
@pytest.mark.parametrize("power", [1, 2])
def test_a_frame_is_the_fourier_transform_of_its_window(window, shape, power):
    samples = np.random.default_rng(0).standard_normal(1024).astype(np.float32)
    modality = audio(view="spectrogram", window=window, power=power)
    spectrogram = modality.transform(modality.decode((samples, RATE)), None)
    periodic = shape(257)[:-1]
    by_hand = np.abs(np.fft.rfft(samples[384 - 128 : 384 + 128] * periodic)) ** power
    assert spectrogram.shape == (1, 129, 9)
    np.testing.assert_allclose(spectrogram[0, :, 3], by_hand, rtol=1e-3, atol=1e-3)


def test_mel_bands_are_equally_spaced_in_mel():
    modality = audio(view="mel", n_fft=4096, n_mels=20)
    bank = modality.view[0].mel_scale.fb  # (bins, bands)
    centres = bank.argmax(0) * RATE / 4096
    steps = (2595 * torch.log10(1 + centres / 700)).diff()
    assert steps.std() < 0.01 * steps.mean()
    assert steps.mean().item() == pytest.approx(2595 * np.log10(1 + 4000 / 700) / 21, rel=0.01)


def test_log_mel_is_in_decibels_above_a_floor():
    samples = np.concatenate([tone(500), np.zeros(4000, np.float32)])
    mel, log_mel = (audio(view=view, standardise=False) for view in ("mel", "log_mel"))
    power = mel.transform(mel.decode((samples, RATE)), None)
    decibels = log_mel.transform(log_mel.decode((samples, RATE)), None)
    expected = 10 * power.clamp(min=1e-10).log10()
    torch.testing.assert_close(decibels, expected.clamp(min=expected.max() - 80))
    assert decibels.max() - decibels.min() == pytest.approx(80, abs=1e-3)


def test_mfcc_is_the_orthonormal_cosine_transform_of_log_mel():
    samples = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    log_mel, mfcc = (audio(view=view, standardise=False, n_mfcc=13) for view in ("log_mel", "mfcc"))
    decibels = log_mel.transform(log_mel.decode((samples, RATE)), None)
    cepstrum = mfcc.transform(mfcc.decode((samples, RATE)), None)
    by_hand = scipy.fft.dct(decibels.numpy(), type=2, norm="ortho", axis=1)[:, :13]
    np.testing.assert_allclose(cepstrum, by_hand, atol=1e-2)
    options = {"n_fft": 256, "hop_length": 128, "n_mels": 40}
    theirs = torchaudio.transforms.MFCC(RATE, 13, melkwargs=options)(torch.from_numpy(samples)[None])
    torch.testing.assert_close(cepstrum, theirs)


def test_standardised_views():
    log_mel = audio(view="log_mel").transform(torch.from_numpy(tone(300))[None], None)
    assert log_mel.mean().item() == pytest.approx(0, abs=1e-5)
    assert log_mel.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    noise = torch.randn(1, 4000, generator=generator(0))
    mfcc = audio(view="mfcc").transform(noise, None)
    torch.testing.assert_close(mfcc.mean(2), torch.zeros(1, 20), atol=1e-4, rtol=0)
    assert audio().transform(torch.zeros(1, 4000), None).abs().max() == 0


def test_integers_count_to_full_scale():
    modality = audio(view="waveform")
    samples = np.array([-32768, 0, 16384, 32767], np.int16)
    expected = [-1, 0, 0.5, 32767 / 32768]
    for source in ((samples, RATE), file(samples), (samples.astype(np.int32) * 65536, RATE)):
        assert modality.decode(source)[0].tolist() == expected


def test_channels():
    stereo = np.stack([tone(300), tone(700)], 1)
    for source in (file(stereo, subtype="FLOAT"), (stereo, RATE), (torch.from_numpy(stereo.T), RATE)):
        mixed = audio(view="waveform").decode(source)
        np.testing.assert_allclose(mixed[0], stereo.mean(1), atol=1e-7)
        assert torch.equal(audio(view="waveform", channels=2).decode(source), torch.from_numpy(stereo.T))
    assert audio(channels=2).decode((tone(300), RATE)).shape == (2, 4000)
    six = np.tile(tone(300)[:, None], (1, 6))
    np.testing.assert_allclose(audio().decode((six, RATE))[0], tone(300), atol=1e-7)
    with pytest.raises(MediaError, match=r"has 6 channels.*1 or 2"):
        audio(channels=2).decode(file(six))


@pytest.mark.parametrize(("rate", "wanted"), [(8000, 16000), (44100, 16000), (16000, 8000)])
def test_resampling_keeps_a_tone(rate, wanted):
    modality = audio(view="waveform", sample_rate=wanted)
    samples = modality.decode((tone(1000, 1.0, rate), rate))[0]
    assert len(samples) == wanted
    inside = slice(200, -200)
    np.testing.assert_allclose(samples[inside], tone(1000, 1.0, wanted)[inside], atol=5e-3)


@pytest.mark.parametrize(("kind", "tolerance"), [("WAV", 1e-4), ("FLAC", 1e-4), ("OGG", 0.05), ("MP3", 0.05)])
def test_formats(kind, tolerance):
    decoded = audio(view="waveform").decode(file(tone(440, 1.0), kind=kind))
    assert abs(decoded.shape[1] - RATE) < 1200
    spectrum = torch.fft.rfft(decoded[0], n=RATE).abs()
    assert spectrum.argmax() == 440
    assert decoded.abs().max().item() == pytest.approx(0.5, abs=tolerance)


def test_every_source_of_a_real_recording_is_the_same(data, tmp_path):
    path = data / "free-spoken-digit-dataset" / "recordings" / "7_jackson_0.wav"
    modality = audio(view="waveform")
    expected, rate = soundfile.read(path, dtype="float32")
    assert rate == RATE
    with fsspec.open("memory://seven.wav", "wb") as remote:
        remote.write(path.read_bytes())
    for source in (path, str(path), f"file://{path}", "memory://seven.wav", path.read_bytes(), (expected, rate)):
        np.testing.assert_array_equal(modality.decode(source)[0], expected)


def test_a_real_flac(data):
    path = sorted((data / "ESC-10" / "audio").glob("*.flac"))[0]
    modality = Audio.Config(seconds=5.0).build()
    value = modality.decode(path)
    assert value.shape == (1, 80000)
    assert modality.transform(value, None).shape == modality.shape == (1, 64, 501)


def test_wav_round_trip():
    modality = audio(view="waveform")
    samples = modality.decode((tone(440), RATE))
    content = modality.encode(samples)
    assert soundfile.info(io.BytesIO(content)).subtype == "PCM_16"
    assert (modality.decode(content) - samples).abs().max() <= 1 / 32768
    assert (modality.form, modality.media_type) == ("waveform", "audio/wav")


def test_what_pads_is_not_written():
    audio = Audio(Audio.Config(sample_rate=8000, view="waveform"))
    sound = Padded(torch.full((1, 900), 0.5), torch.arange(900) < 700)
    assert audio.decode(audio.encode(sound)).shape == (1, 700)
    shown = Audio(Audio.Config())
    picture = Padded(torch.rand(1, 64, 30), torch.arange(30) < 20)
    assert Pillow.open(io.BytesIO(shown.encode(picture))).size == (20, 64)


@pytest.mark.parametrize("view", ["spectrogram", "mel", "log_mel", "mfcc"])
def test_pictures_of_spectrograms_have_low_bins_below(view):
    modality = audio(view=view)
    assert (modality.form, modality.media_type) == ("spectrogram", "image/png")
    value = modality.transform(modality.decode((tone(200), RATE)), None)
    picture = np.array(Pillow.open(io.BytesIO(modality.encode(value))))
    assert picture.shape == value.shape[1:]
    assert picture.max() == 255
    if view != "mfcc":
        assert picture[:, 10].argmax() > 0.8 * len(picture)


def test_seconds_take_the_middle_or_fill_with_silence():
    modality = audio(view="waveform", seconds=0.05, n_fft=4)
    assert modality.shape == (1, 400)
    ramp = torch.arange(1.0, 1001)[None]
    assert torch.equal(modality.transform(ramp, None), ramp[:, 300:700])
    short = modality.transform(ramp[:, :100], None)
    assert torch.equal(short[:, :100], ramp[:, :100])
    assert (short[:, 100:] == 0).all()


def test_shift_moves_within_its_reach():
    modality = audio(view="waveform", seconds=0.05, shift=0.01, n_fft=4)
    ramp = torch.arange(1.0, 1001)[None]
    starts = {int(modality.transform(ramp, generator(seed))[0, 0]) - 1 for seed in range(300)}
    assert min(starts) < 230 < 370 < max(starts)
    assert min(starts) >= 220
    assert max(starts) <= 380
    for seed in range(50):
        moved = modality.transform(ramp[:, :400], generator(seed))[0]
        real = moved[moved > 0]
        assert len(real) >= 320
        assert (real.diff() == 1).all()  # what is not silence is a stretch of the recording
    whole = audio(view="waveform", seconds=0.05, shift=9.0, n_fft=4)
    assert all((whole.transform(ramp, generator(seed)) > 0).all() for seed in range(50))


def test_masks_set_bins_and_frames_to_the_mean():
    noise = torch.randn(1, 8000, generator=generator(0))
    plain, masked = audio(), audio(mask_bins=0.5, mask_frames=0.25)
    clear = plain.transform(noise, None)
    assert torch.equal(masked.transform(noise, None), clear)
    widths = []
    for seed in range(50):
        changed = (masked.transform(noise, generator(seed)) != clear)[0]
        bins, frames = changed.all(1), changed.all(0)
        assert torch.equal(changed, bins[:, None] | frames)
        widths.append((int(bins.sum()), int(frames.sum())))
    highest = torch.tensor(widths).amax(0).tolist()
    assert 17 <= highest[0] <= 20
    assert 13 <= highest[1] <= 16
    assert torch.equal(masked.transform(noise, generator(3)), masked.transform(noise, generator(3)))


def test_collate_pads_and_masks():
    for view, shape in (("waveform", (2, 1, 3000)), ("log_mel", (2, 1, 40, 24))):
        modality = audio(view=view)
        values = [modality.transform(torch.ones(1, length), None) for length in (3000, 1000)]
        batch = modality.collate(values)
        assert batch.data.shape == shape
        assert batch.mask.sum(1).tolist() == [value.shape[-1] for value in values]
        assert (batch.data[1, ..., values[1].shape[-1] :] == 0).all()


def test_very_short_clips_have_a_spectrogram():
    modality = audio()
    assert modality.transform(modality.decode((np.ones(3, np.float32), RATE)), None).isfinite().all()


def claiming(frames):
    """A WAV file of four samples whose header claims more, at one sample a second."""
    body = struct.pack("<HHIIHH", 1, 1, 1, 2, 2, 16)
    data = b"\0" * 8
    return (
        b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + struct.pack("<I", 16) + body
        + b"data" + struct.pack("<I", 2 * frames) + data
    )  # fmt: skip


NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 20_000).astype(np.float32)
BROKEN = {
    "empty": (b"", "0 bytes"),
    "words": (b"this is not a sound at all, only words", "not a readable sound"),
    "header": (file(tone(300))[:20], "not a readable sound"),
    "silent": (file(np.zeros(0, np.float32)), "no samples"),
    "nan": (file(np.array([0, np.nan], np.float32), subtype="FLOAT"), "not finite numbers"),
    "long": (file(np.zeros(1000, np.int16), rate=1), "lasts 1000 s"),
    "flac": (file(NOISE, kind="FLAC")[:20_000], "lost sync"),
    "mp3": (file(NOISE, kind="MP3")[:3000], "of 20000 samples"),
    "awkward": (file(tone(300), rate=7919), "has 7919 Hz, which cannot be brought to 8000 Hz"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused_by_name_and_cause(tmp_path, name):
    content, cause = BROKEN[name]
    path = tmp_path / f"{name}.raw"
    path.write_bytes(content)
    start = time.perf_counter()
    for source, where in ((path, str(path)), (content, "the file given")):
        with pytest.raises(MediaError) as error:
            audio().decode(source)
        assert where in error.value.wrong
        assert cause in error.value.wrong
    assert time.perf_counter() - start < 0.5


def test_a_header_that_claims_too_much_costs_nothing():
    assert audio(max_seconds=1e9).decode(claiming(2**31 - 1)).shape[1] == 4 * RATE


@pytest.mark.parametrize(
    "value",
    [
        7,
        (np.zeros(4, np.float32), 0),
        (np.zeros(4, np.float32), 8000.5),
        ([0.0, 1.0], 8000),
        (np.zeros((2, 2, 2), np.float32), 8000),
        (np.zeros(4, np.uint8), 8000),
    ],
)
def test_values_that_are_no_sound_are_refused(value):
    with pytest.raises(MediaError, match="expected"):
        audio().decode(value)


@pytest.mark.parametrize(
    "options",
    [
        {"sample_rate": 0},
        {"seconds": 0.01},
        {"view": "mfcc", "n_mfcc": 41},
        {"shift": -1.0},
        {"mask_bins": 1.5},
        {"max_seconds": 0.0},
    ],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match=list(options)[-1]):
        audio(**options)
