"""A Kubernetes API of Nodes and Pods alone, in memory: what an agent needs, for tests and benches of one agent.

``python -m tests.support.node_api PORT [PEERS]`` listens on loopback and begins with *PEERS* nodes ``peer-1`` …, each with an
address and a /24. List (paged), watch, create, merge patch (also of the status), delete. Whole clusters are tested with the
lab's API server instead.
"""

from __future__ import annotations

import asyncio
import sys
from ipaddress import ip_address
from typing import Any

import msgspec
from aiohttp import web

from podwire.lab.apiserver.patch.merge import merge_patch

Object = dict[str, Any]
PEER_BASE = int(ip_address("10.89.0.12"))
CIDR_BASE = int(ip_address("10.128.0.0"))


class Store:
    """Objects by resource and key, and the events since the start."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Object]] = {"nodes": {}, "pods": {}}
        self.events: list[tuple[str, str, Object]] = []
        self.changed = asyncio.Event()

    def put(self, resource: str, key: str, obj: Object) -> Object:
        """Create or replace."""
        kind = "MODIFIED" if key in self.objects[resource] else "ADDED"
        obj.setdefault("metadata", {}).setdefault("uid", f"uid-{len(self.events)}")
        self.objects[resource][key] = obj
        return self._tell(resource, kind, obj)

    def drop(self, resource: str, key: str) -> Object:
        """Delete; KeyError if it is not there."""
        return self._tell(resource, "DELETED", self.objects[resource].pop(key))

    def _tell(self, resource: str, kind: str, obj: Object) -> Object:
        obj["metadata"]["resourceVersion"] = str(len(self.events) + 1)
        self.events.append((resource, kind, msgspec.json.decode(msgspec.json.encode(obj))))
        self.changed.set()
        self.changed = asyncio.Event()
        return obj


def peer(number: int) -> Object:
    """Peer *number*, from 1: on the underlay 10.89.0.0/16, with a /24 of 10.128.0.0/9."""
    cidr = f"{ip_address(CIDR_BASE + 256 * number)}/24"
    return {
        "metadata": {"name": f"peer-{number}"},
        "spec": {"podCIDR": cidr, "podCIDRs": [cidr]},
        "status": {"addresses": [{"type": "InternalIP", "address": str(ip_address(PEER_BASE + number))}]},
    }


def application(store: Store) -> web.Application:
    """The HTTP side."""

    def selected(request: web.Request, obj: Object) -> bool:
        _, _, node = request.query.get("fieldSelector", "").partition("spec.nodeName=")
        return not node or obj.get("spec", {}).get("nodeName") == node

    async def collection(request: web.Request) -> web.StreamResponse:
        resource = request.match_info["resource"]
        if request.method == "POST":
            obj = msgspec.json.decode(await request.read())
            return answer(store.put(resource, _key(request, obj["metadata"]["name"]), obj), 201)
        if request.query.get("watch"):
            return await watch(request, resource)
        start, limit = int(request.query.get("continue") or 0), int(request.query.get("limit") or 1 << 30)
        found = [obj for obj in store.objects[resource].values() if selected(request, obj)]
        more = str(start + limit) if start + limit < len(found) else ""
        meta = {"resourceVersion": str(len(store.events)), "continue": more}
        return answer({"kind": "List", "apiVersion": "v1", "metadata": meta, "items": found[start : start + limit]})

    async def watch(request: web.Request, resource: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        seen = int(request.query.get("resourceVersion") or 0)
        while True:
            changed = store.changed
            fresh, seen = store.events[seen:], len(store.events)
            lines = [
                msgspec.json.encode({"type": kind, "object": obj})
                for of, kind, obj in fresh
                if of == resource and selected(request, obj)
            ]
            if lines:
                await response.write(b"\n".join(lines) + b"\n")
            await changed.wait()

    async def single(request: web.Request) -> web.StreamResponse:
        resource, key = request.match_info["resource"], _key(request, request.match_info["name"])
        if key not in store.objects[resource]:
            return answer(
                {
                    "kind": "Status",
                    "status": "Failure",
                    "reason": "NotFound",
                    "message": f"{key} not found",
                    "code": 404,
                },
                404,
            )
        if request.method == "DELETE":
            return answer(store.drop(resource, key))
        if request.method == "PATCH":
            obj = merge_patch(store.objects[resource][key], msgspec.json.decode(await request.read()))
            return answer(store.put(resource, key, obj))
        return answer(store.objects[resource][key])

    app = web.Application()
    for base in ("/api/v1/{resource}", "/api/v1/namespaces/{namespace}/{resource}"):
        app.router.add_route("*", base, collection)
        app.router.add_route("*", base + "/{name}", single)
        app.router.add_route("*", base + "/{name}/status", single)
    return app


def _key(request: web.Request, name: str) -> str:
    namespace = request.match_info.get("namespace", "")
    return f"{namespace}/{name}" if namespace else name


def answer(body: object, status: int = 200) -> web.Response:
    """A JSON response."""
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


async def main(port: int, peers: int) -> None:
    """Serve until killed."""
    store = Store()
    for number in range(1, peers + 1):
        obj = peer(number)
        store.put("nodes", obj["metadata"]["name"], obj)
    runner = web.AppRunner(application(store), handler_cancellation=True, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
