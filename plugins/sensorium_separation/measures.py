"""What is measured of separated voices.

Shapes: B mixtures, N speakers, S samples, T frames of a spectrogram.
"""

from __future__ import annotations

import contextlib
import warnings
from typing import NamedTuple

import torch
from torch import Tensor

from sensorium import Rows
from sensorium.ops.audio import sdr, si_sdr
from sensorium.ops.spectra import Spectra
from sensorium_separation.masks import binary_mask, complex_mask, frame_mask, gates, ratio_mask


class Separated(NamedTuple):
    """What a network made of mixtures, each (B, N, S).

    Attributes:
        own: By each speaker's own face.
        exchanged: By the other's.
        magnitude: By its own face, with the mixture's phase: the phase of the mask left out.
    """

    own: Tensor
    exchanged: Tensor
    magnitude: Tensor


@torch.no_grad()
def rows(
    separated: Separated, voices: Tensor, mixture: Tensor, mouths: Tensor, spectra: Spectra, bound: float, rate: int
) -> Rows:
    """Returns the ratios of each mixture, those of masks that need no network beside them, and its sounds.

    Args:
        separated: What is measured.
        voices: The truth, (B, N, S).
        mixture: (B, S).
        mouths: Darkness of both in each frame of the spectrogram, (B, N, T).
        spectra: For masks.
        bound: Of the complex mask.
        rate: Samples a second.
    """
    before = si_sdr(mixture[:, None], voices)

    def gained(sound: Tensor) -> Tensor:
        return (si_sdr(sound, voices) - before).mean(1)

    own = separated.own
    after, other = si_sdr(own, voices), si_sdr(own, voices.flip(1))
    found: Rows = {
        "si_sdr": after.mean(1),
        "si_sdri": gained(own),
        "sdri": (sdr(own, voices) - sdr(mixture[:, None].expand_as(voices), voices)).mean(1),
        "right": (after > other).float().mean(1),
        "other_face_si_sdri": gained(separated.exchanged),
        "magnitude_si_sdri": gained(separated.magnitude),
        "stoi": torch.tensor([_stoi(*each, rate) for each in zip(own, voices, strict=True)]),
        "stoi_of_mixture": torch.tensor(
            [_stoi(whole.expand_as(clear), clear, rate) for whole, clear in zip(mixture, voices, strict=True)]
        ),
    }
    whole, clean = spectra.compressed(mixture), spectra.compressed(voices)
    perfect = complex_mask(whole, clean, bound)
    ideal = {
        "gate": frame_mask(whole, clean, spectra.power),
        "irm": ratio_mask(clean, spectra.power),
        "ibm": binary_mask(clean),
        "crm": perfect,
        "magnitude": perfect.abs(),
    }

    def reached(mask: Tensor) -> Tensor:
        return gained(spectra.sound(mask * whole[:, None], mixture.shape[1]))

    found |= {f"ideal_{name}_si_sdri": reached(mask) for name, mask in ideal.items()}
    found["gates"] = torch.stack([reached(mask) for mask in gates(mouths, spectra.power).unbind(1)], 1)
    return found | {"sound": torch.cat([mixture[:, None], own, voices], 1)}


def means(rows: Rows) -> dict[str, float]:
    """Returns the mean of each row; speech too short for STOI does not count there, and there alone."""
    found = {
        name: value[value.isfinite()] if name.startswith("stoi") else value
        for name, value in rows.items()
        if isinstance(value, Tensor) and value.ndim == 1 and value.is_floating_point()
    }
    return {name: float(value.double().mean()) for name, value in found.items() if len(value)}


def metrics(rows: Rows) -> dict[str, float]:
    """Returns the means, what the best gate of the split reaches, and what is won over it and by the mask's phase."""
    found = means(rows)
    gate = float(rows["gates"].double().mean(0).max())
    return found | {
        "gate_si_sdri": gate,
        "lead_over_gate": found["si_sdri"] - gate,
        "phase_gain": found["si_sdri"] - found["magnitude_si_sdri"],
        "ideal_phase_gain": found["ideal_crm_si_sdri"] - found["ideal_magnitude_si_sdri"],
    }


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
