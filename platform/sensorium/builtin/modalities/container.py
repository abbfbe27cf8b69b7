"""The sound of containers that libsndfile does not read (MP4, M4A, MOV, Matroska, WebM), through PyAV.

Shapes: C channels, T samples.
"""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sensorium import MediaError
from sensorium.builtin.modalities.ending import broken_off
from sensorium.builtin.modalities.source import readable

FORMATS = "mov,matroska,webm"
"""FFmpeg's names of what is read."""


def holds(file: BinaryIO) -> bool:
    """Returns whether a file is one of these containers, by its first bytes; its position stays where it was."""
    head = file.read(8)
    file.seek(-len(head), 1)
    return head[4:] == b"ftyp" or head[:4] == b"\x1a\x45\xdf\xa3"


def bound(file: BinaryIO, max_seconds: float) -> int:
    """Returns the samples of all channels that may be read at most, by the number and the rate of the channels."""
    import av

    with av.open(file, "r", container_options={"format_whitelist": FORMATS}) as container:
        stream = container.streams.audio[0]
        return int(max_seconds * stream.rate * stream.channels)


def read(file: BinaryIO, name: str, max_seconds: float, max_samples: int) -> tuple[NDArray[np.float32], int]:
    """Returns the samples (C, T) of the first track of sound, and how many there are in a second.

    Args:
        file: The container.
        name: Of the file, for messages.
        max_seconds: Length above which it is refused.
        max_samples: Samples of all channels above which it is refused.

    Raises:
        MediaError: It is not readable, has no sound, breaks off, or is too long; or PyAV is missing.
    """
    try:
        import av
    except ImportError as cause:
        raise MediaError(
            f"{name} is a container of sound or video.",
            "PyAV reads it, which is not installed.",
            "Install it with: pip install 'sensorium[video]'",
        ) from cause
    with (
        readable(name, "sound", "An M4A, MP4, MOV, MKV or WebM file with sound was expected."),
        av.open(file, "r", container_options={"format_whitelist": FORMATS}) as container,
    ):
        if not container.streams.audio:
            raise MediaError(f"{name} holds no sound.", "A file with a track of sound was expected.")
        resampler: Any = None
        pieces: list[NDArray[Any]] = []
        rate, count, end = int(container.streams.audio[0].rate), 0, 0.0
        for frame in container.decode(audio=0):
            if resampler is None:  # brings any kind of sample to floats, (C, T); the header tells half of HE-AAC's rate
                rate = frame.sample_rate
                resampler = av.AudioResampler(format="fltp", rate=rate)
            pieces += [piece.to_ndarray() for piece in resampler.resample(frame)]
            count += frame.samples
            end = end if frame.time is None else frame.time + frame.samples / rate
            if count > max_seconds * rate:
                raise MediaError(f"{name} lasts over {max_seconds:g} s.", "", "Cut it, or raise max_seconds.")
            if count * frame.layout.nb_channels > max_samples:
                raise MediaError(
                    f"{name} holds over {max_samples} samples.",
                    "Those of all channels are held in memory.",
                    "Bring it to fewer channels, cut it, or raise max_bytes.",
                )
        if cut := broken_off(container, file, end):
            raise MediaError(f"{name} breaks off, {cut}.", "A whole file was expected.", "Fetch it again.")
    return np.concatenate(pieces, 1) if pieces else np.zeros((1, 0), np.float32), rate
