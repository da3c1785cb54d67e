"""Pod subresources that the pod's kubelet answers: logs are streamed through, exec is carried message by message.

The server speaks to ``https://NODE:10250`` with its own token; what the client asked with is checked before and goes
no further.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp
import msgspec
from aiohttp import web

from podwire.lab.apiserver import errors
from podwire.lab.apiserver.kinds.strategy import Object, at
from podwire.lab.apiserver.kinds.table import NODES, PODS
from podwire.lab.apiserver.storage.store import Store

KUBELET_PORT = 10250
_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
_CONNECT_SECONDS = 10.0


class KubeletFiles(NamedTuple):
    """How kubelets are trusted, and how the server proves itself to them."""

    ca: Path
    token: Path


class KubeletProxy:
    """Connections to kubelets."""

    def __init__(self, store: Store, files: KubeletFiles) -> None:
        self._store, self._files = store, files
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close what is open."""
        if self._session is not None:
            await self._session.close()

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            context = ssl.create_default_context(cafile=str(self._files.ca))
            connector = aiohttp.TCPConnector(ssl=context, limit=0)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        return self._session

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._files.token.read_text().strip()}"}

    async def _address(self, verb: str, namespace: str, name: str, container: str) -> str:
        """The URL at the pod's kubelet; ApiError when the pod has no node yet, or no such container."""
        record = await self._store.get(PODS, namespace, name)
        if record is None:
            raise errors.not_found("pods", name)
        pod = record.object()
        container = _container(pod, container)
        node_name = at(pod, "spec.nodeName")
        if not node_name:
            raise errors.bad_request(f"pod {name} does not have a host assigned")
        node = await self._store.get(NODES, "", node_name)
        if node is None:
            raise errors.not_found("nodes", node_name)
        obj = node.object()
        addresses = {item["type"]: item["address"] for item in reversed(at(obj, "status.addresses", []))}
        address = addresses.get("InternalIP")
        if not address:
            raise errors.unreachable_kubelet(f'node "{node_name}" has no InternalIP in its status')
        host = f"[{address}]" if ":" in address else address
        port = at(obj, "status.daemonEndpoints.kubeletEndpoint.Port", KUBELET_PORT)
        parts = "/".join(quote(part, safe="") for part in (namespace, name, container))
        return f"https://{host}:{port}/{verb}/{parts}"

    async def logs(self, request: web.Request, namespace: str, name: str) -> web.StreamResponse:
        """``GET pods/NAME/log``: stream the kubelet's answer."""
        url = await self._address("containerLogs", namespace, name, request.query.get("container", ""))
        query = [(key, value) for key, value in request.query.items() if key != "container"]
        try:
            async with self._connected().get(url, params=query, headers=self._headers()) as answer:
                if answer.status != 200:
                    raise _kubelet_error(answer.status, await answer.text())
                response = web.StreamResponse(headers={"Content-Type": "text/plain"})
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
                return response
        except aiohttp.ClientError as error:
            raise _unreachable(url, error) from error

    async def exec(self, request: web.Request, namespace: str, name: str) -> web.StreamResponse:
        """``pods/NAME/exec``: a WebSocket to the client, one to the kubelet, and messages between them."""
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise errors.bad_request(
                "exec needs a WebSocket (v5.channel.k8s.io or v4.channel.k8s.io); SPDY is not spoken here"
            )
        url = await self._address("exec", namespace, name, request.query.get("container", ""))
        query = [(key, value) for key, value in request.query.items() if key != "container"]
        offered = [
            item.strip() for item in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if item.strip()
        ]
        try:
            upstream = await self._connected().ws_connect(
                url, params=query, headers=self._headers(), protocols=offered, max_msg_size=0, compress=0
            )
        except aiohttp.WSServerHandshakeError as error:
            raise _kubelet_error(error.status, error.message) from error
        except aiohttp.ClientError as error:
            raise _unreachable(url, error) from error
        try:
            protocols = (upstream.protocol,) if upstream.protocol else ()
            client = web.WebSocketResponse(protocols=protocols, max_msg_size=0, compress=False)
            await client.prepare(request)
            await _carry(client, upstream)
            return client
        finally:
            await upstream.close()


def _container(pod: Object, wanted: str) -> str:
    names = [container["name"] for container in pod["spec"]["containers"]]
    names += [container["name"] for container in pod["spec"].get("initContainers") or ()]
    if not wanted:
        annotated = at(pod, "metadata.annotations", {}).get(_DEFAULT_CONTAINER)
        wanted = annotated if annotated in names else names[0] if len(names) == 1 else ""
    pod_name = pod["metadata"]["name"]
    if not wanted:
        raise errors.bad_request(
            f"a container name must be specified for pod {pod_name}, choose one of: [{' '.join(names)}]"
        )
    if wanted not in names:
        raise errors.bad_request(f"container {wanted} is not valid for pod {pod_name}")
    return wanted


def _kubelet_error(status: int, text: str) -> errors.ApiError:
    try:
        parsed: Any = msgspec.json.decode(text)
    except msgspec.DecodeError:
        parsed = None
    message = parsed.get("message", text) if isinstance(parsed, dict) else text
    return errors.ApiError(
        status if 400 <= status < 600 else 502, "BadRequest", message.strip() or f"kubelet: {status}"
    )


def _unreachable(url: str, error: Exception) -> errors.ApiError:
    return errors.unreachable_kubelet(f"error dialing the kubelet at {url.partition('?')[0]}: {error}")


async def _carry(client: web.WebSocketResponse, upstream: aiohttp.ClientWebSocketResponse) -> None:
    """Carry messages both ways until either side closes; the other is then closed the same way."""
    tasks = {asyncio.create_task(_pump(client, upstream)), asyncio.create_task(_pump(upstream, client))}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        code = upstream.close_code or 1000
        await client.close(code=code if 1000 <= code < 1005 or code >= 3000 else 1011)


WebSocket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def _pump(source: WebSocket, sink: WebSocket) -> None:
    while True:
        message = await source.receive()
        if message.type is aiohttp.WSMsgType.BINARY:
            await sink.send_bytes(message.data)
        elif message.type is aiohttp.WSMsgType.TEXT:
            await sink.send_str(message.data)
        else:
            return
