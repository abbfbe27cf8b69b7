"""Ratios of signal to distortion: by hand, blind to what does not matter, and safe on silence."""

import math

import numpy as np
import pytest
import torch

from sensorium.builtin.losses.si_sdr import SISDR
from sensorium.ops.audio import sdr, si_sdr


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_si_sdr_worked_out_by_hand():
    """Reference and distortion are orthogonal and of mean 0: energies 4 and 1 give 10 log10(4) dB."""
    reference = torch.tensor([1.0, -1.0, 1.0, -1.0])
    distortion = torch.tensor([0.5, 0.5, -0.5, -0.5])
    assert si_sdr(reference + distortion, reference).item() == pytest.approx(10 * math.log10(4), abs=1e-4)


def test_level_and_offset_change_nothing():
    reference, estimate = noise(800), noise(800) + 0.5 * noise(800, seed=1)
    plain = si_sdr(estimate, reference).item()
    assert si_sdr(7 * estimate + 3, reference).item() == pytest.approx(plain, abs=1e-3)
    assert si_sdr(estimate, 0.1 * reference - 2).item() == pytest.approx(plain, abs=1e-3)


@pytest.mark.parametrize("factor", [1e-12, 1e-6, 1e6])
def test_no_sound_is_too_faint(factor):
    reference, estimate = noise(2, 800), noise(2, 800) + 0.5 * noise(2, 800, seed=1)
    for measure in (si_sdr, sdr):
        for one, other in ((factor, factor), (1, factor), (factor, 1)):
            assert torch.allclose(measure(one * estimate, other * reference), measure(estimate, reference), atol=1e-3)


def test_sdr_of_sounds_shorter_than_its_filter():
    """What is filtered need not be as long as the filter: silence before and after changes nothing."""
    for samples in (1, 200, 300, 511):
        reference, estimate = noise(samples), noise(samples) + 0.5 * noise(samples, seed=1)
        padded = [torch.nn.functional.pad(sound, (0, 1000)) for sound in (estimate, reference)]
        assert sdr(estimate, reference).item() == pytest.approx(sdr(*padded).item(), abs=1e-2)


def test_sdr_forgives_a_filter_and_si_sdr_does_not():
    reference = noise(4000)
    filtered = torch.tensor(np.convolve(reference.numpy(), [0.5, 0.0, 0.0, 0.8])[:4000], dtype=torch.float32)
    assert sdr(filtered, reference) > 30
    assert si_sdr(filtered, reference) < 5


def test_sdr_by_least_squares():
    """The same as the residual of the best filter, found by a solver that knows nothing of lags."""
    reference, estimate = noise(1500), noise(1500) + noise(1500, seed=1)
    delayed = np.stack([np.pad(reference.double().numpy(), (lag, 512 - lag))[: 1500 + 512] for lag in range(512)], 1)
    wanted = np.pad(estimate.double().numpy(), (0, 512))
    best = delayed @ np.linalg.lstsq(delayed, wanted, rcond=None)[0]
    ratio = 10 * np.log10((best**2).sum() / ((wanted - best) ** 2).sum())
    assert sdr(estimate, reference).item() == pytest.approx(ratio, abs=1e-3)


@pytest.mark.parametrize("measure", [si_sdr, sdr])
def test_silence_worked_out_by_hand(measure):
    """Nothing is to be gained or lost where the truth is silent; elsewhere silence is the worst answer."""
    silence, sound = torch.zeros(1000), noise(1000)
    estimates, references = torch.stack([sound, silence, silence, sound]), torch.stack([silence, silence, sound, sound])
    found = measure(estimates, references).tolist()
    assert found[:3] == pytest.approx([0, 0, -80], abs=1e-4)
    assert found[3] > 70
    assert measure(noise(1000, seed=1), sound) > found[2]


def test_an_offset_is_silence_and_a_quiet_sound_is_not():
    offset, sound = torch.full((1000,), 0.1), noise(1000)
    assert si_sdr(sound, offset).item() == 0
    assert si_sdr(offset, sound).item() == pytest.approx(-80, abs=1e-4)
    assert si_sdr(1e-5 * sound, sound) > 70


def test_what_is_no_number_stays_so_of_silence_too():
    assert si_sdr(torch.full((1000,), float("nan")), torch.zeros(1000)).isnan()


def test_silence_has_finite_gradients_beside_sounds():
    silence, sound = torch.zeros(1000), noise(1000)
    estimates = torch.stack([sound, silence, silence, noise(1000, seed=1)]).requires_grad_()
    si_sdr(estimates, torch.stack([silence, silence, sound, sound])).sum().backward()
    assert estimates.grad.isfinite().all()
    assert not estimates.grad[:3].any()
    assert estimates.grad[3].any()


def test_leading_dimensions_stand_alone():
    estimate, reference = noise(2, 3, 1200), noise(2, 3, 1200, seed=1)
    for measure in (si_sdr, sdr):
        together = measure(estimate, reference)
        assert together.shape == (2, 3)
        assert together[1, 2].item() == pytest.approx(measure(estimate[1, 2], reference[1, 2]).item(), abs=1e-3)


def test_the_loss_is_its_negative_mean_over_voices_and_has_gradients():
    estimate, reference = noise(4, 2, 600).requires_grad_(), noise(4, 2, 600, seed=1)
    loss = SISDR(SISDR.Config())(estimate, reference)
    assert loss.tolist() == pytest.approx((-si_sdr(estimate, reference).mean(1)).tolist())
    loss.mean().backward()
    assert estimate.grad.isfinite().all()
    silent = torch.zeros(4, 600, requires_grad=True)
    SISDR(SISDR.Config())(silent, reference[:, 0]).mean().backward()
    assert silent.grad.isfinite().all()
