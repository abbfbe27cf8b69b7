"""Digits spoken by rule: a voiced source and noise, shaped by formants that move from sound to sound.

After the source and filter of G. Fant, Acoustic Theory of Speech Production, 1960. Vowels have the
mean formants of men in G. Peterson, H. Barney, Control Methods Used in a Study of the Vowels, 1952.

Shapes: T samples, K frames, H harmonics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RATE = 8000
"""Samples a second."""
HOP = 40
"""Samples from one frame of the tracks to the next."""
SILENCE = 0.15
"""Longest silence before a word, in seconds."""


@dataclass(frozen=True)
class Phone:
    """A sound of speech.

    Attributes:
        formants: Three resonances, in Hz.
        voice: Level of the voiced source.
        noise: Level of the noise.
        band: Middle and width of the noise, in Hz.
    """

    formants: tuple[float, float, float]
    voice: float = 0.0
    noise: float = 0.0
    band: tuple[float, float] = (3000.0, 600.0)


PHONES = {
    "iy": Phone((270, 2290, 3010), 0.8),
    "ih": Phone((390, 1990, 2550), 0.9),
    "eh": Phone((530, 1840, 2480), 1.0),
    "ah": Phone((640, 1190, 2390), 1.0),
    "aa": Phone((730, 1090, 2440), 1.0),
    "ao": Phone((570, 840, 2410), 1.0),
    "oh": Phone((480, 900, 2400), 0.9),
    "uw": Phone((300, 870, 2240), 0.8),
    "r": Phone((370, 1250, 1650), 0.7),
    "w": Phone((300, 610, 2200), 0.6),
    "n": Phone((250, 1450, 2300), 0.35),
    "v": Phone((250, 1100, 2300), 0.3, 0.06, (3000, 1200)),
    "z": Phone((250, 1700, 2500), 0.25, 0.3, (3600, 400)),
    "s": Phone((300, 1700, 2500), 0.0, 0.5, (3700, 400)),
    "f": Phone((300, 1100, 2300), 0.0, 0.14, (2900, 1300)),
    "th": Phone((300, 1400, 2500), 0.0, 0.12, (3200, 900)),
    "t": Phone((350, 1800, 2600), 0.0, 0.6, (3400, 700)),
    "k": Phone((300, 1900, 2300), 0.0, 0.5, (2000, 500)),
    "_": Phone((350, 1600, 2500)),
}
"""Sounds by name; `_` is the silence of a closed mouth."""

WORDS = {
    "zero": (("z", 90), ("ih", 70), ("r", 70), ("oh", 90), ("uw", 80)),
    "one": (("w", 70), ("ah", 130), ("n", 110)),
    "two": (("_", 20), ("t", 50), ("uw", 190)),
    "three": (("th", 90), ("r", 70), ("iy", 180)),
    "four": (("f", 100), ("ao", 150), ("r", 100)),
    "five": (("f", 90), ("aa", 120), ("ih", 80), ("v", 70)),
    "six": (("s", 110), ("ih", 90), ("_", 50), ("k", 30), ("s", 110)),
    "seven": (("s", 100), ("eh", 90), ("v", 50), ("ah", 60), ("n", 90)),
    "eight": (("eh", 80), ("iy", 100), ("_", 60), ("t", 40)),
    "nine": (("n", 80), ("aa", 120), ("ih", 80), ("n", 90)),
}
"""Digit -> its sounds, with their length in milliseconds."""


@dataclass(frozen=True)
class Voice:
    """Somebody who speaks.

    Attributes:
        name: Of the speaker.
        pitch: Frequency of the voiced source, in Hz.
        fall: Share of the pitch that is lost over a word.
        size: Factor of all formants; a shorter throat has higher ones.
        pace: Factor of all lengths.
        breath: Level of the noise that comes along with the voiced source.
        tilt: Fall of the source's spectrum, in powers of the frequency.
    """

    name: str
    pitch: float
    fall: float
    size: float
    pace: float
    breath: float
    tilt: float


VOICES = (
    Voice("ada", 215, 0.15, 1.16, 1.05, 0.02, 1.2),
    Voice("ben", 95, 0.10, 0.92, 1.15, 0.01, 0.9),
    Voice("cleo", 180, 0.25, 1.08, 0.85, 0.06, 1.5),
    Voice("dan", 125, 0.05, 1.00, 0.90, 0.00, 0.7),
    Voice("eve", 255, 0.20, 1.22, 0.95, 0.03, 1.0),
    Voice("finn", 145, 0.30, 0.96, 1.25, 0.05, 1.3),
)


def say(digit: str, voice: Voice, random: np.random.Generator) -> NDArray[np.float32]:
    """Returns a digit as a voice says it once, (T,) in [-1, 1], at 8,000 Hz.

    Args:
        digit: Its word.
        voice: Who says it.
        random: How this time differs: silence before it, pitch, formants, lengths, loudness and noise.
    """
    phones = [PHONES[name] for name, _ in WORDS[digit]]
    lengths = np.array([length for _, length in WORDS[digit]]) / 1000 * voice.pace
    lengths = lengths * random.uniform(0.75, 1.3) * random.uniform(0.7, 1.35, len(phones))
    frames = int(lengths.sum() * RATE / HOP) + 1
    middles = np.cumsum(lengths) - lengths / 2
    times = np.arange(frames) * HOP / RATE
    sizes = voice.size * random.normal(1, 0.04) * random.normal(1, 0.05, (len(phones), 3))
    targets = np.array([phone.formants for phone in phones]) * sizes
    formants = np.stack([np.interp(times, middles, track) for track in targets.T])
    ends = np.cumsum(lengths)
    voiced, hiss = (_level(times, ends, [getattr(phone, name) for phone in phones]) for name in ("voice", "noise"))
    heard = np.searchsorted(ends, times).clip(max=len(phones) - 1)  # which sound, in each frame
    bands = np.array([phone.band for phone in phones])[heard]
    pitch = voice.pitch * random.normal(1, 0.08) * (1 - voice.fall * times / times[-1])
    wave = _voiced(voiced, pitch, formants, voice.tilt) + _hissed(hiss + voice.breath * voiced, bands, random)
    wave = np.pad(wave / np.abs(wave).max() * random.uniform(0.2, 0.9), (int(random.uniform(0, SILENCE) * RATE), 0))
    wave += random.normal(0, 10 ** random.uniform(-2.4, -1.8), len(wave))
    return wave.clip(-1, 1).astype(np.float32)


def _level(times: NDArray[np.float64], ends: NDArray[np.float64], levels: list[float]) -> NDArray[np.float64]:
    """Returns the level at each time, (K,), with slopes of 15 ms from sound to sound and to silence."""
    edges, values = [0.0], [0.0]
    for start, end, level in zip([0.0, *ends[:-1]], ends, levels, strict=True):
        slope = min(0.0075, (end - start) / 3)
        edges += [start + slope, end - slope]
        values += [level, level]
    return np.interp(times, [*edges, float(ends[-1])], [*values, 0.0])


def _voiced(
    level: NDArray[np.float64], pitch: NDArray[np.float64], formants: NDArray[np.float64], tilt: float
) -> NDArray[np.float64]:
    """Returns a sum of harmonics, each as loud as the formants let it be, (T,)."""
    frames = len(level)
    at = np.arange(frames * HOP) / HOP
    phase = 2 * np.pi * np.cumsum(np.interp(at, np.arange(frames), pitch)) / RATE
    numbers = np.arange(1, int(RATE / 2 / pitch.min()) + 1)[:, None]
    frequency = numbers * pitch  # (H, K)
    gain = numbers**-tilt * level * (frequency < 0.95 * RATE / 2)
    for formant, width in zip(formants, (90.0, 110.0, 170.0), strict=True):
        gain *= formant**2 / np.hypot(formant**2 - frequency**2, width * frequency)
    # Between two frames a gain changes evenly; the last one stays.
    rise = np.diff(gain, append=gain[:, -1:]) / HOP
    turn = np.exp(1j * phase).reshape(frames, HOP)
    harmonic, wave = np.ones_like(turn), np.zeros((frames, HOP))
    for number in range(len(numbers)):
        harmonic *= turn
        wave += (gain[number, :, None] + rise[number, :, None] * np.arange(HOP)) * harmonic.imag
    return wave.reshape(-1)


def _hissed(level: NDArray[np.float64], bands: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """Returns noise in a band that changes from frame to frame, (T,), by windows that overlap by half."""
    frames, width = len(level), 2 * HOP
    noise = random.normal(size=(frames, width))
    frequency = np.fft.rfftfreq(width, 1 / RATE)
    middle, spread = bands.T[..., None]
    shape = np.exp(-0.5 * ((frequency - middle) / spread) ** 2)
    pieces = np.fft.irfft(np.fft.rfft(noise) * shape, width) * np.hanning(width) * level[:, None]
    wave = np.zeros((frames + 1, HOP))
    wave[:-1] += pieces[:, :HOP]
    wave[1:] += pieces[:, HOP:]
    return wave[:-1].reshape(-1)
