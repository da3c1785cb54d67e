"""The C binary as a real process: what it sends, what it prints, and what it does without an agent."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from podwire.cni import build, codes
from podwire.cni.protocol import MAX_STDIN, RawRequest, encode_response
from podwire.cni.server import Server
from podwire.cni.spool import Spool, SpoolReport
from podwire.cni.verbs import Answer
from tests.support.cni import add_request, environment, fake_node, netconf

SUPPORTED = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The binary, compiled for a run directory of its own and little patience."""
    folder = tmp_path_factory.mktemp("shim")
    run = folder / "run"
    build.build(folder / "podwire", [f'PODWIRE_RUN_DIR="{run}"', "PODWIRE_DEADLINE_SECONDS=1"])
    return folder / "podwire", run


@pytest.fixture
def run_dir(built: tuple[Path, Path]) -> Iterator[Path]:
    """An empty run directory, as the agent makes it."""
    built[1].mkdir(mode=0o700)
    yield built[1]
    shutil.rmtree(built[1])


class Shim:
    """Runs the binary."""

    def __init__(self, binary: Path) -> None:
        self.binary = binary

    def __call__(self, env: dict[str, str], stdin: bytes = b"") -> tuple[int, Any]:
        """Exit status, and the JSON that it printed (None for nothing)."""
        result = subprocess.run([self.binary], env=env, input=stdin, capture_output=True, timeout=20, check=False)
        assert result.stderr == b""
        return result.returncode, json.loads(result.stdout) if result.stdout else None


@pytest.fixture
def shim(built: tuple[Path, Path]) -> Shim:
    return Shim(built[0])


def test_the_binary_is_static_and_small(built: tuple[Path, Path]) -> None:
    content = built[0].read_bytes()
    assert b"/lib/ld-" not in content
    assert len(content) < 1024 * 1024


@pytest.mark.parametrize(
    ("stdin", "version"),
    [
        (b'{"cniVersion":"0.4.0"}', "0.4.0"),
        (b' {\n"a" : [1,{"cniVersion":"9.9.9"}], "cniVersion"\t:\r\n "1.0.0" }', "1.0.0"),
        (b'{"prevResult":{"cniVersion":"0.3.1"},"cniVersion":"1.1.0"}', "1.1.0"),
        (b'{"x":"\\"cniVersion\\":\\"9\\"","cniVersion":"0.3.1"}', "0.3.1"),
        (b'{"x":"cniVersion","cniVersion":"0.4.0"}', "0.4.0"),
        (b'{"prevResult":{"cniVersion":"0.3.1"}}', "1.1.0"),
        (b'{"cniVersion":"1.0.0\\u0022"}', "1.1.0"),
        (b'{"cniVersion":"1.0.0","cniVersion":"0.4.0"}', "1.0.0"),
        (b'{"cniVersion":"123456789012345678901234567890"}', "1.1.0"),
        (b'{"cniVersion":"', "1.1.0"),
        (b'{"cniVersion":', "1.1.0"),
        (b'{"cniVersion', "1.1.0"),
        (b'{"cniVersion":"1.0.0', "1.1.0"),
        (b'{"\\', "1.1.0"),
        (b'{"cniVersion":1}', "1.1.0"),
        (b'"cniVersion":"0.4.0"', "1.1.0"),
        (b"}" * 100 + b'{"cniVersion":"0.4.0"}', "1.1.0"),
        (b"", "1.1.0"),
        (b"\0" * 4096, "1.1.0"),
        (b" " * (MAX_STDIN + 10), "1.1.0"),
    ],
)
def test_version_is_answered_alone(shim: Shim, stdin: bytes, version: str) -> None:
    answer = shim({"CNI_COMMAND": "VERSION"}, stdin)
    assert answer == (0, {"cniVersion": version, "supportedVersions": SUPPORTED})


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({}, "CNI_COMMAND"),
        (environment("add"), "CNI_COMMAND"),
        (environment('A"\\\x01D'), "CNI_COMMAND"),
        (environment("ADD", CNI_CONTAINERID=""), "CNI_CONTAINERID"),
        (environment("ADD", CNI_IFNAME=""), "CNI_IFNAME"),
        (environment("ADD", CNI_NETNS=""), "CNI_NETNS"),
        (environment("CHECK", CNI_NETNS=""), "CNI_NETNS"),
        (environment("DEL", CNI_IFNAME=""), "CNI_IFNAME"),
        (environment("ADD", CNI_ARGS="x" * 70_000), "CNI_ARGS"),
    ],
)
def test_a_missing_variable_is_named(shim: Shim, run_dir: Path, env: dict[str, str], name: str) -> None:
    status, error = shim(env, netconf("0.4.0"))
    assert (status, error["code"], error["cniVersion"]) == (1, codes.INVALID_ENVIRONMENT, "0.4.0")
    assert name in error["msg"] and error["details"]


