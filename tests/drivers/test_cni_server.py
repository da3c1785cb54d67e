"""The CNI socket against good, bad and absent clients: always an answer or an end, and no descriptor left."""

from __future__ import annotations

import array
import asyncio
import json
import os
import socket
import stat
import struct
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from podwire.cni import codes
from podwire.cni.protocol import MAX_STDIN, RESPONSE_HEADER, RawRequest, encode_request
from podwire.cni.server import Server
from podwire.cni.verbs import Answer
from podwire.model.errors import PodwireError
from tests.support.cni import environment, netconf

REQUEST = encode_request(RawRequest(environment("ADD"), netconf()))


class Echo:
    """Serves requests by telling what came in; *hold* keeps it from answering."""

    def __init__(self) -> None:
        self.seen: list[tuple[RawRequest, int | None]] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.called = asyncio.Event()

    async def __call__(self, raw: RawRequest, netns: int | None) -> Answer:
        self.seen.append((raw, None if netns is None else os.fstat(netns).st_ino))
        self.called.set()
        await self.hold.wait()
        return Answer(body=b"%d bytes" % len(raw.stdin))


@asynccontextmanager
async def serving(
    folder: Path, *, max_connections: int = 512, patience: float = 10.0
) -> AsyncIterator[tuple[Server, Echo, str]]:
    path, echo = str(folder / "agent.sock"), Echo()
    server = Server(path, echo, max_connections=max_connections, patience=patience)
    before = descriptors()
    await server.start()
    try:
        yield server, echo, path
    finally:
        echo.hold.set()
        await server.stop()
        assert server.connections == 0
        assert descriptors() <= before


