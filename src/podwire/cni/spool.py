"""DELs that came while no agent was there: the binary left them in the spool directory, the agent carries them out.

A file holds one request frame; its modification time is when it was asked for. What was carried out is removed, what
failed for now stays for the next time, and what can never succeed is moved aside into ``damaged/`` and told.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from podwire.cni import codes
from podwire.cni.protocol import MAX_ENV, MAX_STDIN, REQUEST_HEADER, RawRequest, decode_request, request_sizes
from podwire.cni.verbs import Answer
from podwire.model.errors import InputError

_LOG = logging.getLogger(__name__)
_LARGEST = REQUEST_HEADER.size + MAX_ENV + MAX_STDIN
_ABANDONED_AFTER = 600.0
"""Seconds after which a file that the binary never finished is removed."""
_MOST_DAMAGED = 20
_HOPELESS = frozenset(
    {
        codes.INCOMPATIBLE_VERSION,
        codes.UNSUPPORTED_FIELD,
        codes.INVALID_ENVIRONMENT,
        codes.DECODING_FAILURE,
        codes.INVALID_CONFIG,
    }
)

Serve = Callable[[RawRequest, float], Awaitable[Answer]]


class SpoolReport(msgspec.Struct, frozen=True):
    """How many DELs were carried out, how many wait for the next time, and which files were moved aside."""

    done: int = 0
    waiting: int = 0
    damaged: tuple[str, ...] = ()


class Spool:
    """The directory *path*, which need not exist."""

    def __init__(self, path: str, serve: Serve, *, clock: Callable[[], float] = time.time) -> None:
        """*serve* carries out a DEL, given when it was asked for (seconds since the epoch, as *clock* tells)."""
        self._path = Path(path)
        self._serve = serve
        self._clock = clock
        self._draining = asyncio.Lock()

    async def drain(self) -> SpoolReport:
        """Carry out what is there, oldest first."""
        async with self._draining:
            done = waiting = 0
            damaged: list[str] = []
            for path in self._entries():
                try:
                    raw, asked_at = _read(path)
                except FileNotFoundError:
                    continue
                except (InputError, OSError) as error:
                    _LOG.error("the deferred DEL %s cannot be read: %s; moved aside", path, error)
                    damaged.append(self._move_aside(path))
                    continue
                answer = await self._serve(raw, asked_at)
                if not answer.code:
                    path.unlink(missing_ok=True)
                    done += 1
                elif answer.code in _HOPELESS:
                    _LOG.error("the deferred DEL %s is wrong: %s; moved aside", path, answer.body.decode())
                    damaged.append(self._move_aside(path))
                else:
                    waiting += 1
            return SpoolReport(done, waiting, tuple(damaged))

    def _entries(self) -> list[Path]:
        """The files to carry out, in the order of their names, which begin with the time. Removes abandoned ones."""
        try:
            found = sorted(self._path.iterdir())
        except FileNotFoundError:
            return []
        entries = []
        for path in found:
            if path.name.startswith("."):
                self._remove_abandoned(path)
            elif not path.is_dir() or path.is_symlink():
                entries.append(path)
        return entries

    def _remove_abandoned(self, path: Path) -> None:
        try:
            if self._clock() - path.lstat().st_mtime > _ABANDONED_AFTER:
                path.unlink()
        except FileNotFoundError:  # the binary has just finished it
            pass

    def _move_aside(self, path: Path) -> str:
        folder = self._path / "damaged"
        folder.mkdir(mode=0o700, exist_ok=True)
        target = folder / path.name
        path.replace(target)
        for old in sorted(folder.iterdir())[:-_MOST_DAMAGED]:
            old.unlink()
        return str(target)


def _read(path: Path) -> tuple[RawRequest, float]:
    """The request in *path* and when it was asked for; InputError when it is no DEL of ours."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in (0, os.geteuid()):
            raise InputError("spool", path.name, "is no regular file of root's")
        content = file.read(_LARGEST + 1)
    env, stdin = request_sizes(content[: REQUEST_HEADER.size])
    if len(content) != REQUEST_HEADER.size + env + stdin:
        raise InputError("spool", f"{len(content)} bytes", "is not the length that its header tells")
    body = content[REQUEST_HEADER.size :]
    raw = decode_request(body[:env], body[env:])
    if raw.env.get("CNI_COMMAND") != "DEL":
        raise InputError("CNI_COMMAND", raw.env.get("CNI_COMMAND", ""), "is not DEL")
    return raw, found.st_mtime
