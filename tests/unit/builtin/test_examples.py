"""Every modality makes up raw values that it reads itself."""

import pytest
import torch

from sensorium.builtin.modalities.audio import Audio
from sensorium.builtin.modalities.image import Image
from sensorium.builtin.modalities.label import Label
from sensorium.builtin.modalities.text import Text
from sensorium.builtin.modalities.vector import Vector


def learnt(modality, values):
    modality.fit(values)
    return modality


CASES = {
    "grey image": lambda: Image(Image.Config(size=8, channels=1)),
    "oblong image": lambda: Image(Image.Config(size=(12, 20))),
    "spectrogram": lambda: Audio(Audio.Config(sample_rate=8000, seconds=0.5, n_mels=32)),
    "waveform of any length": lambda: Audio(Audio.Config(sample_rate=8000, view="waveform")),
    "stereo": lambda: Audio(Audio.Config(sample_rate=8000, channels=2, view="waveform")),
    "words": lambda: learnt(Text(Text.Config()), ["a red three", "a blue seven above"]),
    "byte pairs": lambda: learnt(Text(Text.Config(tokenizer="bpe")), ["a red three"] * 3),
    "label": lambda: learnt(Label(Label.Config()), ["cat", "dog", "owl"]),
    "vector": lambda: Vector(Vector.Config(size=5)),
}


@pytest.mark.parametrize("case", CASES)
def test_an_example_is_read_by_its_own_modality(case):
    modality = CASES[case]()
    random = torch.Generator().manual_seed(3)
    raws = [modality.example(random) for _ in range(4)]
    values = [modality.transform(modality.decode(raw), None) for raw in raws]
    for value in values:
        if modality.form == "tokens":
            assert len(value) > 2, "there is a word between <bos> and <eos>"
            assert value.min() >= 0
        else:
            assert all(had == said for had, said in zip(value.shape, modality.shape, strict=True) if said is not None)
    assert len({str(raw) for raw in raws}) > 1
    modality.collate(values)
    assert modality.example(torch.Generator().manual_seed(3)) == raws[0]
