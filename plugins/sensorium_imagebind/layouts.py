"""Pictures with what lies over them, in the layouts of their publishers: depth of SUN RGB-D, warmth of LLVIP.

S. Song, S. Lichtenberg, J. Xiao, SUN RGB-D, CVPR 2015; X. Jia et al., LLVIP, ICCV workshop 2021.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sensorium import Dataset, UserError
from sensorium.builtin.datasets.files import Columns, decode, listing, require
from sensorium.builtin.values import filled

LIST = "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat"
"""The authors' list of which folder belongs to which split."""
BELOW = "SUNRGBD/"
"""What stands in the list before the folders, and what they are below."""


class SUNRGBD(Dataset):
    """Rooms with depth and the kind of room, by the authors' split. Depth counts eighths of millimetres.

    Each folder holds `image/*.jpg`, `depth_bfx/*.png` and `scene.txt`. Whole millimetres are turned left by three bits
    in them, which is a count of eighths up to 8.19 m: `unit: 0.000125` of the modality depth.
    """

    fields: ClassVar[dict[str, str]] = {"image": "image", "depth": "depth", "scene": "label"}

    class Config(Dataset.Config):
        """Where it lies."""

        root: str
        """Folder that holds `SUNRGBD` and `SUNRGBDtoolbox`."""

    config: Config

    def open(self, split: str) -> Columns:
        """Returns `train` or `test`, in the order of the list.

        Raises:
            UserError: A file is missing.
        """
        from scipy.io import loadmat  # type: ignore[import-untyped]

        root = Path(self.config.root)
        path = require(root / LIST, "list of the splits", "Set `root` to the folder that holds SUNRGBDtoolbox.")
        listed = np.atleast_1d(loadmat(str(path), squeeze_me=True)[f"all{split}"])
        folders = [root / BELOW / str(each).partition(BELOW)[2] for each in listed]
        columns: dict[str, list[Any]] = {"id": [], "image": [], "depth": [], "scene": []}
        for folder in folders:
            columns["id"].append(folder.relative_to(root).as_posix())
            columns["image"].append(str(_only(folder / "image")))
            columns["depth"].append(str(_only(folder / "depth_bfx")))
            name = require(folder / "scene.txt", "kind of room", "Fetch the folder again.")
            columns["scene"].append(filled(decode(name.read_bytes(), name), str(name)))
        return Columns(columns, path)


class LLVIP(Dataset):
    """Streets at night with their warmth: `visible/train/010001.jpg` and `infrared/train/010001.jpg`."""

    fields: ClassVar[dict[str, str]] = {"image": "image", "thermal": "thermal"}

    class Config(Dataset.Config):
        """Where it lies."""

        root: str
        """Folder that holds `visible` and `infrared`."""

    config: Config

    def open(self, split: str) -> Columns:
        """Returns `train` or `test`, by name.

        Raises:
            UserError: A folder is missing, or a picture has no partner.
        """
        hint = "Set `root` to the folder that holds `visible` and `infrared`."
        seen, warm = (
            {path.stem: path for path in require(Path(self.config.root) / kind / split, "folder", hint).glob("*.jpg")}
            for kind in ("visible", "infrared")
        )
        if alone := seen.keys() ^ warm.keys():
            raise UserError(
                f"{len(alone)} pictures have no partner: {listing(alone, 3)}.",
                "Each name stands in both folders.",
                "Fetch them again.",
            )
        names = sorted(seen)
        columns = {
            "id": names,
            "image": [str(seen[name]) for name in names],
            "thermal": [str(warm[name]) for name in names],
        }
        return Columns(columns, Path(self.config.root))


def _only(folder: Path) -> Path:
    """Returns the one file of a folder."""
    files = sorted(require(folder, "folder", "Fetch it again.").iterdir())
    if len(files) != 1:
        raise UserError(
            f"{folder} holds {listing(each.name for each in files)}.", "One file was expected.", "Fetch it again."
        )
    return files[0]
