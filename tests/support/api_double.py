"""A small API server over real HTTP that misbehaves on request: the double that the Kubernetes client is tested against.

It keeps objects in memory and speaks list (paged), watch (resourceVersion, bookmarks), get, create, replace, merge patch,
delete, exec and logs for every resource that a test names. It validates nothing. What it can do wrong is in :class:`Faults`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from podwire.cluster.kubeconfig import Access
from podwire.lab.apiserver.patch.merge import merge_patch

Object = dict[str, Any]

DISCOVERY = {
    "/api/v1": [
        ("nodes", "Node", False),
        ("namespaces", "Namespace", False),
        ("pods", "Pod", True),
        ("pods/status", "Pod", True),
        ("configmaps", "ConfigMap", True),
    ],
    "/apis/apps/v1": [("deployments", "Deployment", True)],
}


class Faults:
    """What goes wrong next."""

    def __init__(self) -> None:
        self.answers: deque[tuple[int, str]] = deque()
        """(status, Retry-After) for the next requests, instead of doing what they ask."""
        self.silent_after_writes = 0
        """So many writes are carried out and never answered."""
        self.oldest = 0
        """Watches and continued lists from before this resourceVersion are answered 410."""
        self.page = 0
        """Most objects in a page, whatever the client's limit; 0: as the client asks."""
        self.gone_in_stream = False
        """Tell "too old" in an ERROR event of a watch that began with 200, as a real server does."""
        self.end_watches_at_once = False


