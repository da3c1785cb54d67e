"""Captured packets as a pcap file with nanosecond timestamps, which tcpdump and Wireshark open."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_MAGIC_NANOSECONDS = 0xA1B23C4D
_ETHERNET = 1
_HEADER = struct.Struct("=IHHiIII")
_RECORD = struct.Struct("=IIII")


class Frame(NamedTuple):
    """A captured frame: nanoseconds since the epoch, its length on the wire, its first bytes."""

    when: int
    length: int
    data: bytes


def write(path: Path, frames: Iterable[Frame], snap: int = 65535) -> int:
    """Write *frames* in the order of their time, readable by root alone; returns how many."""
    ordered = sorted(frames)
    path.touch(mode=0o600)
    with path.open("wb") as file:
        file.write(_HEADER.pack(_MAGIC_NANOSECONDS, 2, 4, 0, 0, snap, _ETHERNET))
        for frame in ordered:
            seconds, rest = divmod(frame.when, 10**9)
            file.write(_RECORD.pack(seconds, rest, len(frame.data), max(frame.length, len(frame.data))))
            file.write(frame.data)
    return len(ordered)
