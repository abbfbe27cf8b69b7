"""Complex spectrograms: there and back, compressed by hand, and no click at the end."""

import pytest
import torch

from sensorium.ops.spectra import Spectra, frames


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


@pytest.mark.parametrize("window", ["hann", "hamming"])
@pytest.mark.parametrize("win_length", [None, 256, 250])
def test_there_and_back(window, win_length):
    spectra = Spectra(256, 100, 0.3, window, win_length)
    wave = torch.randn(2, 3, 8000)
    assert torch.allclose(spectra.sound(spectra.compressed(wave), 8000), wave, atol=1e-4)


def test_a_shorter_window_stands_in_the_middle_of_the_transform():
    wave = torch.randn(800)
    found = Spectra(256, 80, 1.0, "hamming", 200).compressed(wave)
    piece = wave[400 - 100 : 400 + 100] * torch.hamming_window(200)
    assert torch.allclose(found[:, 5].abs(), torch.fft.rfft(piece, 256).abs(), atol=1e-4)


@pytest.mark.parametrize(("hop", "samples"), [(128, 8000), (128, 8063), (128, 8064), (100, 999), (64, 8063)])
def test_no_click_ends_a_sound_whatever_its_length(hop, samples):
    random = torch.Generator().manual_seed(0)
    spectra = Spectra(256, hop, 0.3)
    compressed = spectra.compressed(0.1 * torch.randn(4, samples, generator=random))
    assert compressed.shape[2] == frames(samples, hop)
    sound = spectra.sound(compressed * (1 + 0.2 * torch.randn(compressed.shape, generator=random)), samples)
    assert sound[:, -8:].abs().max() < 2 * sound[:, :-64].abs().max()
