"""The strategy: what a kind may say differently. The base class is the behaviour of most kinds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, ClassVar

from podwire.lab.apiserver.errors import Cause
from podwire.lab.apiserver.kinds.names import dns_subdomain
from podwire.lab.apiserver.storage.facts import Facts
from podwire.lab.apiserver.storage.transaction import Key, Transaction

Object = dict[str, Any]
"""A Kubernetes object as decoded JSON."""


def _service_cidrs() -> tuple[IPv4Network | IPv6Network, ...]:
    return (ip_network("10.96.0.0/16"),)


@dataclass(frozen=True)
class Settings:
    """What the cluster has and a kind must know."""

    service_cidrs: tuple[IPv4Network | IPv6Network, ...] = field(default_factory=_service_cidrs)
    node_ports: range = range(30000, 32768)


@dataclass(frozen=True)
class Context:
    """The surroundings of one write: *now* is RFC 3339, in seconds."""

    transaction: Transaction
    now: str
    settings: Settings


class Strategy:
    """How a kind behaves. Methods get objects that fit the schema, and may change the first of them."""

    selectable: ClassVar[frozenset[str]] = frozenset()
    """Field labels that selectors may use beside metadata.name and metadata.namespace."""
    generation: ClassVar[bool] = True
    """Whether metadata.generation counts changes outside metadata and status."""
    status_on_create: ClassVar[bool] = False
    """Whether a created object keeps the status that it came with."""
    status_carries_metadata: ClassVar[bool] = False
    """Whether a write to /status may change labels and annotations too."""

    def name_problem(self, name: str) -> str:
        """What is wrong with an object's name, or an empty string."""
        return dns_subdomain(name)

    def default(self, obj: Object) -> None:
        """Fill in what the schema's own defaults cannot express. Runs before every write."""

    def before_create(self, obj: Object, context: Context) -> None:
        """Set what the server owns."""

    def before_update(self, obj: Object, old: Object, context: Context) -> None:
        """Keep, or take along, what the server owns."""

    def validate(self, obj: Object) -> Iterable[Cause]:
        """What is wrong with an object, wherever it came from."""
        return ()

    def validate_update(self, obj: Object, old: Object) -> Iterable[Cause]:
        """What is wrong with a change."""
        return ()

    def fields(self, obj: Object) -> dict[str, str]:
        """The values of :attr:`selectable`; empty ones may be left out."""
        return {}

    def grace_seconds(self, obj: Object, asked: int | None) -> int:
        """How long the object lives on after its deletion, for somebody to end it; 0 deletes at once."""
        return 0

    def undeletable(self, obj: Object) -> str:
        """Why the object may not be deleted, or an empty string."""
        return ""

    def contents(self, obj: Object, transaction: Transaction) -> list[Key]:
        """Objects that vanish together with this one."""
        return []

    def facts(self, obj: Object) -> Facts:
        """What selectors choose this object by."""
        meta = obj["metadata"]
        fields = self.fields(obj)
        fields["metadata.name"] = meta["name"]
        if "namespace" in meta:
            fields["metadata.namespace"] = meta["namespace"]
        return Facts(meta.get("labels") or {}, fields)


def at(obj: Any, path: str, default: Any = None) -> Any:
    """The value at a dotted path, or *default* where the path ends early."""
    for part in path.split("."):
        if not isinstance(obj, dict) or part not in obj:
            return default
        obj = obj[part]
    return default if obj is None else obj


def changed(obj: Object, old: Object, path: str) -> bool:
    """Whether the value at a dotted path differs."""
    return bool(at(obj, path) != at(old, path))
