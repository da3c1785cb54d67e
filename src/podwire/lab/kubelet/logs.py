"""Reading a container's log back: the CRI format, its tail, and what is added while it is being read."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import msgspec

from podwire.lab.kubelet.clock import seconds_of

_POLL = 0.1
_CHUNK = 64 * 1024


class LogQuery(msgspec.Struct, frozen=True):
    """What of a log is wanted; *tail* and *limit* negative: all. *since* is seconds since the epoch."""

    tail: int = -1
    limit: int = -1
    follow: bool = False
    timestamps: bool = False
    since: float = 0.0


def decode(line: bytes, query: LogQuery) -> bytes:
    """A line of the log as it was printed; "" when it is not wanted or not a line."""
    stamp, _, rest = line.partition(b" ")
    _, _, rest = rest.partition(b" ")
    tag, found, text = rest.partition(b" ")
    if not found:
        return b""
    if query.since and seconds_of(stamp[:26].decode("ascii", "replace") + "+00:00") < query.since:
        return b""
    end = b"\n" if tag == b"F" else b""
    return (stamp + b" " if query.timestamps else b"") + text + end


def last_lines(content: bytes, count: int) -> list[bytes]:
    """The last *count* lines as they were printed, negative: all; a piece (tag P) belongs to the line that it begins."""
    pieces = content.splitlines()
    start = len(pieces)
    whole = 0
    while start and count >= 0:
        whole += pieces[start - 1].split(b" ", 3)[2:3] != [b"P"] or start == len(pieces)
        if whole > count:
            break
        start -= 1
    return pieces[start if count >= 0 else 0 :]


async def read(path: Path, query: LogQuery, running: Callable[[], bool]) -> AsyncIterator[bytes]:
    """The log at *path*, and while *query* follows and *running*, what is added. FileNotFoundError if there is none."""
    remaining = query.limit
    async for chunk in _lines(path, query, running):
        text = b"".join(decode(line, query) for line in chunk)
        if remaining >= 0:
            text = text[:remaining]
            remaining -= len(text)
        if text:
            yield text
        if remaining == 0:
            return


async def _lines(path: Path, query: LogQuery, running: Callable[[], bool]) -> AsyncIterator[Iterable[bytes]]:
    rotated = path.with_name(path.name + ".1")
    file = path.open("rb")
    try:
        content = (rotated.read_bytes() if rotated.exists() else b"") + file.read()
        yield last_lines(content, query.tail)
        del content
        if not query.follow:
            return
        rest = b""
        while True:
            alive = running()  # asked before the last read, so that no line between the two is lost
            data = file.read(_CHUNK)
            if data:
                *lines, rest = (rest + data).split(b"\n")
                yield lines
            elif _replaced(path, file.fileno()):
                file.close()
                file = path.open("rb")
            elif not alive:
                return
            else:
                await asyncio.sleep(_POLL)
    finally:
        file.close()


def _replaced(path: Path, fd: int) -> bool:
    try:
        return path.stat().st_ino != os.fstat(fd).st_ino
    except FileNotFoundError:
        return False
