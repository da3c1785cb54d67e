"""The interfaces through which the world is touched. ``drivers/`` implements them, each with a fake beside it.

All calls block; the agent runs them in threads. Drivers do no thinking: what should be is a plan's business.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from podwire.model.intent import Delta, Failure, NodeState
from podwire.model.kernel import Route
from podwire.model.wiring import PodWiring


class KernelDriver(Protocol):
    """The kernel objects of one network namespace, of those that are ours (``model.kernel`` says which)."""

    def observe(self, kinds: Collection[str] | None = None) -> NodeState:
        """What is there of *kinds* (default: all): our objects by key. Sysctls: those once asked for by apply()."""
        ...

    def apply(self, delta: Delta) -> list[Failure]:
        """Carry out *delta* in the order that ``reconcile.order`` gives it, batched.

        Dropping what is not there is a success. One refused element does not stop the others; each refusal is
        returned. Atomic where the kernel is (one nft transaction; route replace).
        """
        ...


class HostLink(msgspec.Struct, frozen=True):
    """The host end of an attachment as found in the kernel."""

    name: str
    ifindex: int
    mac: str
    up: bool
    reaping: bool


class PodWirer(Protocol):
    """Pods' veth pairs. The namespace argument is a file descriptor of the pod's network namespace."""

    def attach(self, wiring: PodWiring, netns: int) -> None:
        """Make the pair and all that hangs on it, or nothing: a failure undoes what was done, then raises.

        A leftover host end of the same name (an attach that died) is removed first. Raises KernelError;
        NoSuchNamespace when *netns* is no network namespace; KernelError EEXIST when the pod already has *ifname*.
        """
        ...

    def detach(self, host_ifname: str, routes: Sequence[Route]) -> None:
        """Take the pod off the network at once (routes, host end down) and hand the link to the reaper.

        Idempotent. Deleting the link itself waits for the kernel's grace period and happens in the background;
        :meth:`reaped` tells when it is gone.
        """
        ...

    def reaped(self, host_ifname: str) -> bool:
        """Whether the link no longer exists, so that its addresses may rest and be reused."""
        ...

    def inspect(self, wiring: PodWiring, netns: int | None) -> list[str]:
        """What differs from *wiring*, one sentence each; empty when all stands. *netns* None: host side only."""
        ...

    def host_links(self) -> list[HostLink]:
        """All host ends of pods in this namespace, whoever's attachment they are."""
        ...

    def close(self) -> None:
        """Let the reaper finish and release sockets. What stands in the kernel stays."""
        ...