@contextmanager
def opened() -> Iterator[int]:
    """Some descriptor to send."""
    fd = os.open("/dev/null", os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def connected(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(20)
    sock.connect(path)
    return sock


def ask(path: str, parts: Iterable[bytes] = (REQUEST,), fds: Iterable[int] = ()) -> tuple[int, bytes] | None:
    """Send *parts*, the descriptors beside the first; the answer's status and body, None without an answer."""
    with connected(path) as sock:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            for part in parts:
                sent = sock.sendmsg([part], ancillary)
                if sent < len(part):
                    sock.sendall(part[sent:])
                ancillary = []
            return answer_of(sock)
        except (BrokenPipeError, ConnectionResetError):
            return None


def answer_of(sock: socket.socket) -> tuple[int, bytes] | None:
    content = b""
    while chunk := sock.recv(65536):
        content += chunk
    if not content:
        return None
    magic, status, size = RESPONSE_HEADER.unpack(content[: RESPONSE_HEADER.size])
    body = content[RESPONSE_HEADER.size :]
    assert magic == b"PWR1" and len(body) == size
    return status, body


async def test_a_request_and_its_descriptor_arrive(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, echo, path):
        with opened() as fd:
            answer = await asyncio.to_thread(ask, path, [REQUEST], [fd])
        assert answer == (0, b"%d bytes" % len(netconf()))
        assert echo.seen == [(RawRequest(environment("ADD"), netconf()), Path("/dev/null").stat().st_ino)]


async def test_a_request_in_single_bytes(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, echo, path):
        parts = [bytes([byte]) for byte in REQUEST]
        assert await asyncio.to_thread(ask, path, parts) is not None
        assert echo.seen == [(RawRequest(environment("ADD"), netconf()), None)]


async def test_the_largest_request(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, _, path):
        large = encode_request(RawRequest(environment("ADD"), b" " * MAX_STDIN))
        assert await asyncio.to_thread(ask, path, [large]) == (0, b"%d bytes" % MAX_STDIN)


@pytest.mark.parametrize(
    "content",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack("<4sII", b"PWC1", 0, MAX_STDIN + 1),
        struct.pack("<4sII", b"PWC1", 0xFFFFFFFF, 0xFFFFFFFF),
        REQUEST + b"more",
    ],
)
async def test_garbage_gets_an_error_in_json(tmp_path: Path, content: bytes) -> None:
    async with serving(tmp_path) as (_, echo, path):
        answer = await asyncio.to_thread(ask, path, [content])
        assert answer is not None and answer[0] == 1
        error = json.loads(answer[1])
        assert error["code"] == codes.DECODING_FAILURE and error["msg"]
        assert echo.seen == []


@pytest.mark.parametrize("count", [2, 4, 5, 200])
async def test_surplus_descriptors_are_refused_and_closed(tmp_path: Path, count: int) -> None:
    async with serving(tmp_path) as (_, echo, path):
        with opened() as fd:
            answer = await asyncio.to_thread(ask, path, [REQUEST], [fd] * count)
        assert answer is not None and answer[0] == 1 and b"descriptor" in answer[1]
        assert echo.seen == []


async def test_half_a_request_is_no_request(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, echo, path):
        for cut in (0, 1, 11, 12, 30, len(REQUEST) - 1):
            with opened() as fd, connected(path) as sock:
                if cut:
                    socket.send_fds(sock, [REQUEST[:cut]], [fd])
            await idle(server)
        assert echo.seen == []


async def idle(server: Server) -> None:
    """Wait until the server has closed every connection."""
    for _ in range(2000):
        await asyncio.sleep(0.005)
        if server.connections == 0:
            return
    raise AssertionError(f"{server.connections} connections are still open")


async def test_who_says_nothing_is_cut_off(tmp_path: Path) -> None:
    async with serving(tmp_path, patience=0.05) as (_, _, path):
        with connected(path) as sock:
            sock.sendall(REQUEST[:20])
            assert await asyncio.to_thread(answer_of, sock) is None


async def test_who_does_not_take_the_answer_does_not_keep_the_connection(tmp_path: Path) -> None:
    async with serving(tmp_path, patience=0.05) as (server, _, path):

        async def verbose(raw: RawRequest, netns: int | None) -> Answer:
            return Answer(body=b"x" * 4_000_000)

        server._serve = verbose
        with connected(path) as sock:
            sock.sendall(REQUEST)
            await idle(server)


async def test_an_add_whose_caller_is_gone_is_not_begun(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, echo, path):
        listener = server._listener
        assert listener is not None
        asyncio.get_running_loop().remove_reader(listener)  # as when the agent is too busy to accept
        for command in ("ADD", "DEL"):
            with connected(path) as sock:
                sock.sendall(encode_request(RawRequest(environment(command), netconf())))
        asyncio.get_running_loop().add_reader(listener, server._accept)
        await asyncio.sleep(0.05)
        await idle(server)
        assert [raw.env["CNI_COMMAND"] for raw, _ in echo.seen] == ["DEL"]


async def test_more_clients_than_connections_are_all_served(tmp_path: Path) -> None:
    async with serving(tmp_path, max_connections=8) as (server, echo, path):
        loop = asyncio.get_running_loop()
        echo.hold.clear()
        clients = [loop.run_in_executor(None, ask, path) for _ in range(4)]
        silent = [connected(path) for _ in range(40)]
        await asyncio.sleep(0.05)
        assert server.connections <= 8
        for sock in silent:
            sock.close()
        echo.hold.set()
        assert all(answer is not None for answer in await asyncio.gather(*clients))


async def test_a_thousand_connections_leave_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, echo, path):
        for batch in range(10):
            socks = []
            for number in range(100):
                socks.append(connected(path))
                if number % 3 == 0:
                    socks[-1].sendall(b"\0" * 50)
                elif number % 3 == 1:
                    socks[-1].sendall(REQUEST[: batch * 7])
                await asyncio.sleep(0)
            for sock in socks:
                sock.close()
        await idle(server)
        assert await asyncio.to_thread(ask, path) is not None
        assert len(echo.seen) == 1


async def test_stop_lets_what_has_begun_end(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, echo, path):
        echo.hold.clear()
        client = asyncio.get_running_loop().run_in_executor(None, ask, path)
        await echo.called.wait()
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0.02)
        assert not stopping.done() and not Path(path).exists()
        echo.hold.set()
        await stopping
        assert (await client) is not None


async def test_a_failure_to_serve_is_an_error_in_json(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(tmp_path) as (server, _, path):

        async def broken(raw: RawRequest, netns: int | None) -> Answer:
            raise RuntimeError("no")

        server._serve = broken
        answer = await asyncio.to_thread(ask, path)
        assert answer is not None and json.loads(answer[1])["code"] == codes.INTERNAL


async def test_only_root_may_connect(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, echo, path):
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
        server._uids = frozenset({os.geteuid() + 1})
        assert await asyncio.to_thread(ask, path) is None
        assert echo.seen == []


async def test_a_dead_agents_socket_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "agent.sock"))
    async with serving(tmp_path) as (_, _, path):
        assert await asyncio.to_thread(ask, path) is not None
    (tmp_path / "agent.sock").write_text("precious")
    with pytest.raises(PodwireError, match="in the way"):
        await Server(str(tmp_path / "agent.sock"), Echo()).start()
    assert (tmp_path / "agent.sock").read_text() == "precious"
