"""What the processors of transformers say of pictures, as options of the modality `image`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BLENDING = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers of the interpolations that pictures know."""
UNCUT = 384
"""Side in pixels from which ConvNeXt's pictures are not cut."""


def pictures(told: Mapping[str, Any]) -> dict[str, Any]:
    """Returns options of the modality `image` that do what a processor of pictures says."""
    options: dict[str, Any] = {}
    given = told.get("size")
    resized, cut = _sides(given), _sides(told.get("crop_size")) if told.get("do_center_crop") else None
    if size := cut or resized:
        options |= {"size": list(size), "stretch": isinstance(given, Mapping) and "height" in given}
        options["stretch"] |= isinstance(given, int) and cut is None  # as the first versions wrote it
        if cut and resized and told.get("do_resize", True):
            options |= {"central": min(1.0, min(cut) / min(resized)), "crop_last": True}
        elif "crop_pct" in told:  # ConvNeXt's, which cuts small pictures alone
            side = min(size)
            small = {"central": side / int(side / told["crop_pct"]), "crop_last": True}
            options |= {"stretch": True} if side >= UNCUT else small
    scale = 255 * told.get("rescale_factor", 1 / 255) if told.get("do_rescale", True) else 255.0
    mean, std = (told.get("image_mean"), told.get("image_std")) if told.get("do_normalize", True) else (0.0, 1.0)
    if mean is not None and std is not None:
        mean, std = ([each] if isinstance(each, (int, float)) else each for each in (mean, std))
        options |= {"mean": [each / scale for each in mean], "std": [each / scale for each in std]}
    how = BLENDING.get(told.get("resample", -1))
    return {**options, "interpolation": how} if how else options


def _sides(size: Any) -> tuple[int, int] | None:
    if isinstance(size, Mapping):
        if "height" in size:
            return int(size["height"]), int(size["width"])
        size = size.get("shortest_edge")
    return pair(size) if size is not None else None


def pair(size: Any) -> tuple[int, int]:
    """Returns rows and columns of a size that is one number for both, or two."""
    return (size[0], size[1]) if isinstance(size, (list, tuple)) else (int(size), int(size))
