"""VGGSound and VEGAS, each on a few files in its layout."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from sensorium import UserError
from sensorium_sound2scene.layouts import VEGAS, VGGSound

TABLE = '---g-f_I2yQ,1,"people marching, drum",test\nabc,30,dog barking,train\nxyz,5,dog barking,train\n'


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), 99, np.uint8)).save(path)


def sound(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(800), 8000)


@pytest.fixture
def vggsound(tmp_path):
    (tmp_path / "vggsound.csv").write_text(TABLE)
    for clip, moments in (("---g-f_I2yQ_000001", 1), ("abc_000030", 3)):
        sound(tmp_path / f"audio/{clip}.wav")
        for moment in range(moments):
            picture(tmp_path / f"frames/{clip}/{moment:03d}.jpg")
    return tmp_path


def test_moments_of_a_clip_share_its_sound(vggsound):
    train = VGGSound(VGGSound.Config(root=str(vggsound), gone=True)).open("train")
    assert [train[place]["id"] for place in range(3)] == [f"abc_000030/00{moment}" for moment in range(3)]
    assert {train[place]["group"] for place in range(3)} == {"abc_000030"}
    assert {Path(train[place]["audio"]).name for place in range(3)} == {"abc_000030.wav"}
    assert all(Path(train[place]["image"]).is_file() for place in range(3))
    test = VGGSound(VGGSound.Config(root=str(vggsound))).open("test")
    assert (len(test), test[0]["label"], test[0]["group"]) == (1, *2 * ("people marching, drum",))


def test_what_has_vanished_is_named_or_left_out(vggsound):
    with pytest.raises(UserError, match=r"xyz_000005.wav.*dataset.gone=true"):
        VGGSound(VGGSound.Config(root=str(vggsound))).open("train")
    (vggsound / "frames/abc_000030/000.jpg").rename(vggsound / "x.png")
    for moment in (1, 2):
        (vggsound / f"frames/abc_000030/00{moment}.jpg").unlink()
    with pytest.raises(UserError, match="holds no frames"):
        VGGSound(VGGSound.Config(root=str(vggsound), gone=True)).open("train")


def test_classes_are_those_of_the_table(vggsound):
    with pytest.raises(UserError, match=r"no class 'dog'"):
        VGGSound(VGGSound.Config(root=str(vggsound), classes=["dog"])).open("test")
    with pytest.raises(UserError, match="holds no samples"):
        VGGSound(VGGSound.Config(root=str(vggsound), classes=["dog barking"])).open("test")
    with pytest.raises(UserError, match="There is no split 'few'"):
        VGGSound(VGGSound.Config(root=str(vggsound))).open("few")


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("abc,30,dog\n", r"vggsound.csv:1 is 'abc,30,dog'"),
        ("abc,x,dog,train\n", "An id, a second"),
        ("abc,30,dog,train\nabc,30,cat,test\n", r"'abc_000030' is there twice"),
        ("abc,30,,train\n", "is empty"),
        ('abc,30,"dog,train\n', "is not CSV"),
        ("abc,30,dog,tests\n", "train or test"),
    ],
)
def test_a_table_of_another_form_is_refused(vggsound, table, text):
    (vggsound / "vggsound.csv").write_text(table)
    with pytest.raises(UserError, match=text):
        VGGSound(VGGSound.Config(root=str(vggsound), gone=True)).open("train")


@pytest.fixture
def vegas(tmp_path):
    for label in ("chainsaw", "dog"):
        for number in range(3):
            picture(tmp_path / label / f"img/video_{number:05d}.jpg")
            sound(tmp_path / label / f"audios/video_{number:05d}.wav")
    return tmp_path


def test_the_last_clips_of_each_class_are_held_out(vegas):
    read = VEGAS(VEGAS.Config(root=str(vegas), held_out=1))
    train, test = read.open("train"), read.open("test")
    assert [test[place]["id"] for place in range(2)] == ["chainsaw/video_00002", "dog/video_00002"]
    assert [train[place]["label"] for place in range(4)] == ["chainsaw", "chainsaw", "dog", "dog"]
    assert train[0]["group"] == "chainsaw/video_00000"
    assert test[1]["group"] == "dog"
    assert Path(test[1]["audio"]) == vegas / "dog/audios/video_00002.wav"
    assert Path(test[1]["image"]).is_file()


def test_a_clip_without_partner_is_named(vegas):
    (vegas / "dog/audios/video_00001.wav").unlink()
    with pytest.raises(UserError, match=r"1 clips of .*dog have no partner: video_00001"):
        VEGAS(VEGAS.Config(root=str(vegas))).open("test")
    with pytest.raises(UserError, match="holds no class"):
        VEGAS(VEGAS.Config(root=str(vegas / "dog"))).open("test")
