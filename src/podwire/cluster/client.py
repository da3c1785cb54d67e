"""One connection pool to an API server, and the verbs of the Kubernetes REST API on it.

Objects travel as plain ``dict`` unless a msgspec type is asked for, which then decodes just its fields. Every refusal is an
error of :mod:`podwire.model.errors`: NotFound, Conflict, Gone, Unavailable (unreachable, 429, 5xx: try again), else
ClusterError; the message is the server's own (metav1.Status), with the object's name in front.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Generic, TypeVar, overload

import aiohttp
import msgspec
from yarl import URL

from podwire.cluster.kubeconfig import Access
from podwire.cluster.resources import Resource
from podwire.model.errors import ClusterError, Conflict, Gone, NotFound, Unavailable

Object = dict[str, Any]
T = TypeVar("T")

MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_PAGE = 500
_TIMEOUT = aiohttp.ClientTimeout(total=30, connect=5)


class Listed(msgspec.Struct, Generic[T]):
    """A whole list, and the resourceVersion that a watch continues from."""

    items: list[T]
    resource_version: str


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct, Generic[T]):
    metadata: _ListMeta
    items: list[T] | None = None


class _Status(msgspec.Struct):
    message: str = ""
    reason: str = ""


class Client:
    """A client of one API server; make one per process and share it. Use as an async context manager, or close it."""

    def __init__(self, access: Access, *, user_agent: str = "podwire") -> None:
        self.access = access
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The pool, made on first use (inside a running loop)."""
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                # No limit: a watch or an exec session holds its connection, and the next request must not wait for one.
                connector=aiohttp.TCPConnector(limit=0, socket_factory=_patient_for_half_a_minute),
                timeout=_TIMEOUT,
                headers={"User-Agent": self._user_agent},
                auto_decompress=True,
            )
        return self._session

    def url(self, path: str) -> URL:
        """The absolute URL of *path*."""
        return URL(self.access.server + path, encoded=True)

    def options(self) -> dict[str, Any]:
        """Arguments that every request to this server needs: TLS and the bearer token as it is now."""
        options: dict[str, Any] = {}
        if self.access.tls is not None:
            options["ssl"] = self.access.tls
            if self.access.tls_server_name:
                options["server_hostname"] = self.access.tls_server_name
        token = self.access.bearer()
        if token:
            options["headers"] = {"Authorization": f"Bearer {token}"}
        return options

    def refusal(self, response: aiohttp.ClientResponse, content: bytes, about: str) -> ClusterError:
        """The error that *response* means; after a 401 the token is read again, since it may have been rotated."""
        if response.status == 401:
            self.access.refused()
        return error_of(response.status, content, about, response.headers.get("Retry-After", ""))

    async def raw(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> bytes:
        """Send a request; the body of a 2xx answer, else the error that it means."""
        options = self.options()
        headers = {**options.pop("headers", {}), "Accept": accept}
        if body is not None:
            headers["Content-Type"] = content_type
        try:
            async with self.session.request(
                method, self.url(path), params=params, data=body, headers=headers, **options
            ) as response:
                content = await response.read()
                if response.status >= 400:
                    raise self.refusal(response, content, f"{method} {path}")
                return content
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unavailable(
                f"{method} {path}: no answer from {self.access.server}: {error or type(error).__name__}"
            ) from error

    async def request(self, method: str, path: str, body: object = None, **options: Any) -> Object:
        """Send *body* as JSON and decode the answer."""
        content = await self.raw(method, path, body=None if body is None else msgspec.json.encode(body), **options)
        decoded: Object = _decode(content, dict)
        return decoded

    @overload
    async def get(self, resource: Resource, name: str, namespace: str = "") -> Object: ...
    @overload
    async def get(self, resource: Resource, name: str, namespace: str = "", *, type: type[T]) -> T: ...

    async def get(self, resource: Resource, name: str, namespace: str = "", *, type: Any = dict) -> Any:
        """One object."""
        return _decode(await self.raw("GET", resource.path(namespace, name)), type)

    @overload
    async def list(
        self, resource: Resource, namespace: str = "", *, field_selector: str = ..., label_selector: str = ...
    ) -> Listed[Object]: ...
    @overload
    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        field_selector: str = ...,
        label_selector: str = ...,
        type: type[T],
    ) -> Listed[T]: ...

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        field_selector: str = "",
        label_selector: str = "",
        type: Any = dict,
    ) -> Any:
        """All objects, page by page; raises Gone when the list changed too much meanwhile (start again)."""
        params = {"limit": str(_PAGE)}
        if field_selector:
            params["fieldSelector"] = field_selector
        if label_selector:
            params["labelSelector"] = label_selector
        decoder = msgspec.json.Decoder(_Page[type])
        items: list[Any] = []
        while True:
            content = await self.raw("GET", resource.path(namespace), params=params)
            try:
                page = decoder.decode(content)
            except msgspec.MsgspecError as error:
                raise ClusterError(
                    f"list {resource.plural}: the answer is no list of {resource.kind}: {error}"
                ) from error
            items += page.items or []
            if not page.metadata.continue_:
                return Listed(items, page.metadata.resource_version)
            params["continue"] = page.metadata.continue_
            await asyncio.sleep(0)  # a long list is decoded in pages, so that others get their turn in between

    async def create(
        self, resource: Resource, body: Object, namespace: str = "", *, subresource: str = "", name: str = ""
    ) -> Object:
        """Create an object (or a subresource such as a Pod's binding, of the object *name*)."""
        return await self.request("POST", resource.path(namespace, name, subresource), body)

    async def replace(self, resource: Resource, body: Object, namespace: str = "", *, subresource: str = "") -> Object:
        """Replace an object; Conflict when it was changed since its resourceVersion."""
        return await self.request("PUT", resource.path(namespace, body["metadata"]["name"], subresource), body)

    async def patch(
        self,
        resource: Resource,
        name: str,
        body: object,
        namespace: str = "",
        *,
        subresource: str = "",
        content_type: str = MERGE_PATCH,
        params: Mapping[str, str] | None = None,
    ) -> Object:
        """Patch an object; a ``metadata.resourceVersion`` in a merge patch makes it conditional."""
        return await self.request(
            "PATCH", resource.path(namespace, name, subresource), body, content_type=content_type, params=params
        )

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        grace_seconds: int | None = None,
        propagation: str = "Background",
        uid: str = "",
    ) -> Object:
        """Delete an object; *uid* spares a namesake that came after it."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        if uid:
            options["preconditions"] = {"uid": uid}
        return await self.request("DELETE", resource.path(namespace, name), options)


def _patient_for_half_a_minute(address: tuple[Any, ...]) -> socket.socket:
    """A socket that notices within about 30 s that the other side is gone without a word (a node cut off, a lost NAT entry).

    A watch mostly waits, so TCP itself has nothing to send that could fail.
    """
    made = socket.socket(*address[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000)
    return made


def error_of(status: int, content: bytes, about: str, retry_after: str = "") -> ClusterError:
    """The error that an HTTP status and a metav1.Status body mean."""
    try:
        told = msgspec.json.decode(content, type=_Status)
    except msgspec.MsgspecError:
        told = _Status(content[:200].decode(errors="replace").strip())
    message = f"{about}: {told.message or 'HTTP ' + str(status)}"
    if status == 429 or status >= 500:
        seconds = float(retry_after) if retry_after.isdigit() else 0.0
        return Unavailable(message, status, reason=told.reason, retry_after=seconds)
    if status in (401, 403):
        return ClusterError(
            message, status, reason=told.reason, remedy="check the credentials in the kubeconfig, and RBAC"
        )
    kinds: dict[int, type[ClusterError]] = {404: NotFound, 409: Conflict, 410: Gone}
    return kinds.get(status, ClusterError)(message, status, reason=told.reason)


def _decode(content: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.MsgspecError as error:
        raise ClusterError(f"the API server's answer cannot be read: {error}") from error
