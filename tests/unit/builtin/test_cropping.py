"""What a picture's cropping does is what its steps say, and places move as its pixels do."""

import pytest
import torch
from torch.nn import functional as F

from sensorium.builtin.modalities.image import Image

OPTIONS = {
    "first": {},
    "a part": {"central": 0.875},
    "last": {"crop_last": True},
    "a part, last": {"crop_last": True, "central": 0.875},
    "all": {"stretch": True},
    "the middle of all": {"stretch": True, "central": 0.5},
}


def follow(picture, steps):
    """Returns a picture (C, h, w) as steps make it."""
    for step in steps:
        rows, columns = picture.shape[1:]
        if step["step"] == "resize":
            size = step.get("size")
            if size is None:
                size = [max(step["covers"][0], step["covers"][1] * rows // columns)] * 2
                size[1] = max(step["covers"][1], step["covers"][0] * columns // rows)
            picture = F.interpolate(picture[None], size, mode=step["interpolation"], antialias=step["antialias"])[0]
            continue
        if "size" in step:
            h, w = step["size"]
        else:
            aspect = step.get("aspect", columns / rows)
            h, w = min(rows, columns / aspect) * step["central"], min(columns, rows * aspect) * step["central"]
        h, w = round(h), round(w)
        top, left = round((rows - h) / 2), round((columns - w) / 2)
        picture = picture[:, top : top + h, left : left + w]
    return picture


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("sides", [(40, 40), (37, 80), (90, 41)])
def test_the_steps_say_what_is_done(options, sides):
    modality = Image(Image.Config(size=(24, 32), channels=1, mean=[0.0], std=[1.0], **options))
    picture = torch.rand(1, *sides, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(follow(picture, modality.cropping.steps()), modality.cropping(picture, None), atol=1e-6)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_places_move_as_pixels_do(options):
    modality = Image(Image.Config(size=32, channels=1, **options))
    picture = torch.zeros(1, 60, 80)
    picture[0, 28:36, 44:52] = 1
    seen = modality.cropping(picture, None)[0].clamp(min=0)
    rows, columns = torch.meshgrid(torch.arange(32) + 0.5, torch.arange(32) + 0.5, indexing="ij")
    middle = [float((seen * each).sum() / seen.sum()) for each in (columns, rows)]
    told = modality.cropping.matrix(60, 80, None) @ torch.tensor([48.0, 32.0, 1.0], dtype=torch.float64)
    assert told.tolist() == pytest.approx(middle, abs=0.1)
