"""A real API server of the lab on a loopback port, and a thin HTTP client that shows statuses and bodies as they are."""

from __future__ import annotations

import asyncio
import io
import json
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from podwire.lab.apiserver.pki import Kubeconfigs, prepare
from podwire.lab.apiserver.server import ApiServer, listen
from podwire.lab.apiserver.storage.store import LOG_LIMIT

PODS = "/api/v1/namespaces/default/pods"


class Answer(NamedTuple):
    """What the server said."""

    status: int
    body: Any
    headers: dict[str, str]


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


class Api:
    """Requests as the user of one kubeconfig ("" for nobody)."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str) -> None:
        self._session, self.url = session, url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def request(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/json", **options: Any
    ) -> Answer:
        """One request; *options* are headers (accept) and query parameters."""
        headers = dict(self._headers)
        if accept := options.pop("accept", ""):
            headers["Accept"] = accept
        data = None
        if body is not None:
            headers["Content-Type"] = content_type
            data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        query = {key: str(value) for key, value in options.items()}
        async with self._session.request(method, self.url + path, data=data, headers=headers, params=query) as response:
            text = await response.text()
            is_json = response.content_type == "application/json"
            return Answer(response.status, json.loads(text) if is_json else text, dict(response.headers))

    async def get(self, path: str, **options: Any) -> Answer:
        """GET."""
        return await self.request("GET", path, **options)

    async def post(self, path: str, body: Any, **options: Any) -> Answer:
        """POST."""
        return await self.request("POST", path, body, **options)

    async def put(self, path: str, body: Any, **options: Any) -> Answer:
        """PUT."""
        return await self.request("PUT", path, body, **options)

    async def patch(self, path: str, body: Any, kind: str = "merge-patch+json", **options: Any) -> Answer:
        """PATCH."""
        return await self.request("PATCH", path, body, content_type=f"application/{kind}", **options)

    async def delete(self, path: str, body: Any = None, **options: Any) -> Answer:
        """DELETE."""
        return await self.request("DELETE", path, body, **options)

    @asynccontextmanager
    async def watch(self, path: str, **options: Any) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """A watch; iterate over its events."""
        headers = dict(self._headers)
        if accept := options.pop("accept", ""):
            headers["Accept"] = accept
        query = {"watch": "true", **{key: str(value) for key, value in options.items()}}
        async with self._session.get(self.url + path, headers=headers, params=query) as response:
            assert response.status == 200, await response.text()

            async def events() -> AsyncIterator[dict[str, Any]]:
                async for line in response.content:
                    yield json.loads(line)

            yield events()


class Running:
    """A server and the means to talk to it."""

    def __init__(self, server: ApiServer, files: Kubeconfigs, session: aiohttp.ClientSession) -> None:
        self.server, self.files, self._session = server, files, session
        self.url = server.urls[0]
        self.admin = self.user(files.admin)

    def user(self, kubeconfig: Path | None) -> Api:
        """Requests with the token of *kubeconfig* (None: without)."""
        token = json.loads(kubeconfig.read_text())["users"][0]["user"]["token"] if kubeconfig else ""
        return Api(self._session, self.url, token)

    def with_token(self, token: str) -> Api:
        """Requests with any token."""
        return Api(self._session, self.url, token)

    def node(self, name: str) -> Api:
        """Requests as a node."""
        return self.user(self.files.nodes[name].kubeconfig)


@asynccontextmanager
async def running(
    directory: Path, *, nodes: Iterable[str] = ("n1", "n2"), clock: Clock | None = None, log_limit: int = LOG_LIMIT
) -> AsyncIterator[Running]:
    """A server in this process, over *directory*, which may be that of an earlier one."""
    listener = listen("127.0.0.1", 0)
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    files = await asyncio.to_thread(prepare, directory, ["127.0.0.1"], list(nodes), server=url, local_server=url)
    options: dict[str, Any] = {"clock": clock} if clock else {}
    context = ssl.create_default_context(cafile=str(files.ca))
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    async with (
        ApiServer(directory, [listener], log_limit=log_limit, **options) as server,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        yield Running(server, files, session)


def pod(name: str, **spec: Any) -> dict[str, Any]:
    """A small valid Pod."""
    labels = spec.pop("labels", {})
    containers = spec.pop("containers", [{"name": "main", "image": "podwire/echo"}])
    metadata: dict[str, Any] = {"name": name}
    if labels:
        metadata["labels"] = labels
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers, **spec}}


def node(name: str, **spec: Any) -> dict[str, Any]:
    """A small valid Node."""
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec}


async def until(condition: Any, *, seconds: float = 10.0) -> Any:
    """Wait until the coroutine function *condition* returns something true, and return that."""
    async with asyncio.timeout(seconds):
        while not (found := await condition()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return found
