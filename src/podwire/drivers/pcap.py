"""pcap files with nanosecond timestamps, as tcpdump and Wireshark open them.

Source: draft-ietf-opsawg-pcap, magic number 0xA1B23C4D. Written in the host's byte order, which the magic tells.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

MAGIC = 0xA1B23C4D
ETHERNET = 1
SNAP_LENGTH = 65535
FILE_HEADER = struct.Struct("=IHHiIII")
_RECORD = struct.Struct("=IIII")


class PcapWriter:
    """Writes packets to *stream*, which the caller opens and closes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        stream.write(FILE_HEADER.pack(MAGIC, 2, 4, 0, 0, SNAP_LENGTH, ETHERNET))

    def write(self, nanoseconds: int, data: bytes, original_length: int | None = None) -> None:
        """Add a packet seen at *nanoseconds* since the epoch; *original_length* is greater where it was cut."""
        seconds, rest = divmod(nanoseconds, 1_000_000_000)
        whole = len(data) if original_length is None else original_length
        data = data[:SNAP_LENGTH]
        self._stream.write(_RECORD.pack(seconds, rest, len(data), whole) + data)
