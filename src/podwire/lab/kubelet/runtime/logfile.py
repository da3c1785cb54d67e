"""A container's log in the format that CRI prescribes, so that the kubelet's tools read it.

Each line is ``2026-01-02T03:04:05.000000006Z stdout F text``: ``P`` marks a piece of a line longer than 16 KiB. A
file that reached its limit becomes ``NAME.1``, replacing the one before.
"""

# pathlib costs the supervisor as much start-up time as all its other imports together.
# ruff: noqa: PTH105
from __future__ import annotations

import os
import time

MAX_PIECE = 16 * 1024
MAX_FILE = 10 * 1024 * 1024


def timestamp(ns: int) -> str:
    """RFC 3339 with nanoseconds, in UTC."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(ns // 1_000_000_000))}.{ns % 1_000_000_000:09d}Z"


class LogFile:
    """Appends what containers print. Not thread-safe; a failing write loses lines, never the container."""

    def __init__(self, path: str, limit: int = MAX_FILE) -> None:
        self._path = path
        self._limit = limit
        self._pending = {"stdout": b"", "stderr": b""}
        self._fd = self._open()
        self._size = os.fstat(self._fd).st_size

    def feed(self, stream: str, data: bytes, ns: int) -> None:
        """Take *data* as read from *stream* at *ns*: whole lines are written, the rest waits for its end."""
        stamp = timestamp(ns).encode()
        name = stream.encode()
        out = []
        rest = self._pending[stream] + data
        while rest:
            line, newline, after = rest.partition(b"\n")
            if len(line) > MAX_PIECE:
                out.append(b"%s %s P %s\n" % (stamp, name, rest[:MAX_PIECE]))
                rest = rest[MAX_PIECE:]
            elif newline:
                out.append(b"%s %s F %s\n" % (stamp, name, line))
                rest = after
            else:
                break
        self._pending[stream] = rest
        if out:
            self._write(b"".join(out))

    def end(self, stream: str, ns: int) -> None:
        """The stream is over: a last line without its newline is written too."""
        if self._pending[stream]:
            self.feed(stream, b"\n", ns)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def _write(self, data: bytes) -> None:
        try:
            self._size += os.write(self._fd, data)
            if self._size >= self._limit:
                os.replace(self._path, self._path + ".1")
                os.close(self._fd)
                self._fd = self._open()
                self._size = 0
        except OSError:
            pass
