"""One authorised request, what answers it, and the answer's form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from aiohttp import web

from podwire.lab.apiserver import errors
from podwire.lab.apiserver.auth import Authenticator, User
from podwire.lab.apiserver.kinds.resource import Registry, Resource
from podwire.lab.apiserver.rest.kubelet import KubeletProxy
from podwire.lab.apiserver.rest.negotiate import Form, accepted, decode_body
from podwire.lab.apiserver.rest.path import Target
from podwire.lab.apiserver.rest.writes import Request, Writes
from podwire.lab.apiserver.schema.builtin import types
from podwire.lab.apiserver.storage.hub import Hub
from podwire.lab.apiserver.storage.store import Store

TRUE = ("true", "1")
"""How a query says yes."""


@dataclass
class Services:
    """What the handler works with."""

    store: Store
    hub: Hub
    registry: Registry
    authenticator: Authenticator
    writes: Writes
    kubelets: KubeletProxy
    clock: Callable[[], datetime]


@dataclass
class Call:
    """One authorised request for a resource."""

    http: web.Request
    user: User
    resource: Resource
    target: Target
    verb: str

    @property
    def form(self) -> Form:
        """The form of the answer."""
        return accepted(self.http.headers.get("Accept", "")).form

    def write(self) -> Request:
        """The write that this request asks for; ApiError 400 for options that make no sense."""
        query = self.http.query
        dry = query.getall("dryRun", [])
        if any(value != "All" for value in dry):
            raise errors.bad_request(f'dryRun: Unsupported value: {dry}: supported values: "All"')
        validation = query.get("fieldValidation", "Warn")
        if validation not in ("Strict", "Warn", "Ignore"):
            raise errors.bad_request(f'fieldValidation: Unsupported value: "{validation}"')
        return Request(
            user=self.user,
            resource=self.resource,
            namespace=self.target.namespace,
            name=self.target.name,
            subresource=self.target.subresource,
            dry_run=bool(dry),
            strict=validation == "Strict",
            silent=validation == "Ignore",
        )

    async def body(self, type_name: str = "") -> Any:
        """The decoded body, None when it is empty; *type_name* is its type where it is not the resource's."""
        schema = types()[type_name] if type_name else self.resource.schema
        return decode_body(await self.http.read(), self.http.headers.get("Content-Type", ""), schema)


def json_response(value: Any, status: int = 200, warnings: list[str] | None = None) -> web.Response:
    """A JSON answer; *value* may be encoded already."""
    body = value if isinstance(value, bytes) else msgspec.json.encode(value)
    response = web.Response(body=body, status=status, content_type="application/json")
    response.headers["Cache-Control"] = "no-cache, private"
    for warning in warnings or ():
        text = warning.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{"".join(char for char in text if char.isprintable())[:500]}"')
    return response
