"""The API server as a process of its own: sockets that it inherits, kill -9 in the middle of writes, and podwire's own client."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from podwire.cluster.client import Client
from podwire.cluster.kubeconfig import from_file
from podwire.cluster.resources import CONFIG_MAPS
from podwire.lab.apiserver.pki import Kubeconfigs, prepare
from podwire.lab.apiserver.server import listen
from podwire.model.errors import ClusterError, Unavailable
from tests.support.apiserver import running
from tests.support.client_suite import ClientSuite, config_map, name

__all__ = ["name"]


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with running(tmp_path) as server, Client(from_file(server.files.admin)) as made:
        yield made


class TestAgainstTheLabsServer(ClientSuite):
    """The suite that every API server must pass."""


@asynccontextmanager
async def process(directory: Path, listener: socket.socket) -> AsyncIterator[asyncio.subprocess.Process]:
    """A server that inherits *listener*; killed at the end if it still runs."""
    command = [
        sys.executable,
        "-m",
        "podwire.lab.apiserver",
        "--dir",
        str(directory),
        "--listen-fd",
        str(listener.fileno()),
    ]
    started = await asyncio.create_subprocess_exec(
        *command, pass_fds=[listener.fileno()], stderr=asyncio.subprocess.PIPE
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


def prepared(directory: Path, listener: socket.socket) -> Kubeconfigs:
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    return prepare(directory, ["127.0.0.1"], ["n1"], server=url, local_server=url)


async def write_until_killed(client: Client, writer: int, acknowledged: dict[str, str]) -> None:
    """Create ConfigMaps one after the other, noting each that the server acknowledged."""
    for number in range(10_000):
        made = f"w{writer}-{number}"
        try:
            answer = await client.create(CONFIG_MAPS, config_map(made), "default")
        except (Unavailable, ClusterError):
            return
        acknowledged[made] = answer["metadata"]["resourceVersion"]


@pytest.mark.faults
async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    listener = listen("127.0.0.1", 0)
    rounds = 20 if os.environ.get("PODWIRE_TEST_FULL") else 3
    acknowledged: dict[str, str] = {}
    with listener:
        files = prepared(tmp_path, listener)
        for attempt in range(rounds):
            async with process(tmp_path, listener) as server, Client(from_file(files.admin)) as client:
                before = len(acknowledged)
                writers = [
                    asyncio.create_task(write_until_killed(client, attempt * 4 + writer, acknowledged))
                    for writer in range(4)
                ]
                async with asyncio.timeout(60):
                    while len(acknowledged) < before + 40:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                server.send_signal(signal.SIGKILL)
                await server.wait()
                for writer in writers:
                    writer.cancel()
                await asyncio.gather(*writers, return_exceptions=True)
        async with process(tmp_path, listener), Client(from_file(files.admin)) as client:
            listed = await client.list(CONFIG_MAPS)
            stored = {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in listed.items}
            assert acknowledged.items() <= stored.items()
            assert len(set(stored.values())) == len(stored)
            made = await client.create(CONFIG_MAPS, config_map("last"), "default")
            assert int(made["metadata"]["resourceVersion"]) > max(int(version) for version in stored.values())


async def test_it_stops_at_sigterm_and_serves_two_sockets(tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as one, listen("127.0.0.1", 0) as two:
        files = prepared(tmp_path, one)
        command = [sys.executable, "-m", "podwire.lab.apiserver", "--dir", str(tmp_path)]
        command += [f"--listen-fd={listener.fileno()}" for listener in (one, two)]
        started = await asyncio.create_subprocess_exec(
            *command, pass_fds=[one.fileno(), two.fileno()], stderr=asyncio.subprocess.PIPE
        )
        try:
            for listener in (one, two):
                access = from_file(files.admin)
                access.server = f"https://127.0.0.1:{listener.getsockname()[1]}"
                async with Client(access) as client:
                    await client.raw("GET", "/readyz")
            started.terminate()
            _, log = await asyncio.wait_for(started.communicate(), 20)
        finally:
            if started.returncode is None:
                started.kill()
                await started.wait()
    assert started.returncode == 0, log.decode()
    token = json.loads(files.admin.read_text())["users"][0]["user"]["token"]
    assert token not in log.decode()


@pytest.mark.parametrize("arguments", [[], ["--listen", "127.0.0.1:0"], ["--listen", "nonsense"]])
async def test_a_start_that_cannot_work_says_why(tmp_path: Path, arguments: list[str]) -> None:
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "podwire.lab.apiserver",
        "--dir",
        str(tmp_path),
        *arguments,
        stderr=asyncio.subprocess.PIPE,
    )
    _, log = await asyncio.wait_for(started.communicate(), 30)
    assert started.returncode == 1
    assert "Traceback" not in log.decode() and "cannot serve" in log.decode()
