"""The verbs get and list: paging, selectors, and what a resourceVersion means in them.

A list that is read in pages is of the version of its first page: objects that change meanwhile are seen in a later
state, and a watch from that version shows their changes again. When the log has lost that version, the next page is
refused with 410, as Kubernetes does.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from podwire.lab.apiserver import errors
from podwire.lab.apiserver.kinds.resource import Resource
from podwire.lab.apiserver.kinds.strategy import Object
from podwire.lab.apiserver.rest.path import Target
from podwire.lab.apiserver.storage.facts import Selection, select
from podwire.lab.apiserver.storage.store import Store


class Continue(msgspec.Struct, array_like=True):
    """What a ``continue`` token holds."""

    version: int
    namespace: str
    name: str


class Listing(NamedTuple):
    """A page of a list and its ListMeta."""

    bodies: list[bytes]
    meta: Object


def selection(resource: Resource, target: Target, query: Mapping[str, str]) -> Selection:
    """What a list, watch or deletecollection chooses."""
    return select(
        target.namespace or None,
        target.name or None,
        query.get("labelSelector", ""),
        query.get("fieldSelector", ""),
        resource.strategy.selectable,
    )


def number(query: Mapping[str, str], name: str) -> int:
    """A whole number of the query, 0 when it is not given."""
    text = query.get(name, "")
    if text and not (text.isdecimal() and len(text) < 19):
        raise errors.bad_request(f"{name}: Invalid value: {text!r}: must be a whole number")
    return int(text or 0)


async def listing(store: Store, resource: Resource, chosen: Selection, query: Mapping[str, str]) -> Listing:
    """Read a page."""
    limit, token = number(query, "limit"), _token(query.get("continue", ""))
    if token is None:
        check_version(store, query)
    after = (token.namespace, token.name) if token else None
    page = await store.page(resource.storage, chosen, limit=limit, after=after)
    version = token.version if token else page.version
    if token:
        await store.since(resource.storage, version, Selection(name=""))  # 410 when a watch from there cannot work
    meta: Object = {"resourceVersion": str(version)}
    if page.after is not None:
        packed = msgspec.json.encode(Continue(version, *page.after))
        meta["continue"] = base64.urlsafe_b64encode(packed).decode()
        if page.remaining is not None:
            meta["remainingItemCount"] = page.remaining
    return Listing(page.bodies, meta)


def _token(text: str) -> Continue | None:
    if not text:
        return None
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text), type=Continue)
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise errors.bad_request(f"continue: Invalid value: {text!r}: not a token that this server gave") from error


def check_version(store: Store, query: Mapping[str, str]) -> None:
    """Refuse a list whose resourceVersion cannot be honoured: ApiError 400, 410 or 504."""
    wanted, match = number(query, "resourceVersion"), query.get("resourceVersionMatch", "")
    if match not in ("", "Exact", "NotOlderThan"):
        raise errors.bad_request(f"resourceVersionMatch: Unsupported value: {match!r}")
    if match and "resourceVersion" not in query:
        raise errors.bad_request("resourceVersionMatch: Forbidden: resourceVersionMatch needs a resourceVersion")
    if not wanted:
        return
    if wanted > store.version:
        raise errors.ApiError(
            504,
            "Timeout",
            f"Too large resource version: {wanted}, current: {store.version}",
            details={
                "retryAfterSeconds": 1,
                "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            },
        )
    if match == "Exact" and wanted != store.version:
        raise errors.expired(f"the list at version {wanted} is no longer available; list without a resourceVersion")
