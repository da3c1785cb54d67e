"""Logs and exec: carried between the client and a kubelet that wants the server's token over TLS."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from podwire.lab.apiserver.pki import add_node
from podwire.lab.apiserver.server import listen
from tests.support.apiserver import PODS, Api, Running, node, pod, running

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")


class Kubelet:
    """A kubelet that echoes what it is sent, and notes what it was asked."""

    def __init__(self, token: str) -> None:
        self._token = token
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        if request.headers.get("Authorization") != f"Bearer {self._token}":
            return web.json_response({"message": "who are you?"}, status=401)
        if request.path.startswith("/containerLogs/"):
            if "previous" in request.query:
                return web.json_response({"message": "there is no previous container"}, status=400)
            response = web.StreamResponse()
            await response.prepare(request)
            for line in (b"one\n", b"two\n"):
                await response.write(line)
            return response
        if request.query.get("command") == "refuse":
            return web.Response(status=403, reason="not today")
        socket = web.WebSocketResponse(protocols=PROTOCOLS, max_msg_size=0)
        await socket.prepare(request)
        async for message in socket:
            if message.data == b"\xff\x00":  # v5: standard input is closed
                await socket.send_bytes(b"\x03" + json.dumps({"status": "Success"}).encode())
                break
            await socket.send_bytes(b"\x01" + message.data[1:])
        await socket.close()
        return socket


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as made:
        yield made


@pytest.fixture
async def kubelet(server: Running, tmp_path: Path) -> AsyncIterator[Kubelet]:
    """A kubelet of node n1, with pod ``a`` bound to it and two containers in pod ``b``."""
    files = add_node(tmp_path, "n1", server=server.url, addresses=["127.0.0.1"])
    assert files.certificate and files.key
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)
    made = Kubelet((tmp_path / "kubelet.token").read_text())
    application = web.Application()
    application.router.add_get("/{path:.*}", made.answer)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    listener = listen("127.0.0.1", 0)
    await web.SockSite(runner, listener, ssl_context=context).start()
    api = server.admin
    status = {
        "addresses": [{"type": "Hostname", "address": "n1"}, {"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": listener.getsockname()[1]}},
    }
    await api.post("/api/v1/nodes", {**node("n1"), "status": status})
    await api.post(PODS, pod("a"))
    await api.post(PODS, pod("b", containers=[{"name": name, "image": "i"} for name in ("x", "y")]))
    for name in ("a", "b"):
        await api.post(f"{PODS}/{name}/binding", {"target": {"name": "n1"}})
    yield made
    await runner.cleanup()


async def test_logs_are_streamed_from_the_kubelet(server: Running, kubelet: Kubelet) -> None:
    answer = await server.admin.get(f"{PODS}/a/log", tailLines=5)
    assert (answer.status, answer.body) == (200, "one\ntwo\n")
    assert kubelet.asked == ["/containerLogs/default/a/main?tailLines=5"]
    refused = await server.admin.get(f"{PODS}/a/log", previous="true")
    assert refused.status == 400 and refused.body["message"] == "there is no previous container"


async def test_the_container_must_be_named_and_exist(server: Running, kubelet: Kubelet) -> None:
    which = await server.admin.get(f"{PODS}/b/log")
    assert which.status == 400 and "choose one of: [x y]" in which.body["message"]
    assert (await server.admin.get(f"{PODS}/b/log", container="y")).status == 200
    wrong = await server.admin.get(f"{PODS}/b/log", container="z")
    assert wrong.status == 400 and "container z is not valid for pod b" in wrong.body["message"]
    annotation = {"metadata": {"annotations": {"kubectl.kubernetes.io/default-container": "x"}}}
    await server.admin.patch(f"{PODS}/b", annotation)
    await server.admin.get(f"{PODS}/b/log")
    assert kubelet.asked == ["/containerLogs/default/b/y", "/containerLogs/default/b/x"]


async def session(server: Running, name: str, **query: str) -> aiohttp.ClientWebSocketResponse:
    """A WebSocket of exec, as kubectl opens it."""
    api: Api = server.admin
    url = api.url + f"{PODS}/{name}/exec"
    client: Any = api._session
    opened: aiohttp.ClientWebSocketResponse = await client.ws_connect(
        url, params=query, headers=api._headers, protocols=PROTOCOLS, max_msg_size=0
    )
    return opened


async def test_exec_carries_messages_both_ways_and_the_exit(server: Running, kubelet: Kubelet) -> None:
    socket = await session(server, "a", command="cat", stdin="true")
    assert socket.protocol == "v5.channel.k8s.io"
    large = bytes(range(256)) * 8192  # 2 MiB in one message
    for sent in (b"hello", b"", large):
        await socket.send_bytes(b"\x00" + sent)
        assert await socket.receive_bytes() == b"\x01" + sent
    await socket.send_bytes(b"\xff\x00")
    assert json.loads((await socket.receive_bytes())[1:]) == {"status": "Success"}
    assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
    assert socket.close_code == 1000
    assert kubelet.asked == ["/exec/default/a/main?command=cat&stdin=true"]


async def test_exec_that_is_refused_says_why(server: Running, kubelet: Kubelet) -> None:
    for name, query, status in (("a", {"command": "refuse"}, 403), ("missing", {}, 404)):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session(server, name, **query)
        assert refused.value.status == status
    spdy = await server.admin.post(f"{PODS}/a/exec", {})
    assert spdy.status == 400 and "WebSocket" in spdy.body["message"]
    assert (await server.node("n1").post(f"{PODS}/a/exec", {})).status == 403


async def test_a_client_that_leaves_ends_the_session_at_the_kubelet(server: Running, kubelet: Kubelet) -> None:
    socket = await session(server, "a")
    await socket.send_bytes(b"\x00x")
    assert await socket.receive_bytes() == b"\x01x"
    async with asyncio.timeout(10):
        await socket.close()
    again = await server.admin.get(f"{PODS}/a/log")
    assert again.status == 200


async def test_a_pod_without_a_node_and_a_kubelet_that_is_away(server: Running) -> None:
    await server.admin.post(PODS, pod("c"))
    unbound = await server.admin.get(f"{PODS}/c/log")
    assert unbound.status == 400 and "does not have a host assigned" in unbound.body["message"]
    await server.admin.post(f"{PODS}/c/binding", {"target": {"name": "n1"}})
    assert (await server.admin.get(f"{PODS}/c/log")).status == 404  # the node is not there
    await server.admin.post("/api/v1/nodes", node("n1"))
    nowhere = await server.admin.get(f"{PODS}/c/log")
    assert nowhere.status == 502 and "InternalIP" in nowhere.body["message"]
    closed = listen("127.0.0.1", 0)
    port = closed.getsockname()[1]
    closed.close()
    status = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }
    await server.admin.patch("/api/v1/nodes/n1/status", {"status": status})
    away = await server.admin.get(f"{PODS}/c/log")
    assert away.status == 502 and f"127.0.0.1:{port}" in away.body["message"]
