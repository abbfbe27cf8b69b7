"""What the container of a film says of its length, by which one that was cut short is known.

FFmpeg reads such a file as far as it goes, and without a word. Matroska, WebM, MP4, MOV and FLV declare how long they
last, AVI how many frames it has. MPEG's streams declare nothing, but are made of packets, the last of which is whole
unless the cut fell between two: then nobody can tell.
"""

from __future__ import annotations

from typing import Any, BinaryIO

DECLARING = ("matroska", "mov", "flv", "asf")
"""Beginnings of FFmpeg's names of containers whose header gives their length; for others it is an estimate."""

SLACK = 0.1
"""Seconds by which what is read may fall short of what is declared."""

PACKETS = (188, 192, 204)
"""Bytes of a packet of MPEG-TS: plain, with a time before it, and with a code for correction after it."""


def broken_off(container: Any, file: BinaryIO, last: float) -> str:
    """Returns how a film that was read to its end breaks off; nothing where it does not, or cannot be known.

    Args:
        container: As PyAV opened it.
        file: The same file.
        last: End of the last frame, or of the sound where that is read alone, in seconds.
    """
    kind = container.format.name
    if kind == "mpegts":
        return _transport(file)
    if kind == "mpeg":
        return _program(file)
    start, declared = (container.start_time or 0) / 1e6, 0.0
    if kind.startswith(DECLARING):
        declared = (container.duration or 0) / 1e6
    elif kind == "avi" and (stream := container.streams.video[0]).average_rate:
        declared = stream.frames / float(stream.average_rate)
    if last - start >= declared - SLACK:
        return ""
    ends = [last]
    container.seek(0)
    for packet in container.demux():  # another stream may be the one that lasts so long
        if packet.pts is not None and packet.size:
            ends.append(float((packet.pts + (packet.duration or 0)) * packet.time_base))
    held = max(ends) - start
    return "" if held >= declared - SLACK else f"with {held:.2f} of {declared:.2f} s"


def _transport(file: BinaryIO) -> str:
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(PACKETS[-1] * 2)
    for packet in PACKETS:
        for first in range(packet):
            if head[first : first + packet + 1 : packet] == b"GG":  # each begins with the letter G
                ahead = 4 if packet == 192 else 0
                rest = (size - max(0, first - ahead)) % packet
                return f"with {rest} of {packet} bytes of its last packet" if rest else ""
    return ""


def _program(file: BinaryIO) -> str:
    """Goes from packet to packet; beyond something else than a packet nothing is known."""
    size, place = file.seek(0, 2), 0
    while place < size:
        file.seek(place)
        head = file.read(14)
        if head[:3] != b"\0\0\1"[: len(head)] or (len(head) > 3 and head[3] < 0xB9):
            return ""
        if len(head) > 3 and head[3] == 0xB9:
            return ""
        if len(head) > 4 and head[3] == 0xBA:
            length = 12 if head[4] >> 4 == 2 else 14 + (head[13] & 7 if len(head) == 14 else 0)  # MPEG-1, MPEG-2
        else:
            length = 6 + int.from_bytes(head[4:6], "big") if len(head) >= 6 else 6
        if place + length > size:
            return f"with {size - place} of {length} bytes of its last packet"
        place += length
    return ""
