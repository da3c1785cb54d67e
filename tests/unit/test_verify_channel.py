"""The stream to a probe: answers in any order, chatter, garbage, a probe that dies or never greets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from podwire.model.errors import VerifyError
from podwire.verify.channel import Channel
from podwire.verify.probe import VERSION
from podwire.verify.values import Seat

SEAT = Seat("n1", "v/probe-x", "probe")
HELLO = json.dumps({"hello": "podwire-probe", "version": VERSION}).encode() + b"\n"


class Script:
    """A stream whose other end is a function from a command to the bytes that answer it."""

    def __init__(self, first: bytes, answer: Callable[[dict[str, object]], bytes]) -> None:
        self._answer = answer
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._queue.put_nowait(first)
        self.closed = 0

    async def read(self) -> bytes:
        return await self._queue.get()

    async def write(self, data: bytes) -> None:
        for line in data.splitlines():
            self._queue.put_nowait(self._answer(json.loads(line)))

    def say(self, data: bytes) -> None:
        self._queue.put_nowait(data)

    async def close(self) -> None:
        self.closed += 1

    def complaint(self) -> str:
        return "Traceback: it fell over"


def reply(message: dict[str, object]) -> bytes:
    return json.dumps({"id": message["id"], "result": message.get("do")}).encode() + b"\n"


@asynccontextmanager
async def channel(stream: Script) -> AsyncIterator[Channel]:
    made = Channel(SEAT, stream)
    try:
        yield made
    finally:
        await made.close()
        assert stream.closed == 1


async def test_questions_are_answered_whatever_the_order_and_the_pieces() -> None:
    held: list[bytes] = []
    all_asked = asyncio.Event()

    def hold(message: dict[str, object]) -> bytes:
        held.append(reply(message))
        if len(held) == 5:
            all_asked.set()
        return b"\n"

    stream = Script(HELLO, hold)
    async with channel(stream) as made:
        await made.greet()
        asked = [asyncio.create_task(made.ask(f"do{number}")) for number in range(5)]
        await all_asked.wait()
        whole = b"".join(reversed(held))
        for start in range(0, len(whole), 7):
            stream.say(whole[start : start + 7])
        assert await asyncio.gather(*asked) == [f"do{number}" for number in range(5)]


async def test_chatter_and_garbage_on_the_stream_do_no_harm() -> None:
    noise = (
        b'warning: something\n{"id": 99, "result": 1}\n[1]\nnull\n{"id": null, "error": "x"}\n\xff\xfe\n{"id": "7"}\n'
    )
    async with channel(Script(noise + HELLO, lambda message: noise + reply(message))) as made:
        await made.greet()
        assert await made.ask("facts") == "facts"


async def test_an_error_of_the_probe_names_the_seat() -> None:
    def fail(message: dict[str, object]) -> bytes:
        return json.dumps({"id": message["id"], "error": "KernelError: EPERM"}).encode() + b"\n"

    async with channel(Script(HELLO, fail)) as made:
        with pytest.raises(VerifyError, match=r"v/probe-x:probe: KernelError: EPERM"):
            await made.ask("capture")


async def test_a_probe_that_dies_fails_what_was_asked_and_what_is_asked_later() -> None:
    async with channel(Script(HELLO, lambda _: b"")) as made:
        await made.greet()
        for _ in range(2):
            with pytest.raises(VerifyError, match=r"on n1 ended: Traceback: it fell over"):
                await made.ask("facts")


async def test_a_probe_of_another_version_is_refused_with_a_remedy() -> None:
    async with channel(Script(b'{"hello": "podwire-probe", "version": 99}\n', reply)) as made:
        with pytest.raises(VerifyError, match=r"speaks version 99.*--image"):
            await made.greet()


async def test_a_probe_that_never_greets_is_an_error_not_a_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("podwire.verify.channel._GREETING_TIMEOUT", 0.01)
    async with channel(Script(b"sh: python: not found\n", reply)) as made:
        with pytest.raises(VerifyError, match="did not greet"):
            await made.greet()
    ended = Script(b"", reply)
    async with channel(ended) as made:
        with pytest.raises(VerifyError, match="ended"):
            await made.greet()


async def test_an_answer_that_never_comes_is_an_error_not_a_hang() -> None:
    async with channel(Script(HELLO, lambda _: b"\n")) as made:
        with pytest.raises(VerifyError, match=r"did not answer “facts”"):
            await made.ask("facts", timeout=0.01)
