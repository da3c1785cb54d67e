"""Whatever comes in through stdin, the environment or the socket: an answer in CNI's JSON, and nothing left behind."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podwire.cni import build
from podwire.cni.protocol import (
    REQUEST_HEADER,
    RESPONSE_HEADER,
    RawRequest,
    decode_request,
    encode_request,
    request_sizes,
)
from podwire.cni.result import VERSIONS
from podwire.cni.server import Server
from podwire.cni.verbs import Answer
from tests.support.cni import FakeNode, environment, fake_node, netconf

FULL = os.environ.get("PODWIRE_TEST_FULL") == "1"
MANY = settings(max_examples=5000 if FULL else 200, deadline=None)
SOME = settings(
    max_examples=1000 if FULL else 60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.sampled_from([*VERSIONS, "10.244.1.9", "::1"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ("cniVersion", "name", "type", "ipam", "runtimeConfig", "args", "prevResult", "cni.dev/valid-attachments")
NESTED = ("ips", "mac", "cni", "interfaces", "routes", "dns", "address", "interface", "dst", "containerID", "ifname")
plausible = st.recursive(
    values,
    lambda inner: st.dictionaries(st.sampled_from(NESTED), inner, max_size=4) | st.lists(inner, max_size=3),
    max_leaves=8,
)
configurations = st.one_of(
    st.binary(max_size=200),
    values.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(st.sampled_from(FIELDS), plausible).map(
        lambda chosen: json.dumps({"cniVersion": "1.1.0", "name": "podwire", **chosen}).encode()
    ),
)
words = st.one_of(st.text(max_size=30), st.binary(max_size=20).map(lambda raw: raw.decode("utf-8", "surrogateescape")))
environments = st.dictionaries(
    st.sampled_from(["CNI_COMMAND", "CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS", "CNI_ARGS", "CNI_PATH"]), words
)
commands = st.sampled_from(["ADD", "DEL", "CHECK", "GC", "STATUS"])


def check_answer(command: str, answer: Answer) -> None:
    """As a runtime would read it."""
    if answer.code:
        error = json.loads(answer.body)
        assert error["code"] == answer.code < 999, error
        assert error["cniVersion"] in VERSIONS and error["msg"]
        assert "Traceback" not in error["msg"] and answer.status == 1
    elif command == "ADD":
        assert json.loads(answer.body)["cniVersion"] in VERSIONS
    else:
        assert answer.body == b""


def with_node(work: Callable[[FakeNode], Any]) -> None:
    async def run() -> None:
        async with fake_node() as node:
            await work(node)
            await node.settled()
            assert node.problems() == []

    asyncio.run(run())


@MANY
@given(commands, configurations, st.none() | st.just(7))
def test_any_stdin(command: str, stdin: bytes, netns: int | None) -> None:
    async def work(node: FakeNode) -> None:
        check_answer(command, await node.call(command, netns, stdin=stdin))

    with_node(work)


@MANY
@given(commands, environments)
def test_any_environment(command: str, changed: dict[str, str]) -> None:
    env = {**environment(command), **changed}

    async def work(node: FakeNode) -> None:
        check_answer(env["CNI_COMMAND"], await node.verbs.serve(RawRequest(env, netconf()), 7))

    with_node(work)


@MANY
@given(st.lists(st.tuples(commands, st.sampled_from(["c1", "c2"]), st.sampled_from([None, 1, 2])), max_size=12))
def test_any_sequence_at_once(calls: list[tuple[str, str, int | None]]) -> None:
    async def work(node: FakeNode) -> None:
        conf = netconf("1.1.0", valid=[], prevResult={})
        answers = await asyncio.gather(
            *(node.verbs.serve(RawRequest(environment(verb, name), conf), fd) for verb, name, fd in calls)
        )
        for (verb, _, _), answer in zip(calls, answers, strict=True):
            check_answer(verb, answer)

    with_node(work)


@MANY
@given(environments, st.binary(max_size=500))
def test_a_request_survives_the_wire(env: dict[str, str], stdin: bytes) -> None:
    clean = {name: value.replace("\0", "") for name, value in env.items()}
    try:
        frame = encode_request(RawRequest(clean, stdin))
    except UnicodeEncodeError:  # a surrogate that no byte decodes to: no environment holds it
        return
    sizes = request_sizes(frame[: REQUEST_HEADER.size])
    body = frame[REQUEST_HEADER.size :]
    assert decode_request(body[: sizes[0]], body[sizes[0] :]) == RawRequest(clean, stdin)
    assert len(body) == sum(sizes)


frames = st.one_of(
    st.binary(max_size=64),
    st.builds(
        lambda cut, flips, tail: _damaged(cut, flips, tail),
        st.integers(0, 400),
        st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=3),
        st.binary(max_size=8),
    ),
)


def _damaged(cut: int, flips: list[tuple[int, int]], tail: bytes) -> bytes:
    content = bytearray(encode_request(RawRequest(environment("ADD"), netconf())))
    for place, value in flips:
        content[place % len(content)] = value
    return bytes(content[: len(content) - cut] if cut < len(content) else b"") + tail


@SOME
@given(st.lists(frames, min_size=1, max_size=5), st.integers(0, 3))
def test_any_bytes_on_the_socket(tmp_path: Path, contents: list[bytes], descriptors: int) -> None:
    path = str(tmp_path / "agent.sock")

    def client(content: bytes) -> bytes:
        answer = b""
        with socket.socket(socket.AF_UNIX) as sock, open("/dev/null") as file:
            sock.settimeout(20)
            sock.connect(path)
            try:
                if content:
                    socket.send_fds(sock, [content], [file.fileno()] * descriptors)
                sock.shutdown(socket.SHUT_WR)
                while chunk := sock.recv(65536):
                    answer += chunk
            except (BrokenPipeError, ConnectionResetError):
                pass
        return answer

    async def work(node: FakeNode) -> None:
        async def serve(raw: RawRequest, netns: int | None) -> Answer:
            return await node.verbs.serve(raw, None if netns is None else 7)

        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        server = Server(path, serve)
        await server.start()
        for content in contents:
            answer = await asyncio.to_thread(client, content)
            if answer:
                magic, status, size = RESPONSE_HEADER.unpack(answer[: RESPONSE_HEADER.size])
                body = answer[RESPONSE_HEADER.size :]
                assert magic == b"PWR1" and len(body) == size and status in (0, 1)
                assert not body or "cniVersion" in json.loads(body)
        await server.stop()
        assert server.connections == 0
        assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208

    with_node(work)


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The binary, for a run directory that cannot be made, so that not even a DEL finds a spool."""
    folder = tmp_path_factory.mktemp("fuzz")
    build.build(folder / "podwire", [f'PODWIRE_RUN_DIR="{folder}/none/run"'])
    return folder / "podwire"


@SOME
@given(commands | st.just("VERSION") | words, configurations, environments)
def test_any_input_of_the_binary(shim: Path, command: str, stdin: bytes, changed: dict[str, str]) -> None:
    chosen = {**environment("ADD"), **changed, "CNI_COMMAND": command}
    try:
        env = {name: os.fsencode(value.replace("\0", "")) for name, value in chosen.items()}
    except UnicodeEncodeError:
        return
    result = subprocess.run([shim], env=env, input=stdin, capture_output=True, timeout=20, check=False)
    answer = json.loads(result.stdout)
    assert result.stderr == b""
    if command == "VERSION":
        assert result.returncode == 0 and answer["supportedVersions"] == list(VERSIONS)
    else:
        assert result.returncode == 1 and answer["code"] in (4, 11, 50) and answer["msg"]
