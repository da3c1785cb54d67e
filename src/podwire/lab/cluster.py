"""A lab that exists, as a handle: its nodes, its other hosts, its fabric. What the commands, tests and ``verify`` hold.

::

    lab = Lab.load("default")
    lab.node("node1").run(["ip", "route"])
    lab.fabric.set_loss(1.0)
    lab.node("node2").cut()
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from podwire.lab import spec as places
from podwire.lab.fabric import Fabric
from podwire.lab.fabric_plan import CONTROL, WORLD
from podwire.lab.sandbox.host import Sandbox
from podwire.lab.spec import DEFAULT_NAME, LabSpec, NodeRecord
from podwire.lab.state import LabDirectory, Record
from podwire.model.errors import LabError


class Node(Sandbox):
    """A node: a sandbox with a cable. Its identity is *record*; its addresses survive a reboot."""

    def __init__(self, lab: Lab, record: NodeRecord) -> None:
        directory = lab.directory
        super().__init__(
            record.name,
            directory.node(record.name),
            directory.namespaces / record.name,
            directory.logs,
            directory.marker,
        )
        self.record = record
        self._lab = lab

    @property
    def addresses(self) -> tuple[IPv4Address | IPv6Address, ...]:
        """Its addresses in the underlay, one per IP version."""
        return places.node_addresses(self._lab.spec, self.record)

    @property
    def segment(self) -> int:
        """The subnet that it is in, from 1."""
        return places.segment_of(self._lab.spec, self.record.index)

    def cut(self) -> None:
        """Pull its cable."""
        self._lab.fabric.cut(self.record)

    def heal(self) -> None:
        """Put its cable back."""
        self._lab.fabric.heal(self.record)

    @property
    def link(self) -> str:
        """``up``, ``cut`` or ``unplugged``."""
        return self._lab.fabric.link_states([self.record])[self.name]


class Lab:
    """One lab, whose ``lab.json`` was read once: load it again to see nodes that came later."""

    def __init__(self, directory: LabDirectory, record: Record) -> None:
        self.directory = directory
        self.record = record
        self.spec: LabSpec = record.spec
        self.fabric = Fabric(directory, record.spec)

    @classmethod
    def load(cls, name: str = DEFAULT_NAME) -> Lab:
        """The lab called *name*; LabError when there is none, or when a reboot of the machine ended it."""
        directory = LabDirectory(places.check_name(name))
        record = directory.read()
        if directory.stale(record):
            raise LabError(
                f"the machine was rebooted since the lab {name!r} was made, nothing of it runs",
                remedy=f"podwire lab down --name {name}",
            )
        return cls(directory, record)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def kubeconfig(self) -> Path:
        """For kubectl and every other client on this machine, as admin."""
        return self.directory.kubeconfig

    @property
    def nodes(self) -> list[Node]:
        """The nodes in the order of their numbers."""
        return [Node(self, record) for record in sorted(self.record.nodes, key=lambda record: record.index)]

    def node(self, name: str) -> Node:
        """A node by its name; LabError naming those that exist."""
        for node in self.nodes:
            if node.name == name:
                return node
        known = ", ".join(node.name for node in self.nodes) or "none"
        raise LabError(f"the lab {self.name!r} has no node {name!r}", remedy=f"its nodes: {known}")

    @property
    def control(self) -> Sandbox:
        """The control plane's host."""
        return self._host(CONTROL)

    @property
    def world(self) -> Sandbox:
        """The host outside of the cluster."""
        return self._host(WORLD)

    def _host(self, name: str) -> Sandbox:
        directory = self.directory
        return Sandbox(name, directory.host(name), directory.namespaces / name, directory.logs, directory.marker)