def test_too_much_stdin(shim: Shim, run_dir: Path) -> None:
    status, error = shim(environment("ADD"), b" " * (MAX_STDIN + 1))
    assert (status, error["code"]) == (1, codes.IO_FAILURE) and "1 MiB" in error["details"]


@pytest.mark.parametrize(("command", "code"), [("ADD", 11), ("CHECK", 11), ("GC", 11), ("STATUS", 50)])
@pytest.mark.parametrize("state", ["no directory", "no socket", "dead socket"])
def test_without_an_agent(shim: Shim, built: tuple[Path, Path], command: str, code: int, state: str) -> None:
    with dead(built[1], state):
        status, error = shim(environment(command), netconf("1.1.0"))
    assert (status, error["code"], error["cniVersion"]) == (1, code, "1.1.0")
    assert str(built[1]) in error["msg"] and "agent" in error["details"]


@pytest.mark.parametrize("state", ["no directory", "no socket", "dead socket"])
async def test_a_del_without_an_agent_waits_in_the_spool(shim: Shim, built: tuple[Path, Path], state: str) -> None:
    served: list[RawRequest] = []

    async def serve(raw: RawRequest, asked_at: float) -> Answer:
        served.append(raw)
        return Answer()

    with dead(built[1], state):
        for container in ("c1", "c2"):
            assert shim(environment("DEL", container), netconf()) == (0, None)
        spool = built[1] / "spool"
        assert spool.stat().st_mode & 0o777 == 0o700
        assert [path.stat().st_mode & 0o777 for path in spool.iterdir()] == [0o600, 0o600]
        assert await Spool(str(spool), serve).drain() == SpoolReport(done=2)
    assert served == [RawRequest(environment("DEL", container), netconf()) for container in ("c1", "c2")]


@contextmanager
def dead(run: Path, state: str) -> Iterator[None]:
    """A run directory in which no agent listens."""
    if state != "no directory":
        run.mkdir(mode=0o700)
    if state == "dead socket":
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(run / "agent.sock"))
    try:
        yield
    finally:
        shutil.rmtree(run, ignore_errors=True)


@pytest.mark.parametrize("hindrance", ["file", "open to others", "link"])
def test_a_del_that_cannot_be_spooled_is_refused(shim: Shim, run_dir: Path, tmp_path: Path, hindrance: str) -> None:
    spool = run_dir / "spool"
    if hindrance == "file":
        spool.touch()
    elif hindrance == "link":
        spool.symlink_to(tmp_path)
    else:
        spool.mkdir()
        spool.chmod(0o777)
    status, error = shim(environment("DEL"), netconf())
    assert (status, error["code"]) == (1, codes.TRY_AGAIN_LATER) and str(spool) in error["msg"]
    assert list(tmp_path.iterdir()) == []


@contextmanager
def agent_that_says(run: Path, answer: bytes | None) -> Iterator[None]:
    """An agent that takes a request and sends *answer*, then hangs up; with None it says nothing and holds on."""
    release = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(run / "agent.sock"))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                if answer is None:
                    release.wait(20)
                else:
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            release.set()
            thread.join()


BROKEN = [
    b"",
    b"PWR1",
    encode_response(0, b'{"ok":1}')[:-1],
    b"HTTP" + encode_response(0, b"x")[4:],
    struct.pack("<4sII", b"PWR1", 0, 0xFFFFFFFF),
    None,
]


