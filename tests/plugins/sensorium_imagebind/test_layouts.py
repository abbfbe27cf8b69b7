"""Pictures with depth and warmth in their publishers' layouts, on samples of a few pixels and on pairs of TNO."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from scipy.io import savemat

import sensorium_imagebind
from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.builtin.modalities.measured import Depth
from sensorium.conformance.tasks import batches_of
from sensorium.errors import UserError
from sensorium_imagebind.layouts import LLVIP, SUNRGBD

EXPERIMENTS = Path(sensorium_imagebind.__file__).parent / "experiments"
ROOMS = {"train": ["kv1/NYUdata/NYU0003", "kv2/align_kv2/2014"], "test": ["xtion/sun3ddata/hall/frame_7"]}
"""Split -> its folders."""


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(pixels).save(path)


@pytest.fixture
def rooms(tmp_path):
    """Three rooms whose walls are 1, 2 and 3 m away."""
    lists = {}
    for number, (split, folders) in enumerate((split, each) for split, rooms in ROOMS.items() for each in rooms):
        folder = tmp_path / "SUNRGBD" / folders
        save(folder / "image" / f"picture{number}.jpg", np.zeros((4, 6, 3), np.uint8))
        turned = np.full((4, 6), ((1000 * (number + 1)) << 3) & 0xFFFF, np.uint16)
        save(folder / "depth_bfx" / f"picture{number}.png", turned)
        (folder / "scene.txt").write_text(["bedroom", "office", "corridor\n"][number])
        lists.setdefault(f"all{split}", []).append(f"/n/fs/sun3d/data/SUNRGBD/{folders}")
    path = tmp_path / "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat"
    path.parent.mkdir(parents=True)
    savemat(str(path), {name: np.array([each], dtype=object) for name, each in lists.items()})
    return tmp_path


def test_rooms_are_read_by_the_authors_split_in_metres(rooms):
    dataset = SUNRGBD.Config(root=str(rooms)).build()
    train, test = dataset.open("train"), dataset.open("test")
    assert [train[index]["scene"] for index in range(len(train))] == ["bedroom", "office"]
    assert [train[0]["id"], test[0]["id"]] == [f"SUNRGBD/{ROOMS[split][0]}" for split in ROOMS]
    assert (len(test), test[0]["scene"]) == (1, "corridor")
    depth = Depth.Config(size=4, unit=0.000125, scale="linear", least=1, most=5).build()
    near = [float(depth.decode(each["depth"]).mean()) for each in (train[0], train[1], test[0])]
    assert near == pytest.approx([1, 0.75, 0.5], abs=1e-4)


@pytest.mark.parametrize(("content", "says"), [(b"\xff", "is not UTF-8 text"), (b" \n", "is empty")])
def test_a_kind_of_room_that_cannot_be_read_is_refused(rooms, content, says):
    (rooms / "SUNRGBD" / ROOMS["train"][0] / "scene.txt").write_bytes(content)
    with pytest.raises(UserError, match=says):
        SUNRGBD.Config(root=str(rooms)).build().open("train")


def test_rooms_without_a_file_are_refused(rooms):
    (rooms / "SUNRGBD" / ROOMS["train"][0] / "depth_bfx/picture0.png").unlink()
    with pytest.raises(UserError, match="holds nothing"):
        SUNRGBD.Config(root=str(rooms)).build().open("train")
    with pytest.raises(UserError, match="list of the splits"):
        SUNRGBD.Config(root=str(rooms / "SUNRGBD")).build().open("train")


def test_streets_are_paired_by_name(tmp_path):
    for kind, level in (("visible", 10), ("infrared", 200)):
        for name in ("010002", "010001"):
            save(tmp_path / kind / "train" / f"{name}.jpg", np.full((4, 4, 3), level, np.uint8))
    split = LLVIP.Config(root=str(tmp_path)).build().open("train")
    assert [Path(split[index][field]).stem for index in (0, 1) for field in ("image", "thermal")] == [
        "010001", "010001", "010002", "010002",
    ]  # fmt: skip
    (tmp_path / "infrared/train/010001.jpg").unlink()
    with pytest.raises(UserError, match="no partner: 010001"):
        LLVIP.Config(root=str(tmp_path)).build().open("train")


def test_the_papers_experiment_is_read_and_its_parts_are_known():
    experiment = load(str(EXPERIMENTS / "paper.yaml"), ["plugins=[sensorium_imagebind]"]).experiment
    assert {name: bound.temperature for name, bound in experiment.model.bound.items()} == {
        "audio": 0.05, "depth": 0.2, "thermal": 0.1, "imu": 0.2,
    }  # fmt: skip


def test_pairs_of_tno_are_read_as_they_are(data):
    pairs = data / "TNO" / "pairs.csv"
    places = (("caption", "train"), ("thermal", "train"), ("all", "test"))
    options = [f"dataset.sources.{source}.{split}={pairs}" for source, split in places]
    assembly = assemble(load(str(EXPERIMENTS / "tno.yaml"), ["plugins=[sensorium_imagebind]", *options]))
    (read,) = batches_of(assembly.splits["all_test"], assembly.modalities, range(3))
    assert read["thermal"].shape == read["visible"].shape == (3, 1, 32, 32)
    assert len(assembly.splits["thermal_train"]) == 95
    assert -1 <= float(read["thermal"].min()) < float(read["thermal"].max()) <= 1
    outputs = assembly.task.eval()(read)
    assert set(outputs) == {"visible", "scene", "thermal"}
