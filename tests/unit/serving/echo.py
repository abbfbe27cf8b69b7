"""A model that gives back what it is given, with real modalities and no weights."""

import io
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import soundfile
from PIL import Image as Pillow

from sensorium import Padded, Task
from sensorium.builtin.modalities.audio import Audio
from sensorium.builtin.modalities.image import Image
from sensorium.builtin.modalities.text import Text
from sensorium.builtin.modalities.vector import Vector
from sensorium.inference.exact import Exact
from sensorium.inference.predictor import Predictor
from sensorium.serving.description import describe
from sensorium.serving.served import Curve, Local, Ready, lower
from sensorium.serving.settings import Limits


class Echo(Task):
    """Gives back what it is given."""

    experiment: ClassVar[dict[str, Any]] = {}

    def __init__(self):
        super().__init__(self.Config(), {})
        words = Text(Text.Config())
        words.fit(["one two three"])
        self.inputs = {
            "picture": Image(Image.Config(size=8, channels=1)),
            "sound": Audio(Audio.Config(sample_rate=8000, view="waveform")),
            "words": words,
            "numbers": Vector(Vector.Config(size=2)),
        }
        self.outputs = {name: self.inputs[name] for name in ("picture", "sound", "words", "numbers")}
        self.optional = frozenset(("sound", "words", "numbers"))
        self.sizes = []

    def predict(self, batch):
        self.sizes.append(len(batch))
        return {name: value.data if isinstance(value, Padded) else value for name, value in batch.fields.items()}


def predictor():
    return Predictor(SimpleNamespace(task=Echo()))


def ready(asked=None, version="echo/1", size=4, wait=0.0, limits=None):
    asked = asked or predictor()
    lower(asked, limits or Limits())
    return Ready(Exact(asked), describe(asked, version), Curve({1: 1.0}, size, wait))


def local(**options):
    return Local(ready(**options))


def png(side=8, shade=100):
    buffer = io.BytesIO()
    Pillow.fromarray(np.full((side, side), shade, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def sound(kind="WAV", seconds=0.1):
    buffer = io.BytesIO()
    wave = np.sin(np.arange(round(8000 * seconds)) / 10).astype(np.float32) / 2
    soundfile.write(buffer, wave, 8000, "PCM_16", format=kind)
    return buffer.getvalue()
