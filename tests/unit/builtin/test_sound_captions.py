"""Readers of Clotho and AudioCaps: small tables in the true layout."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sensorium import UserError
from sensorium.builtin.datasets.sound_captions import AudioCaps, Clotho

HEAD = "file_name,caption_1,caption_2,caption_3,caption_4,caption_5\n"
CAPS = "audiocap_id,youtube_id,start_time,caption\n"


def sound(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(80), 8000)


@pytest.fixture
def clotho(tmp_path):
    for split, names in {"development": ("Rain 1.wav", "door.wav"), "evaluation": ("sea.wav",)}.items():
        rows = [f'{name},"a {name[:2]}, and more",b,c,d, e \n' for name in names]
        (tmp_path / f"clotho_captions_{split}.csv").write_text(HEAD + "".join(rows))
        for name in names:
            sound(tmp_path / split / name)
    return tmp_path


def test_clotho_has_a_sample_for_each_sentence_to_learn_and_for_each_clip_else(clotho):
    dataset = Clotho(Clotho.Config(root=str(clotho)))
    assert dataset.splits == ("train", "test")
    train, test = dataset.open("train"), dataset.open("test")
    assert (len(train), len(test)) == (10, 1)
    assert train[4] == {
        "id": "Rain 1.wav#5",
        "group": "Rain 1.wav",
        "audio": str(clotho / "development/Rain 1.wav"),
        "text": "e",
        "captions": ["a Ra, and more", "b", "c", "d", "e"],
    }
    assert test[0]["captions"] == ["a se, and more", "b", "c", "d", "e"]
    assert train.place(5) == f"{clotho}/clotho_captions_development.csv:3"
    assert all(Path(train[place]["audio"]).is_file() for place in range(10))


def test_clotho_refuses_what_does_not_fit(clotho):
    dataset = Clotho(Clotho.Config(root=str(clotho)))
    table = clotho / "clotho_captions_development.csv"
    with pytest.raises(UserError, match="no split 'validation'"):
        dataset.open("validation")
    table.write_text(HEAD + "gone.wav,a,b,c,d,e\n")
    with pytest.raises(UserError, match=r"not there, 1 in all: .*gone\.wav"):
        dataset.open("train")
    assert len(Clotho(Clotho.Config(root=str(clotho), broken="skip")).open("train")) == 5
    table.write_text(HEAD + "door.wav,a,b,c,d,e\n" * 2)
    with pytest.raises(UserError, match=r"'door.wav' is there twice: .*csv:2 and .*csv:3"):
        dataset.open("train")
    table.write_text(HEAD + "door.wav,a,b, ,d,e\n")
    with pytest.raises(UserError, match=r"csv:2 has no value for 'caption_3'"):
        dataset.open("train")
    table.write_text("file_name,caption_1\ndoor.wav,a\n")
    with pytest.raises(UserError, match=r"csv:1 has no column caption_2"):
        dataset.open("train")
    with pytest.raises(UserError, match="no table of captions at"):
        Clotho(Clotho.Config(root=str(clotho / "evaluation")))


def test_audiocaps_has_one_sentence_to_learn_and_five_else(tmp_path):
    (tmp_path / "train.csv").write_text(
        CAPS + '91139,r1nicOVtvkQ,130,"A woman talks, water pours"\n58146,-x_,30,Wind\n'
    )
    rows = [f"{number},abc,20,Sentence {number}\n" for number in range(5)] + ["9,abc,50,Another\n"]
    (tmp_path / "val.csv").write_text(CAPS + "".join(rows))
    for name in ("train/r1nicOVtvkQ_130", "train/-x__30", "val/abc_20", "val/abc_50"):
        sound(tmp_path / f"{name}.wav")
    dataset = AudioCaps(AudioCaps.Config(root=str(tmp_path)))
    assert dataset.splits == ("train", "validation")
    train, validation = dataset.open("train"), dataset.open("validation")
    assert train[0] == {
        "id": "91139",
        "group": "r1nicOVtvkQ_130",
        "audio": str(tmp_path / "train/r1nicOVtvkQ_130.wav"),
        "text": "A woman talks, water pours",
        "captions": ["A woman talks, water pours"],
    }
    assert validation.columns["id"] == ["0", "9"]
    assert validation[0]["captions"] == [f"Sentence {number}" for number in range(5)]


def test_clips_of_audiocaps_lie_where_they_were_downloaded_to(tmp_path):
    (tmp_path / "test.csv").write_text(CAPS + "7,abc,20,A dog\n")
    sound(tmp_path / "all/Y7.flac")
    dataset = AudioCaps(AudioCaps.Config(root=str(tmp_path), audio="all/Y{audiocap_id}.flac"))
    assert dataset.open("test")[0]["audio"] == str(tmp_path / "all/Y7.flac")
    with pytest.raises(UserError, match=r"not there, 1 in all: .*test/abc_20\.wav"):
        AudioCaps(AudioCaps.Config(root=str(tmp_path))).open("test")
    for wrong in ("{name}.wav", "one.wav", "{youtube_id}{0.__class__}.wav"):
        with pytest.raises(ValueError, match="audio names"):
            AudioCaps.Config(root=".", audio=wrong)
