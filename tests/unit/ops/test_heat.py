"""Colours of heat maps."""

import torch

from sensorium.ops import heat


def test_colours_go_from_cold_to_hot():
    colours = heat.coloured(torch.tensor([[[0.0, 0.5, 1.0, 0.125]]]))[0, :, 0].T
    torch.testing.assert_close(colours[:3], torch.tensor(heat.SCALE)[[0, 2, 4]])
    torch.testing.assert_close(colours[3], torch.tensor(heat.SCALE)[:2].mean(0))


def test_hot_places_cover_more_of_a_grey_picture():
    drawn = heat.overlaid(torch.ones(1, 1, 1, 2), torch.tensor([[[0.0, 1.0]]]))[0, :, 0].T
    cold, hot = torch.tensor(heat.SCALE)[[0, 4]]
    torch.testing.assert_close(drawn[0], 0.9 + 0.1 * cold)
    torch.testing.assert_close(drawn[1], 0.2 + 0.8 * hot)


def test_the_scale_has_its_colours_between_its_ends():
    drawn = heat.scale(200, "0", "0.5")
    assert drawn.size == (200, heat.HEIGHT)
    ends = [drawn.getpixel((place, heat.HEIGHT // 2)) for place in (heat.END, 199 - heat.END)]
    assert ends == [tuple(round(255 * part) for part in heat.SCALE[place]) for place in (0, 4)]
