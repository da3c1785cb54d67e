"""What runs on a lab's hosts, as an interface: the life cycle starts and watches it without knowing what it is.

:mod:`podwire.lab.kubernetes` is the real thing (API server, manager, controller; kubelet and agent on each node);
tests of the fabric and the life cycle bring programs of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from podwire.lab.sandbox.plan import ServicePlan
from podwire.lab.spec import LabSpec, NodeRecord

if TYPE_CHECKING:
    from podwire.lab.cluster import Lab


class HostPlan(msgspec.Struct, frozen=True):
    """What a host runs: services by name, files below its /etc, and machine directories bound into it."""

    services: Mapping[str, ServicePlan] = msgspec.field(default_factory=dict)
    files: Mapping[str, bytes] = msgspec.field(default_factory=dict)
    binds: tuple[tuple[Path, str], ...] = ()


class Programs(Protocol):
    """What a lab is made to run. All calls block; errors are LabError with the tail of the log that tells why."""

    def check(self, spec: LabSpec) -> None:
        """Refuse (InputError) a lab that these programs could not run in."""
        ...

    def prepare(self, lab: Lab) -> None:
        """Before anything starts: certificates, tokens, kubeconfigs, for the nodes that the lab begins with."""
        ...

    def control(self, lab: Lab, sockets: Sequence[str]) -> HostPlan:
        """What the control plane runs; *sockets* name the listening descriptors that a service may be lent."""
        ...

    def node(self, lab: Lab, node: NodeRecord) -> HostPlan:
        """What a node runs; called again whenever a node is added."""
        ...

    def world(self, lab: Lab) -> HostPlan:
        """What the host outside of the cluster runs."""
        ...

    def wait_control(self, lab: Lab, timeout: float) -> None:
        """Return once the control plane answers."""
        ...

    def wait_nodes(self, lab: Lab, nodes: Sequence[str], timeout: float) -> None:
        """Return once these nodes are Ready."""
        ...

    def forget(self, lab: Lab, node: NodeRecord) -> None:
        """A node was removed: delete what the control plane knows of it."""
        ...
