"""Where the parts of a picture lie when it has been cropped, resized, mirrored and turned.

Places are (x, y): x to the right and y downwards, in pixels, so that the first pixel reaches from 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Geometry:
    """The map from a picture as it was given to what the model sees of it.

    Attributes:
        matrix: (2, 3) float64; a place p becomes `matrix @ [p, 1]`.
        given: Rows and columns of the picture as it was given.
        seen: Rows and columns of what the model sees.
    """

    matrix: Tensor
    given: tuple[int, int]
    seen: tuple[int, int]

    @classmethod
    def identity(cls, size: tuple[int, int]) -> Geometry:
        """Returns the map of a picture of so many rows and columns that is left as it is."""
        return cls(torch.eye(2, 3, dtype=torch.float64), size, size)

    def then(self, matrix: Tensor, seen: tuple[int, int]) -> Geometry:
        """Returns this map with another one (2, 3) after it."""
        return Geometry((_whole(matrix) @ _whole(self.matrix))[:2], self.given, seen)

    def inverse(self) -> Geometry:
        """Returns the map back: from what the model sees to the picture as it was given."""
        return Geometry(torch.linalg.inv(_whole(self.matrix))[:2], self.seen, self.given)

    def places(self, places: Tensor) -> Tensor:
        """Returns places (..., 2) of the given picture as places of what the model sees."""
        matrix = self.matrix.to(places.dtype)
        return places @ matrix[:, :2].T + matrix[:, 2]

    def visible(self) -> Tensor:
        """Returns which pixels of the given picture the model sees, (h, w) bool."""
        rows, columns = (torch.arange(side) + 0.5 for side in self.given)
        places = self.places(torch.stack([columns.expand(len(rows), -1), rows[:, None].expand(-1, len(columns))], -1))
        return ((places >= 0) & (places <= torch.tensor(self.seen[::-1]))).all(-1)

    def boxes(self, boxes: Tensor) -> Tensor:
        """Returns boxes (N, 4), x and y of two opposite corners, as the upright boxes around them, least first."""
        x0, y0, x1, y1 = boxes.unbind(-1)
        corners = torch.stack([torch.stack(pair, -1) for pair in ((x0, y0), (x1, y0), (x0, y1), (x1, y1))], -2)
        moved = self.places(corners)
        return torch.cat([moved.amin(-2), moved.amax(-2)], -1)

    def warp(self, values: Tensor, nearest: bool = False) -> Tensor:
        """Returns values that lie over the given picture, (C, h, w) of any size, as (C, H, W) over what is seen.

        Args:
            values: A map, a mask, depths.
            nearest: Takes the nearest value rather than blending: for labels and holes. Outside, the border goes on.
        """
        back = _whole(self.inverse().matrix)
        (h, w), (height, width) = self.given, self.seen
        # affine_grid counts from -1 to 1 across what is seen, grid_sample across what is given.
        of_seen = torch.tensor([[width / 2, 0, width / 2], [0, height / 2, height / 2], [0, 0, 1]], dtype=torch.float64)
        to_given = torch.tensor([[2 / w, 0, -1], [0, 2 / h, -1], [0, 0, 1]], dtype=torch.float64)
        theta = (to_given @ back @ of_seen)[:2].float()
        grid = F.affine_grid(theta[None], [1, 1, height, width], align_corners=False)
        mode = "nearest" if nearest else "bilinear"
        return F.grid_sample(values.float()[None], grid, mode, padding_mode="border", align_corners=False)[0]


def _whole(matrix: Tensor) -> Tensor:
    return torch.cat([matrix, matrix.new_tensor([[0.0, 0.0, 1.0]])])
