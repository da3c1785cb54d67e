"""Routing backends: how a packet for a pod of another node gets there. One file each, one explicit registry.

A backend is pure: it turns this node, a peer and the underlay into the kernel objects that it needs. It neither
reacts to events nor compares states; that one backend's objects for one peer depend on nothing else is what makes a
change of one peer cost the same among ten peers and among ten thousand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from podwire.model.cluster import Node, Underlay
from podwire.model.config import Config
from podwire.model.intent import Wanted
from podwire.plan.result import PeerPlan
from podwire.plan.routes.host_gw import HostGw
from podwire.plan.routes.vxlan import VxlanOverlay


class Backend(Protocol):
    """What every backend answers."""

    @property
    def name(self) -> str:
        """As in ``backend.type`` of the configuration."""
        ...

    @property
    def carries_pod_sources(self) -> bool:
        """Whether the underlay sees pods' addresses anyway, so that pods may talk to nodes under their own."""
        ...

    def overhead(self, version: int) -> int:
        """Bytes that the backend adds to each packet on an underlay of IP *version*."""
        ...

    def device(self, config: Config, node: Node, underlays: Sequence[Underlay]) -> Iterator[Wanted]:
        """What this node needs before its first peer."""
        ...

    def peer(self, config: Config, me: Node, peer: Node, underlays: Sequence[Underlay]) -> PeerPlan:
        """What *peer* needs. Called only with a peer that has an address and a pod CIDR that clashes with nobody's."""
        ...


BACKENDS: dict[str, Backend] = {backend.name: backend for backend in (VxlanOverlay(), HostGw())}


def backend_of(config: Config) -> Backend:
    """The backend that *config* names; ``parse`` admits only names that are registered here."""
    return BACKENDS[config.backend.type]
