"""Tones with their names: sine waves in noise, made from the sample's number.

Shapes: T samples of a waveform.
"""

from typing import ClassVar

import numpy as np

from sensorium import Dataset, Sample, Split, UserError, hookimpl

RATE = 8000
"""Samples a second, in Hz."""
NOTES = {"a": 440.0, "c": 523.25, "e": 659.26}
"""Name -> frequency in Hz."""


class ExampleName(Dataset):
    """Tones of half a second in noise, with the name of the note."""

    fields: ClassVar[dict[str, str]] = {"audio": "audio", "label": "label"}
    splits = ("train", "test")

    class Config(Dataset.Config):
        """How many, and how noisy."""

        count: int = 120
        """Samples of each split."""
        noise: float = 0.3
        """Deviation of the noise; the tone's amplitude is 0.5."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        if config.count < len(NOTES):
            raise UserError(f"count is {config.count}.", f"At least {len(NOTES)} were expected, one for each note.")

    def open(self, split: str) -> Split:
        """Returns one split."""
        return Tones(split, self.config.count, self.config.noise)


class Tones:
    """One split. Random access from several threads: each sample has a generator of its own."""

    def __init__(self, split: str, count: int, noise: float) -> None:
        self.split, self.count, self.noise = split, count, noise

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        name = list(NOTES)[index % len(NOTES)]
        random = np.random.default_rng([index, len(self.split)])
        wave = 0.5 * np.sin(2 * np.pi * (NOTES[name] * np.arange(RATE // 2) / RATE + random.random()))
        wave = (wave + self.noise * random.standard_normal(len(wave))).astype(np.float32)
        return {"id": f"{self.split}/{index}", "audio": (wave, RATE), "label": name}


@hookimpl
def sensorium_datasets() -> dict[str, type[Dataset]]:
    """Registers the dataset."""
    return {"example_name": ExampleName}
