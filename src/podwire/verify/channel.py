"""The orchestrator's end of a probe's stream: ask, and await the answer; many questions at once."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any, Protocol

from podwire.model.errors import VerifyError
from podwire.verify.probe import VERSION
from podwire.verify.values import Seat

_GREETING_TIMEOUT = 20.0
_MAX_LINE = 64 * 1024 * 1024


class Stream(Protocol):
    """A byte stream to a probe: its stdin and stdout."""

    async def read(self) -> bytes:
        """The next bytes, as they come; empty at the end."""
        ...

    async def write(self, data: bytes) -> None: ...

    async def close(self) -> None:
        """End the probe's input, and let go. Idempotent."""
        ...

    def complaint(self) -> str:
        """What the probe printed on stderr, shortened; empty when nothing."""
        ...


class Channel:
    """Questions to one probe. Open it with :meth:`greet`; always :meth:`close` it."""

    def __init__(self, seat: Seat, stream: Stream) -> None:
        self.seat = seat
        self._stream = stream
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._greeting: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._greeting.add_done_callback(_heed)
        self._reader = asyncio.create_task(self._read())

    async def greet(self) -> None:
        """Wait for the probe's greeting; VerifyError when it is none, or an incompatible one."""
        try:
            async with asyncio.timeout(_GREETING_TIMEOUT):
                hello = await self._greeting
        except TimeoutError:
            raise VerifyError(f"the probe in {self.seat.name} did not greet within {_GREETING_TIMEOUT:.0f} s") from None
        if hello.get("version") != VERSION:
            raise VerifyError(
                f"the probe in {self.seat.name} speaks version {hello.get('version')}, this podwire {VERSION}",
                remedy="give --image an image of this podwire's version",
            )

    async def ask(self, do: str, /, *, timeout: float = 30.0, **arguments: Any) -> Any:
        """Tell the probe to *do* something and return its result; VerifyError names the seat when it cannot.

        *timeout* is for the whole exchange, seconds; a command with a ``timeout`` of its own gets it through
        ``patience``.
        """
        number = next(self._numbers)
        if "patience" in arguments:
            arguments["timeout"] = arguments.pop("patience")
        if self._reader.done():
            raise VerifyError(self._lost())
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            await self._stream.write(json.dumps({"id": number, "do": do, **arguments}).encode() + b"\n")
            async with asyncio.timeout(timeout):
                return await future
        except TimeoutError:
            raise VerifyError(f"the probe in {self.seat.name} did not answer “{do}” within {timeout:.0f} s") from None
        except OSError as error:
            raise VerifyError(f"{self._lost()} ({error})") from error
        finally:
            self._waiting.pop(number, None)

    async def _read(self) -> None:
        buffer = bytearray()
        try:
            while data := await self._stream.read():
                buffer += data
                if b"\n" in data:
                    *lines, rest = bytes(buffer).split(b"\n")
                    buffer = bytearray(rest)
                    for line in lines:
                        self._take(line)
                if len(buffer) > _MAX_LINE:
                    break
        finally:
            for future in (self._greeting, *self._waiting.values()):
                if not future.done():
                    future.set_exception(VerifyError(self._lost()))

    def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            return  # a runtime's or an interpreter's chatter on the probe's stdout
        if not isinstance(message, dict):
            return
        if message.get("hello") == "podwire-probe":
            if not self._greeting.done():
                self._greeting.set_result(message)
            return
        future = self._waiting.get(message["id"]) if isinstance(message.get("id"), int) else None
        if future is None or future.done():
            return
        if "error" in message:
            future.set_exception(VerifyError(f"the probe in {self.seat.name}: {message['error']}"))
        else:
            future.set_result(message.get("result"))

    def _lost(self) -> str:
        complaint = self._stream.complaint()
        return f"the probe in {self.seat.name} on {self.seat.node} ended" + (f": {complaint}" if complaint else "")

    async def close(self) -> None:
        """Let the probe end. Never raises."""
        try:
            await self._stream.close()
        except Exception:  # noqa: S110 - the probe is being let go; there is nobody to tell
            pass
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)


def _heed(future: asyncio.Future[Any]) -> None:
    """A greeting that fails when nobody waits for it any more is no news."""
    if not future.cancelled():
        future.exception()
