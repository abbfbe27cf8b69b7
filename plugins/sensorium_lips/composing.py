"""A mouth of another shape in a film: each pixel is put together from frames in which the mouth is alike.

After S. Suwajanakorn et al. 2017, section 4.2: the weighted median of the frames whose mouths are nearest, moved to
where the face lies and blended in. All other pixels stay as they are, to the bit.

Shapes: T frames of the film, F frames that are made, M pixels, N candidates, C channels, H rows, W columns.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium_lips.face import Place, placed

SOFT = 0.25
"""Share of the ellipse's radii, from its edge inwards, in which the film goes over into the mouth."""
MARGIN = 1.05
"""How much larger the ellipse is, without its soft edge, than the mouths."""


def composed(frames: Tensor, landmarks: Tensor, mouths: Tensor, candidates: int) -> Tensor:
    """Returns the film with other mouths, (F, C, H, W); where it is too short it is played back and forth.

    Args:
        frames: The film, (T, C, H, W).
        landmarks: Of its frames, (T, 136), in pixels.
        mouths: What its mouths are to be, (F, 20), complex.
        candidates: N.
    """
    places, own = placed(landmarks)
    shown = played(len(frames), len(mouths), frames.device)
    middle = own.mean()
    reach = torch.view_as_real(torch.cat([own, mouths]) - middle).abs().flatten(0, 1).amax(0) * MARGIN / (1 - SOFT)
    height, width = frames.shape[2:]
    rows, columns = torch.meshgrid(*(torch.arange(n, device=frames.device) for n in (height, width)), indexing="ij")
    pixels = torch.complex(columns + 0.5, rows + 0.5)
    made = []
    for mouth, number in zip(mouths, shown, strict=True):
        frame, place = frames[number].clone(), Place(places.origin[number], places.unit[number])
        within = (pixels - place.origin) / place.unit  # (H, W)
        apart = within - middle
        covered = ((1 - torch.hypot(apart.real / reach[0], apart.imag / reach[1])) / SOFT).clamp(0, 1)
        inside = covered > 0
        if inside.any():
            chosen, weights = alike(mouth, own, candidates)
            there = Place(places.origin[chosen], places.unit[chosen])
            mixed = median(sampled(frames[chosen], there, within[inside]), weights)
            frame[:, inside] = torch.lerp(frame[:, inside], mixed, covered[inside])
        made.append(frame)
    return torch.stack(made)


def played(length: int, frames: int, device: torch.device) -> Tensor:
    """Returns which frame of a film of a length is shown when, (F,): on to its end, back, and on again."""
    turn = torch.arange(frames, device=device) % max(1, 2 * length - 2)
    return torch.minimum(turn, 2 * length - 2 - turn).clamp(min=0)


def alike(mouth: Tensor, own: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Returns the N frames whose mouths (T, 20) are nearest to one (20,), and weights that fall with distance."""
    far = (own - mouth).abs().square().mean(1).sqrt()
    nearest, chosen = far.topk(min(count, len(own)), largest=False)
    weights = torch.exp(-0.5 * (nearest / nearest[-1].clamp(min=1e-6)).square())
    return chosen, weights / weights.sum()


def sampled(frames: Tensor, places: Place, within: Tensor) -> Tensor:
    """Returns the pixels (N, C, M) of frames (N, C, H, W) that lie at places of the face, (M,) complex."""
    height, width = frames.shape[2:]
    there = within * places.unit[:, None] + places.origin[:, None]  # (N, M)
    grid = torch.stack([2 * there.real / width - 1, 2 * there.imag / height - 1], -1)[:, None].to(frames.dtype)
    return F.grid_sample(frames, grid, mode="bilinear", padding_mode="border", align_corners=False)[:, :, 0]


def median(values: Tensor, weights: Tensor) -> Tensor:
    """Returns the weighted median (C, M) of values (N, C, M) by weights (N,): half of the weight lies below it."""
    ordered, places = values.sort(0)
    below = weights[places].cumsum(0)
    middle = (below < 0.5 * weights.sum()).sum(0, keepdim=True).clamp(max=len(values) - 1)
    return ordered.gather(0, middle)[0]


def darkness(frames: Tensor, landmarks: Tensor) -> Tensor:
    """Returns how dark the mouth's middle is in each frame, (T,) from 0 to 1: an open mouth is.

    It is 1 less the mean luminance of a square of 0.3 of the distance between the eyes, as a share of its 0.9 quantile.

    Args:
        frames: (T, C, H, W), from 0 to 1.
        landmarks: (T, 136), in pixels.
    """
    places, own = placed(landmarks)
    steps = torch.linspace(-0.15, 0.15, 13, device=frames.device)
    square = torch.complex(*torch.meshgrid(steps, steps, indexing="xy")).flatten() + own.mean()
    light = sampled(frames, places, square).mean(1)
    return 1 - light.mean(1) / light.quantile(0.9, 1).clamp(min=1e-3)


def untouched(frames: Tensor, made: Tensor, landmarks: Tensor) -> Tensor:
    """Returns the share of the pixels outside of the mouth that are the film's own, to the bit: a scalar.

    Outside is what lies further from the mouth's middle than 0.8 of the distance between the eyes.

    Args:
        frames: The film as it is shown, (F, C, H, W).
        made: The film with other mouths, (F, C, H, W).
        landmarks: Of the film as it is shown, (F, 136), in pixels.
    """
    places, own = placed(landmarks)
    middles = own.mean(1) * places.unit + places.origin
    height, width = frames.shape[2:]
    rows, columns = torch.meshgrid(*(torch.arange(n, device=frames.device) for n in (height, width)), indexing="ij")
    far = torch.complex(columns + 0.5, rows + 0.5) - middles[:, None, None]
    outside = far.abs() > 0.8 * places.unit.abs()[:, None, None]
    same = (frames == made).all(1)
    return same[outside].double().mean()
