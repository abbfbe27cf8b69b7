"""Phases for magnitudes: what is heard has the spectrogram that was asked for, whatever is beside it."""

import torch

from sensorium.ops.audio import griffin_lim

WINDOW = torch.hann_window(256)


def magnitude(sound):
    return torch.stft(sound, 256, 64, window=WINDOW, pad_mode="constant", return_complex=True).abs()


def chord(length=4096):
    time = torch.arange(length) / 8000
    return sum(torch.sin(2 * torch.pi * hertz * time) * (time > start) for hertz, start in ((440, 0.0), (1203, 0.2)))


def off(found, right):
    """Root of the spectral energy that is wrong, over that of all."""
    return float((found - right).norm() / right.norm())


def test_the_sound_has_the_magnitudes_and_more_steps_bring_it_nearer():
    right = magnitude(chord())
    few, many = (off(magnitude(griffin_lim(right, WINDOW, 64, steps)), right) for steps in (1, 60))
    assert griffin_lim(right, WINDOW, 64).shape == (4096,)
    assert many < 0.1
    assert many < few / 2


def test_the_pitch_is_that_of_the_magnitudes():
    sound = griffin_lim(magnitude(chord()), WINDOW, 64)
    peaks = torch.fft.rfft(sound[2048:]).abs().topk(12).indices * 8000 / 2048
    assert all(min(abs(float(peak) - hertz) for hertz in (440, 1203)) < 20 for peak in peaks)


def test_a_sound_follows_from_its_magnitudes_alone():
    one, other = magnitude(chord()), magnitude(torch.randn(4096, generator=torch.Generator().manual_seed(0)))
    together = griffin_lim(torch.stack([one, other])[:, None], WINDOW, 64)
    assert together.shape == (2, 1, 4096)
    torch.testing.assert_close(together[0, 0], griffin_lim(one, WINDOW, 64))
    assert torch.equal(griffin_lim(one, WINDOW, 64), griffin_lim(one, WINDOW, 64))


def test_silence_stays_silent():
    assert not griffin_lim(torch.zeros(129, 20), WINDOW, 64).any()
