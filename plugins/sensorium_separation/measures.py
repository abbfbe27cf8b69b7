"""What is measured of separated voices.

Shapes: B mixtures, N speakers, S samples.
"""

from __future__ import annotations

import contextlib
import warnings

import torch
from torch import Tensor

from sensorium import Rows
from sensorium.ops.audio import sdr, si_sdr
from sensorium_separation.spectra import Spectra, complex_mask, ratio_mask


@torch.no_grad()
def rows(
    own: Tensor, exchanged: Tensor, voices: Tensor, mixture: Tensor, spectra: Spectra, bound: float, rate: int
) -> Rows:
    """Returns the ratios of each mixture, and its sounds.

    Args:
        own: What was separated by each speaker's own face, (B, N, S).
        exchanged: What was separated by the other's, (B, N, S).
        voices: The truth, (B, N, S).
        mixture: (B, S).
        spectra: For the ideal masks.
        bound: Of the complex mask.
        rate: Samples a second.
    """
    before = si_sdr(mixture[:, None], voices)
    after, other = si_sdr(own, voices), si_sdr(own, voices.flip(1))
    compressed, clean = spectra.compressed(mixture), spectra.compressed(voices)
    ideal = {
        "irm": ratio_mask(compressed, clean, spectra.power),
        "crm": complex_mask(compressed, clean, bound),
    }
    found: Rows = {
        "si_sdr": after.mean(1),
        "si_sdri": (after - before).mean(1),
        "sdri": (sdr(own, voices) - sdr(mixture[:, None].expand_as(voices), voices)).mean(1),
        "right": (after > other).float().mean(1),
        "other_face_si_sdri": (si_sdr(exchanged, voices) - before).mean(1),
        "stoi": torch.tensor([_stoi(*each, rate) for each in zip(own, voices, strict=True)]),
        "stoi_of_mixture": torch.tensor(
            [_stoi(whole.expand_as(clear), clear, rate) for whole, clear in zip(mixture, voices, strict=True)]
        ),
    }
    for name, mask in ideal.items():
        best = spectra.sound(mask * compressed[:, None], mixture.shape[1])
        found[f"ideal_{name}_si_sdri"] = (si_sdr(best, voices) - before).mean(1)
    return found | {"sound": torch.cat([mixture[:, None], own, voices], 1)}


def metrics(rows: Rows) -> dict[str, float]:
    """Returns the mean of each row; speech too short for STOI does not count there, and there alone."""
    found = {
        name: value[value.isfinite()] if name.startswith("stoi") else value
        for name, value in rows.items()
        if isinstance(value, Tensor) and value.ndim == 1 and value.is_floating_point()
    }
    return {name: float(value.double().mean()) for name, value in found.items() if len(value)}


def _stoi(estimates: Tensor, voices: Tensor, rate: int) -> float:
    """Returns the short-time objective intelligibility (Taal et al. 2011), the mean over speakers.

    Who says too little does not count; NaN if both do.
    """
    from pystoi import stoi  # type: ignore[import-untyped]

    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # which says that there is too little speech
        for estimate, voice in zip(estimates.cpu(), voices.cpu(), strict=True):
            with contextlib.suppress(RuntimeWarning):
                found.append(float(stoi(voice.numpy(), estimate.numpy(), rate)))
    return sum(found) / len(found) if found else float("nan")