@pytest.mark.parametrize("answer", BROKEN)
def test_no_or_half_an_answer_prints_no_half_result(shim: Shim, run_dir: Path, answer: bytes | None) -> None:
    with agent_that_says(run_dir, answer):
        status, error = shim(environment("ADD"), netconf())
    assert (status, error["code"]) == (1, codes.TRY_AGAIN_LATER)


@pytest.mark.parametrize("answer", BROKEN)
def test_a_del_without_an_answer_is_spooled(shim: Shim, run_dir: Path, answer: bytes | None) -> None:
    with agent_that_says(run_dir, answer):
        assert shim(environment("DEL"), netconf()) == (0, None)
    assert len(list((run_dir / "spool").iterdir())) == 1


def test_exit_status_and_body_are_the_agents(shim: Shim, run_dir: Path) -> None:
    for status, expected in ((0, 0), (1, 1), (256, 1)):
        with agent_that_says(run_dir, encode_response(status, b'{"a":"' + b"x" * 100_000 + b'"}')):
            code, body = shim(environment("DEL"), netconf())
        assert code == expected and len(body["a"]) == 100_000
        (run_dir / "agent.sock").unlink()


@asynccontextmanager
async def agent(run: Path, **options: Any) -> AsyncIterator[tuple[Any, Any]]:
    """A server on fakes, and a function that runs the binary without stopping the loop."""
    async with fake_node(**options) as node:
        server = Server(str(run / "agent.sock"), node.verbs.serve)
        await server.start()
        try:
            yield node, server
        finally:
            await server.stop()


async def test_a_life_through_the_real_binary(shim: Shim, run_dir: Path, tmp_path: Path) -> None:
    namespace = tmp_path / "ns"
    namespace.touch()
    seen: list[int | None] = []
    async with agent(run_dir) as (node, server):

        async def serve(raw: RawRequest, netns: int | None) -> Answer:
            seen.append(None if netns is None else os.fstat(netns).st_ino)
            # The fakes tell namespaces by number, and a descriptor's changes with each request.
            answer: Answer = await node.verbs.serve(raw, None if netns is None else 5)
            return answer

        server._serve = serve

        async def call(command: str, **extra: Any) -> tuple[int, Any]:
            env = environment(command, CNI_NETNS=str(namespace))
            return await asyncio.to_thread(shim, env, netconf("1.1.0", **extra))

        status, result = await call("ADD")
        assert status == 0 and result["ips"][0]["address"] == "10.244.1.2/32"
        assert result["interfaces"][1]["sandbox"] == str(namespace)
        assert await call("ADD") == (0, result)
        assert await call("CHECK", prevResult=result) == (0, None)
        assert await call("STATUS") == (0, None)
        assert await call("GC", valid=[{"containerID": "c1", "ifname": "eth0"}]) == (0, None)
        assert await call("DEL") == (0, None)
        status, error = await call("CHECK", prevResult=result)
        assert (status, error["code"]) == (1, codes.UNKNOWN_CONTAINER)
        assert set(seen) == {namespace.stat().st_ino}
        namespace.unlink()
        status, error = await call("ADD")
        assert (status, error["code"]) == (1, codes.UNKNOWN_CONTAINER) and seen[-1] is None
        await node.settled()
        assert node.problems() == []


async def test_sixteen_at_once(shim: Shim, run_dir: Path) -> None:
    async with agent(run_dir) as (node, server):

        async def serve(raw: RawRequest, netns: int | None) -> Answer:
            answer: Answer = await node.verbs.serve(raw, int(raw.env["CNI_CONTAINERID"][1:]))
            return answer

        server._serve = serve
        async with asyncio.TaskGroup() as group:
            for number in range(16):
                for command in ("ADD", "DEL", "ADD"):
                    env = environment(command, f"c{number}", f"web-{number}")
                    group.create_task(asyncio.to_thread(shim, env, netconf()))
        await node.settled()
        assert node.problems() == []
        assert set(node.in_use().values()) <= {str(add_request(pod=f"web-{n}").pod) for n in range(16)}