class ApiDouble:
    """The server. ``async with serving() as api``; then ``api.access`` is what a Client needs."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.requests: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.watches = 0
        self.access = Access("")
        self.exec_protocols = ("v5.channel.k8s.io", "v4.channel.k8s.io")
        self._version = 100
        self._objects: dict[tuple[str, str, str], Object] = {}
        self._events: list[tuple[int, str, str, Object]] = []
        """(resourceVersion, collection, type, object)."""
        self._news = asyncio.Condition()
        self._open: dict[web.StreamResponse, asyncio.BaseTransport | None] = {}
        self._ending = False

    # What a test does to the cluster, besides through the API.

    async def put(self, plural: str, obj: Object) -> Object:
        """Create or replace an object, as somebody else would."""
        meta = obj["metadata"]
        key = (plural, meta.get("namespace", ""), meta["name"])
        kind = "MODIFIED" if key in self._objects else "ADDED"
        self._version += 1
        stored = {**obj, "metadata": {**meta, "resourceVersion": str(self._version)}}
        self._objects[key] = stored
        await self._announce(plural, kind, stored)
        return stored

    async def remove(self, plural: str, name: str, namespace: str = "") -> Object:
        """Delete an object, as somebody else would."""
        stored = self._objects.pop((plural, namespace, name))
        self._version += 1
        stored = {**stored, "metadata": {**stored["metadata"], "resourceVersion": str(self._version)}}
        await self._announce(plural, "DELETED", stored)
        return stored

    async def bookmark(self, plural: str) -> None:
        """Tell every watch how far it is."""
        self._version += 1
        await self._announce(plural, "BOOKMARK", {"metadata": {"resourceVersion": str(self._version)}})

    def names(self, plural: str) -> set[str]:
        """What there is."""
        return {name for of, _, name in self._objects if of == plural}

    def get(self, plural: str, name: str, namespace: str = "") -> Object:
        """An object as it is now."""
        return self._objects[plural, namespace, name]

    async def end_watches(self) -> None:
        """End every open watch in good order, as a server does after timeoutSeconds."""
        async with self._news:
            self._ending = True
            self._news.notify_all()
            await self._news.wait_for(lambda: not self._open)
            self._ending = False

    def cut_watches(self) -> None:
        """Break every open watch's connection in the middle of the stream."""
        for transport in list(self._open.values()):
            if isinstance(transport, asyncio.Transport):
                transport.abort()

    def compact(self) -> None:
        """Forget history: a watch that begins before now is 410. Open watches keep their place, as in etcd."""
        self.faults.oldest = self._version

    async def _announce(self, plural: str, kind: str, obj: Object) -> None:
        async with self._news:
            self._events.append((self._version, plural, kind, obj))
            self._news.notify_all()

    # What the server does.

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Every request."""
        self.requests.append((request.method, request.path_qs))
        self.headers.append(dict(request.headers))
        if self.faults.answers:
            status, after = self.faults.answers.popleft()
            return refused(status, f"told to answer {status}", headers={"Retry-After": after} if after else None)
        if request.path in DISCOVERY:
            served = [{"name": n, "kind": k, "namespaced": spaced} for n, k, spaced in DISCOVERY[request.path]]
            return web.json_response({"kind": "APIResourceList", "resources": served})
        if request.path.count("/") <= (2 if request.path.startswith("/api/") else 3):
            return refused(404, "the server could not find the requested resource")
        plural, namespace, name, subresource = split(request.path)
        if subresource == "exec":
            return await self._exec(request)
        if subresource == "log":
            return await self._log(request)
        if request.method == "GET":
            return await self._read(request, plural, namespace, name)
        answer = await self._write(request, plural, namespace, name)
        if self.faults.silent_after_writes:
            self.faults.silent_after_writes -= 1
            await asyncio.sleep(3600)
        return answer

    async def _read(self, request: web.Request, plural: str, namespace: str, name: str) -> web.StreamResponse:
        if name:
            found = self._objects.get((plural, namespace, name))
            return refused(404, f'{plural} "{name}" not found') if found is None else web.json_response(found)
        if request.query.get("watch") == "true":
            return await self._watch(request, plural)
        wanted = [
            obj
            for (of, space, _), obj in sorted(self._objects.items())
            if of == plural and (not namespace or space == namespace)
        ]
        label = request.query.get("labelSelector", "")
        if label:
            wanted = [obj for obj in wanted if selected(obj, label)]
        begin = int(request.query.get("continue", "0@0").split("@")[0])
        if "continue" in request.query and int(request.query["continue"].split("@")[1]) < self.faults.oldest:
            return refused(410, "the provided continue parameter is too old")
        limit = self.faults.page or int(request.query.get("limit", "0")) or len(wanted)
        more = f"{begin + limit}@{self._version}" if begin + limit < len(wanted) else ""
        items = wanted[begin : begin + limit] or None  # Go writes an empty slice as null
        return web.json_response(
            {"kind": "List", "metadata": {"resourceVersion": str(self._version), "continue": more}, "items": items}
        )

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        since = int(request.query["resourceVersion"])
        self.watches += 1
        old = since < self.faults.oldest
        if old and not self.faults.gone_in_stream:
            return refused(410, "too old resource version")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        if old:
            gone = {
                "type": "ERROR",
                "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"},
            }
            await response.write(msgspec.json.encode(gone) + b"\n")
            return response
        if self.faults.end_watches_at_once:
            return response
        self._open[response] = request.transport
        try:
            await self._stream(response, plural, since)
        except ConnectionError:
            pass
        finally:
            del self._open[response]
        async with self._news:
            self._news.notify_all()
        return response

    async def _stream(self, response: web.StreamResponse, plural: str, since: int) -> None:
        while True:
            news = await self._after(plural, since)
            if not news:
                return
            for version, _, kind, obj in news:
                since = version
                await response.write(msgspec.json.encode({"type": kind, "object": obj}) + b"\n")

    async def _after(self, plural: str, version: int) -> list[tuple[int, str, str, Object]]:
        """What happened after *version*, waiting until something did; nothing when watches are to end."""
        async with self._news:
            await self._news.wait_for(lambda: self._ending or self._since(plural, version))
            return self._since(plural, version)

    def _since(self, plural: str, version: int) -> list[tuple[int, str, str, Object]]:
        return [event for event in self._events if event[0] > version and event[1] == plural]

    async def _write(self, request: web.Request, plural: str, namespace: str, name: str) -> web.StreamResponse:
        body: Object = await request.json()
        before = self._objects.get((plural, namespace, name))
        if request.method == "POST":
            name = body["metadata"].get("name") or f"{body['metadata']['generateName']}x7k2p"
            if (plural, namespace, name) in self._objects:
                return refused(409, f'{plural} "{name}" already exists', reason="AlreadyExists")
            meta = {**body["metadata"], "name": name, **({"namespace": namespace} if namespace else {})}
            return web.json_response(await self.put(plural, {**body, "metadata": meta}), status=201)
        if before is None:
            return refused(404, f'{plural} "{name}" not found')
        version = before["metadata"]["resourceVersion"]
        asked = body.get("metadata", {}).get("resourceVersion", version)
        if asked != version:
            return refused(409, f'{plural} "{name}": the object has been modified', reason="Conflict")
        if request.method == "DELETE":
            uid = body.get("preconditions", {}).get("uid", before["metadata"].get("uid"))
            if uid != before["metadata"].get("uid"):
                return refused(409, f"{plural} {name}: the uid is another", reason="Conflict")
            return web.json_response(await self.remove(plural, name, namespace))
        after = merge_patch(before, body) if request.method == "PATCH" else body
        if merge_patch(after, {"metadata": {"resourceVersion": version}}) == before:
            return web.json_response(before)
        return web.json_response(await self.put(plural, after))

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        """Commands: ``cat``, ``fail N MESSAGE``, ``cannot``, ``vanish``, ``size``, ``env`` (prints the query)."""
        if request.path.split("/")[-2] == "missing":
            return refused(404, 'pods "missing" not found')
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return refused(400, "Upgrade request required")
        socket = web.WebSocketResponse(protocols=self.exec_protocols)
        await socket.prepare(request)
        command = request.query.getall("command")
        match command:
            case ["cat"]:
                await cat(socket)
            case ["fail", code, message]:
                await socket.send_bytes(b"\x02" + message.encode())
                await socket.send_bytes(b"\x03" + ended(code))
            case ["cannot"]:
                status = {"status": "Failure", "message": "no such file", "code": 500}
                await socket.send_bytes(b"\x03" + msgspec.json.encode(status))
            case ["size"]:
                await socket.send_bytes(b"\x01" + await socket.receive_bytes())
                await socket.send_bytes(b"\x03" + ended("0"))
            case ["query"]:
                await socket.send_bytes(b"\x01" + request.query_string.encode())
                await socket.send_bytes(b"\x03" + ended("0"))
            case ["vanish"]:
                await socket.send_bytes(b"\x01half")
                assert request.transport is not None
                request.transport.abort()
        await socket.close()
        return socket

    async def _log(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        lines = [f"line {number}\n".encode() for number in range(int(request.query.get("tailLines", "3")))]
        for line in lines:
            await response.write(line)
            await asyncio.sleep(0)
        return response


async def cat(socket: web.WebSocketResponse) -> None:
    """Give back stdin until it is closed (v5)."""
    async for message in socket:
        if message.type is not WSMsgType.BINARY:
            continue
        if message.data[:1] == b"\xff":
            await socket.send_bytes(b"\x03" + ended("0"))
            return
        await socket.send_bytes(b"\x01" + message.data[1:])


def ended(code: str) -> bytes:
    """The Status that ends an exec with an exit status."""
    if code == "0":
        return msgspec.json.encode({"status": "Success"})
    causes = [{"reason": "ExitCode", "message": code}]
    return msgspec.json.encode({"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": causes}})


def split(path: str) -> tuple[str, str, str, str]:
    """(plural, namespace, name, subresource) of a URL path."""
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2:
        namespace, parts = parts[1], parts[2:]
    plural, name, subresource = [*parts, "", ""][:3]
    return plural, namespace, name, subresource


def selected(obj: Object, selector: str) -> bool:
    """Whether an equality-based label selector picks *obj*."""
    labels = obj["metadata"].get("labels", {})
    return all(labels.get(term.split("=")[0]) == term.split("=")[1] for term in selector.split(","))


def refused(status: int, message: str, *, reason: str = "", headers: dict[str, str] | None = None) -> web.Response:
    """A metav1.Status."""
    body = {"kind": "Status", "status": "Failure", "message": message, "reason": reason, "code": status}
    return web.json_response(body, status=status, headers=headers)


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[ApiDouble]:
    """A double on a free port of the loopback address, until the block ends."""
    double = ApiDouble()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", double.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    host, port = runner.addresses[0][:2]
    double.access = Access(f"{'https' if tls else 'http'}://{host}:{port}")
    try:
        yield double
    finally:
        await runner.cleanup()
