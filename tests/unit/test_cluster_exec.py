"""exec over WebSocket in both versions of the protocol, and logs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from podwire.cluster import client as client_module
from podwire.cluster.client import Client
from podwire.cluster.exec import STDOUT, Exec, logs, run
from podwire.model.errors import ClusterError, NotFound, Unavailable
from tests.support.api_double import ApiDouble, serving


@pytest.fixture
async def api() -> AsyncIterator[ApiDouble]:
    async with serving() as double:
        yield double


@pytest.fixture
async def client(api: ApiDouble) -> AsyncIterator[Client]:
    async with Client(api.access) as made:
        yield made


async def test_stdin_comes_back_and_its_end_ends_the_command(client: Client) -> None:
    data = bytes(range(256)) * 1000
    assert await run(client, "default", "web", ["cat"], stdin=data) == (0, data, b"")


async def test_exit_status_and_stderr(client: Client) -> None:
    assert await run(client, "default", "web", ["fail", "42", "no such thing"]) == (42, b"", b"no such thing")


async def test_the_query_names_command_container_and_streams(client: Client) -> None:
    _, out, _ = await run(client, "default", "web", ["query"], container="side")
    assert out == b"command=query&stdout=true&stderr=true&container=side"
    async with Exec(client, "default", "web", ["query"], stdin=True, tty=True) as session:
        said = [data async for _, data in session.output()]
    assert said == [b"command=query&stdout=true&stderr=false&stdin=true&tty=true"]


async def test_words_of_a_command_stay_whole(api: ApiDouble, client: Client) -> None:
    async with Exec(client, "default", "web", ["sh", "-c", "a b; c & d=é"]):
        pass
    assert api.requests[-1][1].split("?")[1].startswith("command=sh&command=-c&command=a+b%3B+c+%26+d%3D%C3%A9&")


async def test_a_conversation(client: Client) -> None:
    async with Exec(client, "default", "web", ["cat"], stdin=True) as session:
        output = session.output()
        for word in (b"one", b"two"):
            await session.write(word)
            assert await anext(output) == (STDOUT, word)
        with pytest.raises(ClusterError, match="has not ended"):
            _ = session.exit_code
        await session.close_stdin()
        assert [event async for event in output] == []
        assert session.exit_code == 0


async def test_the_size_of_a_terminal(client: Client) -> None:
    async with Exec(client, "default", "web", ["size"], stdin=True, tty=True) as session:
        await session.resize(120, 40)
        assert [data async for _, data in session.output()] == [b'\x04{"Width":120,"Height":40}']


async def test_version_4_has_no_end_of_stdin(api: ApiDouble, client: Client) -> None:
    api.exec_protocols = ("v4.channel.k8s.io",)  # type: ignore[assignment]
    async with Exec(client, "default", "web", ["cat"], stdin=True) as session:
        await session.close_stdin()  # must not be sent: channel 255 means nothing in v4
        await session.write(b"still open")
        assert await anext(session.output()) == (STDOUT, b"still open")
    assert await run(client, "default", "web", ["fail", "3", "x"]) == (3, b"", b"x")


async def test_a_command_that_cannot_be_run(client: Client) -> None:
    with pytest.raises(ClusterError, match="no such file"):
        await run(client, "default", "web", ["cannot"])


async def test_a_pod_that_is_not_there(client: Client) -> None:
    with pytest.raises(NotFound, match='pods "missing" not found'):
        await run(client, "default", "missing", ["cat"])


async def test_a_connection_that_breaks_is_not_taken_for_an_end(client: Client) -> None:
    async with Exec(client, "default", "web", ["vanish"]) as session:
        with pytest.raises(Unavailable, match="before the command did"):
            _ = [event async for event in session.output()]
        with pytest.raises(ClusterError, match="has not ended"):
            _ = session.exit_code


async def test_a_session_outlives_the_timeout_of_a_request(api: ApiDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_TIMEOUT", aiohttp.ClientTimeout(total=0.2))
    async with Client(api.access) as client, Exec(client, "default", "web", ["cat"], stdin=True) as session:
        output = session.output()
        for number in range(6):
            await asyncio.sleep(0.1)
            await session.write(b"%d" % number)
            assert await anext(output) == (STDOUT, b"%d" % number)


async def test_logs(api: ApiDouble, client: Client) -> None:
    text = b"".join([piece async for piece in logs(client, "default", "web", container="c", params={"tailLines": "5"})])
    assert text == b"".join(b"line %d\n" % number for number in range(5))
    assert api.requests[-1][1] == "/api/v1/namespaces/default/pods/web/log?tailLines=5&container=c"
    api.faults.answers.append((400, ""))
    with pytest.raises(ClusterError, match="logs default/web: told to answer 400"):
        _ = [piece async for piece in logs(client, "default", "web")]
