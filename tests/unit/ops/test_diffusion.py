"""Diffusion against numbers worked out by hand, and against the posterior of the papers."""

import math

import pytest
import torch

from sensorium.ops.diffusion import Diffusion, guided, waves

B = 5


@pytest.fixture
def diffusion():
    return Diffusion(4)


def at(time):
    return torch.full((B,), time)


def test_the_schedule_worked_out_by_hand(diffusion):
    def share(u):
        return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

    wanted = [1.0, *(share(u) / share(0) for u in (0.25, 0.5, 0.75))]
    assert diffusion.kept[:4].tolist() == pytest.approx(wanted, rel=1e-6)
    assert diffusion.kept[2].item() == pytest.approx(0.4938, abs=1e-4)
    assert diffusion.kept[4].item() == pytest.approx(wanted[3] * 0.001, rel=1e-5), "a step takes 0.999 at most"


def test_times_are_those_that_have_noise(diffusion):
    assert diffusion.times(torch.tensor([0.0, 0.249, 0.25, 0.999])).tolist() == [1, 1, 2, 4]


def test_at_time_0_nothing_is_noised_and_at_the_end_nearly_all(diffusion):
    clean, noise = torch.randn(B, 3), torch.randn(B, 3)
    assert torch.equal(diffusion.noised(clean, at(0), noise), clean)
    assert torch.allclose(diffusion.noised(clean, at(4), noise), noise, atol=0.05)
    mixed = diffusion.noised(torch.ones(1), torch.tensor([2]), torch.zeros(1))
    assert mixed.item() == pytest.approx(math.sqrt(0.4938), abs=1e-4)


def test_the_posterior_weighs_mean_and_noised_value_by_their_variances(diffusion):
    value, mean = torch.tensor([[3.0, 3.0, 3.0]]), torch.tensor([[1.0, 1.0, 0.0]])
    variance = torch.tensor([0.0, 0.5, 1.0])
    kept = diffusion.kept[2].item()
    gain = math.sqrt(kept) * 0.5 / (kept * 0.5 + 1 - kept)
    found = diffusion.posterior(value, torch.tensor([2]), mean, variance)[0].tolist()
    assert found == pytest.approx([1.0, 1 + gain * (3 - math.sqrt(kept)), math.sqrt(kept) * 3])
    clean = diffusion.posterior(value, torch.tensor([0]), mean, variance)
    assert clean.tolist() == [[1.0, 3.0, 3.0]], "where there is no noise, only what cannot vary is corrected"


def test_a_known_velocity_gives_the_clean_value_back_at_any_time(diffusion):
    clean, noise = torch.randn(B, 3, 2, 2), torch.randn(B, 3, 2, 2)
    for time in range(5):
        noised, velocity = (each(clean, at(time), noise) for each in (diffusion.noised, diffusion.velocity))
        assert torch.allclose(diffusion.clean(noised, at(time), velocity), clean, atol=1e-5)


def test_the_velocity_worked_out_by_hand(diffusion):
    clean, noise = torch.tensor([[2.0]]), torch.tensor([[3.0]])
    assert diffusion.velocity(clean, torch.tensor([0]), noise).item() == 3, "at first only noise comes"
    wanted = math.sqrt(0.49384) * 3 - math.sqrt(1 - 0.49384) * 2
    assert diffusion.velocity(clean, torch.tensor([2]), noise).item() == pytest.approx(wanted, abs=1e-4)


def test_a_step_of_ddim_leads_to_the_same_noise_at_an_earlier_time(diffusion):
    clean, noise = torch.randn(B, 3), torch.randn(B, 3)
    there = diffusion.step(diffusion.noised(clean, at(3), noise), at(3), at(1), clean, torch.randn(B, 3), eta=0.0)
    assert torch.allclose(there, diffusion.noised(clean, at(1), noise), atol=1e-5)


def test_a_step_of_ddpm_has_the_mean_and_variance_of_the_posterior(diffusion):
    """Ho et al. 2020, equations 6 and 7."""
    clean, value, fresh = torch.randn(B, 3), torch.randn(B, 3), torch.randn(B, 3)
    now, then = diffusion.kept[3].item(), diffusion.kept[2].item()
    alpha, beta = now / then, 1 - now / then
    mean = math.sqrt(then) * beta / (1 - now) * clean + math.sqrt(alpha) * (1 - then) / (1 - now) * value
    deviation = math.sqrt((1 - then) / (1 - now) * beta)
    step = diffusion.step(value, at(3), at(2), clean, fresh, eta=1.0)
    assert torch.allclose(step, mean + deviation * fresh, atol=1e-5)


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_who_knows_the_clean_value_ends_there(diffusion, count):
    clean = torch.randn(B, 3)
    for fresh in (None, lambda turn: torch.randn(B, 3)):
        found = diffusion.sample(lambda value, time: clean, torch.randn(B, 3), count, fresh)
        assert torch.allclose(found, clean, atol=1e-6)


def test_samples_pass_the_times_evenly_and_end_at_0():
    seen = []

    def denoise(value, time):
        seen.append(time[0].item())
        return value

    Diffusion(100).sample(denoise, torch.randn(B, 3), 5)
    assert seen == [100, 80, 60, 40, 20]


def test_ddim_follows_from_its_start_and_ddpm_from_fresh_noise_too():
    diffusion, start = Diffusion(20), torch.randn(B, 3)
    by_ddim = [diffusion.sample(lambda v, t: 0.5 * v, start, 5) for _ in range(2)]
    by_ddpm = [diffusion.sample(lambda v, t: 0.5 * v, start, 5, lambda turn: torch.randn(B, 3)) for _ in range(2)]
    assert torch.equal(*by_ddim)
    assert not torch.allclose(*by_ddpm)


def test_guidance_worked_out_by_hand():
    known, unknown = torch.tensor([3.0]), torch.tensor([1.0])
    assert [guided(known, unknown, scale).item() for scale in (0.0, 1.0, 2.0)] == [1.0, 3.0, 5.0]


def test_waves_worked_out_by_hand():
    found = waves(torch.tensor([0, 1]), 1000, 4)
    assert found[0].tolist() == [0, 0, 1, 1]
    assert found[1].tolist() == pytest.approx([math.sin(1), math.sin(0.01), math.cos(1), math.cos(0.01)], abs=1e-6)
    assert torch.allclose(waves(torch.tensor([2]), 10, 4), waves(torch.tensor([200]), 1000, 4))
