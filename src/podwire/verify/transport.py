"""How probes are started and reached; :mod:`.transport_k8s` does it on a cluster, :mod:`.transport_netns` in tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from podwire.verify.channel import Stream
from podwire.verify.values import Seat, StartFailure, Topology

Progress: TypeAlias = Callable[[str], None]
"""Gets a short present-tense phrase whenever something begins."""


class Transport(Protocol):
    """Used in this order: :meth:`start`, :meth:`topology`, :meth:`open` for each seat, :meth:`close` always."""

    async def start(self, progress: Progress) -> tuple[Sequence[Seat], Sequence[StartFailure]]:
        """Start two probe pods on every node, the first with two containers, and a probe on the node's own network.

        Returns when each of them runs or has failed. The seats of a node's first pod come before its second's.
        Raises VerifyError when no proof can be carried out at all.
        """
        ...

    async def topology(self) -> Topology:
        """The cluster's nodes and live pods, the probes' among them, as its API tells them now."""
        ...

    async def open(self, seat: Seat) -> Stream:
        """Start a probe in *seat*."""
        ...

    async def close(self) -> None:
        """Remove everything that :meth:`start` made. Idempotent; survives a start that was interrupted."""
        ...
