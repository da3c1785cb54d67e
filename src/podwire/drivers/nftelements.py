"""Elements of named sets between nft's JSON and its text. Pure. Source: ``libnftables-json(5)``, "Expressions"."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeAlias

from podwire.model.kernel import NftElement

Families: TypeAlias = Literal["inet", "bridge", "netdev"]
TableName: TypeAlias = tuple[Families, str]


def named_elements(table: TableName, objects: Sequence[dict[str, Any]]) -> Iterator[NftElement]:
    """The elements of all named sets in a listing of *table*."""
    family, name = table
    for found in objects:
        content = found.get("set")
        if content is not None:
            for element in content.get("elem", ()):
                yield NftElement(family, name, content["name"], text(element))


def text(element: Any) -> str:
    """An element as nft writes it: ``10.244.0.0/16``, ``10.0.0.1-10.0.0.9``, ``10.0.0.1 . tcp``."""
    if not isinstance(element, dict):
        return str(element)
    if "elem" in element:  # an element with a counter, a timeout or a comment
        return text(element["elem"]["val"])
    if "prefix" in element:
        return f"{text(element['prefix']['addr'])}/{element['prefix']['len']}"
    if "range" in element:
        return "-".join(text(end) for end in element["range"])
    if "concat" in element:
        return " . ".join(text(part) for part in element["concat"])
    return str(element)


def spelled(element: str) -> str:
    """*element* as nft lists it: a /32 or /128 is an address, and IPv6 is compressed."""
    try:
        network = ipaddress.ip_network(element, strict=False)
    except ValueError:
        return element
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)
